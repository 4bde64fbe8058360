/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sluiced does instead of running: --dry-run and --detach. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/acceptor_cpus.h"
#include "control/conf.h"
#include "control/file_limit.h"
#include "control/life.h"
#include "control/planner.h"
#include "kern/port_prog.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "life"

/* Where connections would be served; addresses are not bound for a look. */
static void print_splice(const struct conf *conf, const struct plan *plan)
{
	struct listeners_acceptor acceptors[CONF_MAX_ACCEPTORS];
	struct topo topo;
	uint32_t n;
	bool is_shared;

	if (conf->n_listeners == 0 || topo_read("/sys", &topo) < 0)
		return;
	n = acceptor_cpus(plan, &topo, conf, acceptors, &is_shared);
	printf("\nacceptors: %u, on CPU", n);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%u", i ? "," : " ", acceptors[i].cpu);
	printf("%s; up to %u connections\n", is_shared ? " (shared with others)" : "",
	       file_limit_conns(conf, plan, n));
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const struct conf_bind *binds = conf->listeners[i].binds.items;

		printf("listener %s:", conf->listeners[i].name);
		for (unsigned j = 0; j < conf->listeners[i].binds.n; j++)
			printf(" %s", binds[j].address.text);
		printf("\n");
	}
}

int life_dry_run(const struct conf *conf)
{
	struct links *links = NULL;
	struct plan_notes notes = {0};
	struct plan *plan = NULL;
	int r = links_open(&links);

	if (r < 0) {
		(void)log_err_errno(r, "cannot open netlink: %m");
		return EXIT_FAILURE;
	}
	r = planner_make(links, NULL, conf, &plan, &notes);
	if (plan) {
		plan_print(plan, &notes, stdout);
		print_splice(conf, plan);
	} else {
		(void)log_err_errno(r, "cannot plan: %m");
	}
	plan_free(plan);
	plan_notes_fini(&notes);
	links_close(links);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- Pins ------------------------------------------------------------------------------------ */

static int tell_of_pin(const struct pin_info *info, void *arg)
{
	const char *option = arg;
	char interface[IF_NAMESIZE];

	if (info->is_alive && if_indextoname(info->ifindex, interface))
		log_warning("port %s: a program that was pinned before stays on %s, which drops "
			    "what it does not know; `sluiced %s--detach %s` takes it off",
			    info->port, interface, option, info->port);
	return 0;
}

void life_tell_what_stays(const struct conf *conf)
{
	_cleanup_close_ int lock_fd = -1;
	char option[] = "-c FILE ";
	char dir[CONF_PATH_BYTES];

	if (!conf->daemon.bpf_dir[0])
		option[0] = '\0';
	/* What another daemon has pinned is in good hands. */
	if (pin_dir_find(conf->daemon.bpf_dir, dir, sizeof(dir)) == 0 &&
	    pin_dir_claim(dir, &lock_fd) == 0)
		(void)pin_for_each(dir, tell_of_pin, option);
}

struct detach {
	const char *dir;
	const char *port; /* NULL = all */
	unsigned n_found;
	unsigned n_failed;
};

static int detach_pin(const struct pin_info *info, void *arg)
{
	struct detach *detach = arg;
	int r;

	if (detach->port && strcmp(detach->port, info->port) != 0)
		return 0;
	detach->n_found++;
	r = pin_remove(detach->dir, info->port);
	if (r == -EPERM) {
		detach->n_failed++;
		log_err("port %s: cannot remove its pins: what is in %s/%s is not sluiced's; "
			"`rm -r` removes it, if it is yours",
			info->port, detach->dir, info->port);
	} else if (r < 0) {
		detach->n_failed++;
		(void)log_err_errno(r, "port %s: cannot remove its pins in %s: %m", info->port,
				    detach->dir);
	} else {
		log_notice("port %s: detached%s", info->port,
			   info->is_alive ? "" : " (its interface was already gone)");
	}
	return 0;
}

int life_detach_pins(const struct conf *conf, const char *port)
{
	char dir[CONF_PATH_BYTES];
	struct detach detach = {.dir = dir, .port = port};
	_cleanup_close_ int lock_fd = -1;
	int r = pin_dir_find(conf ? conf->daemon.bpf_dir : "", dir, sizeof(dir));

	/* The lock is kept, so that no daemon starts in the middle. */
	if (r == 0)
		r = pin_dir_is_in_use(dir, &lock_fd);
	if (r == 1) {
		log_err("a running sluiced keeps its pins in %s and would attach them again; "
			"`sluicectl detach %s` gives its frames to the kernel",
			dir, port ? port : "'*'");
		return EXIT_FAILURE;
	}
	if (r == 0)
		r = pin_for_each(dir, detach_pin, &detach);
	if (r < 0 && r != -ENOENT) {
		(void)log_err_errno(r, "cannot look for pins: %m");
		return EXIT_FAILURE;
	}
	if (port && detach.n_found == 0) {
		log_err("port %s: no pins found", port);
		return EXIT_FAILURE;
	}
	return detach.n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
