/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building ports: attach, bind, publish, and only then let traffic in; what fails is described
 * once and retried by the rules of engine.h.
 */
#include <errno.h>
#include <string.h>

#include "control/live.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

static void describe_failure(struct engine *engine, uint32_t index, int r)
{
	struct live_port *port = engine->ports[index];
	uint64_t now_ns = clock_now_ns();
	bool may_pass;

	if (!port->first_failure_ns)
		port->first_failure_ns = now_ns;
	/* A dying predecessor lets go, a worker that is late on a full machine comes. */
	may_pass = (r == -EBUSY || r == -ETIMEDOUT) && port_is_patient(port);
	port->last_error = r;
	port->state = may_pass ? PORT_REBUILDING : PORT_FAILED;
	port->retry_at_ns = now_ns + (may_pass ? RETRY_FAST_NS : RETRY_SLOW_NS);
	if (r == -ENODEV || r == -ENXIO)
		port->state = PORT_ABSENT;
	if (!may_pass && !port->problem[0])
		port_set_problem(port, "cannot be built: %s", strerror(-r));
}

static const struct {
	const char *what, *where;
} verbs[CONF_FORWARD_N] = {
	[CONF_FORWARD_PASS] = {"passing", ""},
	[CONF_FORWARD_XCONNECT] = {"forwarding", " to "},
	[CONF_FORWARD_ROUTE] = {"routing", ""},
	[CONF_FORWARD_BRIDGE] = {"bridging", " in "},
};

static void describe_success(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];

	port->problem[0] = '\0';
	port->first_failure_ns = 0;
	port->retry_at_ns = 0;
	port->last_error = 0;
	port->state = plan_port_needs_sockets(plan_port) ? PORT_FORWARDING : PORT_PASSING;
	port->n_rebinds += port->was_built;
	port->was_built = true;
	if (plan_port_needs_sockets(plan_port))
		log_notice("port %s: %s %s (%s)%s%s, %s mode, %u queue%s", port->name,
			   verbs[plan_port->conf->forward].what, plan_port->conf->interface,
			   plan_port->link.driver[0] ? plan_port->link.driver : "unknown driver",
			   verbs[plan_port->conf->forward].where, plan_port->conf->peer,
			   xsk_mode_names[port->mode], plan_port->n_queues,
			   plan_port->n_queues == 1 ? "" : "s");
	else
		log_notice("port %s: passing everything on %s to the kernel", port->name,
			   plan_port->conf->interface);
}

#define NOT_THERE "interface %s does not exist; waiting for it"

static void mark_absent(struct live_port *port, const struct plan_port *plan_port)
{
	const char *interface = plan_port->conf->interface;

	port->state = PORT_ABSENT;
	port->retry_at_ns = 0;
	port->first_failure_ns = 0;
	/*
	 * Where the plan refuses a new device that has the name, that is shown and was logged; what
	 * is said here is for when that one goes, too.
	 */
	if (!plan_port->problem[0])
		port_set_problem(port, NOT_THERE, interface);
	else
		(void)snprintf(port->problem, sizeof(port->problem), NOT_THERE, interface);
}

static int attach_and_bind(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	int r = 0;

	if (!port->is_attached)
		r = port_attach(engine, index);
	if (r < 0 || !plan_port_needs_sockets(plan_port))
		return r;
	/* The probe for zero-copy may find its queue busy as well. */
	if (port->mode == XSK_MODE_N)
		r = port_settle_mode(engine, index);
	if (r == 0)
		r = crew_ready(engine, index);
	if (r == 0)
		r = port_bind(engine, index);
	/* The attachment stays while a queue is waited for: with no socket it falls back. */
	if (r < 0 && r != -EBUSY)
		port_detach(engine, port, port_is_new(port));
	return r;
}

/* Do all workers of a port run the set that names its lanes? Else the -errno of one that does not.
 */
static int workers_serve(const struct engine *engine, uint32_t index)
{
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		if (engine->plan->workers[w].group == engine->plan->ports[index].group &&
		    engine->workers[w]->publish_error)
			return engine->workers[w]->publish_error;
	}
	return 0;
}

/* A port whose workers do not run gets no traffic: what its queues carry stays the kernel's. */
static int open_port(struct engine *engine, uint32_t index)
{
	struct live_port *port = engine->ports[index];
	int r = plan_port_needs_sockets(&engine->plan->ports[index]) ?
			workers_serve(engine, index) :
			0;

	if (r == 0 && engine->tables_error &&
	    conf_port_needs_tables(engine->plan->ports[index].conf)) {
		port_set_problem(port, "cannot follow the kernel's tables: %s",
				 strerror(-engine->tables_error));
		return engine->tables_error;
	}
	if (r == 0)
		return port_open_slots(port);
	if (r == -ETIMEDOUT)
		port_set_problem(port, "a worker of it does not respond");
	else
		port_set_problem(
			port, "a worker of it cannot be started: %s; raise TasksMax= of the unit",
			strerror(-r));
	return r;
}

/* Tells every worker of the lanes and programs as they are now. */
static void publish_all(struct engine *engine)
{
	bool all = true;

	for (uint32_t w = 0; w < engine_n_workers(engine); w++)
		all &= crew_publish(engine, w, NULL, false) == 0;
	/* An abandoned worker may wake up and beat where it always has. */
	if (all && engine->n_abandoned == 0 && engine->tables_error == 0)
		port_free_retired(engine);
}

/*
 * Ports that go on may need one now, or none any more. One that cannot have it is built anew, which
 * says why, and leaves its frames to the kernel meanwhile: it would drop those that are this
 * host's.
 */
static void mend_taps(struct engine *engine, const bool *due)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		if (due[i] || !port->is_attached || !engine->plan->ports[i].is_present)
			continue;
		if (port_mend_tap(engine, i) < 0)
			port->retry_at_ns = clock_now_ns();
	}
}

int engine_build_ports(struct engine *engine, bool *due)
{
	int first_error = 0;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		int r;

		if (!due[i])
			continue;
		if (!engine->plan->ports[i].is_present) {
			mark_absent(engine->ports[i], &engine->plan->ports[i]);
			due[i] = false;
			continue;
		}
		r = attach_and_bind(engine, i);
		if (r < 0) {
			describe_failure(engine, i, r);
			due[i] = false;
			if (engine->ports[i]->state == PORT_FAILED && first_error == 0)
				first_error = r;
		}
	}
	mend_taps(engine, due);
	/* Before anybody reads them, and before lines that they write are freed. */
	engine->tables_error = engine_tell_tables(engine, NULL);
	publish_all(engine);
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		int r;

		if (!due[i])
			continue;
		r = open_port(engine, i);
		if (r < 0)
			describe_failure(engine, i, r);
		else
			describe_success(engine, i);
		if (r < 0 && first_error == 0)
			first_error = r;
	}
	return first_error;
}
