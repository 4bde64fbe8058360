/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of a report, in one place for page, tool and journal, and its release. */
#include "control/report.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

const char *const port_state_names[] = {
	[PORT_FORWARDING] = "forwarding", [PORT_PASSING] = "passing",
	[PORT_DETACHED] = "detached",     [PORT_LINK_DOWN] = "link_down",
	[PORT_ABSENT] = "absent",         [PORT_REBUILDING] = "rebuilding",
	[PORT_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(port_state_names) == PORT_STATE_N, "a name for every state");

#define VERDICT_NAME(id, name, action, help)   #name,
#define VERDICT_ACTION(id, name, action, help) #action,
#define VERDICT_HELP(id, name, action, help)   help,
const char *const report_verdict_names[] = {SLUICE_VERDICTS(VERDICT_NAME)};
static const char *const verdict_actions[] = {SLUICE_VERDICTS(VERDICT_ACTION)};
const char *const report_verdict_helps[] = {SLUICE_VERDICTS(VERDICT_HELP)};
#undef VERDICT_NAME
#undef VERDICT_ACTION
#undef VERDICT_HELP

#define DROP_NAME(id, label, help) #label,
#define DROP_HELP(id, label, help) help,
const char *const report_drop_names[] = {DROP_REASONS(DROP_NAME)};
const char *const report_drop_helps[] = {DROP_REASONS(DROP_HELP)};
#undef DROP_NAME
#undef DROP_HELP

#define HANDBACK_NAME(id, label, per_second, help) #label,
#define HANDBACK_HELP(id, label, per_second, help) help,
const char *const report_handback_names[] = {HANDBACK_REASONS(HANDBACK_NAME)};
const char *const report_handback_helps[] = {HANDBACK_REASONS(HANDBACK_HELP)};
#undef HANDBACK_NAME
#undef HANDBACK_HELP

const char *const report_engine_names[] = {
	[SPLICE_AUTO] = "auto",
	[SPLICE_SOCKMAP] = "sockmap",
	[SPLICE_SPLICE] = "splice",
	[SPLICE_COPY] = "copy",
};
_Static_assert(ARRAY_SIZE(report_engine_names) == SPLICE_ENGINE_N, "a name for every engine");
const char *const report_balance_names[] = {
	[SPLICE_ROUND_ROBIN] = "round_robin",
	[SPLICE_LEAST_CONNECTIONS] = "least_connections",
	[SPLICE_MAGLEV] = "maglev",
};
const char *const report_sniff_names[] = {
	[SPLICE_SNIFF_NONE] = "none",
	[SPLICE_SNIFF_TLS] = "tls",
	[SPLICE_SNIFF_HTTP] = "http",
	[SPLICE_SNIFF_AUTO] = "auto",
};

bool report_queue_is_ours(const struct report_queue *queue)
{
	return queue->worker != UINT32_MAX || queue->counters.rx_packets > 0 ||
	       queue->counters.tx_packets > 0;
}

const char *report_verdict_action(const struct report_port *port, enum sluice_verdict verdict)
{
	const char *action = verdict_actions[verdict];

	/* Only the port's configuration knows where its fall-back leads. */
	if (strcmp(action, "fallback") == 0)
		return port->conf->on_failure == CONF_FAIL_DROP ? "drop" : "pass";
	return action;
}

const char *report_endpoint_text(const struct ip_endpoint *endpoint,
				 char buf[REPORT_ENDPOINT_BYTES])
{
	char address[INET6_ADDRSTRLEN];

	if (endpoint->family == 0)
		return "local";
	(void)inet_ntop(endpoint->family == 4 ? AF_INET : AF_INET6, endpoint->addr.octet, address,
			sizeof(address));
	(void)snprintf(buf, REPORT_ENDPOINT_BYTES, endpoint->family == 4 ? "%s:%u" : "[%s]:%u",
		       address, endpoint->port);
	return buf;
}

void *report_array(size_t n, size_t size)
{
	size_t bytes, rounded;
	void *array;

	if (__builtin_mul_overflow(n ? n : 1, size, &bytes) ||
	    __builtin_add_overflow(bytes, CACHE_LINE_BYTES - 1, &rounded))
		return NULL;
	rounded -= rounded % CACHE_LINE_BYTES;
	array = aligned_alloc(CACHE_LINE_BYTES, rounded);
	return array ? memset(array, 0, rounded) : NULL;
}

void report_splice_fini(struct report_splice *splice)
{
	for (uint32_t i = 0; i < splice->n_backends; i++)
		free(splice->backends[i].servers);
	free(splice->backends);
	free(splice->listeners);
	*splice = (struct report_splice){0};
}

void report_fini(struct report *report)
{
	report_splice_fini(&report->splice);
	for (uint32_t i = 0; i < report->n_ports; i++)
		free(report->ports[i].queues);
	free(report->ports);
	free(report->workers);
	*report = (struct report){0};
}
