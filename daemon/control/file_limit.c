/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: the limit and the need. The numbers are counted in /proc/PID/fd of a daemon at work.
 */
#include "control/file_limit.h"

#include <sys/resource.h>

#include "control/plan.h"
#include "data/worker.h"
#include "util/log.h"

#define LOG_DOMAIN "life"

/* Standard streams, event loop, netlink, control socket, metrics: 15; the rest is the reserve. */
#define FILES_OF_DAEMON 40
/* Program, link, BTF, five maps and the socket that holds promiscuity. */
#define FILES_PER_PORT 9
/* Tables: four maps, wake-ups, sockets to routes, neighbours, policies. */
#define FILES_OF_TABLES 16
/* A TAP: program, link and a file for each worker, which is counted where the workers are. */
#define FILES_PER_TAP 4

void file_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	/* Without it there is as much as before. */
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t needed_to_route(const struct plan *plan)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < plan->n_ports; i++) {
		const struct plan_port *port = &plan->ports[i];

		if (port->conf->forward == CONF_FORWARD_ROUTE ||
		    port->conf->forward == CONF_FORWARD_BRIDGE)
			n += FILES_PER_TAP + port->n_workers;
	}
	/* A worker of a bridge also wakes the tables. */
	return n ? n + FILES_OF_TABLES + plan->n_workers : 0;
}

uint64_t file_limit_needed(const struct plan *plan)
{
	uint64_t n = FILES_OF_DAEMON + (uint64_t)plan->n_ports * FILES_PER_PORT;

	for (uint32_t w = 0; w < plan->n_workers; w++)
		n += plan->workers[w].n_lanes + WORKER_MAX_UMEMS;
	return n + needed_to_route(plan);
}

void file_limit_check(const struct plan *plan)
{
	uint64_t needed = file_limit_needed(plan);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
		return;
	log_warning(
		"the plan needs %llu open files, RLIMIT_NOFILE allows %llu; set LimitNOFILE= of "
		"the unit (`ulimit -n`) to at least that, continuing",
		(unsigned long long)needed, (unsigned long long)limit.rlim_cur);
}
