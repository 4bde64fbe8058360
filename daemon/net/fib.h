/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two forwarding tables (net/fib4.h, net/fib6.h) have in common: their values, where
 * their memory comes from, and when memory that was taken out may be used again.
 *
 * Threads. One control thread adds, deletes and reclaims. Any number of workers look up at the
 * same time, with no lock and no store to shared memory. A lookup reads a chain of at most two
 * (IPv4) or fifteen (IPv6) words, each of which is replaced by one atomic store, and what a word
 * points to is complete before the word is stored (release; the reader acquires). So every single
 * lookup gives the result of before or of after a change, also when several changes come during its
 * burst (net/fib_atomic.h). Two lookups during one change of a short prefix may give one of each.
 *
 * Generations. What a change takes out, a worker may still be reading. It is retired: stamped with
 * the current generation, and used again only when every worker has been seen beyond it:
 *
 *	control                                      worker, between two bursts
 *	fib4_add() …                    retired at 7
 *	fib4_begin_generation(fib, 8)
 *	publish 8                       ─release──►  acquire 8
 *	                                             … its lookups cannot reach what 7 retired
 *	fib4_reclaim(fib, oldest seen)  ◄─release──  store seen = 8
 *
 * The numbers are the caller's; they only have to grow. Retired memory is bounded: when
 * FIB4_MAX_RETIRED or FIB6_MAX_RETIRED pieces wait, an add that would retire one more is refused
 * with -EAGAIN, which a stalled worker can bring about and its end cures.
 *
 * Errors; after each of them the table is as it was:
 *	-EINVAL  length too large, bits set behind the prefix, next hop 0 or above FIB_NH_MAX
 *	-ENOENT  delete: no such prefix
 *	-ENOMEM  add: no memory
 *	-ENOSPC  add: the lookup structure is full
 *	-EAGAIN  add: until what is retired has been reclaimed
 * A delete of a prefix that is there never fails: a route that is gone must not be used. Where it
 * has no room to retire or to copy, it leaves a piece larger than need be, or one that is empty;
 * the next reclaim takes the empty ones out.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Next hops are the caller's numbers, 1 … FIB_NH_MAX; what they mean is his table. */
#define FIB_NO_ROUTE 0
#define FIB_NH_MAX   0x7fff

/* Lookups that run in lock-step, so that their cache misses overlap. More are done in turn. */
#define FIB_BURST 64

/*
 * Where the large tables come from: util/pages.h in the daemon, which this room may not include
 * because it makes system calls. map() gives zeroed memory aligned to 64 bytes, best committed as
 * it is touched and in huge pages, or NULL.
 */
struct fib_pages {
	void *(*map)(size_t size_bytes);
	void (*unmap)(void *area, size_t size_bytes);
};

struct fib_stats {
	size_t n_prefixes;
	size_t lookup_bytes;  /* what workers read: committed, free and retired pieces included */
	size_t control_bytes; /* what only changes need */
	size_t used_bytes;    /* of lookup_bytes: groups, nodes and buckets that workers reach */
	size_t retired_bytes; /* of lookup_bytes: waiting for fibX_reclaim() */
	size_t n_retired;     /* pieces; refused with -EAGAIN at max_retired */
	size_t max_retired;
};
