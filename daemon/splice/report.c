/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told of connections: rows of live ones on request, records of ended ones by a ring.
 * Thread: acceptor, but for splice_records_drain() and splice_records_fd(): control.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kern/sockops.h"
#include "kern/splice_maps.h"
#include "splice/acceptor.h"
#include "splice/flows_request.h"
#include "util/clock.h"

static const char *const state_names[] = {
	[CONN_SNIFFING] = "sniffing",   [CONN_CONNECTING] = "connecting", [CONN_OPEN] = "open",
	[CONN_LINGERING] = "lingering", [CONN_CLOSED] = "closed",
};

/* Cut where it is too long. */
static void copy_name(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

/* What sock_ops knows of a socket. False: it does not follow it. */
static bool get_meta(const struct conn *conn, enum conn_side side, struct splice_conn_meta *meta)
{
	struct sockops *sockops = conn->acceptor->splice->sockops;

	return sockops && conn->fd[side] >= 0 && sockops_get(sockops, conn->fd[side], meta) == 0 &&
	       meta->established_ns != 0;
}

static void add_tcp_info(const struct conn *conn, enum conn_side side, struct splice_flow_row *row)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (conn->fd[side] < 0 ||
	    getsockopt(conn->fd[side], IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	row->srtt_us[side] = info.tcpi_rtt;
	row->n_retransmits[side] = info.tcpi_total_retrans;
}

static void add_tcp(const struct conn *conn, enum conn_side side, struct splice_flow_row *row)
{
	struct splice_conn_meta meta;

	row->by_sockops[side] = get_meta(conn, side, &meta);
	if (!row->by_sockops[side]) {
		add_tcp_info(conn, side, row);
		return;
	}
	row->srtt_us[side] = meta.srtt_us;
	row->n_retransmits[side] = meta.n_retransmits;
}

/* When a byte was last moved: by user space, or by the kernel since it was last looked at. */
static uint64_t last_moved_ns(const struct conn *conn, enum conn_side side)
{
	const struct stream *stream = &conn->stream[side];
	const struct splice_flow *flow;

	if (!stream->in_maps)
		return stream->last_ns;
	flow = splice_flow(conn->acceptor->splice->maps, stream->side);
	return MAX(stream->last_ns, __atomic_load_n(&flow->last_ns, __ATOMIC_RELAXED));
}

/* What the kernel moved by itself: now, or all that it did. */
static uint64_t redirected(const struct conn *conn, enum conn_side side)
{
	const struct stream *stream = &conn->stream[side];

	if (!stream->in_maps)
		return stream->n_redirected;
	return splice_redirected(splice_flow(conn->acceptor->splice->maps, stream->side));
}

void report_flow(const struct conn *conn, struct splice_flow_row *ret_row)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t last_ns = conn->accepted_ns;
	struct splice_flow_row row = {
		.acceptor = conn->acceptor->index,
		.client = conn->client,
		.state = state_names[conn->state],
		.age_ns = now_ns - conn->accepted_ns,
	};

	copy_name(row.listener, sizeof(row.listener), conn->listener->state->name);
	copy_name(row.name, sizeof(row.name), conn->name);
	if (conn->sniff) {
		copy_name(row.alpn, sizeof(row.alpn), conn->sniff->alpn);
		row.has_ech = conn->sniff->has_ech;
	}
	if (conn->backend)
		copy_name(row.backend, sizeof(row.backend), conn->backend->state->name);
	if (conn->server) {
		copy_name(row.server, sizeof(row.server), conn->server->name);
		row.upstream = endpoint_of(&conn->server->address);
	}
	for (enum conn_side side = CLIENT; side <= SERVER; side++) {
		const struct stream *stream = &conn->stream[side];

		row.engine[side] = stream->engine ? stream->engine->id : SPLICE_COPY;
		row.bytes[side] = stream->n_received + redirected(conn, side);
		row.parked += stream->engine ? stream->engine->parked(conn, side) : 0;
		last_ns = MAX(last_ns, last_moved_ns(conn, side));
		add_tcp(conn, side, &row);
	}
	row.idle_ns = now_ns > last_ns ? now_ns - last_ns : 0;
	*ret_row = row;
}

/* --- Live connections ----------------------------------------------------------------------------
 */

void flows_request_unref(struct flows_request *request)
{
	if (atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) == 1)
		free(request);
}

void report_flows(struct acceptor *acceptor, struct flows_request *request)
{
	for (const struct conn *conn = acceptor->conns; conn && request->n < request->max;
	     conn = conn->next)
		report_flow(conn, &request->rows[request->n++]);
	flows_request_unref(request);
}

/* --- Ended connections ---------------------------------------------------------------------------
 */

/* Of a socket of which more is to be heard; 0: none. */
static uint64_t pending_cookie(const struct conn *conn, enum conn_side side)
{
	struct splice_conn_meta meta;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (!get_meta(conn, side, &meta) || meta.state == TCP_CLOSE ||
	    getsockopt(conn->fd[side], SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		return 0;
	return cookie;
}

void report_record(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;
	uint32_t head = atomic_load_explicit(&acceptor->records_head, memory_order_relaxed);
	/* pairs with the release in splice_records_drain() */
	uint32_t tail = atomic_load_explicit(&acceptor->records_tail, memory_order_acquire);
	struct splice_flow_record *record = &acceptor->records[head % RECORDS_N];
	uint64_t one = 1;

	if (!conn->is_logged)
		return;
	/* A log that nobody reads loses lines, not connections. */
	counter_add(&acceptor->counters.n_records, 1);
	if (head - tail == RECORDS_N) {
		counter_add(&acceptor->counters.n_records_lost, 1);
		return;
	}
	/* Before the rest: a socket that closes meanwhile is waited for in vain, not missed. */
	for (enum conn_side side = CLIENT; side <= SERVER; side++)
		record->cookie[side] = pending_cookie(conn, side);
	report_flow(conn, &record->row);
	record->how = conn->how;
	atomic_store_explicit(&acceptor->records_head, head + 1, memory_order_release);
	(void)!write(acceptor->splice->records_fd, &one, sizeof(one));
}

int splice_records_fd(const struct splice *splice)
{
	return splice->records_fd;
}

static uint32_t drain_one(struct acceptor *acceptor, struct splice_flow_record *records,
			  uint32_t max)
{
	uint32_t tail = atomic_load_explicit(&acceptor->records_tail, memory_order_relaxed);
	/* pairs with the release in report_record() */
	uint32_t head = atomic_load_explicit(&acceptor->records_head, memory_order_acquire);
	uint32_t n = 0;

	for (; tail != head && n < max; tail++)
		records[n++] = acceptor->records[tail % RECORDS_N];
	atomic_store_explicit(&acceptor->records_tail, tail, memory_order_release);
	return n;
}

uint32_t splice_records_drain(struct splice *splice, struct splice_flow_record *records,
			      uint32_t max)
{
	uint32_t n = 0;
	uint64_t value;

	(void)!read(splice->records_fd, &value, sizeof(value));
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		n += drain_one(splice->acceptors[i], records + n, max - n);
	/* There may be more than were asked for: stay readable. */
	value = 1;
	if (n == max)
		(void)!write(splice->records_fd, &value, sizeof(value));
	return n;
}
