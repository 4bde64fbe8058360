/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Longest-prefix match for IPv4: DIR-24-8 with 16-bit entries.
 *
 *	slots[2^24]            one entry per /24
 *	   next hop ───────────────────────────► result
 *	   group ──► groups[g][256] ──► next hop ► result   (a /24 with prefixes longer than /24)
 *
 * Why this one. Gupta, Lin and McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
 * INFOCOM 1998; DPDK's rte_lpm and rte_fib dir24_8 use it, so it is the one to be compared with. A
 * lookup is one load, in a burst all of them independent, and no branch depends on the address;
 * compressed tables (Poptrie, SIGCOMM 2015; DXR, CCR 2012) are smaller, but need three to five
 * dependent loads, and a change rebuilds parts that others share. 16-bit entries make the table 32
 * MiB: in huge pages that is 16 TLB entries, and the /24s that are in use stay in the L3 cache.
 *
 * Changes. Beside each entry stands the length of the prefix that set it, so that a change of a
 * prefix repaints, in one pass over its range, the entries that no longer prefix holds: 1 for a
 * /24, 65,536 for a /8. What is shorter, /0 among it, stands in a table of the first octet, which
 * is asked where an entry is 0 (net/fib_top.h).
 * A delete needs the next shorter prefix: it is searched for by length in a hash of all prefixes.
 * No entry is copied, but for the 256 of a new group; memory is retired only when a /24 loses its
 * last longer prefix.
 *
 * Memory: slots 32 MiB, their lengths 16 MiB, both whole as soon as they are touched; 768 bytes
 * per /24 that has longer prefixes, at most 32,768 of these (24 MiB), then -ENOSPC; the hash 9 to
 * 12 bytes per prefix. 1,000,000 prefixes, 4,000 of them longer: 61 MiB in all, of a limit of 64
 * (tests/unit/test_fib4.c).
 */
#pragma once

#include "net/fib.h"
#include "net/wire.h"

/* An entry has 15 bits for a group. */
#define FIB4_GROUPS      32768
#define FIB4_MAX_RETIRED 4096

struct fib4;

/* Borrows pages for the life of the table. -ENOMEM. Thread: control, as all but the lookup. */
int fib4_new(const struct fib_pages *pages, struct fib4 **ret_fib);

/* No worker may be looking up any more. NULL is allowed. */
void fib4_free(struct fib4 *fib);

/* Adds the prefix, or gives it another next hop. Errors: net/fib.h. */
int fib4_add(struct fib4 *fib, be32 addr, unsigned len, uint16_t nh);

int fib4_delete(struct fib4 *fib, be32 addr, unsigned len);

/* The next hop of exactly this prefix, or FIB_NO_ROUTE. */
uint16_t fib4_get(const struct fib4 *fib, be32 addr, unsigned len);

/* Next hops of n addresses, FIB_NO_ROUTE where nothing matches. Thread: worker. */
void fib4_lookup_burst(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n);

/*
 * For each of n /24s from number first24 (address >> 8) on: what by_nh[] says of the next hops of
 * its addresses, combined by "or". by_nh[] has FIB_NH_MAX + 1 bytes. Thread: control.
 */
void fib4_mark_slots(const struct fib4 *fib, uint32_t first24, uint32_t n, const uint8_t *by_nh,
		     uint8_t *ret_marks);

/* What is retired from now on is stamped with this generation. */
void fib4_begin_generation(struct fib4 *fib, uint64_t generation);

/* Frees what was retired in generations before the oldest that a worker may be in. */
void fib4_reclaim(struct fib4 *fib, uint64_t oldest_generation_seen);

void fib4_stats(const struct fib4 *fib, struct fib_stats *ret_stats);
