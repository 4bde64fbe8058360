// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bpf/redirect.bpf.c as time passes, and with real frames: when a worker counts as dead, how soon
 * the detach word and the slots act, runts, and redirects that arrive in a socket.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "redirect_env.h"
#include "util/clock.h"
#include "util/macros.h"
#include "verdict_cases.h"

/* --- Time ------------------------------------------------------------------------------------ */

struct stall {
	struct port *port;
	uint64_t n_redirected;
	uint64_t n_others;      /* redirected on the queue of the other worker */
	uint64_t first_done_ns; /* after the first frame */
	uint64_t last_begun_ns; /* before the last frame that was redirected */
	uint32_t action;
};

static bool is_stale(void *arg)
{
	struct stall *stall = arg;
	uint64_t begun_ns = clock_now_ns();
	uint8_t bytes[4096];

	frame_bytes(&untagged, bytes);
	stall->action = env_run_frame(stall->port->prog, port_ifindex(), 0, bytes, 60);
	/* The other worker's life is its own. */
	env_beat(stall->port->prog, 1);
	stall->n_others++;
	assert_int_equal(env_run_frame(stall->port->prog, port_ifindex(), 1, bytes, 60),
			 XDP_REDIRECT);
	if (stall->action != XDP_REDIRECT)
		return true;
	if (stall->n_redirected++ == 0)
		stall->first_done_ns = clock_now_ns();
	stall->last_begun_ns = begun_ns;
	return false;
}

static void test_silent_worker_is_stale_after_the_timeout_and_not_before(void **state)
{
	const uint64_t tick_ns = NSEC_PER_SEC / clock_kernel_hz();
	const uint32_t stall_ticks = 10;
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
	uint64_t counts[SLUICE_V_N];

	spec.config.stall_jiffies = stall_ticks;
	spec.config.fallback = XDP_DROP;
	assert_int_equal(port_prog_load(&spec, &port.prog), 0);
	port.xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_int_equal(port_prog_set_xsk(port.prog, 0, port.xsk_fd), 0);
	assert_int_equal(port_prog_set_xsk(port.prog, 1, port.xsk_fd), 0);

	/* Dead, revived by one beat, dead again. */
	for (unsigned life = 0; life < 3; life++) {
		struct stall stall = {.port = &port};
		uint64_t begun_ns = clock_now_ns();

		env_beat(port.prog, 0);
		assert_true(env_wait(is_stale, &stall));
		assert_int_equal(stall.action, XDP_DROP);
		/* Half the timeout, for a virtual machine whose ticks come late and in heaps. */
		assert_true(clock_now_ns() - begun_ns >= stall_ticks / 2 * tick_ns);
		assert_true(stall.n_redirected > 0);
		assert_true(stall.last_begun_ns <=
			    stall.first_done_ns + (stall_ticks + 2) * tick_ns);

		take_counts(&port, counts);
		assert_int_equal(counts[SLUICE_V_REDIRECT], stall.n_redirected + stall.n_others);
		assert_int_equal(counts[SLUICE_V_STALE], 1);
		assert_true(is_stale(&stall)); /* it stays dead */
		take_counts(&port, counts);
		assert_int_equal(counts[SLUICE_V_STALE], 1);
	}
}

static void test_beating_worker_outlives_the_timeout(void **state)
{
	const uint64_t tick_ns = NSEC_PER_SEC / clock_kernel_hz();
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
	uint64_t until_ns = clock_now_ns() + 30 * tick_ns;
	uint8_t bytes[4096];

	spec.config.stall_jiffies = 10;
	assert_int_equal(port_prog_load(&spec, &port.prog), 0);
	port.xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_int_equal(port_prog_set_xsk(port.prog, 0, port.xsk_fd), 0);
	while (clock_now_ns() < until_ns) {
		env_beat(port.prog, 0);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0,
					       frame_bytes(&untagged, bytes), untagged.size_bytes),
				 XDP_REDIRECT);
	}
}

struct tick {
	uint64_t count;
};

static bool is_past(void *arg)
{
	const struct tick *tick = arg;

	return env_jiffies() > tick->count;
}

/* What the queue saw before must play no part: nothing, or a frame while the worker lived. */
static void test_first_frame_after_a_silence_is_stale(void **state)
{
	const uint32_t stall_ticks = 10;

	for (unsigned seen_before = 0; seen_before < 2; seen_before++) {
		struct port_prog_spec spec = default_spec();
		_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
		struct tick last;
		uint8_t bytes[4096];

		spec.config.stall_jiffies = stall_ticks;
		assert_int_equal(port_prog_load(&spec, &port.prog), 0);
		port.xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
		frame_bytes(&untagged, bytes);
		for (unsigned q = 0; q < N_WORKERS; q++) {
			assert_int_equal(port_prog_set_xsk(port.prog, q, port.xsk_fd), 0);
			env_beat(port.prog, q);
		}
		for (unsigned q = 0; seen_before && q < N_WORKERS; q++) {
			assert_int_equal(env_run_frame(port.prog, port_ifindex(), q, bytes, 60),
					 XDP_REDIRECT);
			assert_counted(&port, SLUICE_V_REDIRECT);
		}
		last.count = env_jiffies() + stall_ticks;
		assert_true(env_wait(is_past, &last));
		for (unsigned q = 0; q < N_WORKERS; q++) {
			assert_int_equal(env_run_frame(port.prog, port_ifindex(), q, bytes, 60),
					 XDP_PASS);
			assert_counted(&port, SLUICE_V_STALE);
		}
		env_beat(port.prog, 0);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60),
				 XDP_REDIRECT);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 1, bytes, 60), XDP_PASS);
	}
}

/* To the tick: a frame in the tick of the last look at the count. */
static void test_age_of_a_beat_is_judged_to_the_tick(void **state)
{
	enum { STALL_TICKS = 10 };
	static const struct {
		int64_t age_ticks;
		uint32_t action;
	} ages[] = {
		{-1000, XDP_REDIRECT},       {-1, XDP_REDIRECT},
		{0, XDP_REDIRECT},           {STALL_TICKS, XDP_REDIRECT},
		{STALL_TICKS + 1, XDP_PASS}, {1000 * STALL_TICKS, XDP_PASS},
		{UINT32_MAX, XDP_PASS},      {1LL << 32 | STALL_TICKS, XDP_PASS},
	};
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
	uint8_t bytes[4096];

	spec.config.stall_jiffies = STALL_TICKS;
	assert_int_equal(port_prog_load(&spec, &port.prog), 0);
	port.xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_int_equal(port_prog_set_xsk(port.prog, 0, port.xsk_fd), 0);
	frame_bytes(&untagged, bytes);
	for (size_t i = 0; i < ARRAY_SIZE(ages); i++) {
		uint64_t before, n_tries = 0;
		uint32_t action;

		do {
			assert_true(n_tries++ < 1000);
			before = env_jiffies();
			*port_prog_beat(port.prog, 0) = before - (uint64_t)ages[i].age_ticks;
			action = env_run_frame(port.prog, port_ifindex(), 0, bytes, 60);
		} while (env_jiffies() != before);
		assert_int_equal(action, ages[i].action);
	}
}

static void test_beat_of_zero_is_stale_at_once(void **state)
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.drops = true});
	frame_bytes(&untagged, bytes);
	assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60), XDP_REDIRECT);
	assert_counted(&port, SLUICE_V_REDIRECT);
	*port_prog_beat(port.prog, 0) = 0;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60), XDP_DROP);
		assert_counted(&port, SLUICE_V_STALE);
	}
	assert_int_equal(env_run_frame(port.prog, port_ifindex(), 1, bytes, 60), XDP_REDIRECT);
}

static void test_detach_word_and_slots_act_on_the_next_frame(void **state)
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.drops = true});
	frame_bytes(&untagged, bytes);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60),
				 XDP_REDIRECT);
		assert_counted(&port, SLUICE_V_REDIRECT);

		port_prog_set_detached(port.prog, true);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60), XDP_PASS);
		assert_counted(&port, SLUICE_V_DETACHED);
		port_prog_set_detached(port.prog, false);

		assert_int_equal(port_prog_clear_xsk(port.prog, 0), 0);
		assert_int_equal(port_prog_clear_xsk(port.prog, 0), 0);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 0, bytes, 60), XDP_DROP);
		assert_counted(&port, SLUICE_V_NO_SOCKET);
		assert_int_equal(env_run_frame(port.prog, port_ifindex(), 1, bytes, 60),
				 XDP_REDIRECT);
		assert_counted(&port, SLUICE_V_REDIRECT);
		assert_int_equal(port_prog_set_xsk(port.prog, 0, port.xsk_fd), 0);
	}
	assert_int_equal(port_prog_set_xsk(port.prog, N_PLAN_QUEUES, port.xsk_fd), -E2BIG);
}

/* --- Real frames ----------------------------------------------------------------------------- */

struct runt {
	struct port *port;
	uint64_t expected;
};

static bool is_runt_counted(void *arg)
{
	struct runt *runt = arg;
	uint64_t counts[SLUICE_V_N];

	assert_int_equal(port_prog_verdicts(runt->port->prog, counts), 0);
	return counts[SLUICE_V_MALFORMED] >= runt->expected;
}

/*
 * BPF_PROG_TEST_RUN, AF_PACKET, veth and TAP all refuse less than an Ethernet header. A layer 3
 * TUN device has none: there the program is given the bare bytes that were written.
 */
static void test_runts_are_malformed(void **state)
{
	static const uint8_t ipv4_like[ETH_HLEN - 1] = {0x45};
	_cleanup_close_ int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq request = {.ifr_name = "runts", .ifr_flags = IFF_TUN | IFF_NO_PI};
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
	struct port_prog_conflict conflict;
	uint64_t counts[SLUICE_V_N];
	bool adopted;

	assert_true(tun >= 0);
	assert_int_equal(ioctl(tun, TUNSETIFF, &request), 0);
	env_run("ip", "link", "set", "runts", "up", NULL);
	spec.ifindex = env_ifindex("runts");
	spec.generic = true;
	assert_int_equal(port_prog_load(&spec, &port.prog), 0);
	assert_int_equal(port_prog_attach(port.prog, NULL, &adopted, &conflict), 0);

	for (size_t size = 1; size < ETH_HLEN; size++) {
		struct runt runt = {.port = &port, .expected = size};

		assert_int_equal(write(tun, ipv4_like, size), size);
		assert_true(env_wait(is_runt_counted, &runt));
	}
	take_counts(&port, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		assert_int_equal(counts[v], v == SLUICE_V_MALFORMED ? ETH_HLEN - 1 : 0);
}

/* One socket on one queue with memory of its own. */
struct end {
	struct umem umem;
	struct xsk xsk;
};

static void end_fini(struct end *end)
{
	xsk_close(&end->xsk);
	umem_fini(&end->umem);
}

static void end_init(struct end *end, uint32_t ifindex, uint32_t queue)
{
	const struct umem_spec memory = {.n_frames = 64, .frame_size_bytes = 4096, .numa_node = -1};
	const struct xsk_spec socket = {.ifindex = ifindex,
					.queue = queue,
					.fill_size = 64,
					.rx_size = 64,
					.tx_size = 64,
					.completion_size = 64,
					.shared_fd = -1};
	enum xsk_step step;
	uint32_t index;
	int r;

	memset(end, 0, sizeof(*end));
	assert_int_equal(umem_init(&end->umem, &memory), 0);
	r = xsk_open(&end->xsk, &end->umem, &socket, &step);
	if (r < 0)
		fail_msg("%s: %s", xsk_step_names[step], strerror(-r));
	assert_int_equal(xsk_ring_prod__reserve(&end->xsk.fill, 32, &index), 32);
	for (uint32_t i = 0; i < 32; i++)
		*xsk_ring_prod__fill_addr(&end->xsk.fill, index + i) =
			umem_frame_addr(&end->umem, 32 + i);
	xsk_ring_prod__submit(&end->xsk.fill, 32);
}

static void end_send(struct end *end, const uint8_t *bytes, uint32_t size_bytes)
{
	uint32_t index;

	assert_int_equal(xsk_ring_prod__reserve(&end->xsk.tx, 1, &index), 1);
	memcpy(end->umem.area, bytes, size_bytes);
	*xsk_ring_prod__tx_desc(&end->xsk.tx, index) = (struct xdp_desc){.len = size_bytes};
	xsk_ring_prod__submit(&end->xsk.tx, 1);
	assert_int_equal(xsk_wake_tx(&end->xsk), 0);
}

static void assert_received(struct end *end, const uint8_t *bytes, uint32_t size_bytes)
{
	struct pollfd ready = {.fd = end->xsk.fd, .events = POLLIN};
	const struct xdp_desc *desc;
	uint32_t index;

	assert_int_equal(poll(&ready, 1, ENV_DEADLINE_MS), 1);
	assert_int_equal(xsk_ring_cons__peek(&end->xsk.rx, 1, &index), 1);
	desc = xsk_ring_cons__rx_desc(&end->xsk.rx, index);
	assert_int_equal(desc->len, size_bytes);
	assert_memory_equal(end->umem.area + desc->addr, bytes, size_bytes);
	xsk_ring_cons__release(&end->xsk.rx, 1);
}

static void test_frames_reach_the_socket_of_their_queue_unchanged(void **state)
{
	static const struct frame *const frames[] = {&untagged,      &dot1q,       &qinq,
						     &only_ethernet, &cut_in_vlan, &broadcast,
						     &lldp,          &full_size};
	static const uint16_t all_owned[N_DEVICE_QUEUES] = {0, 1, 0, 1};
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_fini) struct port port = {.xsk_fd = -1};
	struct port_prog_conflict conflict;
	uint8_t bytes[4096];
	bool adopted;

	spec.queue_worker = all_owned;
	spec.n_queues = N_DEVICE_QUEUES;
	assert_int_equal(port_prog_load(&spec, &port.prog), 0);
	assert_int_equal(port_prog_attach(port.prog, NULL, &adopted, &conflict), 0);
	assert_false(adopted);
	env_beat(port.prog, 0);
	env_beat(port.prog, 1);

	for (uint32_t queue = 0; queue < N_DEVICE_QUEUES; queue++) {
		_cleanup_(end_fini) struct end sender, receiver;

		end_init(&sender, env_ifindex("peer"), queue);
		end_init(&receiver, port_ifindex(), queue);
		assert_int_equal(port_prog_set_xsk(port.prog, queue, receiver.xsk.fd), 0);
		for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
			end_send(&sender, frame_bytes(frames[i], bytes), frames[i]->size_bytes);
			assert_received(&receiver, bytes, frames[i]->size_bytes);
			assert_counted(&port, SLUICE_V_REDIRECT);
		}
		assert_int_equal(port_prog_clear_xsk(port.prog, queue), 0);
	}
}

/* ---------------------------------------------------------------------------------------------- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_worker_is_stale_after_the_timeout_and_not_before),
		cmocka_unit_test(test_beating_worker_outlives_the_timeout),
		cmocka_unit_test(test_first_frame_after_a_silence_is_stale),
		cmocka_unit_test(test_age_of_a_beat_is_judged_to_the_tick),
		cmocka_unit_test(test_beat_of_zero_is_stale_at_once),
		cmocka_unit_test(test_detach_word_and_slots_act_on_the_next_frame),
		cmocka_unit_test(test_runts_are_malformed),
		cmocka_unit_test(test_frames_reach_the_socket_of_their_queue_unchanged),
	};

	redirect_env_enter();
	return cmocka_run_group_tests_name("redirect_live", tests, NULL, NULL);
}
