// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which engine a flow of `auto` deserves, by what it has done so far. It starts in `copy`; then
 *
 *   bulk in one direction                     splice(2) for that direction
 *   many small messages, or long life         sockmap for both
 *   little, short                             stays: entering costs more than it saves
 *
 * Measured on 6.18 (splice-lab.md §C, §D): 64 B ping-pong over 64 connections, sockmap +9…+45 %
 * messages/s and −12…−30 % CPU against HAProxy; bulk, splice(2) 10.6 Gb/s against 5–6.5; a short
 * exchange cannot be spliced at all, since its client has ended before (17,323 of 20,000).
 *
 * `sockmap` by configuration: at the first moment that allows it. Thread: acceptor.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "splice/acceptor.h"

/* Nothing before so many bytes or such an age: a request and its answer are over by then. */
#define MIN_BYTES  (4u << 10)
#define MIN_AGE_NS (20 * NSEC_PER_MSEC)

/*
 * A decision looks at so many pumps that brought bytes, of both directions. Entering and leaving
 * cost 20–40 µs (tests/bpf/bench_splice), a message in the kernel saves 7–9 µs of CPU
 * (splice-lab.md D2): after five more it has paid for itself.
 */
#define MESSAGES_MIN       8
#define MESSAGES_MIN_LOCAL 4 /* a server on this host: a third of the CPU (D3) */
#define MESSAGE_MAX_BYTES  (8u << 10)

/* Long life: it has had few messages, and there may be any number to come. */
#define LONG_LIFE_NS (2 * NSEC_PER_SEC)

/* Bulk: full buffers, this many bytes of them since the last decision. */
#define BULK_MIN_BYTES  (512u << 10)
#define BULK_PUMP_BYTES (16u << 10)

/* After so many pumps the flow is judged anew: it may change its ways. */
#define WINDOW_PUMPS 256

/* --- What it does ------------------------------------------------------------------------------
 */

static uint64_t n_window_bytes(const struct stream *stream)
{
	return stream->n_received - stream->n_window_from;
}

static void begin_window(struct stream *stream)
{
	stream->n_pumps = 0;
	stream->n_window_from = stream->n_received;
}

/* False: it has brought nothing. */
static bool count_pump(struct stream *stream)
{
	if (stream->n_received == stream->n_pumped)
		return false;
	stream->n_pumped = stream->n_received;
	if (stream->n_pumps >= WINDOW_PUMPS)
		begin_window(stream);
	stream->n_pumps++;
	return true;
}

static bool is_bulk(const struct stream *stream)
{
	uint64_t n_bytes = n_window_bytes(stream);

	return n_bytes >= BULK_MIN_BYTES && n_bytes / stream->n_pumps >= BULK_PUMP_BYTES;
}

static bool is_small(const struct stream *stream)
{
	return n_window_bytes(stream) <= (uint64_t)MAX(stream->n_pumps, 1u) * MESSAGE_MAX_BYTES;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *bytes;

	if (address->ss_family == AF_INET)
		return *(const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr == 127;
	if (address->ss_family != AF_INET6)
		return false;
	bytes = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
		return bytes[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* Worth two psocks and six system calls? */
static bool deserves_kernel(const struct conn *conn, uint64_t now_ns)
{
	const struct stream *stream = conn->stream;
	const uint64_t age_ns = now_ns - conn->accepted_ns;
	const uint32_t n_messages = stream[CLIENT].n_pumps + stream[SERVER].n_pumps;
	const bool is_local = conn->server && is_loopback(&conn->server->address);

	if (stream[CLIENT].n_received + stream[SERVER].n_received < MIN_BYTES &&
	    age_ns < MIN_AGE_NS)
		return false;
	if (!is_small(&stream[CLIENT]) || !is_small(&stream[SERVER]))
		return false;
	return n_messages >= (is_local ? MESSAGES_MIN_LOCAL : MESSAGES_MIN) ||
	       age_ns >= LONG_LIFE_NS;
}

/* --- Deciding ----------------------------------------------------------------------------------
 */

static const struct {
	int error;
	enum splice_fallback why;
} refusals[] = {
	{-EOPNOTSUPP, SPLICE_FALLBACK_CLOSE_WAIT},
	{-EBUSY, SPLICE_FALLBACK_BUSY},
	{-ENOSPC, SPLICE_FALLBACK_NO_SLOT},
};

static enum splice_fallback why_refused(int error)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (refusals[i].error == error)
			return refusals[i].why;
	}
	return SPLICE_FALLBACK_REFUSED;
}

static bool may_enter(const struct conn *conn)
{
	return conn->acceptor->splice->maps && !conn->is_kept_out &&
	       conn->stream[CLIENT].engine != &engine_sockmap;
}

/* Not now (-EAGAIN: bytes are on their way) is no refusal; what else it is, it stays. */
static void try_sockmap(struct conn *conn)
{
	struct acceptor_counters *counters = &conn->acceptor->counters;
	int r = engine_sockmap.enter(conn, CLIENT);

	if (r == -EAGAIN)
		return;
	if (r == 0) {
		counter_add(&counters->n_promotions, 2);
		return;
	}
	/* A number may become free; that there was none is one fallback all the same. */
	if (r != -ENOSPC || !conn->is_short_of_slot)
		counter_add(&counters->n_fallbacks[why_refused(r)], 1);
	conn->is_short_of_slot = r == -ENOSPC;
	conn->is_kept_out = r != -ENOSPC;
}

static void try_splice(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];

	if (stream->engine != &engine_copy || stream->held)
		return;
	if (engine_splice.enter(conn, from) < 0)
		return;
	stream->engine = &engine_splice;
	counter_add(&conn->acceptor->counters.n_promotions, 1);
}

static void promote_auto(struct conn *conn, enum conn_side from, uint64_t now_ns)
{
	struct stream *stream = &conn->stream[from];

	if (!count_pump(stream))
		return;
	if (is_bulk(stream)) {
		begin_window(stream);
		try_splice(conn, from);
	} else if (may_enter(conn) && deserves_kernel(conn, now_ns)) {
		begin_window(&conn->stream[CLIENT]);
		begin_window(&conn->stream[SERVER]);
		try_sockmap(conn);
	}
}

void promote(struct conn *conn, enum conn_side from, uint64_t now_ns)
{
	if (conn->stream[from].engine == &engine_sockmap)
		return;
	if (conn->listener->engine == SPLICE_AUTO)
		promote_auto(conn, from, now_ns);
	else if (conn->listener->engine == SPLICE_SOCKMAP && may_enter(conn))
		try_sockmap(conn);
}
