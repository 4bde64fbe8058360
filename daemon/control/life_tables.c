/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket asks of the tables: see ctlsock_ops. */
#include <errno.h>

#include "control/explain_packet.h"
#include "control/life_internal.h"
#include "control/tables.h"

/* The tables, if any port routes or bridges. */
static struct tables *tables_of(void *arg, int *ret_error)
{
	const struct life *life = arg;
	struct tables *tables = engine_tables(life->engine);

	*ret_error = tables ? -ENOMEM : -ENODEV;
	return tables;
}

struct json_object *life_routes_json(void *arg, const char *filter, uint32_t max, int *ret_error)
{
	struct tables *tables = tables_of(arg, ret_error);

	return tables ? tables_routes_json(tables, filter, max, ret_error) : NULL;
}

struct json_object *life_neighbours_json(void *arg, uint32_t max, int *ret_error)
{
	struct tables *tables = tables_of(arg, ret_error);

	return tables ? tables_neighbours_json(tables, max) : NULL;
}

struct json_object *life_fdb_json(void *arg, const char *bridge, uint32_t max, int *ret_error)
{
	struct tables *tables = tables_of(arg, ret_error);

	if (tables && bridge && !tables_fdb(tables, bridge)) {
		*ret_error = -ENOENT;
		return NULL;
	}
	return tables ? tables_fdb_json(tables, bridge, max) : NULL;
}

struct json_object *life_explain_json(void *arg, const char *port, const uint8_t *frame,
				      uint32_t len, int *ret_error)
{
	const struct life *life = arg;

	return explain_packet_json(life->engine, port, frame, len, ret_error);
}
