/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the trie of net/fib6.h is made of: compressed nodes and buckets. Inside of net/fib6*.c only.
 *
 * A node has 256 entries, of which only those are stored that differ from their left neighbour. An
 * entry is a child (FIB6_CHILD | its reference), or a leaf: next hop in bits 0–14, in bits 16–19
 * how many bits of the node the prefix that rules it has (1 … 8; 0: none, and next hop 0). Where a
 * child stands, the leaf of the same place is kept in the child: inherit, inherit_bits.
 *
 * A bucket stands for a part of the trie with few prefixes, none longer than /64: it lists them.
 *
 * A reference is the distance from the start of the pool in units, with FIB6_BUCKET for a bucket.
 *
 * Once a worker can reach it, a node changes only in its entries and in `inherit`, a bucket in its
 * next hops, in `valid` and in `inherit`; each is one atomic word. For the rest there is a new one.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/fib.h"
#include "net/wire.h"
#include "util/macros.h"

#define FIB6_CHILD      0x80000000U
#define FIB6_BUCKET     0x40000000U
#define FIB6_NUMBER     0x3fffffffU
#define FIB6_NH_MASK    0x7fffU
#define FIB6_BITS_SHIFT 16
#define FIB6_NONE       0U /* the leaf where nothing matches */

/* How both begin. */
struct fib6_head {
	_Atomic uint16_t inherit; /* next hop that the parent has in our place, or 0 */
	uint8_t inherit_bits;
};

struct fib6_node {
	struct fib6_head head;
	uint8_t n_before[4]; /* entries that start before each word of starts[] */
	uint64_t starts[4];  /* bit b of 256: entry b differs from entry b − 1; bit 0 is set */
	uint32_t n_entries;
	_Atomic uint32_t entries[];
};

static_assert(offsetof(struct fib6_node, entries) + 5 * sizeof(uint32_t) == CACHE_LINE_BYTES,
	      "five entries fill a cache line");

/* Prefixes in one cache line. */
#define FIB6_BUCKET_MAX     4
#define FIB6_BUCKET_MAX_LEN 64

struct fib6_bucket {
	struct fib6_head head;
	_Atomic uint8_t valid;          /* which of the prefixes are there, one bit each */
	uint8_t shift[FIB6_BUCKET_MAX]; /* 64 − length; the longest one is the last */
	_Atomic uint16_t nh[FIB6_BUCKET_MAX];
	uint64_t high[FIB6_BUCKET_MAX]; /* first half of the address */
};

static_assert(sizeof(struct fib6_bucket) <= CACHE_LINE_BYTES, "a bucket is one cache line");

/* A prefix by itself. */
struct fib6_prefix {
	struct ip6_addr addr;
	uint8_t len;
	uint16_t nh;
};

#define FIB6_UNIT_BYTES CACHE_LINE_BYTES
/* Sizes in units: 1 … 17. */
#define FIB6_MAX_UNITS ((44 + 256 * 4 + FIB6_UNIT_BYTES - 1) / FIB6_UNIT_BYTES)

/* Where they live. */
struct fib6_pool {
	uint8_t *base; /* r: workers */
	uint32_t n_units;
	uint32_t n_ever_used;
	uint32_t n_free;                         /* units of those in free_lists */
	uint32_t free_lists[FIB6_MAX_UNITS + 1]; /* by size; linked through the first bytes */
	const struct fib_pages *pages;
};

/* A node with all of its entries, to be changed. */
struct fib6_wide {
	uint32_t entries[256];
};

static inline void *fib6_at(uint8_t *base, uint32_t ref)
{
	return base + (size_t)(ref & FIB6_NUMBER) * FIB6_UNIT_BYTES;
}

static inline uint32_t fib6_leaf(uint16_t nh, unsigned bits)
{
	return (uint32_t)bits << FIB6_BITS_SHIFT | nh;
}

/* Index of the entry for an address byte: the starts up to it, less the first. */
static inline unsigned fib6_node_index(const struct fib6_node *node, unsigned byte)
{
	uint64_t upto = node->starts[byte >> 6] << (63 - (byte & 63));

	return node->n_before[byte >> 6] + (unsigned)__builtin_popcountll(upto) - 1;
}

/* Room for max_bytes. -ENOMEM. */
int fib6_pool_init(struct fib6_pool *pool, const struct fib_pages *pages, size_t max_bytes);

void fib6_pool_fini(struct fib6_pool *pool);

/* Room for one, to be filled before it is pointed to. -ENOSPC. */
int fib6_take(struct fib6_pool *pool, size_t size_bytes, uint32_t *ret_ref);

/* Not reachable by any worker. */
void fib6_free_ref(struct fib6_pool *pool, uint32_t ref);

uint32_t fib6_ref_bytes(const struct fib6_pool *pool, uint32_t ref);

/* The leaf that stands in its place in the parent. */
uint32_t fib6_inherited(const struct fib6_pool *pool, uint32_t ref);

void fib6_inherit(struct fib6_pool *pool, uint32_t ref, uint32_t leaf);

static inline bool fib6_wide_is_empty(const struct fib6_wide *wide)
{
	for (unsigned i = 0; i < 256; i++) {
		if (wide->entries[i] != FIB6_NONE)
			return false;
	}
	return true;
}

/* --- nodes -------------------------------------------------------------------------------------
 */

void fib6_node_widen(const struct fib6_pool *pool, uint32_t ref, struct fib6_wide *ret_wide);

/* A new node of these entries. -ENOSPC. */
int fib6_node_new(struct fib6_pool *pool, const struct fib6_wide *wide, uint32_t inherit,
		  uint32_t *ret_ref);

/*
 * Stores the entries into the node as it stands, which workers may be reading; false, and nothing
 * done, if its bitmap is not exactly that of the entries.
 */
bool fib6_node_update(struct fib6_pool *pool, uint32_t ref, const struct fib6_wide *wide);

/* The same after something was taken out: the bitmap suffices, but is larger than need be. */
void fib6_node_shrink(struct fib6_pool *pool, uint32_t ref, const struct fib6_wide *wide);

/* --- buckets: net/fib6_bucket.c ----------------------------------------------------------------
 */

/* May these be in a bucket? */
bool fib6_bucket_holds(const struct fib6_prefix *prefixes, unsigned n);

/* Of prefixes in ascending order of length. -ENOSPC. */
int fib6_bucket_new(struct fib6_pool *pool, const struct fib6_prefix *prefixes, unsigned n,
		    uint32_t inherit, uint32_t *ret_ref);

/* In ascending order of length; returns how many. */
unsigned fib6_bucket_list(const struct fib6_pool *pool, uint32_t ref,
			  struct fib6_prefix *ret_prefixes);

bool fib6_bucket_is_empty(const struct fib6_pool *pool, uint32_t ref);

/* In place: another next hop for a prefix, or FIB_NO_ROUTE to take it out. False: not in it. */
bool fib6_bucket_set(struct fib6_pool *pool, uint32_t ref, const struct fib6_prefix *prefix);
