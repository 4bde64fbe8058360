/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop and the books of sink.h. */
#include "tools/gen/sink.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "util/clock.h"
#include "util/macros.h"

#define BURST       64
#define POLL_MS     5 /* how late an end may be noticed */
#define FIRST_FLOWS 64

void sink_init(struct sink *s, struct endpoint *ep, const struct gen_options *o,
	       const atomic_bool *stop)
{
	*s = (struct sink){.ep = ep, .o = o, .stop = stop};
	atomic_init(&s->expect, o->expect);
}

void sink_fini(struct sink *s)
{
	for (uint32_t i = 0; i < s->n_flows; i++)
		sequence_fini(&s->flows[i]);
	free(s->flows);
	s->flows = NULL;
	s->n_flows = 0;
}

void sink_expect(struct sink *s, uint64_t n)
{
	atomic_store(&s->expect, n);
	atomic_store(&s->sender_ns, clock_now_ns());
}

/* The books of a flow, opened when it is seen first. NULL: its number is absurd, or no memory. */
static struct sequence *flow_of(struct sink *s, uint32_t flow)
{
	if (unlikely(flow >= s->n_flows)) {
		uint32_t n = MAX(s->n_flows, FIRST_FLOWS);
		struct sequence *flows;

		if (flow >= SINK_MAX_FLOWS)
			return NULL;
		while (n <= flow)
			n *= 2;
		flows = realloc(s->flows, n * sizeof(*flows));
		if (!flows)
			return NULL;
		memset(flows + s->n_flows, 0, (n - s->n_flows) * sizeof(*flows));
		s->flows = flows;
		s->n_flows = n;
	}
	if (unlikely(!s->flows[flow].bits) && sequence_init(&s->flows[flow], s->o->window) < 0)
		return NULL;
	return &s->flows[flow];
}

static int judge(struct sink *s, const uint8_t *data, uint32_t size, uint64_t now_ns)
{
	struct frame_info info;
	enum frame_fate fate = frame_verify(data, size, s->o->frame.ethertype, &info);
	struct sequence *flow;

	s->fates[fate]++;
	if (unlikely(fate == FRAME_FOREIGN))
		return 0;
	s->first_ns = s->first_ns ? s->first_ns : now_ns;
	s->last_ns = now_ns;
	if (unlikely(fate != FRAME_INTACT && fate != FRAME_ALTERED_L2))
		return 0;
	if (s->o->only_run && info.run != s->o->only_run) {
		s->other_run++;
		return 0;
	}
	flow = flow_of(s, info.flow);
	if (!flow)
		return -ENOMEM;
	if (sequence_note(flow, info.seq) <= SEQUENCE_REORDERED)
		s->n_unique++;
	s->bytes += size;
	histogram_add(&s->latency, now_ns > info.sent_ns ? now_ns - info.sent_ns : 0);
	return 0;
}

/*
 * A burst of one lane: judged, then back to the fill ring. The clock is read once for a burst: it
 * is what is waiting at that moment.
 */
static int take_burst(struct sink *s, struct lane *lane, uint32_t *ret_n)
{
	struct xsk *xsk = &lane->xsk;
	uint32_t rx, fill, n;
	uint64_t now_ns;

	n = xsk_ring_cons__peek(&xsk->rx, BURST, &rx);
	*ret_n = n;
	if (n == 0)
		return 0;
	now_ns = clock_now_ns();
	/* The fill ring has a place for each frame of the lane. */
	if (xsk_ring_prod__reserve(&xsk->fill, n, &fill) != n)
		return -EPROTO;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&xsk->rx, rx + i);
		int r;

		if (!umem_holds(&s->ep->umem, desc->addr, desc->len))
			return -EPROTO;
		r = judge(s, s->ep->umem.area + desc->addr, desc->len, now_ns);
		if (r < 0)
			return r;
		*xsk_ring_prod__fill_addr(&xsk->fill, fill + i) = umem_frame_addr(
			&s->ep->umem, (uint32_t)umem_frame_of(&s->ep->umem, desc->addr));
	}
	xsk_ring_cons__release(&xsk->rx, n);
	xsk_ring_prod__submit(&xsk->fill, n);
	s->received[lane - s->ep->lanes] += n;
	return 0;
}

static bool is_over(struct sink *s, uint64_t start_ns)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t expect = atomic_load(&s->expect);
	uint64_t quiet_since_ns = MAX(s->last_ns, atomic_load(&s->sender_ns));

	if (atomic_load(s->stop))
		return true;
	if (s->o->command == GEN_SINK && s->o->duration_ns && now_ns - start_ns > s->o->duration_ns)
		return true;
	if (quiet_since_ns == 0 || now_ns < quiet_since_ns)
		return false;
	/* In `run` frames may pause for as long as their sender likes. */
	if (s->o->command == GEN_RUN && atomic_load(&s->sender_ns) == 0)
		return false;
	if (expect && s->n_unique >= expect && now_ns - quiet_since_ns > s->o->linger_ns)
		return true;
	return now_ns - quiet_since_ns > s->o->idle_timeout_ns;
}

int sink_run(struct sink *s)
{
	struct pollfd fds[GEN_MAX_QUEUES];
	uint64_t start_ns = clock_now_ns();
	uint32_t turns = 0;

	for (uint32_t i = 0; i < s->ep->n_lanes; i++)
		fds[i] = (struct pollfd){.fd = s->ep->lanes[i].xsk.fd, .events = POLLIN};
	for (;;) {
		uint32_t taken = 0;

		for (uint32_t i = 0; i < s->ep->n_lanes; i++) {
			uint32_t n;
			int r = take_burst(s, &s->ep->lanes[i], &n);

			if (r < 0)
				return r;
			taken += n;
		}
		if ((taken == 0 || ++turns % 1024 == 0) && is_over(s, start_ns))
			return 0;
		if (taken == 0 && poll(fds, s->ep->n_lanes, POLL_MS) < 0 && errno != EINTR)
			return -errno;
	}
}

void sink_sum_up(const struct sink *s, struct sink_totals *ret_totals)
{
	struct sink_totals t = {0};
	uint64_t expect = atomic_load(&s->expect);

	for (uint32_t i = 0; i < s->n_flows; i++) {
		const struct sequence *flow = &s->flows[i];

		t.unique += flow->n_unique;
		t.lost += sequence_missing(flow, 0);
		t.duplicated += flow->n_duplicate;
		t.reordered += flow->n_reordered;
		t.stale += flow->n_stale;
	}
	t.received = t.unique + t.duplicated + t.stale;
	/* Frames behind the last one seen leave no gap: only the expected number shows them. */
	if (expect > t.unique + t.stale)
		t.lost = MAX(t.lost, expect - t.unique - t.stale);
	t.is_intact = t.received > 0 && t.lost == 0 && t.duplicated == 0 && t.reordered == 0 &&
		      t.stale == 0 && s->fates[FRAME_CORRUPTED] == 0 &&
		      s->fates[FRAME_WRONG_LENGTH] == 0 && s->fates[FRAME_ALTERED_L2] == 0;
	*ret_totals = t;
}
