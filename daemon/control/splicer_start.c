/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The threads of the splice plane and what they stand on: the self-test, the maps, sock_ops. Each
 * of these can be done without, and why it is must be known to the operator: it is in STATUS and in
 * the report.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/acceptor_cpus.h"
#include "control/caps.h"
#include "control/file_limit.h"
#include "control/splicer_internal.h"
#include "kern/load_log.h"
#include "kern/sockops.h"
#include "kern/splice_maps.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "splice"

/* True, with the reason: the process has not what the program takes, which nobody need try. */
static bool is_forbidden(enum caps_program program, char *text, size_t size)
{
	char names[CAPS_NAMES_BYTES];
	unsigned n = caps_missing_for(program, names, sizeof(names));

	if (n > 0)
		snprintf(text, size,
			 "%s %s missing: add %s to AmbientCapabilities= and CapabilityBoundingSet= "
			 "of the unit",
			 names, n == 1 ? "is" : "are", n == 1 ? "it" : "them");
	return n > 0;
}

/* What cannot be spliced without the loss of a byte is not spliced in the kernel. */
static int test_and_make_maps(struct splicer *splicer)
{
	const struct splice_maps_spec spec = {
		.n_conns = splicer->max_conns,
		.n_acceptors = splicer->n_acceptors,
	};
	const char *what = "";
	uint64_t begun_ns = clock_now_ns();
	int r = splice_selftest(&what);

	splicer->selftest_ns = clock_now_ns() - begun_ns;
	if (r < 0) {
		snprintf(splicer->sockmap_why_not, sizeof(splicer->sockmap_why_not),
			 "the self-test failed (%s): %s", what ? what : "start", strerror(-r));
		return r;
	}
	splicer->selftest_passed = true;
	r = splice_maps_new(&spec, &splicer->maps);
	if (r < 0)
		snprintf(splicer->sockmap_why_not, sizeof(splicer->sockmap_why_not), "%s",
			 strerror(-r));
	return r;
}

static void open_maps(struct splicer *splicer)
{
	bool is_off = is_forbidden(CAPS_SOCKMAP, splicer->sockmap_why_not,
				   sizeof(splicer->sockmap_why_not));

	if (!is_off && test_and_make_maps(splicer) < 0) {
		is_off = true;
		log_debug("libbpf: %s", load_log_text());
	}
	if (is_off)
		log_warning("sockmap is off, connections are served by splice(2) and copying: %s",
			    splicer->sockmap_why_not);
}

static const char *why_no_sockops(int r)
{
	switch (r) {
	case -EXDEV:
		return "the cgroup is not this service's alone";
	case -ENOENT:
		return "there is no cgroup2";
	default:
		return strerror(-r);
	}
}

static bool load_sockops(struct splicer *splicer)
{
	int attach_error = 0;
	int r = sockops_new(NULL, &splicer->sockops, &attach_error);

	r = r < 0 ? r : attach_error;
	if (r < 0)
		snprintf(splicer->sockops_why_not, sizeof(splicer->sockops_why_not), "%s",
			 why_no_sockops(r));
	return r == 0;
}

static void open_sockops(struct splicer *splicer)
{
	splicer->sockops_is_on = !is_forbidden(CAPS_SOCKOPS, splicer->sockops_why_not,
					       sizeof(splicer->sockops_why_not)) &&
				 load_sockops(splicer);
	if (splicer->sockops_is_on)
		return;
	log_info("sock_ops is off, TCP_INFO serves in its place: %s", splicer->sockops_why_not);
}

static void close_all(struct splicer *splicer)
{
	splice_maps_free(TAKE_PTR(splicer->maps));
	sockops_free(TAKE_PTR(splicer->sockops));
	splicer->sockmap_why_not[0] = splicer->sockops_why_not[0] = '\0';
	splicer->selftest_passed = splicer->sockops_is_on = false;
}

static void choose_cpus(struct splicer *splicer, const struct conf *conf, const struct plan *plan,
			const struct topo *topo)
{
	bool is_shared;

	splicer->n_acceptors = acceptor_cpus(plan, topo, conf, splicer->acceptors, &is_shared);
	if (is_shared)
		log_notice("%u acceptor%s: not enough CPUs for each to have one without a worker",
			   splicer->n_acceptors, splicer->n_acceptors == 1 ? "" : "s");
}

int splicer_start(struct splicer *splicer, const struct conf *conf, const struct plan *plan,
		  const struct topo *topo, char *text, size_t size)
{
	uint32_t cpus[CONF_MAX_ACCEPTORS];
	struct splice_options options = {.cpus = cpus};
	int r;

	choose_cpus(splicer, conf, plan, topo);
	splicer->max_conns = file_limit_conns(conf, plan, splicer->n_acceptors);
	open_maps(splicer);
	open_sockops(splicer);
	for (uint32_t i = 0; i < splicer->n_acceptors; i++)
		cpus[i] = splicer->acceptors[i].cpu;
	options.n_acceptors = splicer->n_acceptors;
	options.max_conns = splicer->max_conns;
	options.maps = splicer->maps;
	options.sockops = splicer->sockops_is_on ? splicer->sockops : NULL;
	r = splice_new(&options, &splicer->splice);
	if (r == 0)
		r = splicer_log_start(splicer);
	if (r < 0) {
		splicer_log_finish(splicer);
		if (splice_free(TAKE_PTR(splicer->splice)) == 0)
			close_all(splicer);
		(void)snprintf(text, size, "cannot start acceptors: %s", strerror(-r));
		return r;
	}
	log_notice("%u acceptor%s, up to %u connections, sockmap %s", splicer->n_acceptors,
		   splicer->n_acceptors == 1 ? "" : "s", splicer->max_conns,
		   splicer->maps ? "on" : "off");
	return 0;
}
