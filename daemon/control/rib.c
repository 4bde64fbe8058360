/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Routes as they come and go, in the order in which the kernel would try them. What the kernel says
 * (6.18, seen by a monitor in a namespace; tests/unit/test_rib.c holds on to it):
 *
 * IPv4. add EXCL|CREATE, append CREATE|APPEND, prepend CREATE; replace REPLACE, which takes the
 * place of the first route of equal TOS and metric, whatever its type. Nothing is said when a
 * device goes down, a preferred source is deleted, or a next-hop object is: routes are gone then
 * (tables calls for a sync; their numbers pass meanwhile).
 *
 * IPv6. A route by gateway that joins others of equal prefix and metric: one message with all
 * members, and the metrics of the new one. REPLACE: the same, all that there are from now on.
 * Deleting members: one message each with one path; all of them: one with all paths. Routes without
 * a gateway, of router advertisements, or by next-hop object stand beside. REPLACE takes the first
 * of the same kind, else the first of equal metric.
 *
 * Thread: tables.
 */
#include "control/rib.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/rib_internal.h"
#include "net/fib4.h"
#include "net/fib6.h"
#include "util/macros.h"
#include "util/pages.h"

static const struct fib_pages rib_pages = {.map = pages_map, .unmap = pages_unmap};

/* --- a change of one prefix --------------------------------------------------------------------
 */

struct change {
	struct rib_family *family;
	struct rib_prefix prefix;
	uint32_t head;
	uint8_t state;
	bool was_local;
	uint32_t doomed; /* taken out, freed when nothing finds it any more */
};

static struct rib_node *node_at(const struct change *change, uint32_t index)
{
	return rib_node_at(&change->family->store, index);
}

static struct change begin_change(struct rib_family *family, const struct rib_prefix *prefix)
{
	struct change change = {.family = family, .prefix = *prefix};

	change.head = rib_store_find(&family->store, prefix);
	if (change.head) {
		const struct rib_node *head = node_at(&change, change.head);

		change.state = head->prefix;
		change.was_local = head->flags & RIB_NODE_LOCAL;
	}
	return change;
}

/* Table local has its first route of the prefix, or lost its last one: it hides more, or less. */
static void count_local(struct rib_family *family, const struct rib_prefix *prefix, bool is_local)
{
	family->n_local_of_len[prefix->len] += is_local ? 1U : UINT32_MAX;
	if (prefix->len == family->max_len)
		return;
	family->wants_pass = true;
	family->pass_cursor = 1;
}

static int end_change(struct rib_table *rib, struct change *change)
{
	struct rib_family *family = change->family;
	uint16_t old_nh = FIB_NO_ROUTE;
	uint8_t *state = &change->state;
	bool is_local = false;
	int r;

	rib_store_set_head(&family->store, &change->prefix, change->head);
	if (change->head) {
		struct rib_node *head = node_at(change, change->head);

		head->prefix = change->state;
		state = &head->prefix;
		is_local = head->flags & RIB_NODE_LOCAL;
	}
	if (is_local != change->was_local)
		count_local(family, &change->prefix, is_local);
	r = rib_settle(rib, family, &change->prefix, state);
	if (change->doomed) {
		old_nh = node_at(change, change->doomed)->nh;
		rib_store_free_node(&family->store, change->doomed);
		nexthops_put(rib->nexthops, old_nh);
	}
	return r;
}

static uint32_t *link_to(struct change *change, uint32_t index)
{
	uint32_t *link = &change->head;

	while (*link != index)
		link = &node_at(change, *link)->next;
	return link;
}

static void take_out(struct change *change, uint32_t index)
{
	*link_to(change, index) = node_at(change, index)->next;
	change->doomed = index;
}

void rib_drop(struct rib_table *rib, struct rib_family *family, uint32_t index)
{
	struct rib_prefix prefix =
		rib_prefix_of(&family->store, rib_node_at(&family->store, index));
	struct change change = begin_change(family, &prefix);

	take_out(&change, index);
	(void)end_change(rib, &change);
}

/* --- where a route stands ----------------------------------------------------------------------
 */

/* Of table local first; then by TOS, the highest first; then by metric. */
static int compare(const struct rib_node *a, const struct rib_node *b)
{
	bool a_local = a->flags & RIB_NODE_LOCAL, b_local = b->flags & RIB_NODE_LOCAL;

	if (a_local != b_local)
		return a_local ? -1 : 1;
	if (a->tos != b->tos)
		return a->tos > b->tos ? -1 : 1;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	return 0;
}

/*
 * Where a route of these flags goes among equal ones; in IPv6 always behind. A dump tells them in
 * their order: behind those that it has told already, before those that will be swept.
 */
static uint32_t *place_of(struct change *change, const struct rib_node *node, uint16_t flags)
{
	bool is_dump = flags & NLM_F_MULTI;
	bool is_behind = !is_dump && (flags & NLM_F_APPEND || change->family->is_ip6);
	uint32_t *link = &change->head;

	for (; *link; link = &node_at(change, *link)->next) {
		const struct rib_node *other = node_at(change, *link);
		int order = compare(other, node);

		if (order > 0)
			break;
		if (order == 0 && !is_behind && !(is_dump && other->mark == node->mark))
			break;
	}
	return link;
}

static void insert(struct change *change, uint32_t index, uint16_t flags)
{
	uint32_t *link = place_of(change, node_at(change, index), flags);

	node_at(change, index)->next = *link;
	*link = index;
}

/* --- which route a message is about ------------------------------------------------------------
 */

static bool is_same_route(const struct rib_node *a, const struct rib_node *b)
{
	return a->nh == b->nh && a->type == b->type && a->protocol == b->protocol &&
	       a->identity == b->identity;
}

/* The first of equal rank that passes the test, or 0. */
static uint32_t find_equal(const struct change *change, const struct rib_node *node,
			   bool (*is_it)(const struct rib_node *a, const struct rib_node *b))
{
	for (uint32_t i = change->head; i; i = node_at(change, i)->next) {
		const struct rib_node *other = node_at(change, i);

		if (compare(other, node) == 0 && is_it(other, node))
			return i;
	}
	return 0;
}

static bool is_any(const struct rib_node *a, const struct rib_node *b)
{
	return true;
}

static bool is_same_kind(const struct rib_node *a, const struct rib_node *b)
{
	return !((a->flags ^ b->flags) & RIB_NODE_ECMP);
}

/* What the message's route takes the place of; 0: of none. */
static uint32_t find_replaced(const struct change *change, const struct rib_node *node,
			      uint16_t flags)
{
	uint32_t found = 0;

	/* Each message about a multipath route tells all of it. */
	if (node->flags & RIB_NODE_ECMP || (flags & NLM_F_REPLACE && change->family->is_ip6))
		found = find_equal(change, node, is_same_kind);
	if (!found && flags & NLM_F_REPLACE)
		found = find_equal(change, node, is_any);
	return found;
}

static bool is_ecmp(const struct rt_route *route)
{
	return route->is_ip6 && !route->nhid && route->type == RTN_UNICAST && route->src_len == 0 &&
	       route->protocol != RTPROT_RA && route->n_nexthops > 0 &&
	       route->nexthops[0].has_gateway;
}

static bool is_odd(const struct rt_route *route)
{
	return route->too_many || route->src_len > 0 ||
	       (route->protocol == RTPROT_RA && route->n_nexthops > 1);
}

/* Folds what tells equal routes apart; in IPv4 the order of paths does, too. */
static uint16_t identity_of(const struct rt_route *route)
{
	uint32_t identity = route->identity;

	for (uint32_t i = 0; !route->is_ip6 && !route->nhid && i < route->n_nexthops; i++) {
		const struct rt_nexthop *path = &route->nexthops[i];
		uint32_t gateway;

		memcpy(&gateway, path->gateway.octet + (path->gateway_is_ip6 ? 12 : 0),
		       sizeof(gateway));
		identity = (identity ^ path->ifindex ^ gateway) * 0x9e3779b1U + path->weight;
	}
	return (uint16_t)(identity ^ identity >> 16);
}

/* A node by value; its number is not counted here. */
static struct rib_node node_of(const struct rib_table *rib, const struct rt_route *route,
			       uint16_t nh)
{
	return (struct rib_node){
		.metric = route->metric,
		.nh = nh,
		.identity = identity_of(route),
		.mark = rib->mark,
		.len = route->dst_len,
		.type = route->type,
		.protocol = route->protocol,
		.tos = route->tos,
		.flags = (uint8_t)((route->table == RT_TABLE_LOCAL ? RIB_NODE_LOCAL : 0) |
				   (is_ecmp(route) ? RIB_NODE_ECMP : 0) |
				   (is_odd(route) ? RIB_NODE_ODD : 0)),
	};
}

static bool is_followed(const struct rib_table *rib, const struct rt_route *route)
{
	return !route->is_cached && (route->table == RT_TABLE_LOCAL || route->table == rib->table);
}

/* --- routes that come --------------------------------------------------------------------------
 */

/* All but its place in the lists. */
static void copy_contents(struct rib_node *to, const struct rib_node *from)
{
	to->metric = from->metric;
	to->nh = from->nh;
	to->identity = from->identity;
	to->mark = from->mark;
	to->type = from->type;
	to->protocol = from->protocol;
	to->tos = from->tos;
	to->flags = from->flags;
}

/*
 * Members that differ in their metrics: a message names those of one of them only. Once known, it
 * lasts until the whole route is replaced; before the first dump it cannot be known.
 */
static bool mixes_metrics(const struct rib_node *old, const struct rib_node *node, uint16_t flags)
{
	if (!(node->flags & RIB_NODE_ECMP) || flags & NLM_F_REPLACE)
		return false;
	return old->flags & RIB_NODE_ODD ||
	       (!(flags & NLM_F_MULTI) && old->identity != node->identity);
}

/* The number of the old contents goes when the FIB has the new one. */
static int replace(struct rib_table *rib, struct change *change, uint32_t index,
		   struct rib_node *node, uint16_t flags)
{
	struct rib_node *old = node_at(change, index);
	uint16_t old_nh = old->nh;
	int r;

	if (mixes_metrics(old, node, flags))
		node->flags |= RIB_NODE_ODD;
	copy_contents(old, node);
	r = end_change(rib, change);
	nexthops_put(rib->nexthops, old_nh);
	return r;
}

/* Known already, from a dump or a notification that a dump overtook: it may stand elsewhere. */
static int refresh(struct rib_table *rib, struct change *change, uint32_t index,
		   const struct rib_node *node, uint16_t flags)
{
	struct rib_node *old = node_at(change, index);
	uint16_t old_nh = old->nh;
	int r;

	*link_to(change, index) = old->next;
	copy_contents(old, node);
	insert(change, index, flags);
	r = end_change(rib, change);
	nexthops_put(rib->nexthops, old_nh);
	return r;
}

static int add(struct rib_table *rib, struct change *change, const struct rib_node *node,
	       uint16_t flags)
{
	uint32_t index = rib_store_new_node(&change->family->store, &change->prefix);

	if (!index) {
		change->family->is_lossy = true;
		change->family->is_lossy_again = true;
		nexthops_put(rib->nexthops, node->nh);
		return -ENOMEM;
	}
	copy_contents(node_at(change, index), node);
	insert(change, index, flags);
	return end_change(rib, change);
}

int rib_route(struct rib_table *rib, const struct rt_route *route, uint16_t nlmsg_flags)
{
	struct rib_family *family = &rib->families[route->is_ip6];
	struct rib_prefix prefix;
	struct change change;
	struct rib_node node;
	uint32_t index;

	if (!is_followed(rib, route))
		return 0;
	prefix = rib_prefix_from(route->is_ip6, &route->dst, route->dst_len);
	change = begin_change(family, &prefix);
	node = node_of(rib, route, nexthops_get(rib->nexthops, route));
	index = find_replaced(&change, &node, nlmsg_flags);
	if (index)
		return replace(rib, &change, index, &node, nlmsg_flags);
	index = find_equal(&change, &node, is_same_route);
	if (index)
		return refresh(rib, &change, index, &node, nlmsg_flags);
	return add(rib, &change, &node, nlmsg_flags);
}

/* --- routes that go ----------------------------------------------------------------------------
 */

/* The only one that it can be, where a number or an attribute has become another since. */
static uint32_t find_only(const struct change *change, const struct rib_node *node)
{
	uint32_t found = 0;

	for (uint32_t i = change->head; i; i = node_at(change, i)->next) {
		const struct rib_node *other = node_at(change, i);

		if (compare(other, node) != 0 || other->type != node->type)
			continue;
		if (found)
			return 0;
		found = i;
	}
	return found;
}

/* Some members of a multipath route, or all of them. */
static int members_gone(struct rib_table *rib, struct change *change, uint32_t index,
			const struct rt_route *route)
{
	struct rib_node *node = node_at(change, index);
	uint16_t old_nh = node->nh, nh = nexthops_get_without(rib->nexthops, old_nh, route);
	int r;

	if (nh == FIB_NO_ROUTE) {
		take_out(change, index);
		return end_change(rib, change);
	}
	if (nh == old_nh) {
		nexthops_put(rib->nexthops, nh);
		return -ENOENT;
	}
	node->nh = nh;
	r = end_change(rib, change);
	nexthops_put(rib->nexthops, old_nh);
	return r;
}

int rib_route_gone(struct rib_table *rib, const struct rt_route *route)
{
	struct rib_family *family = &rib->families[route->is_ip6];
	struct rib_prefix prefix;
	struct change change;
	struct rib_node node;
	uint32_t index;

	if (!is_followed(rib, route))
		return 0;
	prefix = rib_prefix_from(route->is_ip6, &route->dst, route->dst_len);
	change = begin_change(family, &prefix);
	node = node_of(rib, route, nexthops_find(rib->nexthops, route));
	if (node.flags & RIB_NODE_ECMP) {
		index = find_equal(&change, &node, is_same_kind);
		return index ? members_gone(rib, &change, index, route) : -ENOENT;
	}
	index = find_equal(&change, &node, is_same_route);
	if (!index)
		index = find_only(&change, &node);
	if (!index)
		return -ENOENT;
	take_out(&change, index);
	return end_change(rib, &change);
}

/* --- life --------------------------------------------------------------------------------------
 */

static int init_family(struct rib_family *family, bool is_ip6, uint64_t seed)
{
	family->is_ip6 = is_ip6;
	family->max_len = is_ip6 ? 128 : 32;
	return rib_store_init(&family->store, is_ip6 ? 4 : 1, seed);
}

int rib_table_new(struct route_view *view, struct gate *gate, struct nexthops *nexthops,
		  const struct locals *locals, struct rib_table **ret_rib)
{
	struct rib_table *rib = calloc(1, sizeof(*rib));

	if (!rib)
		return -ENOMEM;
	rib->view = view;
	rib->gate = gate;
	rib->nexthops = nexthops;
	rib->locals = locals;
	rib->table = RT_TABLE_MAIN;
	rib->next_table = RT_TABLE_MAIN;
	if (fib4_new(&rib_pages, &view->fib4) < 0 ||
	    fib6_new(&rib_pages, FIB6_NODE_BYTES, &view->fib6) < 0 ||
	    init_family(&rib->families[0], false, view->hash_seed) < 0 ||
	    init_family(&rib->families[1], true, view->hash_seed) < 0) {
		rib_table_free(rib);
		return -ENOMEM;
	}
	*ret_rib = rib;
	return 0;
}

/* The gate and the numbers are left as they are: they end with it. */
void rib_table_free(struct rib_table *rib)
{
	if (!rib)
		return;
	fib4_free(rib->view->fib4);
	fib6_free(rib->view->fib6);
	rib->view->fib4 = NULL;
	rib->view->fib6 = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(rib->families); i++)
		rib_store_fini(&rib->families[i].store);
	free(rib);
}
