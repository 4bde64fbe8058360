/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pool, and making and compressing its nodes. Runs in the control thread. */
#include "net/fib6_node.h"

#include <errno.h>
#include <string.h>

#include "util/macros.h"

#define HEADER_BYTES offsetof(struct fib6_node, entries)
#define NO_NODE      UINT32_MAX

static unsigned units_for(unsigned n_entries)
{
	return (unsigned)((HEADER_BYTES + n_entries * sizeof(uint32_t) + FIB6_UNIT_BYTES - 1) /
			  FIB6_UNIT_BYTES);
}

int fib6_pool_init(struct fib6_pool *pool, const struct fib_pages *pages, size_t max_bytes)
{
	size_t n_units = max_bytes / FIB6_UNIT_BYTES;

	*pool = (struct fib6_pool){
		.n_units = (uint32_t)MIN(n_units, (size_t)FIB6_CHILD),
		.pages = pages,
	};
	for (size_t i = 0; i < ARRAY_SIZE(pool->free_lists); i++)
		pool->free_lists[i] = NO_NODE;
	pool->base = pages->map((size_t)pool->n_units * FIB6_UNIT_BYTES);
	return pool->base ? 0 : -ENOMEM;
}

void fib6_pool_fini(struct fib6_pool *pool)
{
	if (pool->base)
		pool->pages->unmap(pool->base, (size_t)pool->n_units * FIB6_UNIT_BYTES);
	pool->base = NULL;
}

/* The free list's link is where a node has its head: nobody reads it there any more. */
static uint64_t *link_at(const struct fib6_pool *pool, uint32_t number)
{
	return fib6_at(pool->base, number);
}

static void put_piece(struct fib6_pool *pool, uint32_t number, unsigned n_units)
{
	pool->n_free += n_units;
	*link_at(pool, number) = pool->free_lists[n_units];
	pool->free_lists[n_units] = number;
}

/*
 * The size itself, else what was never used, else the smallest larger piece, cut. Pieces are not
 * joined again: a table's mix of sizes hardly changes, and the rest of a cut serves small nodes,
 * which are by far the most.
 */
static uint32_t take_piece(struct fib6_pool *pool, unsigned n_units)
{
	uint32_t number = pool->free_lists[n_units];
	unsigned size = n_units;

	if (number == NO_NODE && pool->n_units - pool->n_ever_used >= n_units) {
		number = pool->n_ever_used;
		pool->n_ever_used += n_units;
		return number;
	}
	while (number == NO_NODE && ++size <= FIB6_MAX_UNITS)
		number = pool->free_lists[size];
	if (number == NO_NODE)
		return NO_NODE;
	pool->free_lists[size] = (uint32_t)*link_at(pool, number);
	pool->n_free -= size;
	if (size > n_units)
		put_piece(pool, number + n_units, size - n_units);
	return number;
}

int fib6_take(struct fib6_pool *pool, size_t size_bytes, uint32_t *ret_ref)
{
	uint32_t number =
		take_piece(pool, (unsigned)((size_bytes + FIB6_UNIT_BYTES - 1) / FIB6_UNIT_BYTES));

	if (number == NO_NODE)
		return -ENOSPC;
	*ret_ref = number;
	return 0;
}

uint32_t fib6_ref_bytes(const struct fib6_pool *pool, uint32_t ref)
{
	const struct fib6_node *node = fib6_at(pool->base, ref);

	if (ref & FIB6_BUCKET)
		return FIB6_UNIT_BYTES;
	return units_for(node->n_entries) * FIB6_UNIT_BYTES;
}

void fib6_free_ref(struct fib6_pool *pool, uint32_t ref)
{
	put_piece(pool, ref & FIB6_NUMBER, fib6_ref_bytes(pool, ref) / FIB6_UNIT_BYTES);
}

uint32_t fib6_inherited(const struct fib6_pool *pool, uint32_t ref)
{
	const struct fib6_head *head = fib6_at(pool->base, ref);

	return fib6_leaf(atomic_load_explicit(&head->inherit, memory_order_relaxed),
			 head->inherit_bits);
}

void fib6_inherit(struct fib6_pool *pool, uint32_t ref, uint32_t leaf)
{
	struct fib6_head *head = fib6_at(pool->base, ref);

	head->inherit_bits = (uint8_t)(leaf >> FIB6_BITS_SHIFT);
	atomic_store_explicit(&head->inherit, (uint16_t)(leaf & FIB6_NH_MASK),
			      memory_order_relaxed);
}

void fib6_node_widen(const struct fib6_pool *pool, uint32_t ref, struct fib6_wide *ret_wide)
{
	const struct fib6_node *node = fib6_at(pool->base, ref);
	unsigned next = 0;
	uint32_t entry = FIB6_NONE;

	for (unsigned b = 0; b < 256; b++) {
		if (node->starts[b >> 6] >> (b & 63) & 1)
			entry = atomic_load_explicit(&node->entries[next++], memory_order_relaxed);
		ret_wide->entries[b] = entry;
	}
}

/*
 * Neighbours are one entry if they are ruled by the same prefix; equal leaves of two prefixes stay
 * two, so that taking a prefix away needs no start that is not there: fib6_node_shrink().
 */
static bool is_start(const struct fib6_wide *wide, unsigned b)
{
	uint32_t entry = wide->entries[b];
	unsigned bits = entry >> FIB6_BITS_SHIFT;

	if (b == 0 || entry != wide->entries[b - 1] || entry & FIB6_CHILD)
		return true;
	return bits > 0 && (b & (0xffU >> bits)) == 0;
}

/* Returns the number of entries that are stored. */
static unsigned find_starts(const struct fib6_wide *wide, uint64_t *ret_starts)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 4; w++) {
		uint64_t starts = 0;

		for (unsigned b = 64 * w; b < 64 * (w + 1); b++) {
			bool starts_here = is_start(wide, b);

			starts |= (uint64_t)starts_here << (b & 63);
			n += starts_here;
		}
		ret_starts[w] = starts;
	}
	return n;
}

int fib6_node_new(struct fib6_pool *pool, const struct fib6_wide *wide, uint32_t inherit,
		  uint32_t *ret_ref)
{
	uint64_t starts[4];
	unsigned n = find_starts(wide, starts), next = 0;
	struct fib6_node *node;
	uint32_t ref;
	int r;

	r = fib6_take(pool, HEADER_BYTES + n * sizeof(uint32_t), &ref);
	if (r < 0)
		return r;
	node = fib6_at(pool->base, ref);
	memcpy(node->starts, starts, sizeof(starts));
	node->n_entries = n;
	for (unsigned b = 0; b < 256; b++) {
		if ((b & 63) == 0)
			node->n_before[b >> 6] = (uint8_t)next;
		if (starts[b >> 6] >> (b & 63) & 1)
			atomic_store_explicit(&node->entries[next++], wide->entries[b],
					      memory_order_relaxed);
	}
	fib6_inherit(pool, ref, inherit);
	*ret_ref = ref;
	return 0;
}

static void store_entries(struct fib6_node *node, const struct fib6_wide *wide)
{
	unsigned next = 0;

	for (unsigned b = 0; b < 256; b++) {
		if (!(node->starts[b >> 6] >> (b & 63) & 1))
			continue;
		/* release: a new child is complete */
		atomic_store_explicit(&node->entries[next++], wide->entries[b],
				      memory_order_release);
	}
}

bool fib6_node_update(struct fib6_pool *pool, uint32_t ref, const struct fib6_wide *wide)
{
	struct fib6_node *node = fib6_at(pool->base, ref);
	uint64_t starts[4];

	(void)find_starts(wide, starts);
	if (memcmp(starts, node->starts, sizeof(starts)) != 0)
		return false;
	store_entries(node, wide);
	return true;
}

void fib6_node_shrink(struct fib6_pool *pool, uint32_t ref, const struct fib6_wide *wide)
{
	struct fib6_node *node = fib6_at(pool->base, ref);
	uint64_t starts[4];

	(void)find_starts(wide, starts);
	for (unsigned w = 0; w < 4; w++)
		assert((starts[w] & ~node->starts[w]) == 0);
	store_entries(node, wide);
}
