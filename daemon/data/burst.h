/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the three ways of forwarding (loop.c: wire, route.c, bridge.c) have in common: taking a
 * burst from a lane's rx ring, putting frames on the tx rings of any of the worker's lanes, and the
 * books of both. Private to the room; included before data/hot.h.
 *
 * A frame that was taken (burst_take) belongs to the burst until it is staged (egress_put), handed
 * back or dropped; each of these ends in exactly one count of the ingress lane.
 */
#pragma once

#include <errno.h>
#include <string.h>

#include "data/worker.h"
#include "net/frame.h"

/* What becomes of a burst, summed in registers and written to the counters once. */
struct burst {
	uint32_t n_taken; /* frames that were ours */
	uint32_t n_sent;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint32_t n_dropped;
	uint32_t n_handed_back;
	uint32_t n_handback_copies;
	uint32_t drops[DROP_N];
	uint32_t handed_back[HANDBACK_N];
};

/* loop.c. Returns the number of frames that came back. */
uint32_t lane_reap(struct lane *lane);

/* loop.c. One bounded attempt to make the kernel send what is on the tx ring. */
void lane_wake_tx(struct lane *lane);

/* loop.c. Writes the sums of a burst of n packets to the counters of its lane. */
void burst_count(struct lane *in, uint32_t n, const struct burst *burst);

static inline void burst_drop(struct burst *burst, enum drop_reason reason)
{
	burst->drops[reason]++;
	burst->n_dropped++;
}

/* Drops a frame that was taken. */
static inline void burst_drop_frame(struct burst *burst, struct umem *umem, uint64_t addr,
				    enum drop_reason reason)
{
	burst_drop(burst, reason);
	umem_put(umem, (uint32_t)umem_frame_of(umem, addr));
}

/*
 * Judges one rx descriptor: descriptors are input, and a frame that we did not give away is not
 * ours to pass on. True: the frame is the burst's, and has at least an Ethernet header.
 */
static inline bool burst_take(struct burst *burst, const struct lane *in,
			      const struct xdp_desc *desc)
{
	struct umem *umem = in->umem;
	const uint64_t offset_mask = (1ULL << umem->frame_shift) - 1;
	const uint64_t frame = desc->addr >> umem->frame_shift;

	burst->rx_bytes += desc->len;
	if (unlikely(frame >= umem->n_frames || umem->owner[frame] != FRAME_FILL(in->tag))) {
		burst_drop(burst, DROP_INTERNAL);
		return false;
	}
	burst->n_taken++;
	if (unlikely((desc->addr & offset_mask) + desc->len > offset_mask + 1)) {
		burst_drop_frame(burst, umem, desc->addr, DROP_INTERNAL);
		return false;
	}
	if (unlikely(desc->len < ETH_HLEN)) {
		burst_drop_frame(burst, umem, desc->addr, DROP_MALFORMED);
		return false;
	}
	return true;
}

/*
 * Room on a tx ring for at most n packets. The kernel refuses to send what the completion ring
 * could not take back. (Not MIN(): it would read the kernel's index twice and could mix the two.)
 */
static inline uint32_t lane_tx_room_now(struct lane *out, uint32_t n)
{
	uint32_t n_tx_free = xsk_prod_nb_free(&out->xsk.tx, n);
	uint32_t n_completion_free = out->xsk.completion.size - out->n_tx;
	uint32_t room = MIN(n_tx_free, n_completion_free);

	return MIN(room, n);
}

/* If there is too little, the kernel gets one chance. */
static inline uint32_t lane_tx_room(struct lane *out, uint32_t n)
{
	if (likely(lane_tx_room_now(out, n) == n))
		return n;
	lane_wake_tx(out);
	(void)lane_reap(out);
	return lane_tx_room_now(out, n);
}

/* Moves a packet into a frame of the out lane's UMEM; false if there is no frame. */
static inline bool lane_copy_frame(struct lane *in, struct lane *out, uint64_t *io_addr,
				   uint32_t len)
{
	struct umem *to = out->umem;
	uint32_t frame;

	if (unlikely(to->n_free == 0 || len > 1U << to->frame_shift))
		return false;
	frame = umem_take(to);
	memcpy(to->area + umem_frame_addr(to, frame), in->umem->area + *io_addr, len);
	umem_put(in->umem, (uint32_t)umem_frame_of(in->umem, *io_addr));
	*io_addr = umem_frame_addr(to, frame);
	return true;
}

/* --- Egress by any lane (route, bridge) --------------------------------------------------------
 */

/* The lanes that a burst has put something on. */
struct egress {
	struct lane *lanes[WORKER_MAX_PORTS];
	uint32_t n;
};

/*
 * Asks the lane's room on its first use in the burst, also where there turns out to be none: asking
 * may cost a system call. A burst puts n_most on one lane at most.
 */
static inline void egress_open(struct egress *egress, struct lane *out, uint32_t n_most)
{
	if (likely(out->is_open))
		return;
	out->is_open = true;
	out->staged_room = lane_tx_room(out, n_most);
	egress->lanes[egress->n++] = out;
}

/* Stages a frame of the out lane's own UMEM; the caller has seen staged_room > n_staged. */
static inline void egress_stage(struct lane *out, uint64_t addr, uint32_t len)
{
	struct xdp_desc *tx =
		xsk_ring_prod__tx_desc(&out->xsk.tx, out->xsk.tx.cached_prod + out->n_staged++);

	out->umem->owner[addr >> out->umem->frame_shift] = FRAME_TX(out->tag);
	tx->addr = addr;
	tx->len = len;
	tx->options = 0;
	out->staged_bytes += len;
}

/*
 * Puts a frame that was taken on a lane. DROP_N: done, the frame is the out lane's. Otherwise the
 * reason, and the frame is still the caller's.
 */
static inline enum drop_reason egress_put(struct egress *egress, struct lane *in, struct lane *out,
					  uint64_t addr, uint32_t len)
{
	egress_open(egress, out, BURST);
	if (unlikely(out->n_staged >= out->staged_room))
		return DROP_TX_RING_FULL;
	if (unlikely(out->umem != in->umem)) {
		if (!lane_copy_frame(in, out, &addr, len))
			return DROP_UMEM_EXHAUSTED;
		out->umem->min_free = MIN(out->umem->min_free, out->umem->n_free);
		counter_add(&out->counters.copied, 1);
	}
	egress_stage(out, addr, len);
	return DROP_N;
}

/* Hands all that is staged to the kernel's side of the rings and counts it. */
static inline void egress_submit(struct egress *egress)
{
	for (uint32_t i = 0; i < egress->n; i++) {
		struct lane *out = egress->lanes[i];
		uint32_t n = out->n_staged;

		if (n > 0) {
			out->xsk.tx.cached_prod += n;
			xsk_ring_prod__submit(&out->xsk.tx, n);
			out->n_tx += n;
			out->kick_pending = true;
			counter_add(&out->counters.tx_packets, n);
			counter_add(&out->counters.tx_bytes, out->staged_bytes);
			counter_add(&out->counters.replicated, out->n_replicas);
		}
		out->n_staged = out->n_replicas = out->staged_bytes = out->staged_room = 0;
		out->is_open = false;
	}
}

/* --- The three bodies ------------------------------------------------------------------------- */

/*
 * Each decides about n descriptors from `index` on of the rx ring of `route`, fills `burst` and
 * submits; the caller counts and releases the ring.
 */
void route_burst(struct worker *worker, const struct worker_route *route, uint32_t index,
		 uint32_t n, struct burst *burst);
void bridge_burst(struct worker *worker, const struct worker_route *route, uint32_t index,
		  uint32_t n, struct burst *burst);

/* --- Limits ------------------------------------------------------------------------------------
 */

/* Bounds a product: 2^32 tokens a second, times this in nanoseconds, fit 64 bits. */
#define TOKEN_BUCKET_MAX_NS (4 * NSEC_PER_SEC)

/*
 * Takes one token of a bucket that fills at per_second up to `most` and is full at first; false if
 * there is none. What is not yet a whole token stays in filled_at_ns.
 */
static inline bool token_bucket_take(struct token_bucket *bucket, uint64_t now_ns,
				     uint32_t per_second, uint32_t most)
{
	uint64_t elapsed_ns = MIN(now_ns - bucket->filled_at_ns, TOKEN_BUCKET_MAX_NS);
	uint64_t n_new = elapsed_ns * per_second / NSEC_PER_SEC;

	if (bucket->tokens + n_new >= most) {
		bucket->tokens = most;
		bucket->filled_at_ns = now_ns;
	} else if (n_new > 0) {
		bucket->tokens += (uint32_t)n_new;
		bucket->filled_at_ns += n_new * NSEC_PER_SEC / per_second;
	}
	if (bucket->tokens == 0)
		return false;
	bucket->tokens--;
	return true;
}

/*
 * handback.c. Writes a frame to the TAP of the port it came in by, within the limit of its reason.
 * DROP_N: the kernel has it (the frame is still the caller's to free). Otherwise the reason.
 */
enum drop_reason hand_back(struct worker *worker, const struct worker_port *port,
			   enum handback_reason reason, const uint8_t *data, uint32_t len);
