/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's side of the tables (control/tables.h): made with the first port that routes or
 * bridges, told of ports and workers whenever these change, and taken down last.
 *
 *   a port is built    attach (its program gets the gate) → tables know its line and its workers →
 *                      workers get a set → slots are filled: nothing is redirected on empty tables
 *   a worker goes      its thread ends → tables forget it → its memory is freed
 *   a program goes     its link is gone, it is put aside → tables forget its line → it is freed
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

_Static_assert(ROUTE_MAX_PORTS >= CONF_MAX_PORTS, "a place for every port");

bool conf_port_needs_tables(const struct conf_port *conf)
{
	return conf->forward == CONF_FORWARD_ROUTE || conf->forward == CONF_FORWARD_BRIDGE;
}

int engine_need_tables(struct engine *engine, struct live_port *port)
{
	int r = engine->tables ? 0 : tables_new(&engine->tables);

	if (r == -EPERM)
		port_set_problem(port, "cannot make the routing tables: capability CAP_BPF or "
				       "CAP_NET_ADMIN is missing");
	else if (r < 0)
		port_set_problem(port, "cannot make the routing tables: %s", strerror(-r));
	return r;
}

int engine_bridge_number(struct engine *engine, const char *bridge, uint32_t *ret_number)
{
	struct bridge_name *names;

	for (uint32_t i = 0; i < engine->n_bridge_names; i++) {
		if (strcmp(engine->bridge_names[i].text, bridge) == 0) {
			*ret_number = i;
			return 0;
		}
	}
	names = reallocarray(engine->bridge_names, engine->n_bridge_names + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	engine->bridge_names = names;
	snprintf(names[engine->n_bridge_names].text, sizeof(names->text), "%s", bridge);
	*ret_number = engine->n_bridge_names++;
	return 0;
}

/* --- What the tables are told ---------------------------------------------------------------- */

/* A configuration and all that it points to. */
struct telling {
	struct tables_config config;
	struct tables_port ports[CONF_MAX_PORTS];
	struct tables_bridge bridges[CONF_MAX_BRIDGES];
	struct tables_static *statics; /* of all bridges */
	struct worker **workers;
};

static void telling_free(struct telling *telling)
{
	if (!telling)
		return;
	free(telling->statics);
	free(telling->workers);
	free(telling);
}

static void telling_done(struct telling **telling)
{
	telling_free(*telling);
}

static uint32_t find_bridge(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->n_bridges; i++) {
		if (strcmp(conf->bridges[i].name, name) == 0)
			return i;
	}
	return UINT32_MAX;
}

static uint16_t find_port(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->n_ports; i++) {
		if (strcmp(conf->ports[i].name, name) == 0)
			return (uint16_t)i;
	}
	return UINT16_MAX; /* conf_load() has refused it */
}

static int tell_port(struct engine *engine, uint32_t index, struct tables_port *port)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	const struct conf_port *conf = plan_port->conf;
	struct live_port *live = engine->ports[index];

	*port = (struct tables_port){.bridge = UINT32_MAX, .group = SLUICE_NO_GROUP};
	snprintf(port->name, sizeof(port->name), "%s", conf->name);
	if (!conf_port_needs_tables(conf))
		return 0;
	if (plan_port->is_present)
		port->ifindex = plan_port->link.ifindex;
	/* What cannot be had as a port is a device like any other: its routes are the kernel's. */
	port->is_route =
		conf->forward == CONF_FORWARD_ROUTE && plan_port->is_present && live->is_attached;
	if (live->prog)
		port->line = port_prog_line(live->prog);
	if (conf->forward != CONF_FORWARD_BRIDGE)
		return 0;
	port->bridge = find_bridge(engine->plan->conf, conf->peer);
	return engine_bridge_number(engine, conf->peer, &port->group);
}

static void tell_bridge(const struct conf *conf, const struct conf_bridge *bridge,
			struct tables_static *statics, struct tables_bridge *ret_bridge)
{
	*ret_bridge = (struct tables_bridge){
		.ageing_ns = bridge->ageing_time_ns,
		.max_entries = bridge->max_entries,
		.learn_per_s = bridge->learning_limit,
		.statics = statics,
		.n_statics = bridge->n_statics,
	};
	snprintf(ret_bridge->name, sizeof(ret_bridge->name), "%s", bridge->name);
	for (uint32_t i = 0; i < bridge->n_statics; i++) {
		memcpy(statics[i].mac, bridge->statics[i].mac, sizeof(statics[i].mac));
		statics[i].port = find_port(conf, bridge->statics[i].port);
	}
}

static int tell_bridges(const struct conf *conf, struct telling *telling)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < conf->n_bridges; i++)
		n += conf->bridges[i].n_statics;
	telling->statics = calloc(MAX(n, 1), sizeof(*telling->statics));
	if (!telling->statics)
		return -ENOMEM;
	n = 0;
	for (unsigned i = 0; i < conf->n_bridges; i++) {
		tell_bridge(conf, &conf->bridges[i], &telling->statics[n], &telling->bridges[i]);
		n += conf->bridges[i].n_statics;
	}
	return 0;
}

static bool reads_tables(const struct engine *engine, uint32_t worker_index)
{
	uint32_t group = engine->plan->workers[worker_index].group;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (engine->plan->ports[i].group == group)
			return conf_port_needs_tables(engine->plan->ports[i].conf);
	}
	return false;
}

/* Also those that were left behind: they may wake up and read on. */
static int tell_workers(const struct engine *engine, const bool *leaving, struct telling *telling)
{
	uint32_t n_left = 0, n = 0;

	for (const struct live_worker *left = engine->left_behind; left; left = left->next_left)
		n_left++;
	telling->workers = calloc(engine_n_workers(engine) + n_left + 1, sizeof(*telling->workers));
	if (!telling->workers)
		return -ENOMEM;
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		struct live_worker *live = engine->workers[w];

		if (reads_tables(engine, w) && (!leaving || !leaving[w] || live->hangs))
			telling->workers[n++] = &live->worker;
	}
	for (struct live_worker *left = engine->left_behind; left; left = left->next_left) {
		if (left->reads_tables)
			telling->workers[n++] = &left->worker;
	}
	telling->config.n_workers = n;
	return 0;
}

int engine_tell_tables(struct engine *engine, const bool *leaving)
{
	_cleanup_(telling_done) struct telling *telling = NULL;
	const struct conf *conf = engine->plan->conf;
	int r = 0;

	if (!engine->tables)
		return 0;
	telling = calloc(1, sizeof(*telling));
	if (!telling)
		return -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < engine_n_ports(engine); i++)
		r = tell_port(engine, i, &telling->ports[i]);
	if (r == 0)
		r = tell_bridges(conf, telling);
	if (r == 0)
		r = tell_workers(engine, leaving, telling);
	if (r < 0)
		return r;
	telling->config.table = conf->route.table;
	snprintf(telling->config.vrf, sizeof(telling->config.vrf), "%s", conf->route.vrf);
	telling->config.bypass_netfilter = conf->route.bypass_netfilter;
	telling->config.ports = telling->ports;
	telling->config.n_ports = engine_n_ports(engine);
	telling->config.bridges = telling->bridges;
	telling->config.n_bridges = conf->n_bridges;
	telling->config.workers = telling->workers;
	r = tables_configure(engine->tables, &telling->config);
	if (r == -ETIMEDOUT) {
		log_warning("the kernel's routes could not be read in time, continuing: what is "
			    "not known yet passes to the kernel");
		r = 0;
	}
	return r;
}

struct tables *engine_tables(const struct engine *engine)
{
	return engine->tables;
}

int engine_explain(struct engine *engine, uint32_t port, const uint8_t *frame, uint32_t len,
		   uint32_t *ret_verdict, uint32_t *ret_action)
{
	enum sluice_verdict verdict = SLUICE_V_INTERNAL;
	int r;

	if (port >= engine_n_ports(engine) || !engine->ports[port]->prog)
		return -ENODEV;
	r = port_prog_explain(engine->ports[port]->prog, frame, len, 0, &verdict, ret_action);
	if (r == 0)
		*ret_verdict = verdict;
	return r;
}

bool engine_tables_beat(struct engine *engine)
{
	struct report_tables report;
	bool beats;

	if (!engine->tables)
		return true;
	tables_report(engine->tables, &report);
	beats = !report.is_running || report.beat != engine->tables_beat;
	engine->tables_beat = report.beat;
	return beats;
}

bool engine_free_tables(struct engine *engine)
{
	_cleanup_free_ bool *leaving = NULL;

	if (!engine->tables)
		return true;
	if (engine->n_abandoned == 0) {
		tables_free(TAKE_PTR(engine->tables));
		return true;
	}
	/* A worker that hangs may wake up before the process ends, and reads. */
	leaving = engine_alloc_flags(engine_n_workers(engine));
	for (uint32_t w = 0; leaving && w < engine_n_workers(engine); w++)
		leaving[w] = true;
	return leaving && engine_tell_tables(engine, leaving) == 0;
}
