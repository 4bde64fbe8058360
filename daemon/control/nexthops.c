/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers for what routes lead to; the story is in nexthops.h. Here: what a route means, interning
 * and counting, rest and reuse of numbers, and the events of links and neighbours. Owns the
 * entries. Thread: tables.
 */
#include "control/nexthops.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/nexthops_internal.h"
#include "control/tables_internal.h"
#include "util/macros.h"

/* What interning compares: of an object, its id and how the route uses it. */
struct value {
	uint32_t object_id;
	struct nh_leg key; /* of a group: type and is_ip6 alone */
	uint32_t n_members;
	const struct nh_member *members;
	uint32_t hash;
};

/* --- numbers -----------------------------------------------------------------------------------
 */

static uint16_t take_number(struct nexthops *nexthops)
{
	uint16_t number = nexthops->free_head;

	if (number == FIB_NO_ROUTE)
		return nexthops->n_ever < FIB_NH_MAX ? (uint16_t)++nexthops->n_ever : FIB_NO_ROUTE;
	nexthops->free_head = nexthops->rest_next[number];
	return number;
}

static void rest_number(struct nexthops *nexthops, uint16_t number)
{
	nexthops->rest_since[number] = nexthops->generation;
	nexthops->rest_next[number] = FIB_NO_ROUTE;
	if (nexthops->rest_tail != FIB_NO_ROUTE)
		nexthops->rest_next[nexthops->rest_tail] = number;
	else
		nexthops->rest_head = number;
	nexthops->rest_tail = number;
}

void nexthops_begin_generation(struct nexthops *nexthops, uint64_t generation)
{
	assert(generation >= nexthops->generation);
	nexthops->generation = generation;
}

void nexthops_reclaim(struct nexthops *nexthops, uint64_t oldest_generation_seen)
{
	while (nexthops->rest_head != FIB_NO_ROUTE &&
	       nexthops->rest_since[nexthops->rest_head] < oldest_generation_seen) {
		uint16_t number = nexthops->rest_head;

		nexthops->rest_head = nexthops->rest_next[number];
		if (nexthops->rest_head == FIB_NO_ROUTE)
			nexthops->rest_tail = FIB_NO_ROUTE;
		nexthops->rest_next[number] = nexthops->free_head;
		nexthops->free_head = number;
	}
}

/* --- interning ---------------------------------------------------------------------------------
 */

static uint32_t hash_bytes(uint32_t hash, const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * 16777619U;
	return hash;
}

static void hash_value(struct value *value)
{
	uint32_t hash = hash_bytes(2166136261U, &value->key, sizeof(value->key));

	hash = hash_bytes(hash, &value->object_id, sizeof(value->object_id));
	for (uint32_t i = 0; i < value->n_members; i++)
		hash = hash_bytes(hash, &value->members[i], sizeof(value->members[i]));
	value->hash = hash ^ hash >> 15;
}

static bool is_value(const struct nh_entry *entry, const struct value *value)
{
	if (entry->hash != value->hash || entry->object_id != value->object_id ||
	    memcmp(&entry->key, &value->key, sizeof(entry->key)) != 0)
		return false;
	if (entry->object_id)
		return true;
	return entry->n_members == value->n_members &&
	       (entry->n_members == 0 || memcmp(entry->members, value->members,
						entry->n_members * sizeof(*entry->members)) == 0);
}

static uint16_t find_value(const struct nexthops *nexthops, const struct value *value)
{
	uint16_t number = nexthops->by_value[value->hash % NH_HASH_HEADS];

	while (number != FIB_NO_ROUTE && !is_value(nexthops->entries[number], value))
		number = nexthops->entries[number]->hash_next;
	return number;
}

static void unhash(struct nexthops *nexthops, const struct nh_entry *entry)
{
	uint16_t *link = &nexthops->by_value[entry->hash % NH_HASH_HEADS];

	while (*link != entry->number)
		link = &nexthops->entries[*link]->hash_next;
	*link = entry->hash_next;
}

/* An entry of a new number, found by its value, count 1; or NULL. */
static struct nh_entry *new_entry(struct nexthops *nexthops, const struct value *value)
{
	struct nh_entry *entry = calloc(1, sizeof(*entry));
	uint16_t number = entry ? take_number(nexthops) : FIB_NO_ROUTE;
	uint16_t *head = &nexthops->by_value[value->hash % NH_HASH_HEADS];

	if (number == FIB_NO_ROUTE) {
		free(entry);
		return NULL;
	}
	*entry = (struct nh_entry){
		.n_refs = 1,
		.object_id = value->object_id,
		.key = value->key,
		.hash = value->hash,
		.number = number,
		.own.number = number,
		.hash_next = *head,
	};
	*head = number;
	nexthops->entries[number] = entry;
	nexthops->n_used++;
	return entry;
}

/* What has no number of its own passes. */
static uint16_t share_pass(struct nexthops *nexthops)
{
	nexthops->entries[nexthops->pass]->n_refs++;
	return nexthops->pass;
}

static uint16_t count(struct nexthops *nexthops, uint16_t number)
{
	nexthops->entries[number]->n_refs++;
	return number;
}

/* --- paths: legs with one gateway, by which a neighbour finds them ------------------------------
 */

static uint16_t *path_head(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
			   const struct ip6_addr *gateway)
{
	return &nexthops->by_path[adjacency_hash(ifindex, is_ip6, gateway) % NH_HASH_HEADS];
}

static void leave_path(struct nexthops *nexthops, struct nh_entry *entry)
{
	const struct nh_leg *leg = &entry->leg;

	if (!entry->is_on_path)
		return;
	if (entry->path_prev != FIB_NO_ROUTE)
		nexthops->entries[entry->path_prev]->path_next = entry->path_next;
	else
		*path_head(nexthops, leg->ifindex, leg->gateway_is_ip6, &leg->gateway) =
			entry->path_next;
	if (entry->path_next != FIB_NO_ROUTE)
		nexthops->entries[entry->path_next]->path_prev = entry->path_prev;
	entry->is_on_path = false;
}

static void enter_path(struct nexthops *nexthops, struct nh_entry *entry)
{
	const struct nh_leg *leg = &entry->leg;
	uint16_t *head;

	if (entry->n_members > 0 || !leg->has_gateway)
		return;
	head = path_head(nexthops, leg->ifindex, leg->gateway_is_ip6, &leg->gateway);
	entry->path_prev = FIB_NO_ROUTE;
	entry->path_next = *head;
	if (*head != FIB_NO_ROUTE)
		nexthops->entries[*head]->path_prev = entry->number;
	*head = entry->number;
	entry->is_on_path = true;
}

void nh_set(struct nexthops *nexthops, struct nh_entry *entry, const struct nh_leg *leg,
	    struct nh_member *members, uint32_t n_members)
{
	struct nh_member *old_members = entry->members;
	uint32_t n_old_members = entry->n_members;

	leave_path(nexthops, entry);
	entry->leg = *leg;
	entry->members = members;
	entry->n_members = n_members;
	enter_path(nexthops, entry);
	nh_publish(nexthops, entry);
	for (uint32_t i = 0; i < n_old_members; i++)
		nexthops_put(nexthops, old_members[i].number);
	free(old_members);
}

/* --- what a route means ------------------------------------------------------------------------
 */

/* The part of a leg that the route says: the same for all its paths. */
static struct nh_leg route_leg(const struct rt_route *route)
{
	return (struct nh_leg){
		.type = route->type,
		.is_ip6 = route->is_ip6,
		.mtu = route->mtu,
		.is_kernels = route->too_many,
	};
}

struct nh_leg nh_leg_of(const struct rt_nexthop *nexthop, const struct nh_leg *route)
{
	struct nh_leg leg = *route;

	leg.ifindex = nexthop->ifindex;
	leg.has_gateway = nexthop->has_gateway;
	leg.gateway_is_ip6 = nexthop->gateway_is_ip6;
	if (nexthop->has_gateway)
		leg.gateway = nexthop->gateway;
	leg.is_kernels |= nexthop->has_encap;
	return leg;
}

static struct value leg_value(const struct nh_leg *leg)
{
	struct value value = {.key = *leg};

	hash_value(&value);
	return value;
}

static struct value group_value(const struct nh_leg *route, const struct nh_member *members,
				uint32_t n)
{
	struct value value = {.key = *route, .members = members, .n_members = n};

	value.key.mtu = 0; /* the members have it */
	hash_value(&value);
	return value;
}

/* Of a route with at most one path, or with an object. */
static struct value plain_value(const struct rt_route *route)
{
	struct nh_leg leg = route_leg(route);
	struct value value = {.object_id = route->nhid, .key = leg};

	if (!route->nhid && route->n_nexthops > 0 && !route->too_many)
		value.key = nh_leg_of(&route->nexthops[0], &leg);
	hash_value(&value);
	return value;
}

static bool is_group(const struct rt_route *route)
{
	return !route->nhid && !route->too_many && route->n_nexthops > 1;
}

/* Members in one order, so that equal groups are equal. */
static void sort_members(struct nh_member *members, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct nh_member member = members[i];
		uint32_t j = i;

		for (; j > 0 && (members[j - 1].number > member.number ||
				 (members[j - 1].number == member.number &&
				  members[j - 1].weight > member.weight));
		     j--)
			members[j] = members[j - 1];
		members[j] = member;
	}
}

uint16_t nh_get_leg(struct nexthops *nexthops, const struct nh_leg *leg)
{
	struct value value = leg_value(leg);
	uint16_t number = find_value(nexthops, &value);
	struct nh_entry *entry;

	if (number != FIB_NO_ROUTE)
		return count(nexthops, number);
	entry = new_entry(nexthops, &value);
	if (!entry)
		return share_pass(nexthops);
	nh_set(nexthops, entry, leg, NULL, 0);
	return entry->number;
}

static void put_members(struct nexthops *nexthops, const struct nh_member *members, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		nexthops_put(nexthops, members[i].number);
}

/* Takes over the members' counts. */
static uint16_t get_group(struct nexthops *nexthops, const struct nh_leg *route,
			  struct nh_member *members, uint32_t n)
{
	struct nh_entry *entry;
	struct nh_member *copy;
	struct value value;
	uint16_t number;

	sort_members(members, n);
	value = group_value(route, members, n);
	number = find_value(nexthops, &value);
	if (number != FIB_NO_ROUTE) {
		put_members(nexthops, members, n);
		return count(nexthops, number);
	}
	copy = calloc(n, sizeof(*copy));
	entry = copy ? new_entry(nexthops, &value) : NULL;
	if (!entry) {
		free(copy);
		put_members(nexthops, members, n);
		return share_pass(nexthops);
	}
	memcpy(copy, members, n * sizeof(*copy));
	nh_set(nexthops, entry, &value.key, copy, n);
	return entry->number;
}

static uint16_t get_route_group(struct nexthops *nexthops, const struct rt_route *route)
{
	struct nh_leg head = route_leg(route);
	struct nh_member members[RT_MAX_NEXTHOPS];

	for (uint32_t i = 0; i < route->n_nexthops; i++) {
		struct nh_leg leg = nh_leg_of(&route->nexthops[i], &head);

		members[i] = (struct nh_member){
			.number = nh_get_leg(nexthops, &leg),
			.weight = route->nexthops[i].weight,
		};
	}
	return get_group(nexthops, &head, members, route->n_nexthops);
}

static uint16_t get_object(struct nexthops *nexthops, const struct value *value)
{
	struct nh_entry *entry = new_entry(nexthops, value);

	if (!entry)
		return share_pass(nexthops);
	if (nh_follow_object(nexthops, entry) < 0) {
		nexthops_put(nexthops, entry->number);
		return share_pass(nexthops);
	}
	return entry->number;
}

uint16_t nexthops_get(struct nexthops *nexthops, const struct rt_route *route)
{
	struct value value;
	uint16_t number;

	if (is_group(route))
		return get_route_group(nexthops, route);
	value = plain_value(route);
	if (!value.object_id)
		return nh_get_leg(nexthops, &value.key);
	number = find_value(nexthops, &value);
	if (number != FIB_NO_ROUTE)
		return count(nexthops, number);
	return get_object(nexthops, &value);
}

uint16_t nexthops_find(const struct nexthops *nexthops, const struct rt_route *route)
{
	struct nh_leg head = route_leg(route);
	struct nh_member members[RT_MAX_NEXTHOPS];
	struct value value;

	if (!is_group(route)) {
		value = plain_value(route);
		return find_value(nexthops, &value);
	}
	for (uint32_t i = 0; i < route->n_nexthops; i++) {
		struct nh_leg leg = nh_leg_of(&route->nexthops[i], &head);

		value = leg_value(&leg);
		members[i].number = find_value(nexthops, &value);
		members[i].weight = route->nexthops[i].weight;
		if (members[i].number == FIB_NO_ROUTE)
			return FIB_NO_ROUTE;
	}
	sort_members(members, route->n_nexthops);
	value = group_value(&head, members, route->n_nexthops);
	return find_value(nexthops, &value);
}

/* The same way out, whatever MTU the message about the end of a member names. */
static bool is_same_way(const struct nh_leg *leg, const struct rt_nexthop *nexthop)
{
	return leg->ifindex == nexthop->ifindex && leg->has_gateway == nexthop->has_gateway &&
	       (!leg->has_gateway ||
		(leg->gateway_is_ip6 == nexthop->gateway_is_ip6 &&
		 memcmp(&leg->gateway, &nexthop->gateway, sizeof(leg->gateway)) == 0));
}

static bool is_gone(const struct nh_leg *leg, const struct rt_route *gone)
{
	for (uint32_t i = 0; i < gone->n_nexthops; i++) {
		if (is_same_way(leg, &gone->nexthops[i]))
			return true;
	}
	return false;
}

uint16_t nexthops_get_without(struct nexthops *nexthops, uint16_t number,
			      const struct rt_route *gone)
{
	const struct nh_entry *entry = nexthops->entries[number];
	struct nh_member members[RT_MAX_NEXTHOPS];
	uint32_t n = 0;

	if (entry->object_id)
		return count(nexthops, number);
	if (entry->n_members == 0)
		return is_gone(&entry->leg, gone) ? FIB_NO_ROUTE : count(nexthops, number);
	for (uint32_t i = 0; i < entry->n_members; i++) {
		if (!is_gone(&nexthops->entries[entry->members[i].number]->leg, gone))
			members[n++] = entry->members[i];
	}
	if (n == 0)
		return FIB_NO_ROUTE;
	if (n == entry->n_members || n == 1)
		return count(nexthops, n == 1 ? members[0].number : number);
	for (uint32_t i = 0; i < n; i++)
		(void)count(nexthops, members[i].number);
	return get_group(nexthops, &entry->key, members, n);
}

void nexthops_put(struct nexthops *nexthops, uint16_t number)
{
	struct nh_entry *entry = nexthops->entries[number];

	assert(entry && entry->n_refs > 0);
	if (--entry->n_refs > 0)
		return;
	unhash(nexthops, entry);
	leave_path(nexthops, entry);
	nh_forget_object(nexthops, entry);
	nh_withdraw(nexthops, number);
	put_members(nexthops, entry->members, entry->n_members);
	nexthops->entries[number] = NULL;
	nexthops->n_used--;
	free(entry->members);
	free(entry);
	rest_number(nexthops, number);
}

uint16_t nexthops_pass(const struct nexthops *nexthops)
{
	return nexthops->pass;
}

const uint8_t *nexthops_ours(const struct nexthops *nexthops)
{
	return nexthops->ours;
}

uint32_t nexthops_count(const struct nexthops *nexthops)
{
	return nexthops->n_used;
}

/* --- events ------------------------------------------------------------------------------------
 */

/* Legs first: groups ask what has become of them. Links change seldom: all numbers are looked at.
 */
bool nexthops_link_changed(struct nexthops *nexthops, uint32_t ifindex)
{
	nexthops->is_ours_changed = false;
	for (uint32_t number = 1; number <= nexthops->n_ever; number++) {
		const struct nh_entry *entry = nexthops->entries[number];

		if (entry && entry->n_members == 0 && (!ifindex || entry->leg.ifindex == ifindex))
			nh_publish(nexthops, entry);
	}
	for (uint32_t number = 1; number <= nexthops->n_ever; number++) {
		const struct nh_entry *entry = nexthops->entries[number];

		if (entry && entry->n_members > 0)
			nh_publish(nexthops, entry);
	}
	return nexthops->is_ours_changed;
}

void nexthops_neighbour_changed(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
				const struct ip6_addr *addr, struct adjacency *adjacency)
{
	uint16_t number = *path_head(nexthops, ifindex, is_ip6, addr);

	while (number != FIB_NO_ROUTE) {
		const struct nh_entry *entry = nexthops->entries[number];
		const struct nh_leg *leg = &entry->leg;

		if (leg->ifindex == ifindex && leg->gateway_is_ip6 == is_ip6 &&
		    memcmp(&leg->gateway, addr, sizeof(*addr)) == 0)
			nh_publish_neighbour(nexthops, entry, adjacency);
		number = entry->path_next;
	}
}

/* --- life --------------------------------------------------------------------------------------
 */

int nexthops_new(struct route_view *view, const struct link_table *links, struct limbo *limbo,
		 struct nexthops **ret_nexthops)
{
	const struct nh_leg pass = {.type = RTN_UNSPEC};
	struct nexthops *nexthops = calloc(1, sizeof(*nexthops));

	if (!nexthops)
		return -ENOMEM;
	nexthops->view = view;
	nexthops->links = links;
	nexthops->limbo = limbo;
	for (uint32_t number = 0; number <= FIB_NH_MAX; number++)
		atomic_store_explicit(&view->nexthops[number], &nexthop_no_route,
				      memory_order_relaxed);
	nexthops->pass = nh_get_leg(nexthops, &pass);
	if (nexthops->pass == FIB_NO_ROUTE ||
	    atomic_load_explicit(&view->nexthops[nexthops->pass], memory_order_relaxed) ==
		    &nexthop_no_route) {
		nexthops_free(nexthops);
		return -ENOMEM;
	}
	*ret_nexthops = nexthops;
	return 0;
}

void nexthops_free(struct nexthops *nexthops)
{
	if (!nexthops)
		return;
	for (uint32_t number = 1; number <= nexthops->n_ever; number++) {
		struct nh_entry *entry = nexthops->entries[number];

		nh_withdraw(nexthops, (uint16_t)number);
		if (!entry)
			continue;
		free(entry->members);
		free(entry->watches);
		free(entry);
	}
	nh_free_objects(nexthops);
	free(nexthops);
}
