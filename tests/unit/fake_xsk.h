/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AF_XDP without a kernel: the four rings of a socket in plain memory, and the kernel's side of
 * them as functions that a test calls. xsk_wake_tx() and xsk_wake_rx() are replaced by -Wl,--wrap.
 *
 * The fake kernel keeps its own books: held[] says of each frame whether the kernel has it. A frame
 * that the worker gives away twice stops the test there and then; that is the strongest thing that
 * can be said about a packet path, and it needs no knowledge of how the worker counts.
 *
 * Thread: any one at a time on the kernel's side, beside the worker's thread on the other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "data/lane.h"
#include "kern/umem.h"
#include "util/macros.h"

#define FAKE_MAX_LANES 16
#define FAKE_HEADROOM  256 /* XDP_PACKET_HEADROOM: where the kernel puts a packet in a frame */

/* Who has a frame, as the fake kernel sees it. A packet is received in one step, so only tx lasts.
 */
enum fake_holder { FAKE_USER, FAKE_KERNEL_TX };

struct fake_umem {
	struct umem *umem;
	uint8_t *held; /* enum fake_holder of each frame */
};

struct fake_packet {
	uint64_t addr;
	uint32_t len;
};

/* One ring: the words that both sides see, on lines of their own as in the kernel. */
struct fake_ring {
	uint32_t producer CACHE_ALIGNED;
	uint32_t consumer CACHE_ALIGNED;
	uint32_t flags CACHE_ALIGNED;
	uint32_t size;
	uint64_t *addrs;        /* fill, completion */
	struct xdp_desc *descs; /* rx, tx */
};

struct fake_lane {
	struct fake_ring rx, tx, fill, completion;
	struct lane *lane;
	struct fake_umem *memory;
	/* sent and not completed yet, first in first out */
	struct fake_packet *flying;
	uint32_t flying_first, n_flying;
	/* What xsk_wake_tx() answers: entry by entry, then 0 for ever; and how many it sends. */
	const int *wake_script;
	uint32_t n_wake_script;
	uint32_t wake_budget; /* packets that one wakeup takes off the tx ring */
	int wake_rx_result;
	uint32_t n_wakes_tx, n_wakes_rx;
	/* Sees each packet that leaves; may be NULL. */
	void (*on_sent)(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data);
	void *on_sent_data;
	uint64_t n_sent;
	int event_fd; /* makes the worker's ppoll(2) wait, and return */
} CACHE_ALIGNED;

void fake_umem_init(struct fake_umem *memory, struct umem *umem);
void fake_umem_fini(struct fake_umem *memory);

struct fake_sizes {
	uint32_t fill, rx, tx, completion;
	uint32_t start; /* all ring indices begin here: near 2^32 to see them wrap */
};

/* Builds the rings and makes `lane` a lane on them; xsk.fd is an eventfd that stands for it. */
void fake_lane_init(struct fake_lane *fake, struct lane *lane, struct fake_umem *memory,
		    uint8_t tag, const struct fake_sizes *sizes);
void fake_lane_fini(struct fake_lane *fake);

/* Receives one packet into a frame of the fill ring; false if there is no frame or no room. */
bool fake_receive(struct fake_lane *fake, const void *head, uint32_t head_len, uint32_t len,
		  uint64_t *ret_addr);

/* n packets of len bytes, type IPv4; returns how many there was room for. */
uint32_t fake_receive_n(struct fake_lane *fake, uint32_t n, uint32_t len);

/* Any descriptor at all, without a frame for it: what a broken kernel or driver would do. */
bool fake_push_rx(struct fake_lane *fake, uint64_t addr, uint32_t len);
bool fake_push_completion(struct fake_lane *fake, uint64_t addr);

/* Takes packets off the tx ring, and gives sent frames back. They return how many. */
uint32_t fake_transmit(struct fake_lane *fake, uint32_t n);
uint32_t fake_complete(struct fake_lane *fake, uint32_t n);

/* Makes the socket readable or not, as packets in the rx ring do: ppoll(2) returns, or waits. */
void fake_set_readable(struct fake_lane *fake, bool is_readable);

/*
 * Every frame that the worker gave this lane and the kernel has not given back, on the rings or
 * beyond: marks it in seen[] and asserts that none was marked before and that its owner byte is
 * right.
 */
void fake_check_given(const struct fake_lane *fake, uint8_t *seen);

/* The kernel has let go of a closed lane: what it held is nobody's. */
void fake_let_go(struct fake_lane *fake);

static inline void fake_need_wakeup(struct fake_ring *ring, bool needed)
{
	ring->flags = needed ? XDP_RING_NEED_WAKEUP : 0;
}
