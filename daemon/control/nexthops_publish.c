/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From an entry to what workers see: the object behind route_view.nexthops[number]. Constant from
 * the moment it is stored; what it replaces goes to the limbo. Thread: tables.
 */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/nexthops_internal.h"
#include "control/tables_internal.h"
#include "util/macros.h"

/* IPv4 is off on a device below this; and IPv6 below the other (RFC 791, RFC 8200). */
#define IP4_MIN_MTU 68
#define IP6_MIN_MTU 1280

const struct nexthop nexthop_no_route = {.kind = NEXTHOP_PASS, .reason = HANDBACK_NO_ROUTE};

/* Without memory for an object of its own; until the next change of it. */
static const struct nexthop nexthop_short = {.kind = NEXTHOP_PASS, .reason = HANDBACK_POLICY};

struct group_block {
	struct nexthop nexthop;
	uint16_t buckets[NEXTHOP_GROUP_BUCKETS];
};

/* --- storing -----------------------------------------------------------------------------------
 */

static size_t block_bytes(const struct nexthop *nexthop)
{
	return nexthop->kind == NEXTHOP_GROUP ? sizeof(struct group_block) : sizeof(*nexthop);
}

static bool is_same(const struct nexthop *a, const struct nexthop *b)
{
	if (a->kind != b->kind || a->reason != b->reason || a->out_port != b->out_port ||
	    a->ifindex != b->ifindex || a->mtu != b->mtu || a->adjacency != b->adjacency ||
	    a->is_unicast != b->is_unicast)
		return false;
	return a->kind != NEXTHOP_GROUP ||
	       memcmp(a->buckets, b->buckets, NEXTHOP_GROUP_BUCKETS * sizeof(*a->buckets)) == 0;
}

static const struct nexthop *copy_of(const struct nexthop *value)
{
	struct group_block *group;
	struct nexthop *nexthop;

	if (value->kind != NEXTHOP_GROUP) {
		nexthop = malloc(sizeof(*nexthop));
		if (nexthop)
			*nexthop = *value;
		return nexthop;
	}
	group = malloc(sizeof(*group));
	if (!group)
		return NULL;
	group->nexthop = *value;
	memcpy(group->buckets, value->buckets, sizeof(group->buckets));
	group->nexthop.buckets = group->buckets;
	return &group->nexthop;
}

static void replace(struct nexthops *nexthops, uint16_t number, const struct nexthop *nexthop)
{
	/* release: pairs with the acquire of the worker that reads what is behind it */
	const struct nexthop *old = atomic_exchange_explicit(&nexthops->view->nexthops[number],
							     nexthop, memory_order_acq_rel);

	if (old && old != &nexthop_no_route && old != &nexthop_short)
		limbo_retire(nexthops->limbo, (void *)(uintptr_t)old, block_bytes(old));
}

static void store(struct nexthops *nexthops, uint16_t number, const struct nexthop *value)
{
	const struct nexthop *now =
		atomic_load_explicit(&nexthops->view->nexthops[number], memory_order_relaxed);
	const struct nexthop *nexthop;

	if (now != &nexthop_no_route && now != &nexthop_short && is_same(now, value))
		return;
	nexthop = copy_of(value);
	replace(nexthops, number, nexthop ? nexthop : &nexthop_short);
}

void nh_withdraw(struct nexthops *nexthops, uint16_t number)
{
	replace(nexthops, number, &nexthop_no_route);
	nexthops->ours[number] = 0;
}

/* --- legs --------------------------------------------------------------------------------------
 */

static bool may_leave(const struct nh_leg *leg)
{
	return leg->type == RTN_UNICAST && !leg->is_kernels && leg->ifindex != 0;
}

static bool is_ours(const struct nh_leg *leg, const struct link_entry *link)
{
	return may_leave(leg) && link && link->port != LINK_NO_PORT;
}

/*
 * The kernel forwards by it, encapsulated perhaps: it is a way back to who sends from there. Of
 * one that is down the kernel has taken the routes away, or is about to.
 */
static bool is_unicast(const struct nh_leg *leg, const struct link_entry *link)
{
	return leg->type == RTN_UNICAST && link && link->is_up && link->has_carrier;
}

static uint8_t reason_of(const struct nh_leg *leg)
{
	switch (leg->type) {
	case RTN_LOCAL:
	case RTN_BROADCAST:
	case RTN_ANYCAST:
	case RTN_MULTICAST:
		return HANDBACK_LOCAL;
	default:
		return HANDBACK_POLICY;
	}
}

static uint32_t mtu_of(const struct nh_leg *leg, const struct link_entry *link)
{
	uint32_t mtu = leg->mtu ? MIN(leg->mtu, link->mtu) : link->mtu;

	return leg->is_ip6 ? MAX(mtu, IP6_MIN_MTU) : mtu;
}

static struct adjacency *neighbour_of(const struct nexthops *nexthops, const struct nh_leg *leg)
{
	const struct adjacency_table *table =
		atomic_load_explicit(&nexthops->view->adjacencies, memory_order_relaxed);

	if (!leg->has_gateway || !table)
		return NULL;
	return adjacency_find(table, leg->ifindex, leg->gateway_is_ip6, &leg->gateway);
}

static struct nexthop value_of_leg(const struct nexthops *nexthops, const struct nh_leg *leg)
{
	const struct link_entry *link = link_table_find(nexthops->links, leg->ifindex);
	struct nexthop value = {
		.kind = NEXTHOP_PASS,
		.reason = reason_of(leg),
		.ifindex = leg->ifindex,
		.is_unicast = is_unicast(leg, link),
	};

	if (!is_ours(leg, link) || link->mtu < (leg->is_ip6 ? IP6_MIN_MTU : IP4_MIN_MTU))
		return value;
	if (!link->is_up || !link->has_carrier) {
		value.reason = HANDBACK_DOWN;
		return value;
	}
	value.kind = leg->has_gateway ? NEXTHOP_VIA : NEXTHOP_CONNECTED;
	value.reason = 0;
	value.is_unicast = false;
	value.out_port = link->port;
	value.mtu = mtu_of(leg, link);
	value.adjacency = neighbour_of(nexthops, leg);
	return value;
}

/* --- groups ------------------------------------------------------------------------------------
 */

/* Linux chooses among the others then (fib_select_multipath(), rt6_multipath_rebalance()). */
static bool is_dead(const struct nexthops *nexthops, const struct nh_leg *leg)
{
	const struct link_entry *link = link_table_find(nexthops->links, leg->ifindex);

	return may_leave(leg) && (!link || !link->is_up);
}

static uint64_t identity_of(const struct nh_leg *leg, uint32_t nth)
{
	uint64_t hash = 14695981039346656037ULL;
	const struct {
		uint32_t ifindex, nth;
		struct ip6_addr gateway;
		uint32_t kind;
	} way = {
		.ifindex = leg->ifindex,
		.nth = nth,
		.gateway = leg->gateway,
		.kind = leg->has_gateway ? 1U + leg->gateway_is_ip6 : 0,
	};
	const uint8_t *byte = (const void *)&way;

	for (size_t i = 0; i < sizeof(way); i++)
		hash = (hash ^ byte[i]) * 1099511628211ULL;
	return hash;
}

/* Which of several equal ones it is: each has draws of its own. */
static uint32_t nth_of(const struct nh_entry *entry, uint32_t member)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < member; i++)
		n += entry->members[i].number == entry->members[member].number;
	return n;
}

/* Those that take part: the living ones, or all if there is none. */
static uint32_t take_candidates(const struct nexthops *nexthops, const struct nh_entry *entry,
				bool want_dead, struct nh_candidate *ret_candidates)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < entry->n_members; i++) {
		const struct nh_member *member = &entry->members[i];
		const struct nh_leg *leg = &nexthops->entries[member->number]->leg;

		if (!want_dead && is_dead(nexthops, leg))
			continue;
		ret_candidates[n++] = (struct nh_candidate){
			.identity = identity_of(leg, nth_of(entry, i)),
			.weight = member->weight,
			.number = member->number,
		};
	}
	return n;
}

static bool has_ours(const struct nexthops *nexthops, const struct nh_entry *entry)
{
	for (uint32_t i = 0; i < entry->n_members; i++) {
		if (nexthops->ours[entry->members[i].number])
			return true;
	}
	return false;
}

/* Any will do: fib_info_nh_uses_dev(), and what rp_filter = 2 makes of it. */
static bool has_unicast(const struct nexthops *nexthops, const struct nh_entry *entry)
{
	for (uint32_t i = 0; i < entry->n_members; i++) {
		const struct nh_leg *leg = &nexthops->entries[entry->members[i].number]->leg;

		if (is_unicast(leg, link_table_find(nexthops->links, leg->ifindex)))
			return true;
	}
	return false;
}

static void publish_group(struct nexthops *nexthops, const struct nh_entry *entry)
{
	struct nh_candidate candidates[RT_MAX_NEXTHOPS];
	uint16_t buckets[NEXTHOP_GROUP_BUCKETS];
	struct nexthop value = {
		.kind = NEXTHOP_PASS,
		.reason = HANDBACK_POLICY,
		.is_unicast = has_unicast(nexthops, entry),
	};
	uint32_t n;

	if (has_ours(nexthops, entry)) {
		n = take_candidates(nexthops, entry, false, candidates);
		if (n == 0)
			n = take_candidates(nexthops, entry, true, candidates);
		nh_fill_buckets(candidates, n, buckets);
		value = (struct nexthop){.kind = NEXTHOP_GROUP, .buckets = buckets};
	}
	store(nexthops, entry->number, &value);
}

/* -----------------------------------------------------------------------------------------------
 */

void nh_publish(struct nexthops *nexthops, const struct nh_entry *entry)
{
	struct nexthop value;
	bool ours;

	if (entry->n_members > 0) {
		ours = has_ours(nexthops, entry);
		publish_group(nexthops, entry);
	} else {
		ours = is_ours(&entry->leg, link_table_find(nexthops->links, entry->leg.ifindex));
		value = value_of_leg(nexthops, &entry->leg);
		store(nexthops, entry->number, &value);
	}
	if (nexthops->ours[entry->number] == ours)
		return;
	nexthops->ours[entry->number] = ours;
	nexthops->is_ours_changed = true;
}

void nh_publish_neighbour(struct nexthops *nexthops, const struct nh_entry *entry,
			  struct adjacency *adjacency)
{
	struct nexthop value = value_of_leg(nexthops, &entry->leg);

	if (value.kind == NEXTHOP_VIA)
		value.adjacency = adjacency;
	store(nexthops, entry->number, &value);
}
