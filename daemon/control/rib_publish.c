/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the routes of a prefix to FIB and gate; see rib.h for the order of routes, and for what is
 * owed. Thread: tables.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "control/rib_internal.h"
#include "control/tables_internal.h"
#include "net/fib4.h"
#include "net/fib6.h"
#include "util/macros.h"

/* A prefix of this length covers 4096 /24s, tens of microseconds; shorter ones wait for a slice. */
#define PAINT_AT_ONCE_LEN 12
#define PAINT_SLOTS       4096U

/* --- prefixes ----------------------------------------------------------------------------------
 */

struct rib_prefix rib_prefix_cut(const struct rib_prefix *prefix, uint8_t len)
{
	struct rib_prefix cut = {.len = len};

	for (unsigned i = 0; i < ARRAY_SIZE(cut.words); i++) {
		unsigned bits = len > 32 * i ? MIN(len - 32 * i, 32U) : 0;

		cut.words[i] = bits ? prefix->words[i] & UINT32_MAX << (32 - bits) : 0;
	}
	return cut;
}

struct rib_prefix rib_prefix_from(bool is_ip6, const struct ip6_addr *addr, uint8_t len)
{
	struct rib_prefix prefix = {.len = len};

	memcpy(prefix.words, addr->octet, is_ip6 ? 16 : 4);
	for (unsigned i = 0; i < (is_ip6 ? 4 : 1); i++)
		prefix.words[i] = be32toh(prefix.words[i]);
	return prefix;
}

struct ip6_addr rib_addr_of(bool is_ip6, const struct rib_prefix *prefix)
{
	struct ip6_addr addr = {0};

	for (unsigned i = 0; i < (is_ip6 ? 4 : 1); i++) {
		be32 word = htobe32(prefix->words[i]);

		memcpy(addr.octet + 4 * i, &word, sizeof(word));
	}
	return addr;
}

static bool prefix_covers(const struct rib_prefix *outer, const struct rib_prefix *inner)
{
	struct rib_prefix cut;

	if (outer->len >= inner->len)
		return false;
	cut = rib_prefix_cut(inner, outer->len);
	return memcmp(cut.words, outer->words, sizeof(cut.words)) == 0;
}

/* --- the FIB of a family -----------------------------------------------------------------------
 */

static uint16_t fib_get(const struct rib_table *rib, const struct rib_family *family,
			const struct rib_prefix *prefix)
{
	struct ip6_addr addr;

	if (!family->is_ip6)
		return fib4_get(rib->view->fib4, htobe32(prefix->words[0]), prefix->len);
	addr = rib_addr_of(true, prefix);
	return fib6_get(rib->view->fib6, &addr, prefix->len);
}

static int fib_add(struct rib_table *rib, const struct rib_family *family,
		   const struct rib_prefix *prefix, uint16_t nh)
{
	struct ip6_addr addr;

	if (!family->is_ip6)
		return fib4_add(rib->view->fib4, htobe32(prefix->words[0]), prefix->len, nh);
	addr = rib_addr_of(true, prefix);
	return fib6_add(rib->view->fib6, &addr, prefix->len, nh);
}

static void fib_delete(struct rib_table *rib, const struct rib_family *family,
		       const struct rib_prefix *prefix)
{
	struct ip6_addr addr;

	if (!family->is_ip6) {
		(void)fib4_delete(rib->view->fib4, htobe32(prefix->words[0]), prefix->len);
		return;
	}
	addr = rib_addr_of(true, prefix);
	(void)fib6_delete(rib->view->fib6, &addr, prefix->len);
}

/* --- which route -------------------------------------------------------------------------------
 */

/* Table local has a shorter prefix around it. */
static bool is_hidden(const struct rib_family *family, const struct rib_prefix *prefix)
{
	for (uint8_t len = 0; len < prefix->len; len++) {
		struct rib_prefix cut;
		uint32_t head;

		if (family->n_local_of_len[len] == 0)
			continue;
		cut = rib_prefix_cut(prefix, len);
		head = rib_store_find(&family->store, &cut);
		if (head && rib_node_at(&family->store, head)->flags & RIB_NODE_LOCAL)
			return true;
	}
	return false;
}

/* The number by the prefix's own routes; FIB_NO_ROUTE: it does not belong in the FIB. */
static uint16_t choose(const struct rib_table *rib, const struct rib_family *family,
		       const struct rib_prefix *prefix, uint32_t head)
{
	const struct rib_node *best, *node;

	if (!head)
		return FIB_NO_ROUTE;
	best = rib_node_at(&family->store, head);
	if (!(best->flags & RIB_NODE_LOCAL) && is_hidden(family, prefix)) {
		/* Until the first `ip rule` the kernel keeps both tables of IPv4 in one trie, where
		 * this one would win; from then on local does. Nothing tells which: it decides. */
		return family->is_ip6 ? FIB_NO_ROUTE : nexthops_pass(rib->nexthops);
	}
	for (node = best;; node = rib_node_at(&family->store, node->next)) {
		if ((node->flags ^ best->flags) & RIB_NODE_LOCAL)
			break;
		if (node->tos || node->flags & RIB_NODE_ODD)
			return nexthops_pass(rib->nexthops);
		/* IPv6 chooses among equals by what it knows of the routers. */
		if (family->is_ip6 && node != best && node->metric == best->metric)
			return nexthops_pass(rib->nexthops);
		if (!node->next)
			break;
	}
	return best->nh;
}

/* --- what is owed ------------------------------------------------------------------------------
 */

/* A prefix within is owed, and nothing in the FIB stands between: this one would be used for it. */
static bool stands_in_for_owed(const struct rib_table *rib, const struct rib_family *family,
			       const struct rib_prefix *prefix)
{
	for (uint32_t i = 0; i < family->n_owed; i++) {
		const struct rib_prefix *owed = &family->owed[i].prefix;
		unsigned len = owed->len;

		if (!prefix_covers(prefix, owed))
			continue;
		while (--len > prefix->len) {
			struct rib_prefix cut = rib_prefix_cut(owed, (uint8_t)len);

			if (fib_get(rib, family, &cut) != FIB_NO_ROUTE)
				break;
		}
		if (len == prefix->len)
			return true;
	}
	return false;
}

/* The next shorter prefix in the FIB may have to stand in, or no longer. */
static void settle_cover(struct rib_table *rib, struct rib_family *family,
			 const struct rib_prefix *prefix)
{
	for (unsigned len = prefix->len; len-- > 0;) {
		struct rib_prefix cut = rib_prefix_cut(prefix, (uint8_t)len);

		if (fib_get(rib, family, &cut) == FIB_NO_ROUTE)
			continue;
		(void)rib_settle_prefix(rib, family, &cut);
		return;
	}
}

static struct rib_owed *find_owed(struct rib_family *family, const struct rib_prefix *prefix)
{
	for (uint32_t i = 0; i < family->n_owed; i++) {
		struct rib_owed *owed = &family->owed[i];

		if (owed->prefix.len == prefix->len &&
		    memcmp(owed->prefix.words, prefix->words, sizeof(prefix->words)) == 0)
			return owed;
	}
	return NULL;
}

static void owe(struct rib_table *rib, struct rib_family *family, const struct rib_prefix *prefix,
		uint8_t *state, bool is_waiting)
{
	struct rib_owed *owed = *state & RIB_PREFIX_OWED ? find_owed(family, prefix) : NULL;

	if (owed) {
		owed->is_waiting = is_waiting;
		return;
	}
	if (family->n_owed == RIB_MAX_OWED) {
		family->is_overwhelmed = true;
		family->is_overwhelmed_again = true;
		return;
	}
	family->owed[family->n_owed++] =
		(struct rib_owed){.prefix = *prefix, .is_waiting = is_waiting};
	*state |= RIB_PREFIX_OWED;
	settle_cover(rib, family, prefix);
}

static void no_longer_owe(struct rib_table *rib, struct rib_family *family,
			  const struct rib_prefix *prefix, uint8_t *state)
{
	struct rib_owed *owed;

	if (!(*state & RIB_PREFIX_OWED))
		return;
	*state &= (uint8_t)~RIB_PREFIX_OWED;
	owed = find_owed(family, prefix);
	*owed = family->owed[--family->n_owed];
	settle_cover(rib, family, prefix);
}

/* --- the gate ----------------------------------------------------------------------------------
 */

static void paint_piece(struct rib_table *rib, uint32_t first24, uint32_t n)
{
	uint8_t ours[PAINT_SLOTS];
	enum sluice_gate_class class = SLUICE_GATE_PASS;
	uint32_t start = 0;

	fib4_mark_slots(rib->view->fib4, first24, n, nexthops_ours(rib->nexthops), ours);
	for (uint32_t i = 0; i <= n; i++) {
		enum sluice_gate_class next = SLUICE_GATE_PASS;

		if (i < n && ours[i])
			next = locals_in_slot24(rib->locals, first24 + i) ? SLUICE_GATE_MIXED :
									    SLUICE_GATE_OURS;
		if (i > start && (i == n || next != class)) {
			gate_set4(rib->gate, first24 + start, i - start, class);
			start = i;
		}
		class = next;
	}
}

void rib_paint(struct rib_table *rib, uint32_t first24, uint32_t n)
{
	for (uint32_t done = 0; done < n; done += PAINT_SLOTS)
		paint_piece(rib, first24 + done, MIN(n - done, PAINT_SLOTS));
}

static void paint_prefix4(struct rib_table *rib, const struct rib_prefix *prefix)
{
	uint32_t first = prefix->words[0] >> 8, n = prefix->len < 24 ? 1U << (24 - prefix->len) : 1;

	if (prefix->len >= PAINT_AT_ONCE_LEN) {
		rib_paint(rib, first, n);
		return;
	}
	if (rib->dirty_first == rib->dirty_end) {
		rib->dirty_first = first;
		rib->dirty_end = first + n;
		return;
	}
	rib->dirty_first = MIN(rib->dirty_first, first);
	rib->dirty_end = MAX(rib->dirty_end, first + n);
}

static void gate_prefix6(struct rib_table *rib, const struct rib_prefix *prefix, uint16_t nh,
			 uint8_t *state)
{
	bool is_ours = nh != FIB_NO_ROUTE && nexthops_is_ours(rib->nexthops, nh);
	bool is_gated = *state & RIB_PREFIX_GATED;
	struct ip6_addr addr;

	if (is_ours == is_gated)
		return;
	addr = rib_addr_of(true, prefix);
	if (is_gated) {
		gate_delete6(rib->gate, addr.octet, prefix->len);
		*state &= (uint8_t)~RIB_PREFIX_GATED;
	} else if (gate_add6(rib->gate, addr.octet, prefix->len) == 0) {
		*state |= RIB_PREFIX_GATED; /* else the slow path takes it */
	}
}

/* -----------------------------------------------------------------------------------------------
 */

/* Returns what of `want` is in the FIB now. A route that is gone or another is not in it. */
static uint16_t put_into_fib(struct rib_table *rib, struct rib_family *family,
			     const struct rib_prefix *prefix, uint16_t have, uint16_t want,
			     int *ret_error)
{
	if (want != FIB_NO_ROUTE) {
		*ret_error = fib_add(rib, family, prefix, want);
		if (*ret_error == 0)
			return want;
	}
	if (have != FIB_NO_ROUTE)
		fib_delete(rib, family, prefix);
	return FIB_NO_ROUTE;
}

int rib_settle(struct rib_table *rib, struct rib_family *family, const struct rib_prefix *prefix,
	       uint8_t *state)
{
	uint16_t have = fib_get(rib, family, prefix), now = have;
	uint16_t want = choose(rib, family, prefix, rib_store_find(&family->store, prefix));
	int r = 0;

	if (family->n_owed > 0 && want != FIB_NO_ROUTE && stands_in_for_owed(rib, family, prefix))
		want = nexthops_pass(rib->nexthops);
	if (want != have)
		now = put_into_fib(rib, family, prefix, have, want, &r);
	if (family->is_ip6)
		gate_prefix6(rib, prefix, now, state);
	else if (now != have)
		paint_prefix4(rib, prefix);
	if (r < 0)
		owe(rib, family, prefix, state, r == -EAGAIN);
	else
		no_longer_owe(rib, family, prefix, state);
	if (family->n_owed > 0 && (have == FIB_NO_ROUTE) != (now == FIB_NO_ROUTE))
		settle_cover(rib, family, prefix);
	return r;
}

int rib_settle_prefix(struct rib_table *rib, struct rib_family *family,
		      const struct rib_prefix *prefix)
{
	uint32_t head = rib_store_find(&family->store, prefix);
	uint8_t none = 0;

	return rib_settle(rib, family, prefix,
			  head ? &rib_node_at(&family->store, head)->prefix : &none);
}
