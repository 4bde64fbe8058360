/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paced sending by AF_XDP; the clock is a token bucket one burst deep. */
#include "tools/gen/send.h"

#include <err.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "util/clock.h"
#include "util/macros.h"

#define DEFAULT_BURST          64
#define BURSTS_PER_SECOND      10000 /* of a paced run with no --burst: 100 us' worth each */
#define SLIP_NS                NSEC_PER_MSEC /* further behind than this, what was missed is not made up for */
#define SPIN_NS                (60 * NSEC_PER_USEC) /* a wait that is shorter is not worth a system call */
#define COMPLETION_PATIENCE_NS (5 * NSEC_PER_SEC)

static const uint16_t imix[] = {60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514};

struct sender {
	struct endpoint *ep;
	const struct gen_options *o;
	const atomic_bool *stop;
	struct frame_builder builder;
	struct send_result *result;
	uint32_t flows;
	uint32_t burst;
};

static uint32_t choose_burst(const struct gen_options *o)
{
	if (o->burst)
		return o->burst;
	if (o->rate_fps == 0)
		return DEFAULT_BURST;
	return (uint32_t)MAX(MIN(o->rate_fps / BURSTS_PER_SECOND, DEFAULT_BURST), 1);
}

static uint32_t size_of(const struct gen_options *o, uint64_t i)
{
	if (o->sizes.imix)
		return imix[i % ARRAY_SIZE(imix)];
	return o->sizes.low + (uint32_t)(i % (o->sizes.high - o->sizes.low + 1));
}

static void reap(struct sender *s, struct lane *lane)
{
	size_t at = (size_t)(lane - s->ep->lanes);
	uint32_t index;
	uint32_t n = xsk_ring_cons__peek(&lane->xsk.completion, LANE_TX_FRAMES, &index);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t addr = *xsk_ring_cons__comp_addr(&lane->xsk.completion, index + i);

		lane->tx_free[lane->n_tx_free++] = (uint32_t)umem_frame_of(&s->ep->umem, addr);
	}
	if (n > 0)
		xsk_ring_cons__release(&lane->xsk.completion, n);
	s->result->completed += n;
	s->result->queues[at].completed += n;
}

static bool is_taken(const struct lane *lane)
{
	return __atomic_load_n(lane->xsk.tx.consumer, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(lane->xsk.tx.producer, __ATOMIC_RELAXED);
}

/* The answers that mean: some of it, come again. Everything else ends the run. */
static int note_answer(struct send_result *result, int r)
{
#define SEND_ANSWER_CODE(name, code) [SEND_ANSWER_##name] = -(code),
	static const int codes[] = {SEND_ANSWERS(SEND_ANSWER_CODE)};
#undef SEND_ANSWER_CODE

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (codes[i] == r) {
			result->answers[i]++;
			return 0;
		}
	}
	return r;
}

/*
 * Wakes the kernel until it has taken all of a lane's frames. In copy mode it sends within the
 * call; -EBUSY means that the device dropped exactly one frame and the rest is still to be taken,
 * -EAGAIN that a queueing discipline holds us back (net/xdp/xsk.c, __xsk_generic_xmit).
 */
static int push(struct sender *s, struct lane *lane)
{
	uint64_t deadline_ns = 0;

	while (!is_taken(lane)) {
		int r = note_answer(s->result, xsk_wake_tx(&lane->xsk));

		reap(s, lane);
		if (r < 0) {
			errno = -r;
			warn("%s queue %u: sendto", s->ep->ifname, lane->queue);
			return r;
		}
		if (deadline_ns == 0)
			deadline_ns = clock_now_ns() + COMPLETION_PATIENCE_NS;
		else if (clock_now_ns() > deadline_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

/* Waits until the lane has at least `n` frames free. */
static int await_frames(struct sender *s, struct lane *lane, uint32_t n)
{
	uint64_t deadline_ns = clock_now_ns() + COMPLETION_PATIENCE_NS;

	for (;;) {
		int r = push(s, lane);

		if (r < 0)
			return r;
		reap(s, lane);
		if (lane->n_tx_free >= n)
			return 0;
		if (clock_now_ns() > deadline_ns) {
			warnx("%s queue %u: %u frames are not completed after 5 s", s->ep->ifname,
			      lane->queue, LANE_TX_FRAMES - lane->n_tx_free);
			return -ETIMEDOUT;
		}
	}
}

static int put_frame(struct sender *s, uint64_t i)
{
	uint32_t flow = (uint32_t)(i % s->flows);
	uint32_t at = flow % s->ep->n_lanes;
	struct lane *lane = &s->ep->lanes[at];
	uint32_t size = size_of(s->o, i);
	struct xdp_desc *desc;
	uint32_t index, frame;
	int r;

	/* As many descriptors as frames: a free frame is a free place in the ring. */
	if (lane->n_tx_free == 0 && (r = await_frames(s, lane, 1)) < 0)
		return r;
	if (xsk_ring_prod__reserve(&lane->xsk.tx, 1, &index) != 1)
		return -EPROTO;
	frame = lane->tx_free[--lane->n_tx_free];
	desc = xsk_ring_prod__tx_desc(&lane->xsk.tx, index);
	*desc = (struct xdp_desc){.addr = umem_frame_addr(&s->ep->umem, frame), .len = size};
	frame_build(&s->builder, s->ep->umem.area + desc->addr, size, s->o->flow_base + flow,
		    i / s->flows, clock_now_ns());
	xsk_ring_prod__submit(&lane->xsk.tx, 1);
	s->result->offered++;
	s->result->bytes += size;
	s->result->queues[at].offered++;
	return 0;
}

static int send_burst(struct sender *s, uint64_t first, uint64_t n)
{
	int r;

	for (uint64_t i = first; i < first + n; i++) {
		if ((r = put_frame(s, i)) < 0)
			return r;
	}
	for (uint32_t i = 0; i < s->ep->n_lanes; i++) {
		if ((r = push(s, &s->ep->lanes[i])) < 0)
			return r;
		reap(s, &s->ep->lanes[i]);
	}
	return 0;
}

/* Sleeps through the long part of a wait and spins through the end of it. */
static void wait_until(uint64_t due_ns)
{
	uint64_t now_ns;

	while ((now_ns = clock_now_ns()) < due_ns) {
		uint64_t wake_ns = due_ns - SPIN_NS;
		struct timespec ts = {.tv_sec = (time_t)(wake_ns / NSEC_PER_SEC),
				      .tv_nsec = (long)(wake_ns % NSEC_PER_SEC)};

		if (due_ns - now_ns > 2 * SPIN_NS)
			(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	}
}

static int send_all(struct sender *s)
{
	uint64_t start_ns = clock_now_ns();
	uint64_t end_ns = s->o->duration_ns ? start_ns + s->o->duration_ns : UINT64_MAX;
	double frame_ns = s->o->rate_fps ? 1e9 / (double)s->o->rate_fps : 0;
	double due_ns = (double)start_ns;
	uint64_t sent = 0;

	while (sent < s->o->count && !atomic_load_explicit(s->stop, memory_order_relaxed)) {
		uint64_t n = MIN(s->burst, s->o->count - sent), now_ns = clock_now_ns();
		int r;

		if (now_ns >= end_ns)
			break;
		if (frame_ns > 0 && (double)now_ns > due_ns + (double)SLIP_NS) {
			s->result->slipped++;
			due_ns = (double)now_ns;
		}
		if (frame_ns > 0)
			wait_until((uint64_t)due_ns);
		r = send_burst(s, sent, n);
		if (r < 0)
			return r;
		sent += n;
		due_ns += frame_ns * (double)n;
	}
	return 0;
}

static int await_all(struct sender *s)
{
	int r = 0;

	for (uint32_t i = 0; i < s->ep->n_lanes && r == 0; i++)
		r = await_frames(s, &s->ep->lanes[i], LANE_TX_FRAMES);
	return r;
}

static void subtract(struct device_counters *now, const struct device_counters *before)
{
	now->tx_packets -= before->tx_packets;
	now->tx_dropped -= before->tx_dropped;
	now->rx_packets -= before->rx_packets;
	now->rx_dropped -= before->rx_dropped;
}

int send_paced(struct endpoint *ep, const struct gen_options *o, const atomic_bool *stop,
	       struct send_result *ret_result)
{
	struct sender s = {.ep = ep,
			   .o = o,
			   .stop = stop,
			   .result = ret_result,
			   .flows = send_flows(o, ep->n_lanes),
			   .burst = choose_burst(o)};
	struct device_counters before = {0};
	int r, q;

	*ret_result = (struct send_result){.n_queues = ep->n_lanes};
	for (uint32_t i = 0; i < ep->n_lanes; i++)
		ret_result->queues[i].queue = ep->lanes[i].queue;
	frame_builder_init(&s.builder, &o->frame);
	(void)endpoint_counters(ep, &before);
	ret_result->start_ns = clock_now_ns();
	r = send_all(&s);
	q = await_all(&s);
	ret_result->end_ns = clock_now_ns();
	ret_result->dropped = ret_result->answers[SEND_ANSWER_dropped];
	if (endpoint_counters(ep, &ret_result->device) == 0)
		subtract(&ret_result->device, &before);
	return r < 0 ? r : q;
}
