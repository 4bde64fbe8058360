/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes out the nodes and buckets of the IPv6 trie that became empty when the queue of retired
 * pieces was full: a delete never fails, so it left them in place. Nothing else would take them out
 * unless a prefix came and went in the same place, and with a worker stalled often enough they
 * would fill the pool of a table that has no prefixes. Runs in the control thread.
 */
#include <string.h>

#include "net/fib6_internal.h"

/*
 * The first empty node or bucket below `entry` that is at *addr or behind it; then *addr is its
 * first address down to its level. Recursion: a level of the trie each.
 */
static bool find_empty(const struct fib6 *fib, uint32_t entry, unsigned octet,
		       struct ip6_addr *addr)
{
	uint32_t ref = entry & ~FIB6_CHILD;
	struct fib6_wide wide;

	if (ref & FIB6_BUCKET)
		return fib6_bucket_is_empty(&fib->pool, ref);
	fib6_node_widen(&fib->pool, ref, &wide);
	if (fib6_wide_is_empty(&wide))
		return true;
	for (unsigned b = addr->octet[octet]; b < 256; b++) {
		addr->octet[octet] = (uint8_t)b;
		if (wide.entries[b] & FIB6_CHILD &&
		    find_empty(fib, wide.entries[b], octet + 1, addr))
			return true;
		memset(addr->octet + octet + 1, 0, sizeof(addr->octet) - octet - 1);
	}
	return false;
}

/* False: no more room to retire. */
static bool tidy_slot(struct fib6 *fib, uint32_t slot)
{
	const uint32_t slot_be = htobe32(slot << (32 - FIB6_ROOT_BITS));
	struct ip6_addr addr = {0};

	memcpy(addr.octet, &slot_be, sizeof(slot_be));
	for (;;) {
		uint32_t entry = atomic_load_explicit(&fib->root[slot], memory_order_relaxed);

		if (!(entry & FIB6_CHILD) || !find_empty(fib, entry, FIB6_ROOT_BITS / 8, &addr))
			return true;
		/* from there on: what is before it is tidy */
		if (!fib6_take_out_empty(fib, &addr))
			return false;
	}
}

static bool tidy_piece(struct fib6 *fib, uint32_t piece)
{
	uint32_t first = piece * FIB6_PIECE_SLOTS;

	for (uint32_t slot = first; slot < first + FIB6_PIECE_SLOTS; slot++) {
		if (!(fib->root_lens[slot] & FIB6_UNTIDY))
			continue;
		if (!tidy_slot(fib, slot))
			return false;
		fib->root_lens[slot] &= (uint8_t)~FIB6_UNTIDY;
	}
	return true;
}

void fib6_tidy(struct fib6 *fib)
{
	while (fib->pieces_untidy) {
		uint32_t piece = (uint32_t)__builtin_ctz(fib->pieces_untidy);

		if (!tidy_piece(fib, piece))
			return;
		fib->pieces_untidy &= ~(1U << piece);
	}
}
