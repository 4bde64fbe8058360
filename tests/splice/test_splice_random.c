/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random transfers, both directions at once, several connections at a time: sizes, pieces, pauses,
 * half-closes and resets by a seed that is printed (SPLICE_SEED repeats a run). Every byte is
 * checked as it arrives. An end says one of three things, and each must be true:
 *
 *   0         the other end has finished, and every byte of it has arrived
 *   an error  the other end has reset, or this one's own reset is on its way
 *   nothing   a deadline, and the test fails
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/splice/plane_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

/* Of each engine; SLUICE_FULL=1 and SPLICE_TRANSFERS ask for more. */
#define N_TRANSFERS      200
#define N_TRANSFERS_FULL 2000
#define N_AT_ONCE        16
#define MAX_PIECE        65536

static struct world world;
static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t below(uint64_t n)
{
	return n ? next_random() % n : 0;
}

/* Of any magnitude up to 2^bits. */
static uint64_t any_size(unsigned bits)
{
	return below(1ULL << below(bits + 1));
}

struct end {
	int fd;
	uint32_t seed;
	uint64_t to_send, n_sent;
	uint64_t n_received;
	uint64_t reset_at; /* when it has sent and received so much together; UINT64_MAX: never */
	uint64_t piece;
	bool has_finished, is_over, has_reset;
	bool got_end, got_error;
	uint64_t pause_until_ns; /* of reading */
};

struct transfer {
	struct end end[2];
	uint64_t deadline_ns;
};

static struct {
	unsigned n_intact, n_reset, n_reset_after_end;
	uint64_t n_bytes;
} tally;

static void begin(struct transfer *transfer)
{
	unsigned who = (unsigned)below(2);
	bool is_reset = below(3) == 0;

	memset(transfer, 0, sizeof(*transfer));
	transfer->end[0].fd = world_connect(&world);
	transfer->end[1].fd = world_accept(&world, 0);
	transfer->deadline_ns = clock_now_ns() + 20 * NSEC_PER_SEC;
	for (unsigned i = 0; i < 2; i++) {
		struct end *end = &transfer->end[i];

		assert_int_equal(fcntl(end->fd, F_SETFL, O_NONBLOCK), 0);
		end->seed = (uint32_t)next_random();
		end->to_send = any_size(20);
		/* Single bytes too, but not a million of them. */
		end->piece = 1 + any_size(16);
		end->piece = MAX(end->piece, end->to_send / 500);
		end->reset_at = UINT64_MAX;
	}
	if (is_reset)
		transfer->end[who].reset_at =
			below(transfer->end[0].to_send + transfer->end[1].to_send + 2);
}

static void say_error(struct end *end)
{
	end->got_error = true;
	end->is_over = true;
}

static void send_some(struct end *end)
{
	static uint8_t data[MAX_PIECE];
	size_t len = MIN(MIN(end->piece, end->to_send - end->n_sent), sizeof(data));
	ssize_t n;

	if (end->has_finished || end->is_over)
		return;
	if (len == 0) {
		if (shutdown(end->fd, SHUT_WR) == 0)
			end->has_finished = true;
		else
			say_error(end);
		return;
	}
	pattern_fill(data, len, end->seed, end->n_sent);
	n = send(end->fd, data, len, MSG_NOSIGNAL);
	if (n >= 0)
		end->n_sent += (uint64_t)n;
	else if (errno != EAGAIN)
		say_error(end);
}

static void receive_some(struct end *end, const struct end *other)
{
	static uint8_t data[MAX_PIECE], expected[MAX_PIECE];
	size_t len = 1 + below(MAX_PIECE);
	ssize_t n;

	if (end->got_end || end->is_over || end->pause_until_ns > clock_now_ns())
		return;
	if (below(50) == 0)
		end->pause_until_ns = clock_now_ns() + below(5 * NSEC_PER_MSEC);
	n = recv(end->fd, data, len, 0);
	if (n > 0) {
		pattern_fill(expected, (size_t)n, other->seed, end->n_received);
		assert_memory_equal(data, expected, n);
		end->n_received += (uint64_t)n;
		tally.n_bytes += (uint64_t)n;
	} else if (n == 0) {
		/* The one thing that must never be untrue. */
		assert_true(other->has_finished);
		assert_int_equal(end->n_received, other->to_send);
		end->got_end = true;
	} else if (errno != EAGAIN) {
		say_error(end);
	}
}

static void step(struct transfer *transfer, unsigned i)
{
	struct end *end = &transfer->end[i];
	const struct end *other = &transfer->end[1 - i];

	if (end->is_over)
		return;
	if (end->n_sent + end->n_received >= end->reset_at &&
	    !(end->has_finished && end->got_end)) {
		peer_reset(TAKE_FD(end->fd));
		end->has_reset = end->is_over = true;
		return;
	}
	send_some(end);
	receive_some(end, other);
	if (end->has_finished && end->got_end)
		end->is_over = true;
}

/* True: it has ended, and rightly. */
static bool is_done(struct transfer *transfer)
{
	struct end *end = transfer->end;

	if (!end[0].is_over || !end[1].is_over)
		return false;
	if (end[0].has_reset || end[1].has_reset) {
		const struct end *left = &end[end[0].has_reset ? 1 : 0];
		const struct end *gone = &end[end[0].has_reset ? 0 : 1];

		/* It saw an error; or all there was, from one that had finished before. */
		assert_true(left->got_error || left->got_end);
		tally.n_reset++;
		tally.n_reset_after_end += gone->has_finished || left->has_finished;
	} else {
		for (unsigned i = 0; i < 2; i++) {
			assert_false(end[i].got_error);
			assert_int_equal(end[i].n_received, end[1 - i].to_send);
		}
		tally.n_intact++;
	}
	for (unsigned i = 0; i < 2; i++)
		close_fdp(&end[i].fd);
	return true;
}

/* What the plane thinks of the connections that are left. */
static void print_flows(void)
{
	struct splice_flow_row rows[N_AT_ONCE];
	uint32_t n = splice_flows(world.splice, rows, ARRAY_SIZE(rows));

	for (uint32_t i = 0; i < n; i++)
		print_message("%s, engines %u %u: %llu and %llu bytes, %llu parked, idle %llu ms\n",
			      rows[i].state, rows[i].engine[0], rows[i].engine[1],
			      (unsigned long long)rows[i].bytes[0],
			      (unsigned long long)rows[i].bytes[1],
			      (unsigned long long)rows[i].parked,
			      (unsigned long long)(rows[i].idle_ns / NSEC_PER_MSEC));
}

static void check_deadline(const struct transfer *transfer)
{
	if (clock_now_ns() < transfer->deadline_ns)
		return;
	for (unsigned i = 0; i < 2; i++) {
		const struct end *end = &transfer->end[i];

		print_message("%s: sent %llu of %llu%s%s, received %llu%s%s\n",
			      i ? "server" : "client", (unsigned long long)end->n_sent,
			      (unsigned long long)end->to_send, end->has_finished ? " and FIN" : "",
			      end->has_reset ? " and RST" : "", (unsigned long long)end->n_received,
			      end->got_end ? " and FIN" : "",
			      end->got_error ? " and an error" : "");
	}
	print_flows();
	fail_msg("a transfer hangs");
}

static unsigned n_transfers(void)
{
	const char *wanted = getenv("SPLICE_TRANSFERS"), *full = getenv("SLUICE_FULL");

	if (wanted)
		return (unsigned)strtoul(wanted, NULL, 10);
	return full && strcmp(full, "1") == 0 ? N_TRANSFERS_FULL : N_TRANSFERS;
}

static void test_random_transfers(void **state)
{
	const struct world_options options = {.engine = (enum splice_engine)(uintptr_t)*state,
					      .n_acceptors = 2};
	const char *seed = getenv("SPLICE_SEED");
	unsigned n_to_begin = n_transfers();
	struct transfer transfers[N_AT_ONCE];
	unsigned n_live = 0, n = n_to_begin;

	random_state = seed ? strtoull(seed, NULL, 10) : clock_now_ns() | 1;
	print_message("SPLICE_SEED=%llu\n", (unsigned long long)random_state);
	memset(&tally, 0, sizeof(tally));
	world_open(&world, &options);
	while (n_to_begin > 0 || n_live > 0) {
		if (n_live < N_AT_ONCE && n_to_begin > 0) {
			begin(&transfers[n_live++]);
			n_to_begin--;
		}
		for (unsigned i = 0; i < n_live; i++) {
			step(&transfers[i], (unsigned)below(2));
			check_deadline(&transfers[i]);
			if (is_done(&transfers[i]))
				transfers[i--] = transfers[--n_live];
		}
	}
	print_message("%u intact, %u reset (%u of them half-closed), %llu bytes\n", tally.n_intact,
		      tally.n_reset, tally.n_reset_after_end, (unsigned long long)tally.n_bytes);
	assert_int_equal(tally.n_intact + tally.n_reset, n);
	world_close(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{.name = "random_transfers/copy",
		 .test_func = test_random_transfers,
		 .initial_state = (void *)(uintptr_t)SPLICE_COPY},
		{.name = "random_transfers/splice",
		 .test_func = test_random_transfers,
		 .initial_state = (void *)(uintptr_t)SPLICE_SPLICE},
		{.name = "random_transfers/sockmap",
		 .test_func = test_random_transfers,
		 .initial_state = (void *)(uintptr_t)SPLICE_SOCKMAP},
		{.name = "random_transfers/auto",
		 .test_func = test_random_transfers,
		 .initial_state = (void *)(uintptr_t)SPLICE_AUTO},
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
