/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet memory of one worker: a region cut into equal frames, a stack of the free ones, and
 * one owner byte per frame.
 *
 *   area      n_frames × frame_size bytes, a memfd mapped shared (a successor process can map it
 *             again), on the worker's NUMA node, huge pages if they were asked for and are there
 *   free[]    LIFO of frame numbers: the frame freed last is the one still in cache
 *   owner[]   FREE, or the tag of the lane that gave it to the kernel, doubled: fill or tx
 *
 * A frame is in exactly one state. The worker counts them; it does not read them off ring indices,
 * since the NIC and the kernel's pool hold frames that are in no ring:
 *
 *        ┌──────────── refill ────────────┐            ┌──── tx submit ───┐
 *   free ┤                                ▼            │                  ▼
 *    ▲   └                    fill (posted − received) ─► worker     tx (submitted − completed)
 *    │                                                 │                  │
 *    └───────────── dropped ◄──────────────────────────┘                  │
 *    └───────────────────────── completed ◄───────────────────────────────┘
 *
 *   free + Σ fill + worker + Σ tx + quarantine == n_frames, else frames are lost (a bug).
 *
 * Quarantine: frames of a closed lane. The kernel may still write to them until the teardown is
 * proven (the queue could be bound again, or the device is gone); then umem_reclaim() frees them.
 *
 * Thread: control until worker_start() and after worker_stop(); the worker in between.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

/* Owner bytes: FREE, or 1 + 2·tag (with the kernel to be filled) or 2 + 2·tag (being sent). */
#define FRAME_FREE      0
#define FRAME_FILL(tag) ((uint8_t)(1 + 2 * (tag)))
#define FRAME_TX(tag)   ((uint8_t)(2 + 2 * (tag)))

/* Lane tags 0 … 126 fit the owner byte; a plan with more lanes per worker is refused. */
#define UMEM_MAX_LANES 127

struct umem {
	/* hot: worker */
	uint8_t *area;
	uint8_t *owner; /* n_frames */
	uint32_t *free; /* n_frames */
	uint32_t n_free;
	uint32_t n_frames;
	uint32_t frame_shift; /* log2 of the frame size: 11 or 12 */
	uint32_t n_quarantine;
	uint32_t min_free; /* low-water mark of n_free */
	/* cold: control */
	size_t size_bytes; /* mapped; rounded up to the page size in use */
	int memfd;
	bool is_huge;
	int node; /* verified: the node all pages are on; -1 = several, or unknown */
};

struct umem_spec {
	uint32_t n_frames;
	uint32_t frame_size_bytes; /* 2048 or 4096 */
	int numa_node;             /* wanted; -1 = no preference */
	bool want_huge;            /* 2 MiB pages; -ENOMEM if there are not enough */
};

/*
 * Maps the region, binds it to the node before the first touch, touches it all, and reads back
 * by move_pages(2) where the pages are. umem->node tells; a node that could not be had is not an
 * error here (the plan wanted it, the engine reports it).
 * -ENOMEM with want_huge: too few free huge pages, on this node or at all (never a later SIGBUS).
 * Syscalls: memfd_create, ftruncate, fcntl(F_ADD_SEALS), mmap, mbind, move_pages. No capability.
 */
int umem_init(struct umem *umem, const struct umem_spec *spec);

/* Unmaps and zeroes; a zeroed or half-built umem is fine. Every XSK of it is closed before. */
void umem_fini(struct umem *umem);

/* Frees the quarantined frames that carry `tag`; returns how many. Thread: the owner. O(n_frames).
 */
uint32_t umem_reclaim(struct umem *umem, unsigned tag);

static inline uint64_t umem_frame_addr(const struct umem *umem, uint32_t frame)
{
	return (uint64_t)frame << umem->frame_shift;
}

/* Frame number of an address that the kernel gave us; >= n_frames for nonsense. */
static inline uint64_t umem_frame_of(const struct umem *umem, uint64_t addr)
{
	return addr >> umem->frame_shift;
}

/*
 * Does [addr, addr + len) lie within one frame of this region? Descriptors are input. For
 * sluice-gen and tests; the worker's own check (data/loop.c) also asks whose the frame is.
 */
static inline bool umem_holds(const struct umem *umem, uint64_t addr, uint32_t len)
{
	uint64_t offset = addr & ((1ULL << umem->frame_shift) - 1);

	return umem_frame_of(umem, addr) < umem->n_frames &&
	       offset + len <= (1ULL << umem->frame_shift);
}

/*
 * Brings a packet's first line on its way. Before the address has been judged: it may be anything,
 * so it is added as a number, and the processor ignores what it cannot reach.
 */
static inline void umem_prefetch(const struct umem *umem, uint64_t addr)
{
	__builtin_prefetch((const void *)((uintptr_t)umem->area + addr));
}

static inline void umem_put(struct umem *umem, uint32_t frame)
{
	umem->owner[frame] = FRAME_FREE;
	umem->free[umem->n_free++] = frame;
}

/* The caller has seen n_free > 0 and sets the owner byte. */
static inline uint32_t umem_take(struct umem *umem)
{
	return umem->free[--umem->n_free];
}
