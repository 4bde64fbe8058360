/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `sluicectl explain packet`: what a worker would do with a frame, by the worker's own code
 * (net/route.h). Under the lock, so that nothing it looks at is retired: that is all that the
 * registration of a reader is for.
 *
 * Thread: control.
 */
#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#include "control/json_add.h"
#include "control/tables_thread.h"
#include "util/macros.h"

#define MAX_FRAME_BYTES 16384

#define IP4_DST_OFFSET (ETH_HLEN + 16)
#define IP6_DST_OFFSET (ETH_HLEN + 24)

static const char *const verdict_names[] = {
	[ROUTE_FORWARD] = "forward",
	[ROUTE_HAND_BACK] = "hand_back",
	[ROUTE_DROP] = "drop",
};

#define HANDBACK_NAME(id, label, per_second, help) [HANDBACK_##id] = #label,
static const char *const reason_names[HANDBACK_N] = {HANDBACK_REASONS(HANDBACK_NAME)};
#undef HANDBACK_NAME
#define HANDBACK_HELP(id, label, per_second, help) [HANDBACK_##id] = help,
static const char *const reason_helps[HANDBACK_N] = {HANDBACK_REASONS(HANDBACK_HELP)};
#undef HANDBACK_HELP

static bool read_dst(const uint8_t *frame, uint32_t len, bool *ret_is_ip6,
		     struct ip6_addr *ret_addr)
{
	struct ip6_addr addr = {{0}};
	be16 eth_type;

	if (len < ETH_HLEN)
		return false;
	memcpy(&eth_type, frame + 2 * ETH_ALEN, sizeof(eth_type));
	if (be16toh(eth_type) == ETH_P_IP && len >= IP4_DST_OFFSET + 4)
		memcpy(addr.octet, frame + IP4_DST_OFFSET, 4);
	else if (be16toh(eth_type) == ETH_P_IPV6 && len >= IP6_DST_OFFSET + sizeof(addr))
		memcpy(addr.octet, frame + IP6_DST_OFFSET, sizeof(addr));
	else
		return false;
	*ret_is_ip6 = be16toh(eth_type) == ETH_P_IPV6;
	*ret_addr = addr;
	return true;
}

static int add_route(const struct tables *tables, const struct route_frame *frame,
		     struct json_object *object)
{
	struct ip6_addr dst;
	struct rib_row row;
	bool is_ip6;
	int r;

	if (!read_dst(frame->data, frame->len, &is_ip6, &dst))
		return 0;
	if (rib_match(tables->rib, is_ip6, &dst, &row)) {
		r = json_add(object, "route", tables_row_json(tables, &row));
		if (r < 0)
			return r;
	}
	if (frame->nh == FIB_NO_ROUTE)
		return 0;
	return json_add(object, "nexthop", nexthops_json(tables->nexthops, frame->nh));
}

static struct json_object *json_hex(const uint8_t *data, uint32_t len)
{
	_cleanup_free_ char *text = malloc(2 * (size_t)len + 1);

	if (!text)
		return NULL;
	for (uint32_t i = 0; i < len; i++)
		(void)snprintf(text + 2 * (size_t)i, 3, "%02x", data[i]);
	return json_object_new_string_len(text, 2 * (int)len);
}

/* The rewrite marks the neighbour used, which only tells the kernel that somebody asks for it. */
static int add_frame(const struct tables *tables, const struct route_frame *frame,
		     struct json_object *object)
{
	const uint32_t place = frame->adjacency->out_port;
	const char *name = place < tables->config.n_ports ? tables->ports[place].name : "";
	int r;

	route_rewrite(frame);
	r = json_add(object, "out_port", json_object_new_string(name));
	if (r == 0)
		r = json_add(object, "out_frame", json_hex(frame->data, frame->out_len));
	return r;
}

static int add_reason(const struct route_frame *frame, struct json_object *object)
{
	int r;

	if (frame->verdict != ROUTE_HAND_BACK || frame->reason >= HANDBACK_N)
		return 0;
	r = json_add(object, "reason", json_object_new_string(reason_names[frame->reason]));
	if (r == 0)
		r = json_add(object, "why", json_object_new_string(reason_helps[frame->reason]));
	return r;
}

static int explain(const struct tables *tables, uint32_t place, struct route_frame *frame,
		   struct json_object *object)
{
	const struct tables_port *port = &tables->ports[place];
	const struct link_entry *link = link_table_find(tables->links, port->ifindex);
	struct route_in in = {.port = (uint16_t)place, .ifindex = port->ifindex};
	int r;

	if (link)
		memcpy(in.mac, link->mac, sizeof(in.mac));
	route_decide(tables->view, &in, frame, 1);
	r = json_add(object, "port", json_object_new_string(port->name));
	if (r == 0)
		r = json_add(object, "verdict",
			     json_object_new_string(verdict_names[frame->verdict]));
	if (r == 0)
		r = add_reason(frame, object);
	if (r == 0)
		r = add_route(tables, frame, object);
	if (r == 0 && frame->verdict == ROUTE_FORWARD)
		r = add_frame(tables, frame, object);
	return r;
}

struct json_object *tables_explain(struct tables *tables, uint32_t port, const uint8_t *frame,
				   uint32_t len)
{
	_cleanup_free_ uint8_t *copy = malloc(MAX(len, 1U));
	struct route_frame route_frame = {.data = copy, .len = len};
	struct json_object *object;
	int r = -EINVAL;

	if (!copy || len > MAX_FRAME_BYTES)
		return NULL;
	object = json_object_new_object();
	if (!object)
		return NULL;
	memcpy(copy, frame, len);
	tables_lock_take(&tables->lock);
	if (port < tables->config.n_ports && tables->ports[port].is_route)
		r = explain(tables, port, &route_frame, object);
	tables_lock_give(&tables->lock);
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}
