/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What status tells of the tables thread: its size, and the kernel's policies in force. */
#include "control/answers.h"
#include "control/json_add.h"
#include "control/report.h"
#include "control/tables.h"
#include "util/macros.h"

/* Names of the ports whose bits are set, by place. */
static struct json_object *port_names(const struct report *report, uint64_t ports)
{
	struct json_object *array = json_object_new_array();

	for (uint32_t i = 0; array && i < report->n_ports && i < ROUTE_MAX_PORTS; i++) {
		if ((ports >> i & 1) &&
		    json_append(array, json_object_new_string(report->ports[i].conf->name)) < 0) {
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

static struct json_object *policy_object(const struct report *report, unsigned kind)
{
	const struct policy_state *policy = &report->tables.policy;
	struct json_object *object = json_object_new_object();
	int r;

	if (!object)
		return NULL;
	r = json_add(object, "kind", json_object_new_string(policy_names[kind]));
	if (r == 0)
		r = json_add(object, "passes", json_object_new_boolean(policy_families[kind] != 0));
	if (r == 0)
		r = json_add(object, "ports", port_names(report, policy->ports[kind]));
	if (r == 0)
		r = json_add(object, "what", json_object_new_string(policy->what[kind]));
	if (r == 0)
		r = json_add(object, "meaning", json_object_new_string(policy_helps[kind]));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}

struct json_object *answer_policies(const struct report *report)
{
	struct json_object *array = json_object_new_array();

	for (unsigned kind = 0; array && kind < POLICY_N; kind++) {
		if (report->tables.policy.ports[kind] != 0 &&
		    json_append(array, policy_object(report, kind)) < 0) {
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

struct json_object *answer_tables(const struct report *report)
{
	const struct report_tables *tables = &report->tables;
	const struct {
		const char *key;
		uint64_t n;
	} counts[] = {
		{"prefixes4", tables->n_prefixes[0]},     {"prefixes6", tables->n_prefixes[1]},
		{"routes4", tables->n_routes[0]},         {"routes6", tables->n_routes[1]},
		{"neighbours4", tables->n_neighbours[0]}, {"neighbours6", tables->n_neighbours[1]},
		{"nexthops", tables->n_nexthops},         {"refused", tables->n_refused},
		{"retired_bytes", tables->retired_bytes}, {"resyncs", tables->n_resyncs},
		{"bridges", tables->n_bridges},
	};
	struct json_object *object = json_object_new_object();
	int r;

	if (!object)
		return NULL;
	r = json_add(object, "running", json_object_new_boolean(tables->is_running));
	if (r == 0)
		r = json_add(object, "synced", json_object_new_boolean(tables->is_synced));
	if (r == 0)
		r = json_add(object, "netfilter_bypassed",
			     json_object_new_boolean(tables->policy.netfilter_bypassed));
	for (size_t i = 0; i < ARRAY_SIZE(counts) && r == 0; i++)
		r = json_add(object, counts[i].key, json_object_new_uint64(counts[i].n));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}
