/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flow log: a line for each connection that acceptors left a record of, one in flow_log. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "control/report.h"
#include "control/splicer_internal.h"
#include "kern/sockops.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "flow"

#define RECORDS_PER_TURN 64

static const char *endpoint_text(const struct ip_endpoint *endpoint, char *buf, size_t size)
{
	char address[INET6_ADDRSTRLEN];

	if (endpoint->family == 0)
		return "local";
	(void)inet_ntop(endpoint->family == 4 ? AF_INET : AF_INET6, endpoint->addr.octet, address,
			sizeof(address));
	(void)snprintf(buf, size, endpoint->family == 4 ? "%s:%u" : "[%s]:%u", address,
		       endpoint->port);
	return buf;
}

/* Names that were sniffed are checked by the sniffer: printable, lower case. */
static void write_record(const struct splicer *splicer, const struct splice_flow_record *record)
{
	const struct splice_flow_row *row = &record->row;
	char client[64], upstream[64];

	log_write(LOG_LEVEL_INFO, LOG_DOMAIN,
		  "listener=%s client=%s name=%s backend=%s server=%s upstream=%s "
		  "engine=%s,%s bytes=%" PRIu64 ",%" PRIu64 " duration_ms=%" PRIu64
		  " srtt_us=%u,%u retransmits=%u,%u end=\"%s\"",
		  splicer_listener_name(splicer, row->listener),
		  endpoint_text(&row->client, client, sizeof(client)),
		  row->name[0] ? row->name : "-", row->backend[0] ? row->backend : "-",
		  row->server[0] ? row->server : "-",
		  endpoint_text(&row->upstream, upstream, sizeof(upstream)),
		  report_engine_names[row->engine[0]], report_engine_names[row->engine[1]],
		  row->bytes[0], row->bytes[1], (uint64_t)(row->age_ns / NSEC_PER_MSEC),
		  row->srtt_us[0], row->srtt_us[1], row->n_retransmits[0], row->n_retransmits[1],
		  record->how ? record->how : "closed");
}

static int on_records(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct splicer *splicer = arg;
	struct splice_flow_record records[RECORDS_PER_TURN];
	uint32_t n = splice_records_drain(splicer->splice, records, RECORDS_PER_TURN);

	for (uint32_t i = 0; i < n; i++)
		write_record(splicer, &records[i]);
	return 0;
}

static void count_closed(const struct splice_event *event, void *arg)
{
	struct splicer *splicer = arg;

	if (event->kind != SPLICE_EVENT_CLOSED)
		return;
	splicer->n_closed++;
	splicer->n_retransmits += event->meta.n_retransmits;
}

static int on_sockops(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct splicer *splicer = arg;

	(void)sockops_events_drain(splicer->sockops, count_closed, splicer);
	return 0;
}

int splicer_watch_records(struct splicer *splicer)
{
	int fd = splicer->sockops ? sockops_events_fd(splicer->sockops) : -1;
	int r = sd_event_add_io(splicer->event, &splicer->records_io,
				splice_records_fd(splicer->splice), EPOLLIN, on_records, splicer);

	if (r < 0 || fd < 0)
		return r;
	return sd_event_add_io(splicer->event, &splicer->sockops_io, fd, EPOLLIN, on_sockops,
			       splicer);
}
