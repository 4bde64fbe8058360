/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A number as JSON, for show routes and explain. Thread: tables. */
#include <arpa/inet.h>
#include <json-c/json.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "control/nexthops_internal.h"
#include "control/tables_internal.h"
#include "util/macros.h"

static const char *const type_names[] = {
	[RTN_UNSPEC] = "kernel",       [RTN_UNICAST] = "unicast",
	[RTN_LOCAL] = "local",         [RTN_BROADCAST] = "broadcast",
	[RTN_ANYCAST] = "anycast",     [RTN_MULTICAST] = "multicast",
	[RTN_BLACKHOLE] = "blackhole", [RTN_UNREACHABLE] = "unreachable",
	[RTN_PROHIBIT] = "prohibit",   [RTN_THROW] = "throw",
};
static const char *const kind_names[] = {
	[NEXTHOP_PASS] = "pass",
	[NEXTHOP_VIA] = "via",
	[NEXTHOP_CONNECTED] = "connected",
	[NEXTHOP_GROUP] = "group",
};

#define REASON_NAME(id, label, per_second, help) [HANDBACK_##id] = #label,
static const char *const reason_names[] = {HANDBACK_REASONS(REASON_NAME)};
#undef REASON_NAME

static void add_text(struct json_object *object, const char *key, const char *text)
{
	(void)json_object_object_add(object, key, json_object_new_string(text));
}

static void add_number(struct json_object *object, const char *key, uint32_t number)
{
	(void)json_object_object_add(object, key, json_object_new_int64(number));
}

static void add_way(const struct nexthops *nexthops, const struct nh_leg *leg,
		    struct json_object *object)
{
	const struct link_entry *link = link_table_find(nexthops->links, leg->ifindex);
	char text[INET6_ADDRSTRLEN];

	if (leg->type < ARRAY_SIZE(type_names) && type_names[leg->type])
		add_text(object, "type", type_names[leg->type]);
	if (leg->has_gateway && inet_ntop(leg->gateway_is_ip6 ? AF_INET6 : AF_INET,
					  leg->gateway.octet, text, sizeof(text)))
		add_text(object, "gateway", text);
	if (link)
		add_text(object, "device", link->name);
	if (leg->ifindex)
		add_number(object, "ifindex", leg->ifindex);
}

static void add_members(const struct nexthops *nexthops, const struct nh_entry *entry,
			struct json_object *object)
{
	struct json_object *members = json_object_new_array();

	for (uint32_t i = 0; members && i < entry->n_members; i++) {
		struct json_object *member = nexthops_json(nexthops, entry->members[i].number);

		if (!member)
			continue;
		add_number(member, "weight", entry->members[i].weight);
		(void)json_object_array_add(members, member);
	}
	(void)json_object_object_add(object, "members", members);
}

struct json_object *nexthops_json(const struct nexthops *nexthops, uint16_t number)
{
	const struct nh_entry *entry = number <= FIB_NH_MAX ? nexthops->entries[number] : NULL;
	struct json_object *object = json_object_new_object();
	const struct nexthop *nexthop;

	if (!object)
		return NULL;
	nexthop = atomic_load_explicit(
		&nexthops->view->nexthops[number <= FIB_NH_MAX ? number : FIB_NO_ROUTE],
		memory_order_relaxed);
	add_number(object, "number", number);
	add_text(object, "kind", kind_names[nexthop->kind]);
	if (nexthop->kind == NEXTHOP_PASS)
		add_text(object, "reason", reason_names[nexthop->reason]);
	if (!entry)
		return object;
	if (entry->object_id)
		add_number(object, "nhid", entry->object_id);
	if (entry->n_members > 0)
		add_members(nexthops, entry, object);
	else
		add_way(nexthops, &entry->leg, object);
	if (nexthop->mtu)
		add_number(object, "mtu", nexthop->mtu);
	if (nexthop->kind == NEXTHOP_VIA)
		add_text(object, "neighbour", nexthop->adjacency ? "resolved" : "unresolved");
	return object;
}
