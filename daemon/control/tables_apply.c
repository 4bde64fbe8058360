/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one message of rtnetlink means to the tables, be it a notification or an entry of a dump.
 *
 * Linux changes some things without a word: the IPv4 routes of a link that goes down or of an
 * address that is deleted, those by a next-hop object that is deleted, the objects of a link that
 * goes down, and the members of multipath routes that come back with it. Each of these has an
 * event that is told; it makes everything be read anew.
 *
 * Thread: tables.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "tables"

/*
 * net.ipv6.conf.*.disable_ipv6 has no notification of its own: addresses of the port go and come
 * with it, and at least the route to ff00::/8.
 */
static void ask_policy_of(struct tables *tables, uint32_t ifindex, bool is_dump)
{
	const struct link_entry *link = link_table_find(tables->links, ifindex);

	if (!is_dump && link && link->port != LINK_NO_PORT)
		lines_want_policy(tables, clock_now_ns());
}

/* --- Links ------------------------------------------------------------------------------------ */

/* What was learnt behind a bridge port goes with its link, as in Linux. */
static void bridge_port_changed(struct tables *tables, uint32_t ifindex)
{
	const struct link_entry *link = link_table_find(tables->links, ifindex);

	if (link && link->is_up && link->has_carrier)
		return;
	for (uint32_t i = 0; i < tables->config.n_ports; i++) {
		if (tables->ports[i].bridge != UINT32_MAX && tables->ports[i].ifindex == ifindex)
			fdbs_port_down(tables->fdbs, i, clock_now_ns());
	}
}

/* Whether the gate has to be painted anew is what nexthops.c answers. */
static void link_changed(struct tables *tables, uint32_t ifindex, unsigned changes)
{
	if (changes & (LINK_CHANGED_STATE | LINK_CHANGED_MTU | LINK_CHANGED_MAC | LINK_CAME))
		tables->wants_repaint |= nexthops_link_changed(tables->nexthops, ifindex);
	if (changes & (LINK_CHANGED_MAC | LINK_CHANGED_STATE | LINK_CAME))
		neighbours_link_changed(tables->neighbours, ifindex);
	if (changes & LINK_CHANGED_STATE)
		bridge_port_changed(tables, ifindex);
	if (changes & (LINK_CHANGED_REST | LINK_CAME))
		tables_resolve_table(tables);
	tables->lines_are_stale = true;
}

void sync_sweep_link(uint32_t ifindex, void *arg)
{
	link_changed(arg, ifindex, LINK_CHANGED_STATE | LINK_CHANGED_REST);
}

void tables_resolve_table(struct tables *tables)
{
	const struct link_entry *vrf;
	uint32_t table = tables->config.table;

	if (tables->config.vrf[0]) {
		vrf = link_table_find_name(tables->links, tables->config.vrf);
		table = vrf ? vrf->vrf_table : 0;
	}
	if (table == tables->table)
		return;
	/* What is in the FIB is of another table: nothing is forwarded by it from now on. */
	tables->table = table;
	rib_set_table(tables->rib, table);
	tables->is_synced_once = false;
	tables->lines_are_stale = true;
	sync_want(tables);
}

static int apply_link(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(message);
	struct rt_link link;
	int r = rtmsg_link(message, &link);

	if (r < 0)
		return r;
	ask_policy_of(tables, (uint32_t)ifi->ifi_index, is_dump);
	if (message->nlmsg_type == RTM_DELLINK) {
		if (link_table_gone(tables->links, (uint32_t)ifi->ifi_index)) {
			link_changed(tables, (uint32_t)ifi->ifi_index,
				     LINK_CHANGED_STATE | LINK_CHANGED_REST);
			sync_want(tables);
		}
		return 0;
	}
	r = link_table_apply(tables->links, &link);
	if (r < 0)
		return r;
	if (r > 0)
		link_changed(tables, link.ifindex, (unsigned)r);
	/* Down: routes went. Up: members of multipath routes came back. */
	if (r & LINK_CHANGED_STATE && !is_dump)
		sync_want(tables);
	return 0;
}

/* --- Addresses, neighbours, objects ----------------------------------------------------------- */

static int apply_address(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	const bool is_delete = message->nlmsg_type == RTM_DELADDR;
	struct rt_address address;
	int r = rtmsg_address(message, &address);

	if (r < 0)
		return r;
	locals_address(tables->locals, &address, is_delete);
	tables->lines_are_stale = true; /* the source check */
	if (address.is_ip6)
		ask_policy_of(tables, address.ifindex, is_dump);
	if (is_delete)
		sync_want(tables);
	return 0;
}

static int apply_neighbour(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	struct rt_neighbour neighbour;
	int r = rtmsg_neighbour(message, &neighbour);

	if (r == 0)
		neighbours_apply(tables->neighbours, &neighbour,
				 message->nlmsg_type == RTM_DELNEIGH);
	(void)is_dump;
	return r;
}

static int apply_object(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	const bool is_delete = message->nlmsg_type == RTM_DELNEXTHOP;
	struct rt_nexthop_object object;
	int r = rtmsg_nexthop_object(message, &object);

	if (r < 0)
		return r;
	tables->wants_repaint |= nexthops_object(tables->nexthops, &object, is_delete);
	if (is_delete)
		sync_want(tables);
	(void)is_dump;
	return 0;
}

/* --- Routes ----------------------------------------------------------------------------------- */

static void route_apply(struct tables *tables, const struct nlmsghdr *message,
			const struct rt_route *route)
{
	const bool is_delete = message->nlmsg_type == RTM_DELROUTE;
	int r = is_delete ? rib_route_gone(tables->rib, route) :
			    rib_route(tables->rib, route, message->nlmsg_flags);

	if (r == -EAGAIN)
		tables->is_owed = true;
	/* Unless its end was in a dump already, something was missed. */
	if (r == -ENOENT && !sync_is_running(tables) && !tables->sync.is_settling)
		sync_want(tables);
	if (route->table == RT_TABLE_LOCAL || route->table == tables->table)
		locals_route(tables->locals, route, is_delete);
	if (route->type == RTN_LOCAL)
		tables->lines_are_stale = true; /* the same */
}

static void replay_route(const struct nlmsghdr *message, void *arg)
{
	struct rt_route route;

	if (rtmsg_route(message, &route) == 0)
		route_apply(arg, message, &route);
}

/* While routes are dumped, a notification is remembered: see tables_replay.c. */
static void note_route(struct tables *tables, const struct nlmsghdr *message,
		       const struct rt_route *route)
{
	if (route->is_ip6 && message->nlmsg_type == RTM_DELROUTE)
		tables->sync.n_deletes6++;
	if (!replay_record(tables->sync.replay, route, message))
		sync_want(tables);
}

static int apply_route(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	struct rt_route route;
	int r = rtmsg_route(message, &route);

	if (r < 0)
		return r;
	/* What PMTU discovery learnt is no route: the kernel's forwarding ignores it, too. */
	if (route.is_cached)
		return 0;
	if (!is_dump) {
		tables->n_route_changes++;
		if (route.type == RTN_MULTICAST && route.n_nexthops > 0)
			ask_policy_of(tables, route.nexthops[0].ifindex, is_dump);
		if (sync_reads_routes(tables))
			note_route(tables, message, &route);
	}
	route_apply(tables, message, &route);
	if (is_dump)
		replay_run(tables->sync.replay, &route, replay_route, tables);
	return 0;
}

/* --- All -------------------------------------------------------------------------------------- */

typedef int (*apply_fn)(struct tables *tables, const struct nlmsghdr *message, bool is_dump);

static const struct {
	apply_fn fn;
	bool is_of_ip; /* else only AF_UNSPEC: of a bridge's ports there are messages, too */
} rows[] = {
	[RTM_NEWLINK] = {apply_link, false},      [RTM_DELLINK] = {apply_link, false},
	[RTM_NEWADDR] = {apply_address, true},    [RTM_DELADDR] = {apply_address, true},
	[RTM_NEWROUTE] = {apply_route, true},     [RTM_DELROUTE] = {apply_route, true},
	[RTM_NEWNEIGH] = {apply_neighbour, true}, [RTM_DELNEIGH] = {apply_neighbour, true},
};

/* A next-hop group has no family, a single next hop has. */
static apply_fn function_of(const struct nlmsghdr *message)
{
	const unsigned type = message->nlmsg_type;
	uint8_t family;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(family))
		return NULL;
	if (type == RTM_NEWNEXTHOP || type == RTM_DELNEXTHOP)
		return apply_object;
	if (type >= ARRAY_SIZE(rows) || !rows[type].fn)
		return NULL;
	/* Every header of rtnetlink begins with the family. */
	family = *(const uint8_t *)mnl_nlmsg_get_payload(message);
	if (rows[type].is_of_ip ? family != AF_INET && family != AF_INET6 : family != AF_UNSPEC)
		return NULL;
	return rows[type].fn;
}

void tables_apply(struct tables *tables, const struct nlmsghdr *message, bool is_dump)
{
	apply_fn fn = function_of(message);
	int r = fn ? fn(tables, message, is_dump) : 0;

	if (r == 0)
		return;
	tables->n_bad_messages++;
	log_warning("cannot use a message of rtnetlink (type %u): %s", message->nlmsg_type,
		    r == -ENOMEM ? "out of memory" : "it is malformed");
	/* What is not understood in a dump would not be so in the next. */
	if (!is_dump)
		sync_want(tables);
}
