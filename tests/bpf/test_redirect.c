// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bpf/redirect.bpf.c, verdict by verdict: which frames on which queues in which state of the port
 * leave by which action, that exactly one counter moves, and that no byte of a frame changes.
 * Most by BPF_PROG_TEST_RUN; runts and real redirects with real frames.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* cmocka.h relies on these being included before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "bpf_env.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "util/clock.h"
#include "util/macros.h"

/* Queues of the port under test: 0 and 1 are owned, 2 is not, 3 is outside the plan. */
#define N_DEVICE_QUEUES 4
#define N_PLAN_QUEUES 3
static const uint16_t queue_worker[N_PLAN_QUEUES] = {0, 1, SLUICE_NO_WORKER};
#define N_WORKERS 2

/* --- Frames ------------------------------------------------------------------------------------- */

struct frame {
	uint32_t size_bytes;
	uint8_t head[32]; /* the rest is a pattern */
};

#define UNICAST 0x02, 0, 0, 0, 0, 0x0a, 0x02, 0, 0, 0, 0, 0x0b
#define TO(...) __VA_ARGS__, 0x02, 0, 0, 0, 0, 0x0b

static const struct frame untagged = {60, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame full_size = {1514, {UNICAST, 0x86, 0xdd, 0x60}};
static const struct frame jumbo = {3000, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame dot1q = {64, {UNICAST, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45}};
static const struct frame qinq = {
	68, {UNICAST, 0x88, 0xa8, 0x00, 0x0a, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45}};
static const struct frame only_ethernet = {14, {UNICAST, 0x08, 0x00}};
static const struct frame cut_in_vlan = {16, {UNICAST, 0x81, 0x00, 0x00, 0x64}};
static const struct frame cut_after_type = {14, {UNICAST, 0x81, 0x00}};
static const struct frame cut_in_qinq = {20, {UNICAST, 0x88, 0xa8, 0x00, 0x0a, 0x81, 0x00, 0, 0x64}};
static const struct frame cut_in_ipv4 = {15, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame length_field = {60, {UNICAST, 0x00, 0x2e, 0x42, 0x42, 0x03}};
static const struct frame broadcast = {60, {TO(0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0x08, 0x06}};
static const struct frame multicast = {60, {TO(0x01, 0x00, 0x5e, 0, 0, 1), 0x08, 0x00, 0x45}};
static const struct frame zeroes = {60, {0}};
static const struct frame stp = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x00), 0x00, 0x26, 0x42, 0x42}};
static const struct frame mac_pause = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08, 0x00, 0x01}};
static const struct frame slow = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x02), 0x88, 0x09, 0x01}};
static const struct frame lldp = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x0e), 0x88, 0xcc, 0x02}};
static const struct frame tagged_lldp = {
	64, {TO(0x01, 0x80, 0xc2, 0, 0, 0x0e), 0x81, 0x00, 0x00, 0x01, 0x88, 0xcc, 0x02}};
static const struct frame short_pause = {14, {TO(0x01, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08}};
/* One address past the range, and those that differ in each of its other bytes. */
static const struct frame near_10 = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x10), 0x88, 0xcc}};
static const struct frame near_81 = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x81), 0x88, 0x08}};
static const struct frame near_byte4 = {60, {TO(0x01, 0x80, 0xc2, 0, 1, 0x01), 0x88, 0x08}};
static const struct frame near_byte3 = {60, {TO(0x01, 0x80, 0xc2, 1, 0, 0x01), 0x88, 0x08}};
static const struct frame near_byte0 = {60, {TO(0x00, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08}};
/* MAC control by type, but to a station: a frame like any other. */
static const struct frame unicast_8808 = {60, {UNICAST, 0x88, 0x08, 0x00, 0x01}};

static uint8_t *frame_bytes(const struct frame *frame, uint8_t bytes[4096])
{
	for (uint32_t i = 0; i < frame->size_bytes; i++)
		bytes[i] = i < sizeof(frame->head) ? frame->head[i] : (uint8_t)(i * 7 + 3);
	return bytes;
}

/* --- Cases -------------------------------------------------------------------------------------- */

struct verdict_case {
	const char *name;
	const struct frame *frame;
	enum sluice_verdict verdict;
	uint32_t action;
	/* What differs from a forwarding port whose workers beat and whose sockets are bound. */
	uint32_t queue;
	bool is_pass_port;
	bool is_detached;
	bool has_pass_control;
	bool drops;	   /* on_failure = drop */
	bool never_beat;
	bool has_no_socket;
	bool is_wide;	   /* received on an interface with more queues than SLUICE_MAX_QUEUES */
};

#define VERDICT_CASES(X)                                                                           \
	X(untagged, &untagged, REDIRECT, XDP_REDIRECT)                                             \
	X(second_queue, &untagged, REDIRECT, XDP_REDIRECT, .queue = 1)                             \
	X(on_failure_drop_is_for_failures, &untagged, REDIRECT, XDP_REDIRECT, .drops = true)       \
	X(full_size, &full_size, REDIRECT, XDP_REDIRECT)                                           \
	X(jumbo, &jumbo, REDIRECT, XDP_REDIRECT)                                                   \
	X(dot1q, &dot1q, REDIRECT, XDP_REDIRECT)                                                   \
	X(qinq, &qinq, REDIRECT, XDP_REDIRECT)                                                     \
	X(only_ethernet, &only_ethernet, REDIRECT, XDP_REDIRECT)                                   \
	X(cut_after_vlan_type, &cut_after_type, REDIRECT, XDP_REDIRECT)                            \
	X(cut_in_vlan, &cut_in_vlan, REDIRECT, XDP_REDIRECT)                                       \
	X(cut_in_qinq, &cut_in_qinq, REDIRECT, XDP_REDIRECT)                                       \
	X(cut_in_ipv4, &cut_in_ipv4, REDIRECT, XDP_REDIRECT)                                       \
	X(length_instead_of_type, &length_field, REDIRECT, XDP_REDIRECT)                           \
	X(broadcast, &broadcast, REDIRECT, XDP_REDIRECT)                                           \
	X(multicast, &multicast, REDIRECT, XDP_REDIRECT)                                           \
	X(zero_addresses, &zeroes, REDIRECT, XDP_REDIRECT)                                         \
	X(stp_on_a_wire, &stp, REDIRECT, XDP_REDIRECT)                                             \
	X(slow_protocol_on_a_wire, &slow, REDIRECT, XDP_REDIRECT)                                  \
	X(lldp_on_a_wire, &lldp, REDIRECT, XDP_REDIRECT)                                           \
	X(past_control_range, &near_10, REDIRECT, XDP_REDIRECT, .has_pass_control = true)          \
	X(like_pause_byte_5, &near_81, REDIRECT, XDP_REDIRECT, .has_pass_control = true)           \
	X(like_pause_byte_4, &near_byte4, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(like_pause_byte_3, &near_byte3, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(like_pause_byte_0, &near_byte0, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(mac_control_to_a_station, &unicast_8808, REDIRECT, XDP_REDIRECT)                         \
                                                                                                   \
	X(pass_port, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true)                         \
	X(pass_port_has_no_control, &mac_pause, PASS_PORT, XDP_PASS, .is_pass_port = true)             \
	X(pass_port_never_fails, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true,             \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
	X(pass_port_unowned_queue, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true,           \
	  .queue = 2)                                                                              \
                                                                                                   \
	X(detached, &untagged, DETACHED, XDP_PASS, .is_detached = true)                            \
	X(detached_passes_pause, &mac_pause, DETACHED, XDP_PASS, .is_detached = true)                  \
	X(detached_beats_pass_port, &untagged, DETACHED, XDP_PASS, .is_detached = true,            \
	  .is_pass_port = true)                                                                    \
	X(detached_beats_drop, &untagged, DETACHED, XDP_PASS, .is_detached = true,                 \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
                                                                                                   \
	X(queue_without_worker, &untagged, NO_WORKER, XDP_PASS, .queue = 2)                        \
	X(queue_outside_plan, &untagged, NO_WORKER, XDP_PASS, .queue = 3)                          \
	X(last_queue_of_the_table, &untagged, NO_WORKER, XDP_PASS, .queue = 255, .is_wide = true)  \
	X(queue_beyond_the_table, &untagged, NO_WORKER, XDP_PASS, .queue = 256, .is_wide = true)   \
	X(queue_far_beyond, &untagged, NO_WORKER, XDP_PASS, .queue = 299, .is_wide = true)         \
	X(drop_is_for_owned_queues, &untagged, NO_WORKER, XDP_PASS, .queue = 2, .drops = true)     \
	X(drop_is_for_planned_queues, &untagged, NO_WORKER, XDP_PASS, .queue = 3, .drops = true)   \
	X(unowned_queue_passes_pause, &mac_pause, NO_WORKER, XDP_PASS, .queue = 2)                     \
                                                                                                   \
	X(stp, &stp, CONTROL, XDP_PASS, .has_pass_control = true)                                  \
	X(slow_protocol, &slow, CONTROL, XDP_PASS, .has_pass_control = true)                       \
	X(lldp, &lldp, CONTROL, XDP_PASS, .has_pass_control = true)                                \
	X(tagged_lldp, &tagged_lldp, CONTROL, XDP_PASS, .has_pass_control = true)                  \
	X(control_needs_no_worker_alive, &lldp, CONTROL, XDP_PASS, .has_pass_control = true,       \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
                                                                                                   \
	X(pause, &mac_pause, PAUSE, XDP_DROP)                                                          \
	X(short_pause, &short_pause, PAUSE, XDP_DROP)                                              \
	X(pause_is_not_control, &mac_pause, PAUSE, XDP_DROP, .has_pass_control = true)                 \
	X(pause_without_worker_alive, &mac_pause, PAUSE, XDP_DROP, .never_beat = true)                 \
                                                                                                   \
	X(never_beat, &untagged, STALE, XDP_PASS, .never_beat = true)                              \
	X(never_beat_drop, &untagged, STALE, XDP_DROP, .never_beat = true, .drops = true)          \
	X(stale_before_socket, &untagged, STALE, XDP_PASS, .never_beat = true,                     \
	  .has_no_socket = true)                                                                   \
	X(stale_control_on_a_wire, &lldp, STALE, XDP_DROP, .never_beat = true, .drops = true)      \
                                                                                                   \
	X(empty_slot, &untagged, NO_SOCKET, XDP_PASS, .has_no_socket = true)                       \
	X(empty_slot_drop, &untagged, NO_SOCKET, XDP_DROP, .has_no_socket = true, .drops = true)   \
	X(empty_slot_second_queue, &untagged, NO_SOCKET, XDP_DROP, .queue = 1,                     \
	  .has_no_socket = true, .drops = true)

#define CASE(id, frame_, verdict_, action_, ...) \
	{.name = #id, .frame = frame_, .verdict = SLUICE_V_##verdict_, .action = action_, __VA_ARGS__},
static struct verdict_case cases[] = {VERDICT_CASES(CASE)};
#undef CASE

/* Not in the table: MALFORMED, since BPF_PROG_TEST_RUN refuses frames below 14 bytes (see
 * test_runts_are_malformed); INTERNAL, since an array map has every index that the loader made. */
#define HAS_REASON (1u << SLUICE_V_MALFORMED | 1u << SLUICE_V_INTERNAL)
#define CASE_BIT(id, frame_, verdict_, ...) | 1u << SLUICE_V_##verdict_
_Static_assert((HAS_REASON VERDICT_CASES(CASE_BIT)) == (1u << SLUICE_V_N) - 1,
	      "every verdict has a case or a reason why not");
#undef CASE_BIT

static uint32_t port_ifindex, wide_ifindex;

struct port {
	struct port_prog *prog;
	int xsk_fd; /* unbound: enough to fill a slot */
	uint64_t counts[SLUICE_V_N];
};

static void port_fini(struct port *port)
{
	close_fdp(&port->xsk_fd);
	port_prog_free(port->prog);
}

static struct port_prog_spec default_spec(void)
{
	return (struct port_prog_spec){
		.port = "port",
		.ifindex = port_ifindex,
		.config = {.forwards = 1,
			   .fallback = XDP_PASS,
			   .stall_jiffies = 10 * clock_kernel_hz()},
		.queue_worker = queue_worker,
		.n_queues = N_PLAN_QUEUES,
		.n_workers = N_WORKERS,
		.numa_node = 0,
	};
}

static void port_init(struct port *port, const struct verdict_case *c)
{
	struct port_prog_spec spec = default_spec();
	int r;

	*port = (struct port){.xsk_fd = -1};
	spec.config.forwards = !c->is_pass_port;
	spec.config.pass_control = c->has_pass_control;
	spec.config.fallback = c->drops ? XDP_DROP : XDP_PASS;
	r = port_prog_load(&spec, &port->prog);
	if (r < 0)
		fail_msg("load: %s\n%s", strerror(-r), port_prog_load_log());
	for (unsigned w = 0; !c->never_beat && w < N_WORKERS; w++)
		*port_prog_beat(port->prog, w) = 1;
	if (!c->has_no_socket) {
		port->xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
		assert_true(port->xsk_fd >= 0);
		for (unsigned q = 0; q < N_PLAN_QUEUES; q++)
			assert_int_equal(port_prog_set_xsk(port->prog, q, port->xsk_fd), 0);
	}
	port_prog_set_detached(port->prog, c->is_detached);
}

/* What was counted since the last look. */
static void take_counts(struct port *port, uint64_t ret_counts[SLUICE_V_N])
{
	uint64_t counts[SLUICE_V_N];

	assert_int_equal(port_prog_verdicts(port->prog, counts), 0);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		ret_counts[v] = counts[v] - port->counts[v];
	memcpy(port->counts, counts, sizeof(counts));
}

/* One frame under `verdict` since the last look, and none under any other. */
static void assert_counted(struct port *port, enum sluice_verdict verdict)
{
	uint64_t counts[SLUICE_V_N];

	take_counts(port, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++) {
		if (counts[v] != (v == verdict))
			fail_msg("verdict %u counted %llu times, expected verdict %u once", v,
				 (unsigned long long)counts[v], verdict);
	}
}

static void test_case(void **state)
{
	const struct verdict_case *c = *state;
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, c);
	assert_int_equal(env_run_frame(port.prog, c->is_wide ? wide_ifindex : port_ifindex, c->queue,
				       frame_bytes(c->frame, bytes), c->frame->size_bytes),
			 c->action);
	assert_counted(&port, c->verdict);
}

static void test_each_control_address(void **state)
{
	static const struct frame control = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x00), 0x88, 0xcc}};
	uint8_t bytes[4096];

	for (unsigned pass_control = 0; pass_control < 2; pass_control++) {
		_cleanup_(port_fini) struct port port;

		port_init(&port, &(struct verdict_case){.has_pass_control = pass_control});
		frame_bytes(&control, bytes);
		for (unsigned last = 0x00; last <= 0x0f; last++) {
			uint32_t action, expected = pass_control ? XDP_PASS : XDP_REDIRECT;
			enum sluice_verdict verdict = pass_control ? SLUICE_V_CONTROL :
								     SLUICE_V_REDIRECT;

			if (last == 0x01) {
				expected = XDP_DROP;
				verdict = SLUICE_V_PAUSE;
			}
			bytes[5] = (uint8_t)last;
			action = env_run_frame(port.prog, port_ifindex, 0, bytes, 60);
			assert_int_equal(action, expected);
			assert_counted(&port, verdict);
		}
	}
}

/* --- Time --------------------------------------------------------------------------------------- */

struct stall {
	struct port *port;
	uint64_t n_redirected;
	uint64_t n_others; /* redirected on the queue of the other worker */
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
	stall->action = env_run_frame(stall->port->prog, port_ifindex, 0, bytes, 60);
	/* The other worker's life is its own. */
	(*port_prog_beat(stall->port->prog, 1))++;
	stall->n_others++;
	assert_int_equal(env_run_frame(stall->port->prog, port_ifindex, 1, bytes, 60),
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
	for (uint64_t beat = 1; beat <= 3; beat++) {
		struct stall stall = {.port = &port};
		uint64_t begun_ns = clock_now_ns();

		*port_prog_beat(port.prog, 0) = beat;
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
		(*port_prog_beat(port.prog, 0))++;
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 0,
					       frame_bytes(&untagged, bytes), untagged.size_bytes),
				 XDP_REDIRECT);
	}
}

static void test_beat_of_zero_is_stale_at_once(void **state)
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.drops = true});
	frame_bytes(&untagged, bytes);
	assert_int_equal(env_run_frame(port.prog, port_ifindex, 0, bytes, 60), XDP_REDIRECT);
	assert_counted(&port, SLUICE_V_REDIRECT);
	*port_prog_beat(port.prog, 0) = 0;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 0, bytes, 60), XDP_DROP);
		assert_counted(&port, SLUICE_V_STALE);
	}
	assert_int_equal(env_run_frame(port.prog, port_ifindex, 1, bytes, 60), XDP_REDIRECT);
}

static void test_detach_word_and_slots_act_on_the_next_frame(void **state)
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.drops = true});
	frame_bytes(&untagged, bytes);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 0, bytes, 60), XDP_REDIRECT);
		assert_counted(&port, SLUICE_V_REDIRECT);

		port_prog_set_detached(port.prog, true);
		assert_true(port_prog_is_detached(port.prog));
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 0, bytes, 60), XDP_PASS);
		assert_counted(&port, SLUICE_V_DETACHED);
		port_prog_set_detached(port.prog, false);
		assert_false(port_prog_is_detached(port.prog));

		assert_int_equal(port_prog_clear_xsk(port.prog, 0), 0);
		assert_int_equal(port_prog_clear_xsk(port.prog, 0), 0);
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 0, bytes, 60), XDP_DROP);
		assert_counted(&port, SLUICE_V_NO_SOCKET);
		assert_int_equal(env_run_frame(port.prog, port_ifindex, 1, bytes, 60), XDP_REDIRECT);
		assert_counted(&port, SLUICE_V_REDIRECT);
		assert_int_equal(port_prog_set_xsk(port.prog, 0, port.xsk_fd), 0);
	}
	assert_int_equal(port_prog_set_xsk(port.prog, N_PLAN_QUEUES, port.xsk_fd), -E2BIG);
}

/* --- Real frames -------------------------------------------------------------------------------- */

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
	const struct xsk_spec socket = {.ifindex = ifindex, .queue = queue, .fill_size = 64,
					.rx_size = 64, .tx_size = 64, .completion_size = 64,
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
	static const struct frame *const frames[] = {&untagged, &dot1q, &qinq, &only_ethernet,
						     &cut_in_vlan, &broadcast, &lldp, &full_size};
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
	*port_prog_beat(port.prog, 0) = 1;
	*port_prog_beat(port.prog, 1) = 1;

	for (uint32_t queue = 0; queue < N_DEVICE_QUEUES; queue++) {
		_cleanup_(end_fini) struct end sender, receiver;

		end_init(&sender, env_ifindex("peer"), queue);
		end_init(&receiver, port_ifindex, queue);
		assert_int_equal(port_prog_set_xsk(port.prog, queue, receiver.xsk.fd), 0);
		for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
			end_send(&sender, frame_bytes(frames[i], bytes), frames[i]->size_bytes);
			assert_received(&receiver, bytes, frames[i]->size_bytes);
			assert_counted(&port, SLUICE_V_REDIRECT);
		}
		assert_int_equal(port_prog_clear_xsk(port.prog, queue), 0);
	}
}

/* ------------------------------------------------------------------------------------------------ */

static int run_cases(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(cases)];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		tests[i] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL, &cases[i]};
	return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_control_address),
		cmocka_unit_test(test_silent_worker_is_stale_after_the_timeout_and_not_before),
		cmocka_unit_test(test_beating_worker_outlives_the_timeout),
		cmocka_unit_test(test_beat_of_zero_is_stale_at_once),
		cmocka_unit_test(test_detach_word_and_slots_act_on_the_next_frame),
		cmocka_unit_test(test_runts_are_malformed),
		cmocka_unit_test(test_frames_reach_the_socket_of_their_queue_unchanged),
	};
	int n_failed;

	env_enter();
	env_make_veth("port", "peer", N_DEVICE_QUEUES);
	env_make_veth("wide", "wide-peer", 300);
	port_ifindex = env_ifindex("port");
	wide_ifindex = env_ifindex("wide");

	n_failed = run_cases();
	n_failed += cmocka_run_group_tests_name("redirect", tests, NULL, NULL);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
