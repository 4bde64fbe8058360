/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the IPv6 trie with few prefixes. Runs in the control thread. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "net/fib6_node.h"

static uint64_t high_of(const struct ip6_addr *addr)
{
	uint64_t be;

	memcpy(&be, addr->octet, sizeof(be));
	return be64toh(be);
}

bool fib6_bucket_holds(const struct fib6_prefix *prefixes, unsigned n)
{
	/* the last one is the longest */
	return n <= FIB6_BUCKET_MAX && prefixes[n - 1].len <= FIB6_BUCKET_MAX_LEN;
}

int fib6_bucket_new(struct fib6_pool *pool, const struct fib6_prefix *prefixes, unsigned n,
		    uint32_t inherit, uint32_t *ret_ref)
{
	struct fib6_bucket *bucket;
	uint32_t ref;
	int r;

	assert(fib6_bucket_holds(prefixes, n));
	r = fib6_take(pool, sizeof(*bucket), &ref);
	if (r < 0)
		return r;
	bucket = fib6_at(pool->base, ref);
	for (unsigned k = 0; k < n; k++) {
		bucket->shift[k] = (uint8_t)(FIB6_BUCKET_MAX_LEN - prefixes[k].len);
		bucket->high[k] = high_of(&prefixes[k].addr);
		atomic_store_explicit(&bucket->nh[k], prefixes[k].nh, memory_order_relaxed);
	}
	for (unsigned k = n; k < FIB6_BUCKET_MAX; k++)
		bucket->shift[k] = 0; /* a lookup shifts by it, valid or not */
	atomic_store_explicit(&bucket->valid, (uint8_t)((1U << n) - 1), memory_order_relaxed);
	fib6_inherit(pool, ref, inherit);
	*ret_ref = ref | FIB6_BUCKET;
	return 0;
}

unsigned fib6_bucket_list(const struct fib6_pool *pool, uint32_t ref,
			  struct fib6_prefix *ret_prefixes)
{
	const struct fib6_bucket *bucket = fib6_at(pool->base, ref);
	uint8_t valid = atomic_load_explicit(&bucket->valid, memory_order_relaxed);
	unsigned n = 0;

	for (unsigned k = 0; k < FIB6_BUCKET_MAX; k++) {
		uint64_t be = htobe64(bucket->high[k]);

		if (!(valid >> k & 1))
			continue;
		ret_prefixes[n] = (struct fib6_prefix){
			.len = (uint8_t)(FIB6_BUCKET_MAX_LEN - bucket->shift[k]),
			.nh = atomic_load_explicit(&bucket->nh[k], memory_order_relaxed),
		};
		memcpy(ret_prefixes[n++].addr.octet, &be, sizeof(be));
	}
	return n;
}

bool fib6_bucket_is_empty(const struct fib6_pool *pool, uint32_t ref)
{
	const struct fib6_bucket *bucket = fib6_at(pool->base, ref);

	return atomic_load_explicit(&bucket->valid, memory_order_relaxed) == 0;
}

bool fib6_bucket_set(struct fib6_pool *pool, uint32_t ref, const struct fib6_prefix *prefix)
{
	struct fib6_bucket *bucket = fib6_at(pool->base, ref);
	uint8_t valid = atomic_load_explicit(&bucket->valid, memory_order_relaxed);
	uint64_t high = high_of(&prefix->addr);

	for (unsigned k = 0; k < FIB6_BUCKET_MAX; k++) {
		if (!(valid >> k & 1) || bucket->high[k] != high ||
		    bucket->shift[k] + prefix->len != FIB6_BUCKET_MAX_LEN)
			continue;
		if (prefix->nh == FIB_NO_ROUTE)
			atomic_store_explicit(&bucket->valid, (uint8_t)(valid & ~(1U << k)),
					      memory_order_relaxed);
		else
			atomic_store_explicit(&bucket->nh[k], prefix->nh, memory_order_relaxed);
		return true;
	}
	return false;
}
