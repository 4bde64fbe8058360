/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `sluicectl show routes | neighbours | fdb`: rows of the tables as JSON, taken in slices, so that
 * neither the tables thread nor control waits for a million of them. What changes in between may be
 * missed or told twice.
 *
 * Thread: control.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/json_add.h"
#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/macros.h"

/* About 100 µs of rows that do not match the filter. */
#define SCAN_PER_SLICE 4096

/* --- Values ----------------------------------------------------------------------------------- */

static const char *const type_names[] = {
	[RTN_UNICAST] = "unicast",
	[RTN_LOCAL] = "local",
	[RTN_BROADCAST] = "broadcast",
	[RTN_ANYCAST] = "anycast",
	[RTN_MULTICAST] = "multicast",
	[RTN_BLACKHOLE] = "blackhole",
	[RTN_UNREACHABLE] = "unreachable",
	[RTN_PROHIBIT] = "prohibit",
	[RTN_THROW] = "throw",
	[RTN_NAT] = "nat",
};

static const struct {
	uint16_t state;
	const char *name;
} state_names[] = {
	{NUD_INCOMPLETE, "incomplete"}, {NUD_REACHABLE, "reachable"}, {NUD_STALE, "stale"},
	{NUD_DELAY, "delay"},           {NUD_PROBE, "probe"},         {NUD_FAILED, "failed"},
	{NUD_NOARP, "noarp"},           {NUD_PERMANENT, "permanent"},
};

static const char *name_of_state(uint16_t state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(state_names); i++) {
		if (state & state_names[i].state)
			return state_names[i].name;
	}
	return "none";
}

static struct json_object *json_addr(bool is_ip6, const struct ip6_addr *addr)
{
	char text[INET6_ADDRSTRLEN];

	if (!inet_ntop(is_ip6 ? AF_INET6 : AF_INET, addr, text, sizeof(text)))
		return NULL;
	return json_object_new_string(text);
}

static struct json_object *json_prefix(const struct rib_row *row)
{
	char text[INET6_ADDRSTRLEN], prefix[INET6_ADDRSTRLEN + 5];

	if (!inet_ntop(row->is_ip6 ? AF_INET6 : AF_INET, &row->dst, text, sizeof(text)))
		return NULL;
	(void)snprintf(prefix, sizeof(prefix), "%s/%u", text, row->dst_len);
	return json_object_new_string(prefix);
}

struct json_object *tables_row_json(const struct tables *tables, const struct rib_row *row)
{
	const char *type = row->type < ARRAY_SIZE(type_names) ? type_names[row->type] : NULL;
	struct json_object *object = json_object_new_object();
	int r;

	if (!object)
		return NULL;
	r = json_add(object, "prefix", json_prefix(row));
	if (r == 0)
		r = json_add(object, "type", json_object_new_string(type ? type : "unknown"));
	if (r == 0)
		r = json_add(object, "table", json_object_new_int64(row->table));
	if (r == 0)
		r = json_add(object, "metric", json_object_new_int64(row->metric));
	if (r == 0)
		r = json_add(object, "protocol", json_object_new_int(row->protocol));
	if (r == 0)
		r = json_add(object, "best", json_object_new_boolean(row->is_best));
	if (r == 0)
		r = json_add(object, "nexthop", nexthops_json(tables->nexthops, row->nh));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}

/* --- Filters ---------------------------------------------------------------------------------- */

struct filter {
	bool is_set, is_address, is_ip6;
	struct ip6_addr addr;
	unsigned len;
};

static int parse_len(const char *text, unsigned max, unsigned *ret_len)
{
	unsigned len = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || len > max)
			return -EINVAL;
		len = len * 10 + (unsigned)(*text - '0');
	}
	if (len > max)
		return -EINVAL;
	*ret_len = len;
	return 0;
}

/* "10.0.0.0/8": it and what is more specific. "10.1.2.3": the row that forwards it. */
static int parse_filter(const char *text, struct filter *ret_filter)
{
	struct filter filter = {.is_set = text};
	char addr[INET6_ADDRSTRLEN];
	const char *slash;
	size_t n;

	if (!text) {
		*ret_filter = filter;
		return 0;
	}
	slash = strchr(text, '/');
	n = slash ? (size_t)(slash - text) : strlen(text);
	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	filter.is_ip6 = strchr(addr, ':');
	if (inet_pton(filter.is_ip6 ? AF_INET6 : AF_INET, addr, &filter.addr) != 1)
		return -EINVAL;
	filter.is_address = !slash;
	if (slash && parse_len(slash + 1, filter.is_ip6 ? 128 : 32, &filter.len) < 0)
		return -EINVAL;
	*ret_filter = filter;
	return 0;
}

static bool is_within(const struct filter *filter, const struct rib_row *row)
{
	const unsigned n_octets = filter->len / 8, n_bits = filter->len % 8;

	if (!filter->is_set)
		return true;
	if (row->is_ip6 != filter->is_ip6 || row->dst_len < filter->len ||
	    memcmp(&row->dst, &filter->addr, n_octets) != 0)
		return false;
	return n_bits == 0 ||
	       (row->dst.octet[n_octets] ^ filter->addr.octet[n_octets]) >> (8 - n_bits) == 0;
}

/* --- Rows ------------------------------------------------------------------------------------- */

struct rows {
	struct tables *tables;
	struct json_object *array;
	struct filter filter;
	uint32_t max;
	int error;
};

static bool is_enough(const struct rows *rows)
{
	return rows->error < 0 || json_object_array_length(rows->array) >= rows->max;
}

static void add_route(const struct rib_row *row, void *arg)
{
	struct rows *rows = arg;

	if (!is_enough(rows) && is_within(&rows->filter, row))
		rows->error = json_append(rows->array, tables_row_json(rows->tables, row));
}

static void add_match(struct rows *rows)
{
	struct rib_row row;

	tables_lock_take(&rows->tables->lock);
	if (rib_match(rows->tables->rib, rows->filter.is_ip6, &rows->filter.addr, &row) &&
	    rows->max > 0)
		rows->error = json_append(rows->array, tables_row_json(rows->tables, &row));
	tables_lock_give(&rows->tables->lock);
}

static struct json_object *rows_result(struct rows *rows)
{
	if (rows->error == 0)
		return rows->array;
	json_object_put(rows->array);
	return NULL;
}

struct json_object *tables_routes_json(struct tables *tables, const char *filter, uint32_t max,
				       int *ret_error)
{
	struct rows rows = {.tables = tables, .max = max};
	uint64_t cursor = 0;
	bool is_more = true;
	int r = parse_filter(filter, &rows.filter);

	if (r < 0) {
		*ret_error = r;
		return NULL;
	}
	rows.array = json_object_new_array();
	if (!rows.array) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	if (rows.filter.is_address) {
		add_match(&rows);
		is_more = false;
	}
	while (is_more && !is_enough(&rows)) {
		tables_lock_take(&tables->lock);
		is_more = rib_walk(tables->rib, &cursor, SCAN_PER_SLICE, add_route, &rows);
		tables_lock_give(&tables->lock);
	}
	if (rows.error < 0)
		*ret_error = rows.error;
	return rows_result(&rows);
}

static struct json_object *neighbour_json(const struct tables *tables,
					  const struct neighbour_row *row)
{
	const struct rt_neighbour *neighbour = &row->neighbour;
	const struct link_entry *link = link_table_find(tables->links, neighbour->ifindex);
	const uint8_t *mac = neighbour->mac;
	struct json_object *object = json_object_new_object();
	char text[18] = "";
	int r;

	if (!object)
		return NULL;
	if (neighbour->has_mac)
		(void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			       mac[2], mac[3], mac[4], mac[5]);
	r = json_add(object, "address", json_addr(neighbour->is_ip6, &neighbour->addr));
	if (r == 0)
		r = json_add(object, "interface", json_object_new_string(link ? link->name : ""));
	if (r == 0)
		r = json_add(object, "mac", json_object_new_string(text));
	if (r == 0)
		r = json_add(object, "state",
			     json_object_new_string(name_of_state(neighbour->state)));
	if (r == 0)
		r = json_add(object, "usable", json_object_new_boolean(row->is_usable));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}

/* Those of other devices are nothing that a worker could send to. */
static void add_neighbour(const struct neighbour_row *row, void *arg)
{
	struct rows *rows = arg;
	const struct link_entry *link =
		link_table_find(rows->tables->links, row->neighbour.ifindex);

	if (!is_enough(rows) && link && link->port != LINK_NO_PORT)
		rows->error = json_append(rows->array, neighbour_json(rows->tables, row));
}

struct json_object *tables_neighbours_json(struct tables *tables, uint32_t max)
{
	struct rows rows = {.tables = tables, .max = max};
	uint64_t cursor = 0;
	bool is_more = true;

	rows.array = json_object_new_array();
	if (!rows.array)
		return NULL;
	while (is_more && !is_enough(&rows)) {
		tables_lock_take(&tables->lock);
		is_more = neighbours_walk(tables->neighbours, &cursor, SCAN_PER_SLICE,
					  add_neighbour, &rows);
		tables_lock_give(&tables->lock);
	}
	return rows_result(&rows);
}

struct json_object *tables_fdb_json(struct tables *tables, const char *bridge, uint32_t max)
{
	struct json_object *rows;

	tables_lock_take(&tables->lock);
	rows = fdbs_json(tables->fdbs, bridge, max, clock_now_ns());
	tables_lock_give(&tables->lock);
	return rows;
}
