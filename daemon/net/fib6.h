/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Longest-prefix match for IPv6: a table of the first 24 bits, then a trie of compressed nodes of
 * eight bits each, whose sparse parts are buckets.
 *
 *	root[2^24] ──► node, bits 24–31 ──► node, bits 32–39 ──► bucket: up to four prefixes
 *	   │              │ next hop           │ next hop              │ next hop
 *	   ▼              ▼                    ▼                       ▼      the last wins
 *
 * A node stands for 256 entries (next hop, child, or nothing), of which neighbours that are
 * ruled by the same prefix are stored once: a bitmap tells where a new entry begins, and the
 * number of bits up to the address byte is the index of its entry. That is Degermark's
 * compression ("Small Forwarding Tables for Fast Routing Lookups", SIGCOMM 1997) with
 * Poptrie's population count (Asai and Ohara, SIGCOMM 2015). A bucket is one cache line, its
 * prefixes (up to /64) compared at once; it saves the chain of nodes that a lone /48 would
 * need, as path compression does in a Patricia trie, without ending in a single prefix.
 *
 * Why this one. DPDK's trie (rte_fib6, same strides) takes 512 or 1024 bytes per node, and pushes
 * each next hop down into every node below: 250,000 prefixes are hundreds of MiB, and each step a
 * cache miss. Here they are 17 MiB, which an L3 cache holds. A burst is looked up step by step:
 * each round does one step of all that are not finished, and prefetches the lines of the next, so
 * misses overlap, and no branch depends on an address. The price is several times as many
 * instructions per step: a table of 1000 prefixes, which is in the L1 and L2 caches either way, is
 * looked up more slowly than DPDK's (tools/bench fib shows both).
 *
 * Changes. Next hops are not pushed down, so a prefix is in one node or bucket only (/8 to /24: in
 * its range of the root, as in net/fib4.h; shorter: net/fib_top.h). A node or bucket keeps the next
 * hop of its own place in the parent (`inherit`), since there the pointer to it stands instead. A
 * change makes a copy of one of them, 64 to 1088 bytes, and of what is missing below, and stores
 * one pointer; a change of next hop alone, and a delete from a bucket, stores into place. A bucket
 * that overflows becomes a node; a node becomes a bucket again only by way of being empty.
 *
 * Memory: a bucket 64 bytes; a node 44 + 4 × entries, rounded up to 64. A BGP table takes 50 to 60
 * bytes per prefix; unrelated prefixes longer than /64 are the worst case, 832 bytes for a /128.
 * The root and its lengths are 80 MiB of address space, committed in pieces of 2 MiB as they are
 * touched: 5 to 10 MiB for what the registries have given out. The hash of all prefixes takes 27 to
 * 36 bytes each. 250,000 prefixes: 27 MiB in all (tests/unit/test_fib6.c prints it).
 */
#pragma once

#include "net/fib.h"
#include "net/wire.h"

/* Address space for nodes; 250,000 unrelated /128s need 208 MB. */
#define FIB6_NODE_BYTES  (256UL << 20)
#define FIB6_MAX_RETIRED 16384

struct fib6;

/*
 * Borrows pages for the life of the table. Nodes take max_node_bytes at most (FIB6_NODE_BYTES for
 * want of a reason). -ENOMEM. Thread: control, as all but the lookup.
 */
int fib6_new(const struct fib_pages *pages, size_t max_node_bytes, struct fib6 **ret_fib);

/* No worker may be looking up any more. NULL is allowed. */
void fib6_free(struct fib6 *fib);

/* Adds the prefix, or gives it another next hop. Errors: net/fib.h. */
int fib6_add(struct fib6 *fib, const struct ip6_addr *addr, unsigned len, uint16_t nh);

int fib6_delete(struct fib6 *fib, const struct ip6_addr *addr, unsigned len);

/* The next hop of exactly this prefix, or FIB_NO_ROUTE. */
uint16_t fib6_get(const struct fib6 *fib, const struct ip6_addr *addr, unsigned len);

/* Next hops of n addresses, FIB_NO_ROUTE where nothing matches. Thread: worker. */
void fib6_lookup_burst(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
		       unsigned n);

/* What is retired from now on is stamped with this generation. */
void fib6_begin_generation(struct fib6 *fib, uint64_t generation);

/* Frees what was retired in generations before the oldest that a worker may be in. */
void fib6_reclaim(struct fib6 *fib, uint64_t oldest_generation_seen);

void fib6_stats(const struct fib6 *fib, struct fib_stats *ret_stats);
