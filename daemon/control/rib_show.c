/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rib says of itself: rows, the row of an address, figures. Thread: tables. */
#include <endian.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/rib_internal.h"
#include "net/fib4.h"
#include "net/fib6.h"
#include "util/macros.h"

#define CURSOR_IP6 (1ULL << 32)

static struct rib_row row_of(const struct rib_table *rib, const struct rib_family *family,
			     uint32_t index)
{
	const struct rib_node *node = rib_node_at(&family->store, index);
	struct rib_prefix prefix = rib_prefix_of(&family->store, node);

	return (struct rib_row){
		.is_ip6 = family->is_ip6,
		.dst = rib_addr_of(family->is_ip6, &prefix),
		.dst_len = node->len,
		.type = node->type,
		.protocol = node->protocol,
		.table = node->flags & RIB_NODE_LOCAL ? RT_TABLE_LOCAL : rib->table,
		.metric = node->metric,
		.nh = node->nh,
		.is_best = rib_store_find(&family->store, &prefix) == index,
	};
}

bool rib_walk(const struct rib_table *rib, uint64_t *io_cursor, uint32_t max_scan,
	      void (*fn)(const struct rib_row *row, void *arg), void *arg)
{
	for (uint32_t n = 0; n < max_scan; n++) {
		unsigned is_ip6 = (*io_cursor & CURSOR_IP6) != 0;
		const struct rib_family *family = &rib->families[is_ip6];
		uint32_t index = (uint32_t)*io_cursor;
		struct rib_row row;

		if (index >= family->store.n_ever) {
			if (is_ip6)
				return false;
			*io_cursor = CURSOR_IP6;
			continue;
		}
		++*io_cursor;
		if (rib_node_at(&family->store, index)->len == RIB_FREE)
			continue;
		row = row_of(rib, family, index);
		fn(&row, arg);
	}
	return true;
}

/* The longest prefix around the address whose first route is of table local, or of the other. */
static uint32_t match(const struct rib_family *family, const struct rib_prefix *addr, bool is_local)
{
	for (unsigned len = family->max_len + 1U; len-- > 0;) {
		struct rib_prefix prefix = rib_prefix_cut(addr, (uint8_t)len);
		uint32_t head;

		if (is_local && family->n_local_of_len[len] == 0)
			continue;
		head = rib_store_find(&family->store, &prefix);
		if (head &&
		    (!is_local || rib_node_at(&family->store, head)->flags & RIB_NODE_LOCAL))
			return head;
	}
	return 0;
}

static uint16_t fib_lookup(const struct rib_table *rib, bool is_ip6, const struct ip6_addr *addr)
{
	uint16_t nh;
	be32 addr4;

	if (is_ip6) {
		fib6_lookup_burst(rib->view->fib6, addr, &nh, 1);
		return nh;
	}
	memcpy(&addr4, addr->octet, sizeof(addr4));
	fib4_lookup_burst(rib->view->fib4, &addr4, &nh, 1);
	return nh;
}

bool rib_match(const struct rib_table *rib, bool is_ip6, const struct ip6_addr *addr,
	       struct rib_row *ret_row)
{
	const struct rib_family *family = &rib->families[is_ip6];
	struct rib_prefix prefix = rib_prefix_from(is_ip6, addr, family->max_len);
	uint32_t index = match(family, &prefix, true);
	struct rib_row row;

	if (!index)
		index = match(family, &prefix, false);
	if (!index)
		return false;
	row = row_of(rib, family, index);
	row.nh = fib_lookup(rib, is_ip6, addr); /* what workers do, should it pass all the same */
	*ret_row = row;
	return true;
}

void rib_stats(const struct rib_table *rib, struct rib_stats *ret_stats)
{
	struct rib_stats stats = {0};
	struct fib_stats fib[2];

	fib4_stats(rib->view->fib4, &fib[0]);
	fib6_stats(rib->view->fib6, &fib[1]);
	for (unsigned i = 0; i < ARRAY_SIZE(rib->families); i++) {
		const struct rib_family *family = &rib->families[i];

		stats.n_prefixes[i] = fib[i].n_prefixes;
		stats.n_routes[i] = family->store.n_nodes;
		stats.fib_bytes[i] = fib[i].lookup_bytes;
		stats.rib_bytes += rib_store_bytes(&family->store);
		stats.retired_bytes += fib[i].retired_bytes;
		stats.n_refused += family->n_owed;
		stats.must_pass[i] = family->is_overwhelmed || family->is_lossy;
	}
	*ret_stats = stats;
}
