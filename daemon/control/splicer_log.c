/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow log: a line for each connection that acceptors left a record of, one in flow_log.
 *
 * close(2) is not the end: TCP goes on sending what the far end has not acknowledged. So a line
 * waits a moment for the last records of its two sockets, which sock_ops writes when they are
 * really closed, and has what these say. Where sock_ops does not run, or the far end takes its
 * time, it has what was known at close(2).
 *
 * Thread: control.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "control/report.h"
#include "control/splicer_internal.h"
#include "kern/sockops.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "flow"

#define RECORDS_PER_TURN  64
#define WAIT_NS           NSEC_PER_SEC
#define TIMER_ACCURACY_US 10000

/* Last records are taken no oftener than this while they come. The ring has room for 10,900:
 * 218,000 sockets a second. */
#define GATHER_US  (50 * 1000)
#define MAX_DRAINS 16 /* of one look: 16,384 records */

/* --- Lines --------------------------------------------------------------------------------------
 */

static const char *source_of(const struct splice_flow_row *row)
{
	return row->by_sockops[0] || row->by_sockops[1] ? "sock_ops" : "tcp_info";
}

/* Names that were sniffed are checked by the sniffer: printable, lower case. */
static void write_line(const struct splice_flow_record *record)
{
	const struct splice_flow_row *row = &record->row;
	char client[REPORT_ENDPOINT_BYTES], upstream[REPORT_ENDPOINT_BYTES];

	log_write(LOG_LEVEL_INFO, LOG_DOMAIN,
		  "listener=%s client=%s name=%s alpn=%s backend=%s server=%s upstream=%s "
		  "engine=%s,%s bytes=%" PRIu64 ",%" PRIu64 " duration_ms=%" PRIu64
		  " srtt_us=%u,%u retransmits=%u,%u tcp=%s end=\"%s\"",
		  row->listener, report_endpoint_text(&row->client, client),
		  row->name[0] ? row->name : "-", row->alpn[0] ? row->alpn : "-",
		  row->backend[0] ? row->backend : "-", row->server[0] ? row->server : "-",
		  row->server[0] ? report_endpoint_text(&row->upstream, upstream) : "-",
		  report_engine_names[row->engine[0]], report_engine_names[row->engine[1]],
		  row->bytes[0], row->bytes[1], (uint64_t)(row->age_ns / NSEC_PER_MSEC),
		  row->srtt_us[0], row->srtt_us[1], row->n_retransmits[0], row->n_retransmits[1],
		  source_of(row), record->how ? record->how : "closed");
}

/* --- Waiting ------------------------------------------------------------------------------------
 */

static bool is_awaited(const struct splice_flow_record *record)
{
	return record->cookie[0] != 0 || record->cookie[1] != 0;
}

static struct splicer_waiting *waiting_at(struct splicer *splicer, uint32_t i)
{
	return &splicer->waiting[(splicer->first_waiting + i) % SPLICER_WAITING];
}

static void set_timer(struct splicer *splicer)
{
	if (splicer->n_waiting > 0)
		(void)sd_event_source_set_time(splicer->waiting_timer,
					       waiting_at(splicer, 0)->until_ns / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(splicer->waiting_timer,
					  splicer->n_waiting > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* The oldest one's place is free, and those of who followed it and did not have to wait so long. */
static void drop_oldest(struct splicer *splicer)
{
	struct splicer_waiting *oldest = waiting_at(splicer, 0);

	if (!oldest->is_written)
		write_line(&oldest->record);
	do {
		splicer->first_waiting = (splicer->first_waiting + 1) % SPLICER_WAITING;
		splicer->n_waiting--;
	} while (splicer->n_waiting > 0 && waiting_at(splicer, 0)->is_written);
}

static void take_record(struct splicer *splicer, const struct splice_flow_record *record)
{
	if (!is_awaited(record)) {
		write_line(record);
		return;
	}
	/* More than can wait at once: a line early is better than none. */
	if (splicer->n_waiting == SPLICER_WAITING)
		drop_oldest(splicer);
	*waiting_at(splicer, splicer->n_waiting++) = (struct splicer_waiting){
		.record = *record,
		.until_ns = clock_now_ns() + WAIT_NS,
	};
}

static void drain_records(struct splicer *splicer)
{
	struct splice_flow_record records[RECORDS_PER_TURN];
	uint32_t n;

	do {
		n = splice_records_drain(splicer->splice, records, RECORDS_PER_TURN);
		for (uint32_t i = 0; i < n; i++)
			take_record(splicer, &records[i]);
	} while (n == RECORDS_PER_TURN);
	set_timer(splicer);
}

/* The last record of a socket: what a line that waits for it says of TCP. */
static void complete(struct splicer *splicer, uint32_t i, unsigned side,
		     const struct splice_conn_meta *meta)
{
	struct splicer_waiting *waiting = waiting_at(splicer, i);
	struct splice_flow_record *record = &waiting->record;

	record->cookie[side] = 0;
	record->row.srtt_us[side] = meta->srtt_us;
	record->row.n_retransmits[side] = meta->n_retransmits;
	if (is_awaited(record))
		return;
	write_line(record);
	waiting->is_written = true;
	if (i == 0)
		drop_oldest(splicer);
}

static void take_event(struct splicer *splicer, const struct splice_event *event)
{
	for (uint32_t i = 0; i < splicer->n_waiting; i++) {
		const struct splice_flow_record *record = &waiting_at(splicer, i)->record;

		for (unsigned side = 0; side < 2; side++) {
			if (record->cookie[side] == event->cookie) {
				complete(splicer, i, side, &event->meta);
				return;
			}
		}
	}
}

/* --- Events -------------------------------------------------------------------------------------
 */

static int on_records(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	drain_records(arg);
	return 0;
}

static void on_closed(const struct splice_event *event, void *arg)
{
	struct splicer *splicer = arg;

	if (event->kind != SPLICE_EVENT_CLOSED)
		return;
	splicer->n_closed++;
	splicer->n_retransmits += event->meta.n_retransmits;
	take_event(splicer, event);
}

/* Acceptors write their record before they close: it is there when the socket's comes. */
static void drain_sockops(struct splicer *splicer)
{
	drain_records(splicer);
	for (unsigned i = 0; i < MAX_DRAINS; i++)
		if (sockops_events_drain(splicer->sockops, on_closed, splicer) <= 0)
			break;
	set_timer(splicer);
}

/*
 * A record that finds the ring empty wakes us, by an interrupt of the CPU's own: as dear as the
 * rest of what sock_ops does for a connection. So the ring is left with something in it for a
 * while.
 */
static int on_sockops(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct splicer *splicer = arg;

	if (sd_event_source_set_time(splicer->sockops_timer,
				     clock_now_ns() / NSEC_PER_USEC + GATHER_US) < 0 ||
	    sd_event_source_set_enabled(splicer->sockops_timer, SD_EVENT_ONESHOT) < 0)
		drain_sockops(splicer);
	else
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *arg)
{
	struct splicer *splicer = arg;

	drain_sockops(splicer);
	(void)sd_event_source_set_enabled(splicer->sockops_io, SD_EVENT_ON);
	return 0;
}

static int on_waited(sd_event_source *source, uint64_t usec, void *arg)
{
	struct splicer *splicer = arg;
	uint64_t now_ns = clock_now_ns();

	while (splicer->n_waiting > 0 && waiting_at(splicer, 0)->until_ns <= now_ns)
		drop_oldest(splicer);
	set_timer(splicer);
	return 0;
}

/* --- Life ---------------------------------------------------------------------------------------
 */

int splicer_log_start(struct splicer *splicer)
{
	int fd = splicer->sockops ? sockops_events_fd(splicer->sockops) : -1;
	int r = sd_event_add_time(splicer->event, &splicer->waiting_timer, CLOCK_MONOTONIC, 0,
				  TIMER_ACCURACY_US, on_waited, splicer);

	if (r >= 0)
		r = sd_event_source_set_enabled(splicer->waiting_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(splicer->event, &splicer->records_io,
				    splice_records_fd(splicer->splice), EPOLLIN, on_records,
				    splicer);
	if (r < 0 || fd < 0)
		return MIN(r, 0);
	r = sd_event_add_time(splicer->event, &splicer->sockops_timer, CLOCK_MONOTONIC, 0,
			      TIMER_ACCURACY_US, on_gathered, splicer);
	if (r >= 0)
		r = sd_event_source_set_enabled(splicer->sockops_timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = sd_event_add_io(splicer->event, &splicer->sockops_io, fd, EPOLLIN, on_sockops, splicer);
	return MIN(r, 0);
}

void splicer_log_finish(struct splicer *splicer)
{
	if (splicer->sockops_io)
		drain_sockops(splicer);
	if (splicer->records_io) {
		drain_records(splicer);
		while (splicer->n_waiting > 0)
			drop_oldest(splicer);
	}
	splicer->records_io = sd_event_source_disable_unref(splicer->records_io);
	splicer->sockops_io = sd_event_source_disable_unref(splicer->sockops_io);
	splicer->sockops_timer = sd_event_source_disable_unref(splicer->sockops_timer);
	splicer->waiting_timer = sd_event_source_disable_unref(splicer->waiting_timer);
}
