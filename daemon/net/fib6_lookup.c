/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking up in the IPv6 table, a burst in lock-step. Runs in the workers; owns nothing. */
#include <stdatomic.h>
#include <stdbool.h>

#include "net/fib6.h"
#include "net/fib6_internal.h"
#include "net/fib_atomic.h"
#include "util/macros.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/*
 * The lookups of a burst that are not finished: the entry where each goes on, and one bit for those
 * that are at a child, and for those whose child is a bucket, which are left to the end. Bits in
 * two registers, because what an entry is cannot be foreseen, so there must be no branch on it.
 */
struct pending {
	uint32_t *entries;
	const _Atomic uint32_t **slots; /* where the next entry is, within a step */
	uint64_t children;              /* of this step */
	uint64_t buckets;               /* of all steps */
};

static_assert(FIB_BURST == 64, "a bit for each lookup of a burst");

static ALWAYS_INLINE void follow(uint8_t *base, struct pending *pending, uint32_t entry, unsigned i)
{
	__builtin_prefetch(fib6_at(base, entry));
	pending->entries[i] = entry;
	pending->children |= (uint64_t)(entry >> 31) << i;
	pending->buckets |= (uint64_t)(entry >> 30 & 1) << i; /* which no leaf has */
}

static ALWAYS_INLINE uint16_t leaf_of(uint32_t entry)
{
	return (uint16_t)(entry & FIB6_NH_MASK & ((entry >> 31) - 1));
}

/* The first that is not 0; by a mask, because a compiler makes a branch of a ?: with loads. */
static ALWAYS_INLINE uint16_t first_of(uint16_t one, uint16_t other)
{
	return (uint16_t)(one | (other & -(unsigned)(one == 0)));
}

/* The first 24 bits. */
static ALWAYS_INLINE void lookup_root(const struct fib6 *fib, const struct ip6_addr *dst,
				      uint16_t *nh, unsigned n, struct pending *pending)
{
	const _Atomic uint32_t *root = fib->root;
	uint8_t *base = fib->pool.base;

	/* all of them before the first is waited for, as in fib4.c */
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(&root[fib6_root_index(&dst[i])]);
	for (unsigned i = 0; i < n; i++) {
		uint32_t entry = fib_load32(&root[fib6_root_index(&dst[i])]);

		nh[i] = leaf_of(entry);
		follow(base, pending, entry, i);
	}
}

/*
 * One step of every lookup that is at a node; twice over them, because in a large node the entry is
 * in another line than the head. With 1,000,000 routes that halved the time of a lookup.
 */
static ALWAYS_INLINE void lookup_nodes(uint8_t *base, const struct ip6_addr *dst, unsigned octet,
				       uint16_t *nh, struct pending *pending)
{
	uint64_t nodes = pending->children & ~pending->buckets;

	for (uint64_t left = nodes; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		const struct fib6_node *node = fib6_at(base, pending->entries[i]);
		uint16_t inherit = atomic_load_explicit(&node->head.inherit, memory_order_relaxed);

		pending->slots[i] = &node->entries[fib6_node_index(node, dst[i].octet[octet])];
		__builtin_prefetch(pending->slots[i]);
		nh[i] = first_of(inherit, nh[i]);
	}
	pending->children = 0;
	for (uint64_t left = nodes; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		uint32_t entry = fib_load32(pending->slots[i]);

		nh[i] = first_of(leaf_of(entry), nh[i]);
		follow(base, pending, entry, i);
	}
}

/* Which of its prefixes an address is in, one bit each. */
typedef unsigned (*match_fn)(const struct fib6_bucket *bucket, uint64_t high);

static ALWAYS_INLINE unsigned match_portable(const struct fib6_bucket *bucket, uint64_t high)
{
	unsigned matches = 0;

	for (unsigned k = 0; k < FIB6_BUCKET_MAX; k++)
		matches |= (unsigned)((high ^ bucket->high[k]) >> bucket->shift[k] == 0) << k;
	return matches;
}

/* The longest prefix of a bucket is its last one that matches. */
static ALWAYS_INLINE void lookup_buckets(uint8_t *base, const struct ip6_addr *dst, uint16_t *nh,
					 const struct pending *pending, match_fn match)
{
	for (uint64_t buckets = pending->buckets; buckets; buckets &= buckets - 1) {
		unsigned i = (unsigned)__builtin_ctzll(buckets);
		const struct fib6_bucket *bucket = fib6_at(base, pending->entries[i]);
		uint16_t inherit =
			atomic_load_explicit(&bucket->head.inherit, memory_order_relaxed);
		unsigned matches = atomic_load_explicit(&bucket->valid, memory_order_relaxed);
		unsigned last;
		uint64_t high;
		uint16_t hop;

		memcpy(&high, dst[i].octet, sizeof(high));
		matches &= match(bucket, be64toh(high));
		last = 31 - (unsigned)__builtin_clz(matches | 1);
		hop = atomic_load_explicit(&bucket->nh[last], memory_order_relaxed);
		hop &= (uint16_t) - (unsigned)(matches != 0);
		nh[i] = first_of(hop, first_of(inherit, nh[i]));
	}
}

/* Four at a time: subtracting 1 borrows from the top bit of a lane only if the lane is 0, or to the
 * right of one that is. */
static ALWAYS_INLINE bool is_any_missing(const uint16_t *nh, unsigned n)
{
	uint64_t missing = 0;
	unsigned i = 0;

	for (; i + 4 <= n; i += 4) {
		uint64_t four;

		memcpy(&four, nh + i, sizeof(four));
		missing |= (four - 0x0001000100010001ULL) & ~four & 0x8000800080008000ULL;
	}
	for (; i < n; i++)
		missing |= nh[i] == 0;
	return missing != 0;
}

static ALWAYS_INLINE void lookup_once(const struct fib6 *fib, const struct ip6_addr *dst,
				      uint16_t *nh, unsigned n, match_fn match)
{
	uint32_t entries[FIB_BURST] UNINITIALIZED; /* read where a bit says that it was written */
	const _Atomic uint32_t *slots[FIB_BURST] UNINITIALIZED;
	struct pending pending = {.entries = entries, .slots = slots};

	lookup_root(fib, dst, nh, n, &pending);
	fib_acquire(); /* pairs with the release in point_to() */
	for (unsigned octet = FIB6_ROOT_BITS / 8; pending.children & ~pending.buckets; octet++) {
		lookup_nodes(fib->pool.base, dst, octet, nh, &pending);
		fib_acquire();
	}
	lookup_buckets(fib->pool.base, dst, nh, &pending, match);
	if (!is_any_missing(nh, n))
		return;
	for (unsigned i = 0; i < n; i++)
		nh[i] = first_of(nh[i], fib_top_lookup(&fib->top, dst[i].octet[0]));
}

void fib6_lookup_portable(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			  unsigned n)
{
	lookup_once(fib, dst, nh, n, match_portable);
}

#if defined(__x86_64__)
/*
 * Population count is an instruction of its own since 2008 and AVX2 is there since 2013, but
 * neither is in the x86-64 baseline. Written with gcc's vectors: no header, hence no room rule.
 */
#define AVX2 __attribute__((target("avx2,popcnt,bmi,bmi2")))

typedef uint64_t four_words __attribute__((vector_size(32)));
typedef uint8_t four_bytes __attribute__((vector_size(4)));
typedef double four_doubles __attribute__((vector_size(32)));

static_assert(FIB6_BUCKET_MAX == 4, "a vector has four words");

AVX2 static inline unsigned match_avx2(const struct fib6_bucket *bucket, uint64_t high)
{
	four_words prefixes;
	four_bytes shifts;

	memcpy(&prefixes, bucket->high, sizeof(prefixes));
	memcpy(&shifts, bucket->shift, sizeof(shifts));
	prefixes = (prefixes ^ high) >> __builtin_convertvector(shifts, four_words);
	return (unsigned)__builtin_ia32_movmskpd256((four_doubles)(prefixes == 0));
}

AVX2 static void lookup_avx2(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			     unsigned n)
{
	lookup_once(fib, dst, nh, n, match_avx2);
}

fib6_lookup_fn fib6_choose_lookup(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
		return lookup_avx2;
	return fib6_lookup_portable;
}
#else
fib6_lookup_fn fib6_choose_lookup(void)
{
	return fib6_lookup_portable;
}
#endif

/* False: there were changes meanwhile. */
static bool lookup_is_stable(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			     unsigned n)
{
	uint32_t before = fib_changes(&fib->n_changes);

	fib->lookup(fib, dst, nh, n);
	return !fib_was_changed(&fib->n_changes, before);
}

static void lookup_burst(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			 unsigned n)
{
	if (likely(lookup_is_stable(fib, dst, nh, n)) || lookup_is_stable(fib, dst, nh, n))
		return;
	for (unsigned i = 0; i < n; i++) {
		unsigned n_tries = 0;

		while (!lookup_is_stable(fib, &dst[i], &nh[i], 1) && ++n_tries < FIB_TRIES)
			;
	}
}

void fib6_lookup_burst(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh, unsigned n)
{
	for (; unlikely(n > FIB_BURST); dst += FIB_BURST, nh += FIB_BURST, n -= FIB_BURST)
		lookup_burst(fib, dst, nh, FIB_BURST);
	lookup_burst(fib, dst, nh, n);
}
