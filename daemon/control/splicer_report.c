/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The splice plane as a part of the report: loads of words that acceptors write. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "control/report.h"
#include "control/splicer_internal.h"
#include "kern/sockops.h"
#include "util/clock.h"
#include "util/macros.h"

static uint64_t load64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t load32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void load_times(const _Atomic uint64_t *from, uint64_t to[SPLICE_TIME_BUCKETS])
{
	for (size_t i = 0; i < SPLICE_TIME_BUCKETS; i++)
		to[i] = load64(&from[i]);
}

static void report_listener(const struct splicer *splicer, const struct listener_config *config,
			    struct report_listener *ret_listener)
{
	const struct listener_state *state = config->state;

	memcpy(ret_listener->name, state->name, sizeof(ret_listener->name));
	if (splicer->listeners)
		(void)listeners_addresses(splicer->listeners, state->number,
					  ret_listener->addresses, sizeof(ret_listener->addresses));
	ret_listener->sniff = config->sniff;
	ret_listener->engine = config->engine;
	ret_listener->max_connections = config->max_connections;
	ret_listener->n_active = load32(&state->n_active);
	ret_listener->n_sniffing = load32(&state->n_sniffing);
	ret_listener->n_accepted = load64(&state->n_accepted);
	for (size_t i = 0; i < SPLICE_REJECT_N; i++)
		ret_listener->n_rejected[i] = load64(&state->n_rejected[i]);
	load_times(state->sniff_time, ret_listener->sniff_time);
	ret_listener->sniff_time_sum_ns = load64(&state->sniff_time_sum_ns);
}

static void address_text(const struct sockaddr_storage *address, char *buf, size_t size)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
	char text[INET6_ADDRSTRLEN];

	if (address->ss_family == AF_INET)
		(void)snprintf(buf, size, "%s:%u",
			       inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)),
			       ntohs(in->sin_port));
	else if (address->ss_family == AF_INET6)
		(void)snprintf(buf, size, "[%s]:%u",
			       inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)),
			       ntohs(in6->sin6_port));
	else
		(void)snprintf(buf, size, "unix:%.*s", (int)sizeof(un->sun_path), un->sun_path);
}

static void report_server(const struct splicer *splicer, const struct backend_server *server,
			  struct report_server *ret_server)
{
	const struct server_state *state = server->state;
	struct health_counts counts = health_counts(splicer->health, state);

	*ret_server = (struct report_server){
		.weight = server->weight,
		.n_active = load32(&state->n_active),
		.is_up = atomic_load_explicit(&state->is_up, memory_order_relaxed),
		.is_draining = atomic_load_explicit(&state->is_draining, memory_order_relaxed),
		.is_out = load64(&state->out_until_ns) > clock_now_ns(),
		.n_connections = load64(&state->n_connections),
		.n_failures = load64(&state->n_failures),
		.n_checks = counts.n_checks,
		.n_check_failures = counts.n_failures,
	};
	memcpy(ret_server->name, state->name, sizeof(ret_server->name));
	address_text(&state->address, ret_server->address, sizeof(ret_server->address));
}

static int report_backend(const struct splicer *splicer, const struct backend_config *config,
			  struct report_backend *ret_backend)
{
	const struct backend_state *state = config->state;

	ret_backend->servers = report_array(config->n_servers, sizeof(*ret_backend->servers));
	if (!ret_backend->servers)
		return -ENOMEM;
	memcpy(ret_backend->name, state->name, sizeof(ret_backend->name));
	ret_backend->balance = config->balance;
	ret_backend->n_servers = config->n_servers;
	ret_backend->n_active = load32(&state->n_active);
	ret_backend->n_connections = load64(&state->n_connections);
	ret_backend->n_failures = load64(&state->n_failures);
	load_times(state->connect_time, ret_backend->connect_time);
	ret_backend->connect_time_sum_ns = load64(&state->connect_time_sum_ns);
	for (uint32_t i = 0; i < config->n_servers; i++) {
		struct report_server *server = &ret_backend->servers[i];

		report_server(splicer, &config->servers[i], server);
		ret_backend->is_up |= server->is_up && !server->is_draining && !server->is_out;
	}
	return 0;
}

/* All of its members are counters of one type. */
static void add_counters(struct acceptor_counters *sum, const struct acceptor_counters *counters)
{
	const uint64_t *from = (const uint64_t *)(const void *)counters;
	uint64_t *to = (uint64_t *)(void *)sum;

	_Static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "words only");
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

static int report_plane(const struct splicer *splicer, struct report_splice *ret_report)
{
	_cleanup_free_ struct splice_report *plane = NULL;

	if (!splicer->splice)
		return 0;
	plane = calloc(1, sizeof(*plane));
	if (!plane)
		return -ENOMEM;
	splice_report(splicer->splice, plane);
	ret_report->is_running = true;
	ret_report->n_acceptors = plane->n_acceptors;
	for (uint32_t i = 0; i < plane->n_acceptors; i++) {
		const struct acceptor_report *acceptor = &plane->acceptors[i];

		ret_report->acceptors[i].cpu = acceptor->cpu;
		ret_report->acceptors[i].tid = acceptor->tid;
		ret_report->acceptors[i].n_conns = acceptor->n_conns;
		ret_report->n_conns += acceptor->n_conns;
		add_counters(&ret_report->totals, &acceptor->counters);
	}
	return 0;
}

static int fill(const struct splicer *splicer, const struct splice_config *config,
		struct report_splice *report)
{
	int r = 0;

	report->listeners = report_array(config->n_listeners, sizeof(*report->listeners));
	report->backends = report_array(config->n_backends, sizeof(*report->backends));
	if (!report->listeners || !report->backends)
		return -ENOMEM;
	for (uint32_t i = 0; i < config->n_listeners; i++)
		report_listener(splicer, &config->listeners[i], &report->listeners[i]);
	report->n_listeners = config->n_listeners;
	for (uint32_t i = 0; i < config->n_backends && r == 0; i++) {
		r = report_backend(splicer, &config->backends[i], &report->backends[i]);
		report->n_backends++;
	}
	return r;
}

int splicer_report(const struct splicer *splicer, struct report_splice *ret_report)
{
	struct report_splice report = {
		.selftest_passed = splicer->selftest_passed,
		.selftest_ns = splicer->selftest_ns,
		.sockmap_is_on = splicer->maps != NULL,
		.sockops_is_on = splicer->sockops_is_on,
		.max_conns = splicer->max_conns,
		.n_sockets_closed = splicer->n_closed,
		.n_retransmits = splicer->n_retransmits,
		.n_sockops_lost = splicer->sockops ? sockops_n_lost(splicer->sockops) : 0,
	};
	int r = report_plane(splicer, &report);

	memcpy(report.sockmap_why_not, splicer->sockmap_why_not, sizeof(report.sockmap_why_not));
	memcpy(report.sockops_why_not, splicer->sockops_why_not, sizeof(report.sockops_why_not));
	if (r == 0 && splicer->config)
		r = fill(splicer, splicer->config, &report);
	if (r < 0) {
		report_splice_fini(&report);
		return r;
	}
	*ret_report = report;
	return 0;
}
