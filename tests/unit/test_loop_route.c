// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router in a worker, on fake rings: which lane a frame leaves by, what goes back to the kernel
 * and what becomes of it there, and that the books are right after every turn (world_check()).
 *
 * Lane i is queue 0 of port i. The TAP is one end of a socket pair: it keeps frames apart, and is
 * full at some time, as a TAP is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_world.h"
#include "route_world.h"
#include "tests/unit/fib_world.h"
#include "unit.h"

#define MTU     1500
#define MAX_LEN (MTU + ETH_HLEN)

struct rig {
	struct world *w;
	struct route_world *routes;
	struct worker_port ports[WORKER_MAX_PORTS];
	int tap[2]; /* the worker writes to the first */
};

/* 10.P.0.0/16 leads to port P by next hop P; 10.0.0.0/16 back out of port 0. */
static struct rig *rig_new(const struct world_spec *spec)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct worker_set *set;

	assert_non_null(rig);
	rig->w = world_new(spec);
	rig->routes = route_world_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, rig->tap), 0);
	set = world_next_set(rig->w);
	set->forward = WORKER_ROUTE;
	set->view = &rig->routes->view;
	set->ports = rig->ports;
	for (uint16_t p = 0; p < spec->n_lanes; p++) {
		char prefix[32];

		set->routes[p] = (struct worker_route){.rx = &rig->w->lanes[p], .port = p};
		rig->ports[p] = (struct worker_port){
			.is_member = true,
			.can_send = true,
			.ifindex = ROUTE_WORLD_IFINDEX(p),
			.max_len = MAX_LEN,
			.handback_fd = rig->tap[0],
			.n_lanes = 1,
			.lanes = {&rig->w->lanes[p]},
		};
		route_world_mac(p, rig->ports[p].mac);
		(void)route_world_via(rig->routes, (uint16_t)(p + 1), p, MTU);
		(void)snprintf(prefix, sizeof(prefix), "10.%u.0.0/16", p);
		route_world_add(rig->routes, prefix, (uint16_t)(p + 1));
		(void)snprintf(prefix, sizeof(prefix), "2001:db8:%u::/48", p);
		route_world_add(rig->routes, prefix, (uint16_t)(p + 1));
	}
	world_publish(rig->w);
	return rig;
}

static void rig_free(struct rig *rig)
{
	world_settle(rig->w);
	world_free(rig->w);
	route_world_free(rig->routes);
	(void)close(rig->tap[0]);
	(void)close(rig->tap[1]);
	free(rig);
}

static const struct world_spec three_ports = {.n_lanes = 3, .n_frames = 4096};

/* To `dst` by port 0, where all frames are sent to. */
static void receive(struct rig *rig, const char *dst, uint32_t payload_len)
{
	uint8_t frame[2048];
	uint32_t len = frame_make(frame, strchr(dst, ':') ? "2001:db8:99::1" : "192.0.2.9", dst,
				  payload_len);

	assert_true(fake_receive(&rig->w->fakes[0], frame, len, len, NULL));
}

static void receive_n(struct rig *rig, const char *dst, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		receive(rig, dst, 26);
}

static const struct lane_counters *counters_of(const struct rig *rig, unsigned lane)
{
	return &rig->w->lanes[lane].counters;
}

/* What the kernel was given; −1: nothing waits. */
static ssize_t read_tap(struct rig *rig, uint8_t *frame, size_t size)
{
	return recv(rig->tap[1], frame, size, MSG_DONTWAIT);
}

static unsigned drain_tap(struct rig *rig)
{
	uint8_t frame[2048];
	unsigned n = 0;

	while (read_tap(rig, frame, sizeof(frame)) >= 0)
		n++;
	return n;
}

/* --- forwarding --------------------------------------------------------------------------------
 */

static uint8_t last_sent[4][2048];
static uint32_t last_len[4];

static void remember_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	const struct rig *rig = data;
	size_t lane = (size_t)(fake - rig->w->fakes);

	memcpy(last_sent[lane], fake->memory->umem->area + addr, len);
	last_len[lane] = len;
}

static void check_sent(const char *dst, unsigned port, uint32_t payload_len)
{
	bool is_ip6 = strchr(dst, ':');
	uint8_t expected[2048];
	uint32_t len =
		frame_make(expected, is_ip6 ? "2001:db8:99::1" : "192.0.2.9", dst, payload_len);
	const uint8_t macs[12] = {2, 0, 0, 2, 0, (uint8_t)(port + 1), 2, 0, 0, 0, 1, (uint8_t)port};

	memcpy(expected, macs, sizeof(macs));
	expected[is_ip6 ? 21 : 22]--;
	if (!is_ip6)
		frame_fix_checksum(expected);
	assert_int_equal(last_len[port], len);
	assert_memory_equal(last_sent[port], expected, len);
}

static void check_three_ports(const struct world_spec *spec)
{
	struct rig *rig = rig_new(spec);

	for (unsigned i = 0; i < 3; i++) {
		rig->w->fakes[i].on_sent = remember_sent;
		rig->w->fakes[i].on_sent_data = rig;
	}
	receive(rig, "10.1.0.9", 26);
	receive(rig, "10.2.0.9", 1000);
	assert_int_equal(world_turn(rig->w), 2);
	world_settle(rig->w);
	check_sent("10.1.0.9", 1, 26);
	check_sent("10.2.0.9", 2, 1000);
	receive(rig, "2001:db8:1::9", 26);
	receive(rig, "2001:db8:2::9", 0);
	(void)world_turn(rig->w);
	world_settle(rig->w);
	check_sent("2001:db8:1::9", 1, 26);
	check_sent("2001:db8:2::9", 2, 0);
	assert_int_equal(counters_of(rig, 0)->forwarded, 4);
	assert_int_equal(counters_of(rig, 1)->tx_completed, 2);
	assert_int_equal(counters_of(rig, 2)->tx_completed, 2);
	rig_free(rig);
}

static void test_frames_leave_by_the_port_of_their_route(void **state)
{
	check_three_ports(&three_ports);
}

/* Odd lanes are in the second UMEM: port 1 gets copies, port 2 the frames themselves. */
static void test_a_port_in_the_other_umem_gets_a_copy(void **state)
{
	struct rig *rig;

	check_three_ports(&(struct world_spec){.n_lanes = 3, .n_frames = 4096, .n_umems = 2});
	rig = rig_new(&(struct world_spec){.n_lanes = 3, .n_frames = 4096, .n_umems = 2});
	receive_n(rig, "10.1.0.9", 5);
	receive_n(rig, "10.2.0.9", 7);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 1)->copied, 5);
	assert_int_equal(counters_of(rig, 2)->copied, 0);
	rig_free(rig);
}

static void test_without_a_frame_to_copy_into_it_drops(void **state)
{
	/* the second UMEM's frames are all in the fill ring of its lane */
	struct rig *rig = rig_new(&(struct world_spec){
		.n_lanes = 2, .n_frames = 512, .n_umems = 2, .sizes = {512, 512, 512, 512, 0}});

	receive_n(rig, "10.1.0.9", 4);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->drops[DROP_UMEM_EXHAUSTED], 4);
	rig_free(rig);
}

static void test_padding_stays_behind(void **state)
{
	struct rig *rig = rig_new(&three_ports);
	uint8_t frame[2048] = {0};
	uint32_t len = frame_make(frame, "192.0.2.9", "10.1.0.9", 3);

	rig->w->fakes[1].on_sent = remember_sent;
	rig->w->fakes[1].on_sent_data = rig;
	assert_true(fake_receive(&rig->w->fakes[0], frame, 60, 60, NULL));
	(void)world_turn(rig->w);
	world_settle(rig->w);
	assert_int_equal(last_len[1], len);
	assert_int_equal(counters_of(rig, 1)->tx_bytes, len);
	assert_int_equal(counters_of(rig, 0)->rx_bytes, 60);
	/* Nor does it make a packet too long for the out port. */
	rig->ports[1].max_len = 59;
	assert_true(fake_receive(&rig->w->fakes[0], frame, 60, 60, NULL));
	(void)world_turn(rig->w);
	world_settle(rig->w);
	assert_int_equal(counters_of(rig, 0)->forwarded, 2);
	rig_free(rig);
}

/* design.md §4.1: own lanes of the out port, index (rx queue div W) mod n. */
static void test_the_out_lane_goes_by_the_rx_queue(void **state)
{
	struct rig *rig = rig_new(&(struct world_spec){.n_lanes = 4, .n_frames = 4096});
	struct worker_set *set = world_next_set(rig->w);

	/* port 1 has three lanes: 1, 2 and 3 */
	rig->ports[1].n_lanes = 3;
	rig->ports[1].lanes[1] = &rig->w->lanes[2];
	rig->ports[1].lanes[2] = &rig->w->lanes[3];
	set->routes[0].out_number = 5;
	world_publish(rig->w);
	receive_n(rig, "10.1.0.9", 10);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 3)->tx_packets, 10);
	rig_free(rig);
}

static void test_a_full_tx_ring_drops_and_is_asked_once(void **state)
{
	struct rig *rig = rig_new(&(struct world_spec){
		.n_lanes = 3, .n_frames = 4096, .sizes = {512, 512, 64, 512, 0}});
	uint32_t n_wakes;

	rig->w->fakes[1].wake_budget = 0;
	receive_n(rig, "10.1.0.9", 64);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->forwarded, 64);
	receive_n(rig, "10.1.0.9", 40);
	receive_n(rig, "10.2.0.9", 20);
	n_wakes = rig->w->fakes[1].n_wakes_tx;
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->drops[DROP_TX_RING_FULL], 40);
	assert_int_equal(counters_of(rig, 0)->forwarded, 64 + 20);
	/* once for room, and once at most at the end of the turn */
	assert_in_range(rig->w->fakes[1].n_wakes_tx - n_wakes, 1, 2);
	rig->w->fakes[1].wake_budget = UINT32_MAX;
	rig_free(rig);
}

static void test_a_next_hop_in_use_is_marked(void **state)
{
	struct rig *rig = rig_new(&three_ports);

	receive(rig, "10.1.0.9", 26);
	(void)world_turn(rig->w);
	assert_int_equal(rig->routes->adjacencies[2].used, 1);
	assert_int_equal(rig->routes->adjacencies[3].used, 0);
	rig_free(rig);
}

/* --- handing back ------------------------------------------------------------------------------
 */

static void check_handed_back(struct rig *rig, const char *dst, uint32_t payload_len,
			      enum handback_reason reason)
{
	uint64_t n_before = counters_of(rig, 0)->handed_back[reason];
	uint8_t expected[2048], frame[2048];
	uint32_t len = frame_make(expected, "192.0.2.9", dst, payload_len);

	receive(rig, dst, payload_len);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->handed_back[reason], n_before + 1);
	assert_int_equal(read_tap(rig, frame, sizeof(frame)), len);
	assert_memory_equal(frame, expected, len);
	assert_int_equal(drain_tap(rig), 0);
}

static void test_the_kernel_gets_frames_as_they_came(void **state)
{
	struct rig *rig = rig_new(&three_ports);

	check_handed_back(rig, "10.99.0.9", 100, HANDBACK_NO_ROUTE);
	check_handed_back(rig, "10.0.0.9", 100, HANDBACK_REDIRECT);
	check_handed_back(rig, "10.1.0.9", MTU - 19, HANDBACK_MTU);
	rig->routes->hops[2].adjacency = NULL;
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_NEIGHBOUR);
	rig_free(rig);
}

static void test_padding_goes_back_too(void **state)
{
	struct rig *rig = rig_new(&three_ports);
	uint8_t frame[2048] = {0}, got[2048];

	(void)frame_make(frame, "192.0.2.9", "10.99.0.9", 3);
	memset(frame + 40, 0xaa, 20);
	assert_true(fake_receive(&rig->w->fakes[0], frame, 60, 60, NULL));
	(void)world_turn(rig->w);
	assert_int_equal(read_tap(rig, got, sizeof(got)), 60);
	assert_memory_equal(got, frame, 60);
	rig_free(rig);
}

static void test_a_port_that_cannot_send_hands_back(void **state)
{
	struct rig *rig = rig_new(&three_ports);
	struct worker_port *port = &rig->ports[1];
	const struct worker_port good = *port;

	port->can_send = false;
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_DOWN);
	*port = good;
	port->is_member = false;
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_DOWN);
	*port = good;
	port->n_lanes = 0;
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_DOWN);
	*port = good;
	port->ifindex++; /* another device by now: the next hop is of another plan */
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_DOWN);
	*port = good;
	port->max_len = 500;
	check_handed_back(rig, "10.1.0.9", 481, HANDBACK_MTU);
	rig->routes->adjacencies[2].out_port = WORKER_MAX_PORTS;
	check_handed_back(rig, "10.1.0.9", 100, HANDBACK_DOWN);
	assert_int_equal(counters_of(rig, 0)->forwarded, 0);
	rig_free(rig);
}

static void test_headers_that_no_router_forwards_are_dropped(void **state)
{
	struct rig *rig = rig_new(&three_ports);
	uint8_t frame[2048];
	uint32_t len = frame_make(frame, "192.0.2.9", "10.1.0.9", 26);

	frame[25] ^= 1; /* checksum */
	assert_true(fake_receive(&rig->w->fakes[0], frame, len, len, NULL));
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->drops[DROP_IP_HEADER], 1);
	assert_int_equal(drain_tap(rig), 0);
	rig_free(rig);
}

static void test_without_a_tap_or_with_a_full_one_it_drops(void **state)
{
	struct rig *rig = rig_new(&three_ports);
	uint8_t byte = 0;

	rig->ports[0].handback_fd = -1;
	receive_n(rig, "10.99.0.9", 3);
	(void)world_turn(rig->w);
	assert_int_equal(counters_of(rig, 0)->drops[DROP_HANDBACK_FAILED], 3);
	rig->ports[0].handback_fd = rig->tap[0];
	while (write(rig->tap[0], &byte, 1) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	receive_n(rig, "10.99.0.9", 2);
	(void)world_turn(rig->w); /* and does not wait */
	assert_int_equal(counters_of(rig, 0)->drops[DROP_HANDBACK_FAILED], 5);
	assert_int_equal(world_handed_back(&rig->w->lanes[0]), 0);
	(void)drain_tap(rig);
	rig_free(rig);
}

/* Offers more than there are tokens for; what the kernel got is exact. */
static uint64_t handed_back_of(struct rig *rig, const char *dst, unsigned n_offered)
{
	uint64_t n_before = world_handed_back(&rig->w->lanes[0]);
	unsigned n_read = 0;

	for (unsigned n = 0; n < n_offered; n += 8) { /* fewer than the socket holds */
		receive_n(rig, dst, 8);
		(void)world_turn(rig->w);
		n_read += drain_tap(rig);
	}
	assert_int_equal(n_read, world_handed_back(&rig->w->lanes[0]) - n_before);
	return n_read;
}

static void test_each_reason_has_a_limit_of_its_own(void **state)
{
	struct rig *rig = rig_new(&three_ports);

	rig->w->worker.now_ns = 5000 * NSEC_PER_SEC;
	/* 10,000 a second: a tenth at once */
	assert_int_equal(handed_back_of(rig, "10.99.0.9", 1200), 1000);
	assert_int_equal(counters_of(rig, 0)->drops[DROP_HANDBACK_LIMIT], 200);
	/* another reason: 50,000 a second */
	assert_int_equal(handed_back_of(rig, "10.0.0.9", 5200), 5000);
	/* then at their rates, no token lost to rounding */
	for (unsigned i = 0; i < 10; i++) {
		rig->w->worker.now_ns += 110 * NSEC_PER_USEC;
		assert_int_equal(handed_back_of(rig, "10.99.0.9", 8), i == 9 ? 2 : 1);
	}
	rig->w->worker.now_ns += NSEC_PER_MSEC;
	assert_int_equal(handed_back_of(rig, "10.99.0.9", 80), 10);
	/* full again, and no fuller, after however long */
	rig->w->worker.now_ns += 3600 * NSEC_PER_SEC;
	assert_int_equal(handed_back_of(rig, "10.99.0.9", 1200), 1000);
	rig_free(rig);
}

/* --- random turns ------------------------------------------------------------------------------
 */

static void receive_random(struct rig *rig, struct random *random)
{
	static const char *const dsts[] = {"10.0.0.1",      "10.1.0.1",      "10.2.0.1",
					   "10.3.0.1",      "10.9.0.1",      "224.0.0.1",
					   "2001:db8:1::1", "2001:db8:2::1", "2001:db8:9::1"};
	const char *dst = dsts[random_below(random, ARRAY_SIZE(dsts))];
	uint8_t frame[2048];
	uint32_t lane = random_below(random, rig->w->n_lanes), len;

	len = frame_make(frame, strchr(dst, ':') ? "2001:db8:99::1" : "192.0.2.9", dst,
			 random_below(random, 1490));
	route_world_mac((uint16_t)lane, frame);
	if (random_below(random, 4) == 0) {
		for (unsigned n = random_below(random, 4); n > 0; n--)
			frame[random_below(random, 60)] = (uint8_t)random_next(random);
		len = random_below(random, 2) ? len : random_below(random, len + 40);
	}
	(void)fake_receive(&rig->w->fakes[lane], frame, MIN(len, 1600U), len, NULL);
}

static void change_ports(struct rig *rig, struct random *random)
{
	struct worker_port *port = &rig->ports[random_below(random, rig->w->n_lanes)];

	/* The set is constant for the worker; here nobody else runs. */
	port->can_send = random_below(random, 3) != 0;
	port->max_len = random_below(random, 2) ? MAX_LEN : 700;
	port->handback_fd = random_below(random, 4) ? rig->tap[0] : -1;
	route_world_set_rpf(rig->routes, 0, ROUTE_WORLD_IFINDEX(0), random_below(random, 3));
}

static void run_random_turns(const struct world_spec *spec, uint64_t seed)
{
	struct random random = random_seeded("test_loop_route", seed);
	struct rig *rig = rig_new(spec);
	uint64_t n_handed_back = 0, n_read = 0, n_forwarded = 0;

	route_world_add(rig->routes, "192.0.2.0/24", 1);
	for (unsigned turn = 0; turn < 20000; turn++) {
		for (unsigned n = random_below(&random, 80); n > 0; n--)
			receive_random(rig, &random);
		for (uint32_t i = 0; i < rig->w->n_lanes; i++) {
			rig->w->fakes[i].wake_budget = random_below(&random, 100);
			(void)fake_transmit(&rig->w->fakes[i], random_below(&random, 100));
			(void)fake_complete(&rig->w->fakes[i], random_below(&random, 100));
		}
		if (random_below(&random, 20) == 0)
			change_ports(rig, &random);
		rig->w->worker.now_ns += random_below(&random, 200000);
		(void)world_turn(rig->w); /* and world_check() */
		if (random_below(&random, 2))
			n_read += drain_tap(rig);
	}
	n_read += drain_tap(rig);
	for (uint32_t i = 0; i < rig->w->n_lanes; i++) {
		rig->w->fakes[i].wake_budget = UINT32_MAX;
		n_handed_back += world_handed_back(&rig->w->lanes[i]);
		n_forwarded += counters_of(rig, i)->forwarded;
	}
	assert_int_equal(n_read, n_handed_back);
	assert_true(n_forwarded > 10000 && n_handed_back > 10000);
	assert_true(counters_of(rig, 0)->drops[DROP_IP_HEADER] > 100);
	rig_free(rig);
}

static void test_random_turns(void **state)
{
	run_random_turns(&(struct world_spec){.n_lanes = 4, .n_frames = 4096}, 1);
	run_random_turns(&(struct world_spec){.n_lanes = 4,
					      .n_frames = 700,
					      .n_umems = 2,
					      .sizes = {128, 128, 64, 128, UINT32_MAX - 5000}},
			 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_leave_by_the_port_of_their_route),
		cmocka_unit_test(test_a_port_in_the_other_umem_gets_a_copy),
		cmocka_unit_test(test_without_a_frame_to_copy_into_it_drops),
		cmocka_unit_test(test_padding_stays_behind),
		cmocka_unit_test(test_the_out_lane_goes_by_the_rx_queue),
		cmocka_unit_test(test_a_full_tx_ring_drops_and_is_asked_once),
		cmocka_unit_test(test_a_next_hop_in_use_is_marked),
		cmocka_unit_test(test_the_kernel_gets_frames_as_they_came),
		cmocka_unit_test(test_padding_goes_back_too),
		cmocka_unit_test(test_a_port_that_cannot_send_hands_back),
		cmocka_unit_test(test_headers_that_no_router_forwards_are_dropped),
		cmocka_unit_test(test_without_a_tap_or_with_a_full_one_it_drops),
		cmocka_unit_test(test_each_reason_has_a_limit_of_its_own),
		cmocka_unit_test(test_random_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
