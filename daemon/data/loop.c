/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet path of a worker, and nothing else: one turn over its lanes.
 *
 *   reap completions → receive ≤ 64 and put them on the out lane's tx ring → wake tx → refill
 *
 * No packet byte is read unless a frame is longer than the out port's MTU allows untagged: a
 * cross-connect is a wire, and what is not a wire's (PAUSE, control frames) was sorted out by the
 * XDP program while the frame was in its cache.
 *
 * Every loop is bounded by BURST or by a ring; whatever is peeked is released in the same turn;
 * every frame leaves a turn with an owner: free, fill or tx.
 */
#include <errno.h>
#include <string.h>

#include "data/burst.h"
#include "kern/jiffies.h"
#include "net/fib_atomic.h"
#include "util/clock.h"

#include "data/hot.h"

#define REAP_BATCH 256 /* completions per lane and turn: more than a turn can submit */
#define REFILL_MAX 256 /* frames per lane and turn, so that the first turns stay short */
#define BEAT_NS    NSEC_PER_MSEC

/* Returns the number of frames that came back. */
uint32_t lane_reap(struct lane *lane)
{
	struct umem *umem = lane->umem;
	uint32_t n, index, n_bad = 0;

	if (lane->n_tx == 0)
		return 0;
	n = xsk_ring_cons__peek(&lane->xsk.completion, REAP_BATCH, &index);
	if (n == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t addr = *xsk_ring_cons__comp_addr(&lane->xsk.completion, index + i);
		uint64_t frame = umem_frame_of(umem, addr);

		if (unlikely(frame >= umem->n_frames ||
			     umem->owner[frame] != FRAME_TX(lane->tag))) {
			n_bad++;
			continue;
		}
		umem_put(umem, (uint32_t)frame);
	}
	xsk_ring_cons__release(&lane->xsk.completion, n);

	lane->n_tx -= n - n_bad;
	if (lane->n_tx == 0)
		lane->kick_pending = false;
	counter_add(&lane->counters.tx_completed, n - n_bad);
	if (unlikely(n_bad))
		counter_add(&lane->counters.bad_completions, n_bad);
	return n;
}

/*
 * At most kicks_per_turn system calls; what the kernel leaves is tried again next turn. Calls that
 * end in EBUSY are extra, up to a burst: the device threw exactly one packet away and the rest
 * still waits (xsk_generic_xmit, net/xdp/xsk.c; tests/bpf/test_xsk.c shows it), so another call
 * goes on behind it. One call a turn would move one packet a turn while the far end is full.
 */
void lane_wake_tx(struct lane *lane)
{
	uint32_t n_left = lane->kicks_per_turn;

	for (uint32_t i = 0; n_left > 0 && i < BURST; i++) {
		int r;

		if (!xsk_ring_prod__needs_wakeup(&lane->xsk.tx))
			return;
		r = xsk_wake_tx(&lane->xsk);
		counter_add(&lane->counters.wakeups_tx, 1);
		if (likely(r == 0)) {
			/* A zero-copy driver may fall asleep with packets left: watch it to the
			 * end. */
			lane->kick_pending = lane->xsk.is_zerocopy;
			return;
		}
		if (r != -EAGAIN && r != -ENOBUFS && r != -EBUSY) {
			/* Down or gone: the packets wait in the ring for the next submit or set. */
			counter_add(&lane->counters.wakeup_errors, 1);
			lane->kick_pending = false;
			return;
		}
		counter_add(&lane->counters.wakeup_again, 1);
		n_left -= r != -EBUSY;
	}
}

/* Only drivers that asked for it, and busy polling, want a call on the receive side. */
static __attribute__((cold, noinline)) void wake_rx(struct lane *lane)
{
	int r = xsk_wake_rx(&lane->xsk);

	counter_add(&lane->counters.wakeups_rx, 1);
	if (r < 0 && r != -EAGAIN)
		counter_add(&lane->counters.wakeup_errors, 1);
}

/*
 * The one body of forwarding. `copies` is constant in each caller: between lanes of one UMEM a
 * frame changes hands and nothing is copied.
 */
static inline __attribute__((always_inline)) void forward_burst(struct lane *in, struct lane *out,
								uint32_t max_len, uint32_t index,
								uint32_t n, bool copies,
								struct burst *burst)
{
	struct umem *umem = in->umem;
	const uint8_t tx_mark = FRAME_TX(out->tag);
	const uint32_t room = lane_tx_room(out, n);
	const uint32_t tx_start = out->xsk.tx.cached_prod;

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&in->xsk.rx, index + i);
		uint64_t addr = desc->addr;
		const uint32_t len = desc->len;
		struct xdp_desc *tx;

		/*
		 * The kernel wrote the frame on another CPU and sends it on this one, in a moment:
		 * let the lines of a burst come all at once instead of one by one under the copy.
		 */
		umem_prefetch(umem, addr);
		if (unlikely(!burst_take(burst, in, desc)))
			continue;
		if (unlikely(!frame_fits(umem->area + addr, len, max_len))) {
			burst_drop_frame(burst, umem, addr, DROP_MTU);
			continue;
		}
		if (unlikely(burst->n_sent == room)) {
			burst_drop_frame(burst, umem, addr, DROP_TX_RING_FULL);
			continue;
		}
		if (copies && !lane_copy_frame(in, out, &addr, len)) {
			burst_drop_frame(burst, umem, addr, DROP_UMEM_EXHAUSTED);
			continue;
		}
		out->umem->owner[addr >> out->umem->frame_shift] = tx_mark;
		tx = xsk_ring_prod__tx_desc(&out->xsk.tx, tx_start + burst->n_sent++);
		tx->addr = addr;
		tx->len = len;
		tx->options = 0;
		burst->tx_bytes += len;
	}
}

static void forward_zerocopy(struct lane *in, struct lane *out, uint32_t max_len, uint32_t index,
			     uint32_t n, struct burst *burst)
{
	forward_burst(in, out, max_len, index, n, false, burst);
}

static void forward_copy(struct lane *in, struct lane *out, uint32_t max_len, uint32_t index,
			 uint32_t n, struct burst *burst)
{
	forward_burst(in, out, max_len, index, n, true, burst);
	out->umem->min_free = MIN(out->umem->min_free, out->umem->n_free);
	counter_add(&out->counters.copied, burst->n_sent);
}

/* The out port is missing or down. */
static __attribute__((cold, noinline)) void drop_burst(struct lane *in, uint32_t index, uint32_t n,
						       struct burst *burst)
{
	struct umem *umem = in->umem;

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&in->xsk.rx, index + i);
		uint64_t frame = umem_frame_of(umem, desc->addr);

		burst->rx_bytes += desc->len;
		if (frame >= umem->n_frames || umem->owner[frame] != FRAME_FILL(in->tag)) {
			burst_drop(burst, DROP_INTERNAL);
			continue;
		}
		burst->n_taken++;
		burst_drop(burst, DROP_LINK_DOWN);
		umem_put(umem, (uint32_t)frame);
	}
}

void burst_count(struct lane *in, uint32_t n, const struct burst *burst)
{
	in->n_fill -= burst->n_taken;
	counter_add(&in->counters.rx_packets, n);
	counter_add(&in->counters.rx_bytes, burst->rx_bytes);
	counter_add(&in->counters.fill_taken, burst->n_taken);
	counter_add(&in->counters.forwarded, burst->n_sent);
	if (unlikely(burst->n_handed_back)) {
		for (unsigned i = 0; i < HANDBACK_N; i++)
			counter_add(&in->counters.handed_back[i], burst->handed_back[i]);
	}
	if (unlikely(burst->n_handback_copies))
		counter_add(&in->counters.handback_copies, burst->n_handback_copies);
	if (unlikely(burst->n_dropped)) {
		for (unsigned i = 0; i < DROP_N; i++)
			counter_add(&in->counters.drops[i], burst->drops[i]);
	}
}

static void submit_tx(struct lane *out, const struct burst *burst)
{
	if (burst->n_sent == 0)
		return;
	out->xsk.tx.cached_prod += burst->n_sent;
	xsk_ring_prod__submit(&out->xsk.tx, burst->n_sent);
	out->n_tx += burst->n_sent;
	out->kick_pending = true;
	counter_add(&out->counters.tx_packets, burst->n_sent);
	counter_add(&out->counters.tx_bytes, burst->tx_bytes);
}

static void wire_burst(const struct worker_route *route, uint32_t index, uint32_t n,
		       struct burst *burst)
{
	struct lane *in = route->rx;
	struct lane *out = route->out;

	if (unlikely(!out)) {
		drop_burst(in, index, n, burst);
		return;
	}
	if (likely(out->umem == in->umem))
		forward_zerocopy(in, out, route->max_len, index, n, burst);
	else
		forward_copy(in, out, route->max_len, index, n, burst);
	submit_tx(out, burst);
}

static uint32_t receive_burst(struct worker *worker, const struct worker_route *route)
{
	struct lane *in = route->rx;
	struct burst burst;
	uint32_t index, n;

	n = xsk_ring_cons__peek(&in->xsk.rx, BURST, &index);
	if (n == 0) {
		if (unlikely(in->polls_rx || xsk_ring_prod__needs_wakeup(&in->xsk.fill)))
			wake_rx(in);
		return 0;
	}
	memset(&burst, 0, sizeof(burst));
	switch (worker->set->forward) {
	case WORKER_WIRE:
		wire_burst(route, index, n, &burst);
		break;
	case WORKER_ROUTE:
		route_burst(worker, route, index, n, &burst);
		break;
	case WORKER_BRIDGE:
		bridge_burst(worker, route, index, n, &burst);
		break;
	}
	burst_count(in, n, &burst);
	/*
	 * Last: a lane whose rx ring is empty and whose tx is all completed looks drained to
	 * control, so a packet must be counted in tx before it has left rx.
	 */
	xsk_ring_cons__release(&in->xsk.rx, n);
	return n;
}

/*
 * Keeps the fill ring full. n_fill also counts packets that wait in the rx ring, so a worker that
 * falls behind does not give away the frames that its tx side needs.
 */
static void refill(struct lane *lane)
{
	struct umem *umem = lane->umem;
	uint32_t n = lane->xsk.fill.size - lane->n_fill;
	uint32_t index;

	if (n < lane->refill_batch)
		return;
	n = MIN(MIN(n, umem->n_free), REFILL_MAX);
	/* There is always room for n: what is in the ring is part of n_fill. */
	if (n == 0 || xsk_ring_prod__reserve(&lane->xsk.fill, n, &index) != n)
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t frame = umem_take(umem);

		umem->owner[frame] = FRAME_FILL(lane->tag);
		*xsk_ring_prod__fill_addr(&lane->xsk.fill, index + i) =
			umem_frame_addr(umem, frame);
	}
	xsk_ring_prod__submit(&lane->xsk.fill, n);
	lane->n_fill += n;
	umem->min_free = MIN(umem->min_free, umem->n_free);
	counter_add(&lane->counters.fill_posted, n);
}

static void count_batch(struct worker_counters *counters, uint32_t n)
{
	uint32_t bucket = n > 1 ? 32U - (uint32_t)__builtin_clz(n - 1) : 0;

	counter_add(&counters->batch[bucket], 1);
	counter_add(&counters->batch_packets, n);
}

static void sample_residence(struct worker *worker)
{
	uint64_t ns = clock_now_ns() - worker->now_ns;
	uint64_t us = ns / NSEC_PER_USEC;
	uint32_t bucket = us > 1 ? 64U - (uint32_t)__builtin_clzll(us - 1) : 0;

	worker->residence_countdown = RESIDENCE_SAMPLE;
	counter_add(&worker->counters.residence[MIN(bucket, RESIDENCE_BUCKETS - 1U)], 1);
	counter_add(&worker->counters.residence_sum_ns, ns);
}

/*
 * From here to the end of the turn the worker reads what control/tables.h publishes; the story is
 * in worker.h. What earlier turns read is done with (release), and nothing that was retired before
 * this generation can be found any more (acquire).
 */
static void read_tables(struct worker *worker)
{
	uint64_t generation =
		atomic_load_explicit(&worker->set->view->generation, memory_order_acquire);

	if (likely(atomic_load_explicit(&worker->tables_seen, memory_order_relaxed) !=
		   WORKER_NOT_READING)) {
		atomic_store_explicit(&worker->tables_seen, generation, memory_order_release);
		return;
	}
	/*
	 * Awake again: the tables must see it before we read a pointer, or we must see what they
	 * replaced. Pairs with their fence between the two. (The store's own order is for
	 * ThreadSanitizer, which does not know fences.)
	 */
	atomic_store_explicit(&worker->tables_seen, generation, memory_order_seq_cst);
	FIB_FENCE(memory_order_seq_cst);
}

void worker_stop_reading(struct worker *worker)
{
	/* pairs with the tables' acquire: they may free all that we have read */
	atomic_store_explicit(&worker->tables_seen, WORKER_NOT_READING, memory_order_release);
}

static __attribute__((noinline)) void begin_turn(struct worker *worker)
{
	if (worker->set->forward == WORKER_ROUTE)
		read_tables(worker);
	else
		worker->now_s = (uint32_t)(worker->now_ns / NSEC_PER_SEC);
}

uint32_t worker_turn(struct worker *worker)
{
	const struct worker_set *set = worker->set;
	uint32_t n_moved = 0;
	bool received = false;

	if (set->forward != WORKER_WIRE)
		begin_turn(worker);
	for (uint32_t i = 0; i < set->n_lanes; i++)
		n_moved += lane_reap(set->routes[i].rx);

	for (uint32_t i = 0; i < set->n_lanes; i++) {
		uint32_t n = receive_burst(worker, &set->routes[i]);

		if (n > 0) {
			count_batch(&worker->counters, n);
			n_moved += n;
			received = true;
		}
	}

	for (uint32_t i = 0; i < set->n_lanes; i++) {
		if (set->routes[i].rx->kick_pending)
			lane_wake_tx(set->routes[i].rx);
	}
	if (received && --worker->residence_countdown == 0)
		sample_residence(worker);

	for (uint32_t i = 0; i < set->n_lanes; i++)
		refill(set->routes[i].rx);

	counter_add(&worker->counters.turns, 1);
	return n_moved;
}

bool worker_tx_is_pending(const struct worker *worker)
{
	for (uint32_t i = 0; i < worker->set->n_lanes; i++) {
		if (worker->set->routes[i].rx->kick_pending)
			return true;
	}
	return false;
}

/* --- Between turns --------------------------------------------------------------------------- */

static void beat(struct worker *worker)
{
	const struct worker_set *set = worker->set;
	uint64_t origin_ns = atomic_load_explicit(&worker->jiffies_origin_ns, memory_order_relaxed);
	uint64_t jiffies = jiffies_at(origin_ns, worker->tick_ns, worker->now_ns);

	worker->beat_value++;
	worker->last_beat_ns = worker->now_ns;
	atomic_store_explicit(&worker->beat, worker->beat_value, memory_order_relaxed);
	atomic_store_explicit(&worker->beat_at_ns, worker->now_ns, memory_order_relaxed);
	for (uint32_t i = 0; i < set->n_beats; i++)
		__atomic_store_n(set->beats[i], jiffies, __ATOMIC_RELAXED);
}

/*
 * A sequence count around the states, so that control sees one consistent cut. The words are stored
 * with release rather than after a fence, which ThreadSanitizer does not understand: whoever sees
 * one of them (acquire, in worker_frames()) also sees the odd count before it.
 */
static void publish_frames(struct worker *worker)
{
	const struct worker_set *set = worker->set;
	uint32_t seq = atomic_load_explicit(&worker->frames_seq, memory_order_relaxed);

	atomic_store_explicit(&worker->frames_seq, seq + 1, memory_order_relaxed);
	for (uint32_t u = 0; u < worker->n_umems; u++) {
		const struct umem *umem = &worker->umems[u];
		struct frame_states states = {
			.free = umem->n_free,
			.quarantine = umem->n_quarantine,
			.min_free = umem->min_free,
		};
		uint64_t words[FRAME_STATES_WORDS];

		for (uint32_t i = 0; i < set->n_lanes; i++) {
			const struct lane *lane = set->routes[i].rx;

			if (lane->umem == umem) {
				states.fill += lane->n_fill;
				states.tx += lane->n_tx;
			}
		}
		states.lost = (int64_t)umem->n_frames - states.free - states.fill - states.tx -
			      states.quarantine;
		memcpy(words, &states, sizeof(words));
		for (unsigned i = 0; i < FRAME_STATES_WORDS; i++)
			atomic_store_explicit(&worker->frames[u][i], words[i],
					      memory_order_release);
	}
	/* pairs with the acquire in worker_frames() */
	atomic_store_explicit(&worker->frames_seq, seq + 2, memory_order_release);
}

void worker_housekeep(struct worker *worker)
{
	if (worker->now_ns - worker->last_beat_ns < BEAT_NS)
		return;
	beat(worker);
	publish_frames(worker);
}

static bool set_has_lane(const struct worker_set *set, const struct lane *lane)
{
	for (uint32_t i = 0; i < set->n_lanes; i++) {
		if (set->routes[i].rx == lane)
			return true;
	}
	return false;
}

void worker_take_set(struct worker *worker)
{
	/* pairs with the release in worker_publish() */
	const struct worker_set *next = atomic_load_explicit(&worker->next, memory_order_acquire);
	const struct worker_set *old = worker->set;

	if (likely(next == old))
		return;
	for (uint32_t i = 0; old && i < old->n_lanes; i++) {
		const struct lane *lane = old->routes[i].rx;

		if (!set_has_lane(next, lane))
			lane->umem->n_quarantine += lane->n_fill + lane->n_tx;
	}
	for (uint32_t u = 0; u < worker->n_umems; u++) {
		for (uint32_t i = 0; i < next->n_reclaim[u]; i++)
			(void)umem_reclaim(&worker->umems[u], next->reclaim[u][i]);
	}
	/* A link that came back has packets waiting that nobody would submit again. */
	for (uint32_t i = 0; i < next->n_lanes; i++)
		next->routes[i].rx->kick_pending = next->routes[i].rx->n_tx > 0;
	worker->set = next;
	if (next->forward != WORKER_ROUTE)
		worker_stop_reading(worker);
	beat(worker);
	publish_frames(worker);
	/* pairs with the acquire in worker_seen(): control owns what the new set does not name */
	atomic_store_explicit(&worker->seen, next->generation, memory_order_release);
}
