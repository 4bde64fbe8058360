/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making, freeing and measuring the IPv6 table. Runs in the control thread. */
#include <errno.h>
#include <stdlib.h>

#include "net/fib6_internal.h"

int fib6_new(const struct fib_pages *pages, size_t max_node_bytes, struct fib6 **ret_fib)
{
	struct fib6 *fib = aligned_alloc(CACHE_LINE_BYTES, sizeof(*fib));

	if (!fib)
		return -ENOMEM;
	*fib = (struct fib6){.pages = pages, .lookup = fib6_choose_lookup()};
	rib_init(&fib->rib, 3);
	fib->root = pages->map(FIB6_N_ROOT * sizeof(uint32_t));
	fib->root_lens = pages->map(FIB6_N_ROOT);
	if (!fib->root || !fib->root_lens ||
	    fib6_pool_init(&fib->pool, pages, max_node_bytes) < 0 ||
	    fib_limbo_init(&fib->limbo, FIB6_MAX_RETIRED) < 0) {
		fib6_free(fib);
		return -ENOMEM;
	}
	*ret_fib = fib;
	return 0;
}

void fib6_free(struct fib6 *fib)
{
	if (!fib)
		return;
	if (fib->root)
		fib->pages->unmap(fib->root, FIB6_N_ROOT * sizeof(uint32_t));
	if (fib->root_lens)
		fib->pages->unmap(fib->root_lens, FIB6_N_ROOT);
	fib6_pool_fini(&fib->pool);
	fib_limbo_fini(&fib->limbo);
	rib_fini(&fib->rib);
	free(fib);
}

void fib6_stats(const struct fib6 *fib, struct fib_stats *ret_stats)
{
	size_t n_slots = (size_t)__builtin_popcount(fib->pieces_touched) * FIB6_PIECE_SLOTS;

	*ret_stats = (struct fib_stats){
		.n_prefixes = fib->rib.n_prefixes,
		.lookup_bytes = n_slots * sizeof(uint32_t) +
				(size_t)fib->pool.n_ever_used * FIB6_UNIT_BYTES,
		.control_bytes = n_slots + sizeof(*fib) + rib_bytes(&fib->rib) +
				 FIB6_MAX_RETIRED * sizeof(struct fib_retired),
		.used_bytes = (size_t)(fib->pool.n_ever_used - fib->pool.n_free) * FIB6_UNIT_BYTES -
			      fib->limbo.size_bytes,
		.retired_bytes = fib->limbo.size_bytes,
		.n_retired = fib->limbo.tail - fib->limbo.head,
		.max_retired = FIB6_MAX_RETIRED,
	};
}
