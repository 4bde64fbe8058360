/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DIR-24-8; the structure is told in fib4.h, the threads in fib.h. fib4_lookup_burst() runs in the
 * workers, the rest in the control thread. Owns its tables.
 */
#include "net/fib4.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "net/fib_atomic.h"
#include "net/fib_limbo.h"
#include "net/fib_rib.h"
#include "net/fib_top.h"
#include "util/macros.h"

#define N_SLOTS       (1U << 24)
#define GROUP_ENTRIES 256U
#define GROUP_BYTES   (GROUP_ENTRIES * sizeof(uint16_t))
#define IS_GROUP      0x8000U
#define NO_GROUP      UINT32_MAX

static_assert(FIB4_GROUPS == IS_GROUP, "a group's number and the flag fill 16 bits");
static_assert(FIB_NH_MAX == IS_GROUP - 1, "a next hop and the flag fill 16 bits");

struct fib4 {
	/* r: workers */
	_Atomic uint16_t *slots;  /* by /24: next hop, or IS_GROUP | group; 0: as top says */
	_Atomic uint16_t *groups; /* FIB4_GROUPS × GROUP_ENTRIES next hops; 0 likewise */
	_Atomic uint32_t n_changes;
	struct fib_top top;

	/* control only */
	uint8_t *slot_lens
		CACHE_ALIGNED; /* length, 8 … 24, of the prefix that rules the slot; 0: none */
	uint8_t *group_lens;   /* the same of each entry of a group */
	uint32_t n_groups;     /* ever used: the first of the array */
	uint32_t n_free_groups;
	uint32_t free_group; /* head of the list through link[], or NO_GROUP */
	struct fib_limbo limbo;
	struct rib rib;
	const struct fib_pages *pages;
	uint16_t n_long[FIB4_GROUPS]; /* prefixes longer than 24 in the group */
	uint32_t link[FIB4_GROUPS];   /* its slot; of a free one the next free, or NO_GROUP */
	bool has_idle_groups;         /* some have no long prefix, and limbo had no room */
};

/* --- painting ----------------------------------------------------------------------------------
 */

/* Entries ruled by a length of from … upto are ruled by `len` from now on, and lead to nh. */
struct paint {
	uint8_t from;
	uint8_t upto;
	uint8_t len;
	uint16_t nh;
};

static bool paint_covers(const struct paint *paint, uint8_t len)
{
	return (uint8_t)(len - paint->from) <= (uint8_t)(paint->upto - paint->from);
}

static void paint_group(struct fib4 *fib, uint32_t group, uint32_t first, uint32_t n,
			const struct paint *paint)
{
	_Atomic uint16_t *entries = fib->groups + (size_t)group * GROUP_ENTRIES;
	uint8_t *lens = fib->group_lens + (size_t)group * GROUP_ENTRIES;

	for (uint32_t i = first; i < first + n; i++) {
		if (!paint_covers(paint, lens[i]))
			continue;
		lens[i] = paint->len;
		atomic_store_explicit(&entries[i], paint->nh, memory_order_relaxed);
	}
}

static void paint_slots(struct fib4 *fib, uint32_t first, uint32_t n, const struct paint *paint)
{
	for (uint32_t i = first; i < first + n; i++) {
		uint16_t entry;

		if (!paint_covers(paint, fib->slot_lens[i]))
			continue;
		fib->slot_lens[i] = paint->len;
		entry = atomic_load_explicit(&fib->slots[i], memory_order_relaxed);
		if (unlikely(entry & IS_GROUP))
			paint_group(fib, entry & ~IS_GROUP, 0, GROUP_ENTRIES, paint);
		else
			atomic_store_explicit(&fib->slots[i], paint->nh, memory_order_relaxed);
	}
}

/* --- groups ------------------------------------------------------------------------------------
 */

static uint32_t group_of(const struct fib4 *fib, uint32_t slot)
{
	uint16_t entry = atomic_load_explicit(&fib->slots[slot], memory_order_relaxed);

	return entry & IS_GROUP ? entry & ~IS_GROUP : NO_GROUP;
}

static bool group_is_available(const struct fib4 *fib)
{
	return fib->free_group != NO_GROUP || fib->n_groups < FIB4_GROUPS;
}

static uint32_t take_group(struct fib4 *fib)
{
	uint32_t group = fib->free_group;

	if (group == NO_GROUP)
		return fib->n_groups++;
	fib->free_group = fib->link[group];
	fib->n_free_groups--;
	return group;
}

/* Turns a slot into a group that says the same 256 times. */
static uint32_t open_group(struct fib4 *fib, uint32_t slot)
{
	uint32_t group = take_group(fib);
	const struct paint all = {
		.from = 0,
		.upto = UINT8_MAX,
		.len = fib->slot_lens[slot],
		.nh = atomic_load_explicit(&fib->slots[slot], memory_order_relaxed),
	};

	fib->link[group] = slot;
	fib->n_long[group] = 0;
	paint_group(fib, group, 0, GROUP_ENTRIES, &all);
	/* pairs with fib_acquire() in lookup_groups(): the 256 entries are there */
	atomic_store_explicit(&fib->slots[slot], (uint16_t)(IS_GROUP | group),
			      memory_order_release);
	return group;
}

/* All 256 say the same: back to a plain slot, if there is room to retire the group. */
static void close_group(struct fib4 *fib, uint32_t group)
{
	const _Atomic uint16_t *entries = fib->groups + (size_t)group * GROUP_ENTRIES;
	uint32_t slot = fib->link[group];

	if (!fib_limbo_has_room(&fib->limbo, 1)) {
		fib->has_idle_groups = true;
		return;
	}
	atomic_store_explicit(&fib->slots[slot],
			      atomic_load_explicit(&entries[0], memory_order_relaxed),
			      memory_order_relaxed);
	fib_limbo_put(&fib->limbo, group, GROUP_BYTES);
}

/* Those that had to stay open. A pass over 32,768 counters, after a worker had stalled. */
static void close_idle_groups(struct fib4 *fib)
{
	fib->has_idle_groups = false;
	for (uint32_t group = 0; group < fib->n_groups; group++) {
		bool is_idle = fib->n_long[group] == 0 && fib->link[group] < N_SLOTS &&
			       group_of(fib, fib->link[group]) == group;

		if (is_idle)
			close_group(fib, group);
	}
}

/* --- changes -----------------------------------------------------------------------------------
 */

static uint32_t mask_of(unsigned len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

static struct rib_key key_of(uint32_t addr, unsigned len)
{
	return (struct rib_key){.words = {(uint64_t)addr << 32 | (uint64_t)len << 16}};
}

static bool is_prefix(uint32_t addr, unsigned len)
{
	return len <= 32 && (addr & ~mask_of(len)) == 0;
}

static void paint_prefix(struct fib4 *fib, uint32_t addr, unsigned len, const struct paint *paint)
{
	if (len <= 24)
		paint_slots(fib, addr >> 8, 1U << (24 - len), paint);
	else
		paint_group(fib, group_of(fib, addr >> 8), addr & 0xff, 1U << (32 - len), paint);
}

/* The longest prefix around this one, of min_len at least; FIB_NO_ROUTE: there is none. */
static uint16_t find_cover(const struct fib4 *fib, uint32_t addr, unsigned len, unsigned min_len,
			   unsigned *ret_len)
{
	*ret_len = 0;
	while (len-- > min_len) {
		struct rib_key key = key_of(addr & mask_of(len), len);
		uint16_t nh = rib_find(&fib->rib, &key);

		if (nh != FIB_NO_ROUTE) {
			*ret_len = len;
			return nh;
		}
	}
	return FIB_NO_ROUTE;
}

int fib4_add(struct fib4 *fib, be32 addr_be, unsigned len, uint16_t nh)
{
	uint32_t addr = be32toh(addr_be), group;
	struct rib_key key;
	bool is_new;
	int r;

	if (!is_prefix(addr, len) || nh == FIB_NO_ROUTE || nh > FIB_NH_MAX)
		return -EINVAL;
	group = len > 24 ? group_of(fib, addr >> 8) : NO_GROUP;
	if (len > 24 && group == NO_GROUP && !group_is_available(fib))
		return fib_limbo_is_empty(&fib->limbo) ? -ENOSPC : -EAGAIN;
	key = key_of(addr, len);
	is_new = rib_find(&fib->rib, &key) == FIB_NO_ROUTE;
	if (is_new) {
		r = rib_reserve(&fib->rib, &key);
		if (r < 0)
			return r;
	}

	fib_change_begins(&fib->n_changes);
	rib_put(&fib->rib, &key, nh);
	if (len < FIB_TOP_BITS) {
		fib_top_add(&fib->top, (uint8_t)(addr >> 24), len, nh);
		return 0;
	}
	if (len > 24 && group == NO_GROUP)
		group = open_group(fib, addr >> 8);
	if (len > 24 && is_new)
		fib->n_long[group]++;
	paint_prefix(fib, addr, len,
		     &(struct paint){.upto = (uint8_t)len, .len = (uint8_t)len, .nh = nh});
	return 0;
}

int fib4_delete(struct fib4 *fib, be32 addr_be, unsigned len)
{
	uint32_t addr = be32toh(addr_be), group;
	struct paint paint = {.from = (uint8_t)len, .upto = (uint8_t)len};
	struct rib_key key;
	unsigned cover_len;

	if (!is_prefix(addr, len))
		return -EINVAL;
	key = key_of(addr, len);
	if (rib_find(&fib->rib, &key) == FIB_NO_ROUTE)
		return -ENOENT;

	fib_change_begins(&fib->n_changes);
	rib_remove(&fib->rib, &key);
	paint.nh = find_cover(fib, addr, len, len < FIB_TOP_BITS ? 0 : FIB_TOP_BITS, &cover_len);
	paint.len = (uint8_t)cover_len;
	if (len < FIB_TOP_BITS) {
		fib_top_delete(&fib->top, (uint8_t)(addr >> 24), len, cover_len, paint.nh);
		return 0;
	}
	group = len > 24 ? group_of(fib, addr >> 8) : NO_GROUP;
	paint_prefix(fib, addr, len, &paint);
	if (len > 24 && --fib->n_long[group] == 0)
		close_group(fib, group);
	return 0;
}

uint16_t fib4_get(const struct fib4 *fib, be32 addr_be, unsigned len)
{
	uint32_t addr = be32toh(addr_be);
	struct rib_key key;

	if (!is_prefix(addr, len))
		return FIB_NO_ROUTE;
	key = key_of(addr, len);
	return rib_find(&fib->rib, &key);
}

static uint8_t mark_group(const struct fib4 *fib, uint32_t group, uint16_t top,
			  const uint8_t *by_nh)
{
	const _Atomic uint16_t *entries = fib->groups + (size_t)group * GROUP_ENTRIES;
	uint8_t marks = 0;

	for (uint32_t i = 0; i < GROUP_ENTRIES; i++) {
		uint16_t nh = atomic_load_explicit(&entries[i], memory_order_relaxed);

		marks |= by_nh[nh ? nh : top];
	}
	return marks;
}

void fib4_mark_slots(const struct fib4 *fib, uint32_t first24, uint32_t n, const uint8_t *by_nh,
		     uint8_t *ret_marks)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = first24 + i;
		uint16_t entry = atomic_load_explicit(&fib->slots[slot], memory_order_relaxed);
		uint16_t top = fib_top_lookup(&fib->top, (uint8_t)(slot >> 16));

		if (unlikely(entry & IS_GROUP))
			ret_marks[i] = mark_group(fib, entry & ~IS_GROUP, top, by_nh);
		else
			ret_marks[i] = by_nh[entry ? entry : top];
	}
}

void fib4_begin_generation(struct fib4 *fib, uint64_t generation)
{
	assert(generation >= fib->limbo.generation);
	fib->limbo.generation = generation;
}

void fib4_reclaim(struct fib4 *fib, uint64_t oldest_generation_seen)
{
	uint32_t group;

	while (fib_limbo_take(&fib->limbo, oldest_generation_seen, &group)) {
		fib->link[group] = fib->free_group;
		fib->free_group = group;
		fib->n_free_groups++;
	}
	if (fib->has_idle_groups)
		close_idle_groups(fib);
}

/* --- lookup ------------------------------------------------------------------------------------
 */

/*
 * The second load of those that hit a group. Which they are is collected without a branch, then
 * their loads are independent of each other: the processor has them all under way at once. True if
 * one of them found nothing.
 */
static bool lookup_groups(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	uint8_t which[FIB_BURST] = {0};
	unsigned n_groups = 0;
	bool is_missing = false;

	fib_acquire(); /* pairs with the release in open_group() */
	for (unsigned i = 0; i < n; i++) {
		which[n_groups] = (uint8_t)i;
		n_groups += nh[i] >> 15;
	}
	for (unsigned j = 0; j < n_groups; j++) {
		unsigned i = which[j];
		size_t group = nh[i] & ~IS_GROUP;

		nh[i] = fib_load16(&fib->groups[group * GROUP_ENTRIES + (be32toh(dst[i]) & 0xff)]);
		is_missing |= nh[i] == 0;
	}
	return is_missing;
}

static void lookup_top(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t top = fib_top_lookup(&fib->top, (uint8_t)(be32toh(dst[i]) >> 24));

		nh[i] = nh[i] ? nh[i] : top;
	}
}

static void lookup_once(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	const _Atomic uint16_t *slots = fib->slots;
	uint32_t any = 0, any_less_1 = 0;
	bool is_missing;

	/*
	 * A load that misses stays in the reorder buffer until it is served, and 64 lookups do not
	 * fit: the last ones would start when the first have ended. A prefetch does not wait.
	 */
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(&slots[be32toh(dst[i]) >> 8]);
	for (unsigned i = 0; i < n; i++) {
		uint32_t entry = fib_load16(&slots[be32toh(dst[i]) >> 8]);

		any |= entry;
		any_less_1 |= entry - 1;
		nh[i] = (uint16_t)entry;
	}
	is_missing = any_less_1 >> 31;
	if (any & IS_GROUP)
		is_missing |= lookup_groups(fib, dst, nh, n);
	if (is_missing)
		lookup_top(fib, dst, nh, n);
}

/* False: there were changes meanwhile. */
static bool lookup_is_stable(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	uint32_t before = fib_changes(&fib->n_changes);

	lookup_once(fib, dst, nh, n);
	return !fib_was_changed(&fib->n_changes, before);
}

static void lookup_burst(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	if (likely(lookup_is_stable(fib, dst, nh, n)) || lookup_is_stable(fib, dst, nh, n))
		return;
	for (unsigned i = 0; i < n; i++) {
		unsigned n_tries = 0;

		while (!lookup_is_stable(fib, &dst[i], &nh[i], 1) && ++n_tries < FIB_TRIES)
			;
	}
}

void fib4_lookup_burst(const struct fib4 *fib, const be32 *dst, uint16_t *nh, unsigned n)
{
	for (; unlikely(n > FIB_BURST); dst += FIB_BURST, nh += FIB_BURST, n -= FIB_BURST)
		lookup_burst(fib, dst, nh, FIB_BURST);
	lookup_burst(fib, dst, nh, n);
}

/* --- life --------------------------------------------------------------------------------------
 */

static void *map(struct fib4 *fib, size_t size_bytes)
{
	return fib->pages->map(size_bytes);
}

int fib4_new(const struct fib_pages *pages, struct fib4 **ret_fib)
{
	struct fib4 *fib = aligned_alloc(CACHE_LINE_BYTES, sizeof(*fib));

	if (!fib)
		return -ENOMEM;
	*fib = (struct fib4){.pages = pages, .free_group = NO_GROUP};
	rib_init(&fib->rib, 1);
	fib->slots = map(fib, N_SLOTS * sizeof(uint16_t));
	fib->slot_lens = map(fib, N_SLOTS);
	fib->groups = map(fib, FIB4_GROUPS * GROUP_BYTES);
	fib->group_lens = map(fib, (size_t)FIB4_GROUPS * GROUP_ENTRIES);
	if (!fib->slots || !fib->slot_lens || !fib->groups || !fib->group_lens ||
	    fib_limbo_init(&fib->limbo, FIB4_MAX_RETIRED) < 0) {
		fib4_free(fib);
		return -ENOMEM;
	}
	*ret_fib = fib;
	return 0;
}

static void unmap(const struct fib4 *fib, void *area, size_t size_bytes)
{
	if (area)
		fib->pages->unmap(area, size_bytes);
}

void fib4_free(struct fib4 *fib)
{
	if (!fib)
		return;
	unmap(fib, fib->slots, N_SLOTS * sizeof(uint16_t));
	unmap(fib, fib->slot_lens, N_SLOTS);
	unmap(fib, fib->groups, FIB4_GROUPS * GROUP_BYTES);
	unmap(fib, fib->group_lens, (size_t)FIB4_GROUPS * GROUP_ENTRIES);
	fib_limbo_fini(&fib->limbo);
	rib_fini(&fib->rib);
	free(fib);
}

void fib4_stats(const struct fib4 *fib, struct fib_stats *ret_stats)
{
	*ret_stats = (struct fib_stats){
		.n_prefixes = fib->rib.n_prefixes,
		.lookup_bytes = N_SLOTS * sizeof(uint16_t) + fib->n_groups * GROUP_BYTES,
		.control_bytes = N_SLOTS + (size_t)fib->n_groups * GROUP_ENTRIES + sizeof(*fib) +
				 rib_bytes(&fib->rib) +
				 FIB4_MAX_RETIRED * sizeof(struct fib_retired),
		.used_bytes = (size_t)(fib->n_groups - fib->n_free_groups) * GROUP_BYTES -
			      fib->limbo.size_bytes,
		.retired_bytes = fib->limbo.size_bytes,
		.n_retired = fib->limbo.tail - fib->limbo.head,
		.max_retired = FIB4_MAX_RETIRED,
	};
}
