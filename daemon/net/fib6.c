/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IPv6 table; the structure is told in fib6.h, the threads in fib.h, the nodes in fib6_node.h.
 * Its lookups are in fib6_lookup.c. Runs in the control thread. Owns its tables.
 */
#include "net/fib6.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "net/fib6_internal.h"
#include "net/fib_atomic.h"
#include "util/macros.h"

#define MAX_LEVELS ((128 - FIB6_ROOT_BITS) / 8)

/* A node on the way to a prefix. */
struct step {
	_Atomic uint32_t *slot; /* where its parent, or the root, points to it */
	uint32_t node;
	uint8_t byte; /* of the address, in this node */
};

struct path {
	struct step steps[MAX_LEVELS];
	unsigned n_steps;
	/* behind the last step: a leaf or a bucket, if there are fewer steps than levels */
	_Atomic uint32_t *slot;
	uint32_t entry;
};

/* Leaves of from_bits … upto_bits are replaced by another one. */
struct paint {
	uint32_t from;
	uint32_t upto;
	uint32_t leaf;
};

/* --- addresses ---------------------------------------------------------------------------------
 */

static uint64_t load_half(const struct ip6_addr *addr, unsigned half)
{
	uint64_t be;

	memcpy(&be, addr->octet + half * sizeof(be), sizeof(be));
	return be64toh(be);
}

static uint64_t mask_of(unsigned len, unsigned half)
{
	unsigned skip = 64 * half;

	if (len <= skip)
		return 0;
	return len - skip >= 64 ? UINT64_MAX : ~(UINT64_MAX >> (len - skip));
}

static struct rib_key key_of(const struct ip6_addr *addr, unsigned len)
{
	return (struct rib_key){.words = {
					(uint64_t)len << 16,
					load_half(addr, 0) & mask_of(len, 0),
					load_half(addr, 1) & mask_of(len, 1),
				}};
}

static bool is_prefix(const struct ip6_addr *addr, unsigned len)
{
	return len <= 128 && (load_half(addr, 0) & ~mask_of(len, 0)) == 0 &&
	       (load_half(addr, 1) & ~mask_of(len, 1)) == 0;
}

/* --- the root: prefixes up to /24 --------------------------------------------------------------
 */

static void paint_root(struct fib6 *fib, uint32_t first, uint32_t n, const struct paint *paint,
		       unsigned new_len)
{
	for (uint32_t i = first; i < first + n; i++) {
		uint32_t entry, is_untidy = fib->root_lens[i] & FIB6_UNTIDY;
		uint32_t len = fib->root_lens[i] - is_untidy;

		if (len < paint->from || len > paint->upto)
			continue;
		fib->root_lens[i] = (uint8_t)(new_len | is_untidy);
		entry = atomic_load_explicit(&fib->root[i], memory_order_relaxed);
		if (entry & FIB6_CHILD)
			fib6_inherit(&fib->pool, entry & ~FIB6_CHILD, paint->leaf);
		else
			atomic_store_explicit(&fib->root[i], paint->leaf, memory_order_relaxed);
	}
	for (uint32_t piece = first / FIB6_PIECE_SLOTS; piece <= (first + n - 1) / FIB6_PIECE_SLOTS;
	     piece++)
		fib->pieces_touched |= 1U << piece;
}

static void add_short(struct fib6 *fib, const struct ip6_addr *addr, unsigned len, uint16_t nh)
{
	const struct paint paint = {.upto = len, .leaf = nh};

	if (len < FIB_TOP_BITS)
		fib_top_add(&fib->top, addr->octet[0], len, nh);
	else
		paint_root(fib, fib6_root_index(addr), 1U << (FIB6_ROOT_BITS - len), &paint, len);
}

/* The longest prefix around addr of lengths less than len and at least min_len. */
static uint16_t find_cover(const struct fib6 *fib, const struct ip6_addr *addr, unsigned len,
			   unsigned min_len, unsigned *ret_len)
{
	while (len-- > min_len) {
		struct rib_key key = key_of(addr, len);
		uint16_t nh = rib_find(&fib->rib, &key);

		if (nh != FIB_NO_ROUTE) {
			*ret_len = len;
			return nh;
		}
	}
	*ret_len = 0;
	return FIB_NO_ROUTE;
}

static void delete_short(struct fib6 *fib, const struct ip6_addr *addr, unsigned len)
{
	struct paint paint = {.from = len, .upto = len};
	unsigned cover_len;

	if (len < FIB_TOP_BITS) {
		uint16_t nh = find_cover(fib, addr, len, 0, &cover_len);

		fib_top_delete(&fib->top, addr->octet[0], len, cover_len, nh);
		return;
	}
	paint.leaf = find_cover(fib, addr, len, FIB_TOP_BITS, &cover_len);
	paint_root(fib, fib6_root_index(addr), 1U << (FIB6_ROOT_BITS - len), &paint, cover_len);
}

/* --- nodes: longer prefixes --------------------------------------------------------------------
 */

static unsigned n_levels_of(unsigned len)
{
	return (len - FIB6_ROOT_BITS + 7) / 8;
}

/* Follows the nodes that there are on the way to a prefix. */
static void walk(const struct fib6 *fib, const struct ip6_addr *addr, unsigned len,
		 struct path *ret_path)
{
	_Atomic uint32_t *slot = &fib->root[fib6_root_index(addr)];
	uint32_t entry = atomic_load_explicit(slot, memory_order_relaxed);
	unsigned n = 0;

	while (n < n_levels_of(len) && entry & FIB6_CHILD && !(entry & FIB6_BUCKET)) {
		uint8_t byte = addr->octet[FIB6_ROOT_BITS / 8 + n];
		struct fib6_node *node = fib6_at(fib->pool.base, entry);

		ret_path->steps[n++] = (struct step){slot, entry & ~FIB6_CHILD, byte};
		slot = &node->entries[fib6_node_index(node, byte)];
		entry = atomic_load_explicit(slot, memory_order_relaxed);
	}
	ret_path->n_steps = n;
	ret_path->slot = slot;
	ret_path->entry = entry;
}

/* The entries of a prefix within the node where it ends. */
static void range_of(const struct ip6_addr *addr, unsigned len, unsigned *ret_first,
		     unsigned *ret_n)
{
	*ret_first = addr->octet[(len - 1) / 8];
	*ret_n = 1U << (7 - (len - 1) % 8);
}

static bool paint_covers(const struct paint *paint, uint32_t leaf)
{
	uint32_t bits = leaf >> FIB6_BITS_SHIFT;

	return bits >= paint->from && bits <= paint->upto;
}

static void paint_leaves(struct fib6_wide *wide, unsigned first, unsigned n,
			 const struct paint *paint)
{
	for (unsigned b = first; b < first + n; b++) {
		if (!(wide->entries[b] & FIB6_CHILD) && paint_covers(paint, wide->entries[b]))
			wide->entries[b] = paint->leaf;
	}
}

static void paint_children(struct fib6 *fib, const struct fib6_wide *wide, unsigned first,
			   unsigned n, const struct paint *paint)
{
	for (unsigned b = first; b < first + n; b++) {
		uint32_t child = wide->entries[b] & ~FIB6_CHILD;

		if (wide->entries[b] & FIB6_CHILD &&
		    paint_covers(paint, fib6_inherited(&fib->pool, child)))
			fib6_inherit(&fib->pool, child, paint->leaf);
	}
}

static void point_to(_Atomic uint32_t *slot, uint32_t ref)
{
	/* pairs with fib_acquire() in the lookup: what it points to is complete */
	atomic_store_explicit(slot, FIB6_CHILD | ref, memory_order_release);
}

static void retire(struct fib6 *fib, uint32_t ref)
{
	fib_limbo_put(&fib->limbo, ref, fib6_ref_bytes(&fib->pool, ref));
}

/* In place if the bitmap allows it, else by a copy. */
static int change_node(struct fib6 *fib, const struct step *step, const struct fib6_wide *wide)
{
	uint32_t node;
	int r;

	if (fib6_node_update(&fib->pool, step->node, wide))
		return 0;
	if (!fib_limbo_has_room(&fib->limbo, 1))
		return -EAGAIN;
	r = fib6_node_new(&fib->pool, wide, fib6_inherited(&fib->pool, step->node), &node);
	if (r < 0)
		return r;
	point_to(step->slot, node);
	retire(fib, step->node);
	return 0;
}

/* What was built, and that nobody points to. Recursion: a level of the trie each. */
static void free_branch(struct fib6 *fib, uint32_t ref)
{
	struct fib6_wide wide;

	if (!(ref & FIB6_BUCKET)) {
		fib6_node_widen(&fib->pool, ref, &wide);
		for (unsigned b = 0; b < 256; b++) {
			if (wide.entries[b] & FIB6_CHILD)
				free_branch(fib, wide.entries[b] & ~FIB6_CHILD);
		}
	}
	fib6_free_ref(&fib->pool, ref);
}

static void free_children(struct fib6 *fib, const struct fib6_wide *wide)
{
	for (unsigned b = 0; b < 256; b++) {
		if (wide->entries[b] & FIB6_CHILD)
			free_branch(fib, wide->entries[b] & ~FIB6_CHILD);
	}
}

static unsigned select_prefixes(const struct fib6_prefix *prefixes, unsigned n, unsigned min_len,
				unsigned octet, uint8_t byte, struct fib6_prefix *ret_prefixes)
{
	unsigned n_selected = 0;

	for (unsigned k = 0; k < n; k++) {
		if (prefixes[k].len >= min_len && prefixes[k].addr.octet[octet] == byte)
			ret_prefixes[n_selected++] = prefixes[k];
	}
	return n_selected;
}

/*
 * The part of the trie for these prefixes, in ascending order of length, from `level` on: a bucket
 * if they fit into one, else a node and what comes below. Recursion: a level of the trie each.
 */
static int build_branch(struct fib6 *fib, const struct fib6_prefix *prefixes, unsigned n,
			unsigned level, uint32_t inherit, uint32_t *ret_ref)
{
	unsigned octet = FIB6_ROOT_BITS / 8 + level, end = 8 * (octet + 1), first, n_entries;
	struct fib6_prefix below[FIB6_BUCKET_MAX + 1];
	struct fib6_wide wide = {0};
	int r;

	if (fib6_bucket_holds(prefixes, n))
		return fib6_bucket_new(&fib->pool, prefixes, n, inherit, ret_ref);
	for (unsigned k = 0; k < n && prefixes[k].len <= end; k++) {
		unsigned bits = prefixes[k].len + 8 - end;
		const struct paint paint = {.upto = bits, .leaf = fib6_leaf(prefixes[k].nh, bits)};

		range_of(&prefixes[k].addr, prefixes[k].len, &first, &n_entries);
		paint_leaves(&wide, first, n_entries, &paint);
	}
	for (unsigned k = 0; k < n; k++) {
		uint8_t byte = prefixes[k].addr.octet[octet];
		unsigned n_below;
		uint32_t ref;

		if (prefixes[k].len <= end || wide.entries[byte] & FIB6_CHILD)
			continue;
		n_below = select_prefixes(prefixes, n, end + 1, octet, byte, below);
		r = build_branch(fib, below, n_below, level + 1, wide.entries[byte], &ref);
		if (r < 0) {
			free_children(fib, &wide);
			return r;
		}
		wide.entries[byte] = FIB6_CHILD | ref;
	}
	r = fib6_node_new(&fib->pool, &wide, inherit, ret_ref);
	if (r < 0)
		free_children(fib, &wide);
	return r;
}

/* Where there was only a leaf, in the last node there is or in the root. */
static int add_branch(struct fib6 *fib, const struct path *path, const struct fib6_prefix *prefix)
{
	const struct step *last;
	struct fib6_wide wide;
	uint32_t ref;
	int r;

	r = build_branch(fib, prefix, 1, path->n_steps, path->entry, &ref);
	if (r < 0)
		return r;
	if (path->n_steps == 0) {
		point_to(path->slot, ref);
		fib->pieces_touched |= 1U << fib6_root_index(&prefix->addr) / FIB6_PIECE_SLOTS;
		return 0;
	}
	last = &path->steps[path->n_steps - 1];
	fib6_node_widen(&fib->pool, last->node, &wide);
	wide.entries[last->byte] = FIB6_CHILD | ref;
	r = change_node(fib, last, &wide);
	if (r < 0)
		free_branch(fib, ref);
	return r;
}

/* A new bucket takes the place of the old one, or a node if it is full. */
static int add_to_bucket(struct fib6 *fib, const struct path *path,
			 const struct fib6_prefix *prefix)
{
	struct fib6_prefix prefixes[FIB6_BUCKET_MAX + 1];
	uint32_t bucket = path->entry & ~FIB6_CHILD, ref;
	unsigned n, at;
	int r;

	if (fib6_bucket_set(&fib->pool, bucket, prefix))
		return 0;
	if (!fib_limbo_has_room(&fib->limbo, 1))
		return -EAGAIN;
	n = fib6_bucket_list(&fib->pool, bucket, prefixes);
	for (at = n; at > 0 && prefixes[at - 1].len > prefix->len; at--)
		prefixes[at] = prefixes[at - 1];
	prefixes[at] = *prefix;
	r = build_branch(fib, prefixes, n + 1, path->n_steps, fib6_inherited(&fib->pool, bucket),
			 &ref);
	if (r < 0)
		return r;
	point_to(path->slot, ref);
	retire(fib, bucket);
	return 0;
}

static int add_long(struct fib6 *fib, const struct ip6_addr *addr, unsigned len, uint16_t nh)
{
	unsigned bits = (len - 1) % 8 + 1, n_levels = n_levels_of(len), first, n;
	const struct fib6_prefix prefix = {.addr = *addr, .len = (uint8_t)len, .nh = nh};
	const struct paint paint = {.upto = bits, .leaf = fib6_leaf(nh, bits)};
	struct fib6_wide wide;
	struct path path;
	int r;

	walk(fib, addr, len, &path);
	if (path.n_steps < n_levels)
		return path.entry & FIB6_CHILD ? add_to_bucket(fib, &path, &prefix) :
						 add_branch(fib, &path, &prefix);
	fib6_node_widen(&fib->pool, path.steps[n_levels - 1].node, &wide);
	range_of(addr, len, &first, &n);
	paint_leaves(&wide, first, n, &paint);
	r = change_node(fib, &path.steps[n_levels - 1], &wide);
	if (r == 0)
		paint_children(fib, &wide, first, n, &paint);
	return r;
}

/*
 * Takes out the nodes that have become empty, from the last step upwards. The leaf that each one
 * inherited returns to its place in its parent. Returns the step of the first node that stays,
 * with its entries, or -1: the root.
 */
static int climb(const struct fib6 *fib, const struct step *steps, unsigned n_steps,
		 struct fib6_wide *wide)
{
	int last = (int)n_steps - 1;

	while (last > 0 && fib6_wide_is_empty(wide)) {
		uint32_t leaf = fib6_inherited(&fib->pool, steps[last].node);

		last--;
		fib6_node_widen(&fib->pool, steps[last].node, wide);
		wide->entries[steps[last].byte] = leaf;
	}
	return last == 0 && fib6_wide_is_empty(wide) ? -1 : last;
}

/* What is empty and has no room to be retired: fib6_tidy() finds it under this slot. */
static void leave_untidy(struct fib6 *fib, const struct path *path)
{
	_Atomic uint32_t *slot = path->n_steps > 0 ? path->steps[0].slot : path->slot;
	size_t i = (size_t)(slot - fib->root);

	fib->root_lens[i] |= FIB6_UNTIDY;
	fib->pieces_untidy |= 1U << i / FIB6_PIECE_SLOTS;
}

/*
 * Makes the last node of the path what `wide` says; if it is empty then, or there is none, takes it
 * out as well. Without room for that it stays, empty, until there is.
 */
static void prune(struct fib6 *fib, const struct path *path, struct fib6_wide *wide, uint32_t leaf)
{
	int n_steps = (int)path->n_steps, last = n_steps - 1;

	if (last >= 0 && fib_limbo_has_room(&fib->limbo, path->n_steps)) {
		last = climb(fib, path->steps, path->n_steps, wide);
		if (last < 0)
			leaf = fib6_inherited(&fib->pool, path->steps[0].node);
	} else if (last >= 0 && fib6_wide_is_empty(wide)) {
		leave_untidy(fib, path);
	}
	if (last < 0)
		atomic_store_explicit(n_steps ? path->steps[0].slot : path->slot,
				      leaf & FIB6_NH_MASK, memory_order_release);
	else if (change_node(fib, &path->steps[last], wide) < 0)
		fib6_node_shrink(&fib->pool, path->steps[last].node, wide);
	for (int i = last + 1; i < n_steps; i++)
		retire(fib, path->steps[i].node);
}

/* An empty one; there is room to retire it and its path. */
static void take_out_bucket(struct fib6 *fib, const struct path *path)
{
	uint32_t bucket = path->entry & ~FIB6_CHILD;
	uint32_t leaf = fib6_inherited(&fib->pool, bucket);
	struct fib6_wide wide = {0};

	retire(fib, bucket);
	if (path->n_steps > 0) {
		const struct step *last = &path->steps[path->n_steps - 1];

		fib6_node_widen(&fib->pool, last->node, &wide);
		wide.entries[last->byte] = leaf;
	}
	prune(fib, path, &wide, leaf);
}

static void delete_from_bucket(struct fib6 *fib, const struct path *path,
			       const struct fib6_prefix *prefix)
{
	uint32_t bucket = path->entry & ~FIB6_CHILD;

	(void)fib6_bucket_set(&fib->pool, bucket, prefix);
	if (!fib6_bucket_is_empty(&fib->pool, bucket))
		return;
	if (fib_limbo_has_room(&fib->limbo, path->n_steps + 1))
		take_out_bucket(fib, path);
	else
		leave_untidy(fib, path);
}

bool fib6_take_out_empty(struct fib6 *fib, const struct ip6_addr *addr)
{
	struct fib6_wide wide;
	struct path path;

	if (!fib_limbo_has_room(&fib->limbo, MAX_LEVELS + 1))
		return false;
	walk(fib, addr, 128, &path);
	fib_change_begins(&fib->n_changes);
	if (path.entry & FIB6_CHILD) {
		take_out_bucket(fib, &path);
	} else {
		fib6_node_widen(&fib->pool, path.steps[path.n_steps - 1].node, &wide);
		prune(fib, &path, &wide, FIB6_NONE);
	}
	return true;
}

static void delete_long(struct fib6 *fib, const struct ip6_addr *addr, unsigned len)
{
	unsigned bits = (len - 1) % 8 + 1, n_levels = n_levels_of(len), first, n, cover_len;
	const struct fib6_prefix prefix = {.addr = *addr, .len = (uint8_t)len};
	struct paint paint = {.from = bits, .upto = bits};
	struct fib6_wide wide;
	struct path path = {0};
	uint16_t nh;

	walk(fib, addr, len, &path);
	if (path.n_steps < n_levels) {
		delete_from_bucket(fib, &path, &prefix);
		return;
	}
	nh = find_cover(fib, addr, len, len - bits + 1, &cover_len);
	paint.leaf = nh ? fib6_leaf(nh, cover_len - (len - bits)) : FIB6_NONE;
	fib6_node_widen(&fib->pool, path.steps[n_levels - 1].node, &wide);
	range_of(addr, len, &first, &n);
	paint_leaves(&wide, first, n, &paint);
	paint_children(fib, &wide, first, n, &paint);
	prune(fib, &path, &wide, FIB6_NONE);
}

/* --- changes -----------------------------------------------------------------------------------
 */

int fib6_add(struct fib6 *fib, const struct ip6_addr *addr, unsigned len, uint16_t nh)
{
	struct rib_key key;
	int r;

	if (!is_prefix(addr, len) || nh == FIB_NO_ROUTE || nh > FIB_NH_MAX)
		return -EINVAL;
	key = key_of(addr, len);
	if (rib_find(&fib->rib, &key) == FIB_NO_ROUTE) {
		r = rib_reserve(&fib->rib, &key);
		if (r < 0)
			return r;
	}
	fib_change_begins(&fib->n_changes);
	if (len <= FIB6_ROOT_BITS) {
		add_short(fib, addr, len, nh);
	} else {
		r = add_long(fib, addr, len, nh);
		if (r < 0)
			return r == -ENOSPC && !fib_limbo_is_empty(&fib->limbo) ? -EAGAIN : r;
	}
	rib_put(&fib->rib, &key, nh);
	return 0;
}

int fib6_delete(struct fib6 *fib, const struct ip6_addr *addr, unsigned len)
{
	struct rib_key key;

	if (!is_prefix(addr, len))
		return -EINVAL;
	key = key_of(addr, len);
	if (rib_find(&fib->rib, &key) == FIB_NO_ROUTE)
		return -ENOENT;
	fib_change_begins(&fib->n_changes);
	rib_remove(&fib->rib, &key);
	if (len <= FIB6_ROOT_BITS)
		delete_short(fib, addr, len);
	else
		delete_long(fib, addr, len);
	return 0;
}

uint16_t fib6_get(const struct fib6 *fib, const struct ip6_addr *addr, unsigned len)
{
	struct rib_key key;

	if (!is_prefix(addr, len))
		return FIB_NO_ROUTE;
	key = key_of(addr, len);
	return rib_find(&fib->rib, &key);
}

void fib6_begin_generation(struct fib6 *fib, uint64_t generation)
{
	assert(generation >= fib->limbo.generation);
	fib->limbo.generation = generation;
}

void fib6_reclaim(struct fib6 *fib, uint64_t oldest_generation_seen)
{
	uint32_t ref;

	while (fib_limbo_take(&fib->limbo, oldest_generation_seen, &ref))
		fib6_free_ref(&fib->pool, ref);
	fib6_tidy(fib);
}
