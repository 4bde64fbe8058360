/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See explain_packet.h. Verdicts have the names that the metrics page gives them. */
#include "control/explain_packet.h"

#include <errno.h>
#include <json-c/json.h>
#include <linux/bpf.h>
#include <string.h>

#include "control/engine.h"
#include "control/json_add.h"
#include "control/report.h"
#include "control/tables.h"

static uint32_t find_port(const struct plan *plan, const char *name)
{
	for (uint32_t i = 0; plan && i < plan->n_ports; i++) {
		if (strcmp(plan->ports[i].conf->name, name) == 0)
			return i;
	}
	return PLAN_NONE;
}

static const char *action_name(uint32_t action)
{
	static const char *const names[] = {
		[XDP_ABORTED] = "aborted", [XDP_DROP] = "drop",         [XDP_PASS] = "pass",
		[XDP_TX] = "tx",           [XDP_REDIRECT] = "redirect",
	};

	return action <= XDP_REDIRECT ? names[action] : "unknown";
}

static int add_xdp(struct json_object *root, uint32_t verdict, uint32_t action)
{
	struct json_object *xdp = json_object_new_object();
	const char *name = verdict < SLUICE_V_N ? report_verdict_names[verdict] : "unknown";
	const char *help = verdict < SLUICE_V_N ? report_verdict_helps[verdict] : "";
	int r = json_add(root, "xdp", xdp);

	if (r == 0)
		r = json_add(xdp, "verdict", json_object_new_string(name));
	if (r == 0)
		r = json_add(xdp, "action", json_object_new_string(action_name(action)));
	if (r == 0)
		r = json_add(xdp, "meaning", json_object_new_string(help));
	return r;
}

struct json_object *explain_packet_json(struct engine *engine, const char *port,
					const uint8_t *frame, uint32_t len, int *ret_error)
{
	uint32_t index = find_port(engine_plan(engine), port), verdict = 0, action = 0;
	struct tables *tables = engine_tables(engine);
	struct json_object *root = NULL, *worker = NULL;
	int r = index == PLAN_NONE ? -ENOENT : 0;

	if (r == 0)
		r = engine_explain(engine, index, frame, len, &verdict, &action);
	if (r == 0) {
		root = json_object_new_object();
		r = root ? add_xdp(root, verdict, action) : -ENOMEM;
	}
	/* Workers of other ports than those that route decide nothing that can be told. */
	if (r == 0 && action == XDP_REDIRECT && tables)
		worker = tables_explain(tables, index, frame, len);
	if (worker)
		r = json_add(root, "worker", worker);
	if (r == 0)
		return root;
	json_object_put(root);
	*ret_error = r;
	return NULL;
}
