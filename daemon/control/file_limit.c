/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: the limit and the need. The numbers are counted in /proc/PID/fd of a daemon at work.
 */
#include "control/file_limit.h"

#include <sys/resource.h>

#include "control/conf.h"
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

/* An acceptor: epoll, wake-up, ring; the plane: maps, programs, sock_ops. */
#define FILES_PER_ACCEPTOR 4
#define FILES_OF_SPLICE    32
/* A socket here and one in each acceptor; its group's maps and program. */
#define FILES_PER_BIND 12
/* One that is being checked. */
#define FILES_PER_SERVER 1
/* An eighth of what is left is for pipes. */
#define PIPES_DIVISOR 8

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

static uint64_t needed_to_listen(const struct conf *conf, uint32_t n_acceptors)
{
	uint64_t n = FILES_OF_SPLICE + (uint64_t)n_acceptors * FILES_PER_ACCEPTOR;

	for (unsigned i = 0; i < conf->n_listeners; i++)
		n += conf->listeners[i].binds.n * (FILES_PER_BIND + 2 * (uint64_t)n_acceptors);
	for (unsigned i = 0; i < conf->n_backends; i++)
		n += (uint64_t)conf->backends[i].servers.n * FILES_PER_SERVER;
	return n;
}

uint32_t file_limit_conns(const struct conf *conf, const struct plan *plan, uint32_t n_acceptors)
{
	uint64_t needed = file_limit_needed(plan) + needed_to_listen(conf, n_acceptors);
	uint64_t wanted = 0, left, possible;
	struct rlimit limit;

	for (unsigned i = 0; i < conf->n_listeners; i++)
		wanted += conf->listeners[i].max_connections;
	wanted = MIN(wanted, (uint64_t)CONF_MAX_CONNECTIONS);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		limit.rlim_cur = 1024;
	left = limit.rlim_cur > needed ? limit.rlim_cur - needed : 0;
	possible = (left - left / PIPES_DIVISOR) / 2;
	if (possible < wanted)
		log_warning(
			"listeners may have %llu connections, RLIMIT_NOFILE (%llu) allows %llu: "
			"set LimitNOFILE= of the unit (`ulimit -n`) to at least %llu, or "
			"max_connections to less, continuing",
			(unsigned long long)wanted, (unsigned long long)limit.rlim_cur,
			(unsigned long long)possible,
			(unsigned long long)(needed +
					     wanted * 2 * PIPES_DIVISOR / (PIPES_DIVISOR - 1) + 1));
	/* And one for each acceptor, whom a listener's own limit turns away: for that it has to be
	 * accepted. Where descriptors are short nobody gets so far. */
	return (uint32_t)MAX(MIN(possible, wanted + n_acceptors), n_acceptors);
}
