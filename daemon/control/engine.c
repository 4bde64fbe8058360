/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the plan in force to the next one: what is closed, what goes on, what is built, in which
 * order; and the retries of what could not be built. The parts are port.c and crew.c.
 */
#include "control/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

int engine_new(const struct engine_options *options, struct engine **ret_engine)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int r;

	if (!engine)
		return -ENOMEM;
	engine->links = options->links;
	engine->pin_dir_fd = -1;
	engine->jiffies = JIFFIES_INIT;
	snprintf(engine->bpf_dir, sizeof(engine->bpf_dir), "%s", options->bpf_dir);
	r = offload_record_open(options->runtime_dir, &engine->offloads);
	if (r < 0) {
		free(engine);
		return r;
	}
	*ret_engine = engine;
	return 0;
}

const struct plan *engine_plan(const struct engine *engine)
{
	return engine->plan;
}

/* --- From plan to plan ----------------------------------------------------------------------- */

static void remove_port(struct engine *engine, struct live_port *port)
{
	port_detach(engine, port, true);
	crew_forget_port(engine, port);
	log_notice("port %s: removed", port->name);
	port_free(port);
}

/* A pinned port that goes on being a drop port keeps its pin: the new program takes its place. */
static bool keeps_pin(const struct plan *new, uint32_t new_index)
{
	const struct conf_port *conf = new->ports[new_index].conf;

	return conf->on_failure == CONF_FAIL_DROP && conf->forward != CONF_FORWARD_PASS &&
	       new->ports[new_index].is_present;
}

/* The objects of the next plan: those that go on, and new ones for the rest. */
struct next {
	struct live_port **ports;
	struct live_worker **workers;
	bool *leaving; /* of the workers now */
};

static void free_next(struct engine *engine, struct next *next, const struct plan *new,
		      const struct plan_diff *diff)
{
	for (uint32_t i = 0; next->ports && i < new->n_ports; i++) {
		if (diff->old_of[i] == PLAN_NONE)
			port_free(next->ports[i]);
	}
	for (uint32_t i = 0; next->workers && i < new->n_workers; i++) {
		if (diff->rebuild_worker[i])
			crew_free_worker(engine, next->workers[i]);
	}
	free(next->ports);
	free(next->workers);
	free(next->leaving);
}

/* All that can fail for lack of memory, before anything is closed. */
static int prepare_next(struct engine *engine, const struct plan *new, const struct plan_diff *diff,
			struct next *ret_next)
{
	struct next next = {
		.ports = calloc(MAX(new->n_ports, 1), sizeof(*next.ports)),
		.workers = calloc(MAX(new->n_workers, 1), sizeof(*next.workers)),
		.leaving = engine_alloc_flags(engine_n_workers(engine)),
	};
	bool ok = next.ports && next.workers && next.leaving;

	for (uint32_t i = 0; ok && i < new->n_ports; i++) {
		next.ports[i] = diff->old_of[i] == PLAN_NONE ? port_new(new->ports[i].conf->name) :
							       engine->ports[diff->old_of[i]];
		ok = next.ports[i] != NULL;
	}
	for (uint32_t i = 0; ok && i < new->n_workers; i++) {
		next.workers[i] = diff->rebuild_worker[i] ? crew_new_worker(new, i) :
							    engine->workers[diff->old_worker_of[i]];
		ok = next.workers[i] != NULL;
	}
	if (!ok) {
		free_next(engine, &next, new, diff);
		return -ENOMEM;
	}
	*ret_next = next;
	return 0;
}

static bool port_goes_on(const struct live_port *port, const struct next *next, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (next->ports[i] == port)
			return true;
	}
	return false;
}

static bool worker_goes_on(const struct live_worker *worker, const struct next *next, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (next->workers[i] == worker)
			return true;
	}
	return false;
}

static bool has_moved(const struct engine *engine, const struct plan *new,
		      const struct plan_diff *diff, uint32_t i)
{
	uint32_t old = diff->old_of[i];

	return old != PLAN_NONE &&
	       strcmp(engine->plan->ports[old].conf->interface, new->ports[i].conf->interface) != 0;
}

/* The tables look at workers: they are told between the end of a thread and that of its memory. */
static void end_workers(struct engine *engine, const struct next *next, uint32_t n_next,
			bool *leaving)
{
	bool may_free = true, any = false;

	for (uint32_t i = 0; i < engine_n_workers(engine); i++) {
		leaving[i] = !worker_goes_on(engine->workers[i], next, n_next);
		any |= leaving[i];
		if (leaving[i])
			crew_stop_worker(engine, engine->workers[i]);
	}
	if (any)
		may_free = engine_tell_tables(engine, leaving) == 0;
	for (uint32_t i = 0; i < engine_n_workers(engine); i++) {
		/* What the tables may still look at is leaked: the only safe thing left. */
		if (leaving[i] && (may_free || !engine->workers[i]->reads_tables)) {
			crew_free_worker(engine, engine->workers[i]);
			engine->workers[i] = NULL; /* ports that leave with it ask all of them */
		}
	}
}

/* Lanes are closed by now: what does not go on is removed, what is rebuilt loses its program. */
static void take_over(struct engine *engine, struct plan *new, const struct plan_diff *diff,
		      struct next *next, bool *due)
{
	end_workers(engine, next, new->n_workers, next->leaving);
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (!port_goes_on(engine->ports[i], next, new->n_ports))
			remove_port(engine, engine->ports[i]);
	}
	for (uint32_t i = 0; i < new->n_ports; i++) {
		struct live_port *port = next->ports[i];
		bool was_absent = port->state == PORT_ABSENT;

		due[i] = diff->new_ports[i] == PLAN_ADD || diff->new_ports[i] == PLAN_REBUILD ||
			 was_absent == new->ports[i].is_present;
		if (due[i]) {
			bool moved = has_moved(engine, new, diff, i);

			port_detach(engine, port, moved || !keeps_pin(new, i));
			port->first_failure_ns = 0;
			if (moved) {
				crew_forget_port(engine, port);
				port_leave_interface(port);
			}
		}
	}
	free(engine->ports);
	free(engine->workers);
	free(next->leaving);
	engine->ports = next->ports;
	engine->workers = next->workers;
	plan_free(engine->plan);
	engine->plan = new;
}

static bool *ports_to_close(const struct engine *engine, const struct plan_diff *diff)
{
	bool *closing = engine_alloc_flags(engine_n_ports(engine));

	for (uint32_t i = 0; closing && i < engine_n_ports(engine); i++)
		closing[i] =
			diff->old_ports[i] == PLAN_REMOVE || diff->old_ports[i] == PLAN_REBUILD;
	return closing;
}

static const struct plan *or_empty(const struct plan *plan)
{
	static const struct plan empty;

	return plan ? plan : &empty;
}

struct pins {
	const struct plan *plan;
	const char *dir;
};

static bool is_drop_port_of(const struct plan *plan, const char *name)
{
	for (uint32_t i = 0; i < plan->n_ports; i++) {
		const struct conf_port *conf = plan->ports[i].conf;

		if (strcmp(conf->name, name) == 0)
			return conf->on_failure == CONF_FAIL_DROP &&
			       conf->forward != CONF_FORWARD_PASS;
	}
	return false;
}

static int sweep_pin(const struct pin_info *info, void *arg)
{
	const struct pins *pins = arg;

	if (is_drop_port_of(pins->plan, info->port))
		return 0;
	if (info->is_broken)
		log_warning("port %s: what is pinned in %s/%s is incomplete and not removed; "
			    "`sluiced --detach %s` does that",
			    info->port, pins->dir, info->port, info->port);
	if (!info->is_ours)
		return 0;
	log_notice("port %s: removing the pin of an earlier run%s", info->port,
		   info->is_alive ? ", which still held its interface" : "");
	(void)pin_remove(pins->dir, info->port);
	return 0;
}

/* Pins of ports that are drop ports no more would go on dropping with nobody to serve them. */
static void sweep_pins(const struct engine *engine, const struct plan *plan)
{
	char dir[CONF_PATH_BYTES];
	struct pins pins = {.plan = plan, .dir = dir};
	_cleanup_close_ int claim_fd = -1;

	/* What is in use by another daemon, or not this user's, is not an earlier run's. */
	if (pin_dir_find(engine->bpf_dir, dir, sizeof(dir)) < 0 ||
	    pin_dir_claim(dir, &claim_fd) < 0)
		return;
	(void)pin_for_each(dir, sweep_pin, &pins);
}

/* By name, or if it was renamed by index: does a port forward on this interface? */
static bool is_forwarded_on(const char *interface, uint32_t ifindex, void *arg)
{
	const struct plan *plan = arg;

	for (uint32_t i = 0; i < plan->n_ports; i++) {
		const struct plan_port *port = &plan->ports[i];

		if (plan_port_needs_sockets(port) &&
		    (strcmp(port->conf->interface, interface) == 0 ||
		     (port->is_present && port->link.ifindex == ifindex)))
			return true;
	}
	return false;
}

/* Somebody may have switched an offload on since: `fix` switches it off again. */
static void mend_kept_ports(struct engine *engine, const bool *due)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (!due[i] && engine->ports[i]->is_attached &&
		    plan_port_needs_sockets(&engine->plan->ports[i]))
			(void)port_mend_offloads(engine, i);
	}
}

int engine_apply(struct engine *engine, struct plan *plan)
{
	_cleanup_free_ bool *closing = NULL;
	_cleanup_free_ bool *due = engine_alloc_flags(plan->n_ports);
	struct plan_diff diff;
	struct next next;
	int r;

	r = due ? plan_diff(or_empty(engine->plan), plan, &diff) : -ENOMEM;
	if (r < 0) {
		plan_free(plan);
		return r;
	}
	closing = ports_to_close(engine, &diff);
	r = closing ? prepare_next(engine, plan, &diff, &next) : -ENOMEM;
	if (r < 0) {
		plan_free(plan);
		goto out;
	}
	if (!engine->plan)
		sweep_pins(engine, plan);
	engine_close_ports(engine, closing);
	take_over(engine, plan, &diff, &next, due);
	offload_record_restore(engine->offloads, engine->links, is_forwarded_on, engine->plan);
	mend_kept_ports(engine, due);
	r = engine_build_ports(engine, due);
out:
	plan_diff_fini(&diff);
	return r;
}

/* --- Retries, state -------------------------------------------------------------------------- */

/* Somebody took our program off (bpftool link detach): say so and build the port again. */
static void check_attachments(struct engine *engine)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		if (!port->is_attached || port_prog_is_attached(port->prog) || port->retry_at_ns ||
		    !engine->plan->ports[i].is_present)
			continue;
		port_set_problem(port, "the XDP program was taken off %s; attaching it again",
				 port->interface);
		port->retry_at_ns = clock_now_ns();
	}
}

void engine_retry(struct engine *engine)
{
	uint64_t now_ns = clock_now_ns();
	_cleanup_free_ bool *due = engine_alloc_flags(engine_n_ports(engine));
	bool any = crew_welcome_back(engine);

	if (engine_n_workers(engine) > 0)
		(void)crew_set_clock(engine); /* once a second: see kern/jiffies.h */
	check_attachments(engine);
	for (uint32_t i = 0; due && i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		due[i] = port->retry_at_ns != 0 && port->retry_at_ns <= now_ns;
		any |= due[i];
	}
	if (!any)
		return;
	/* What is half there is taken down first; attaching is all that a patient port keeps. */
	engine_close_ports(engine, due);
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (due[i] && engine->ports[i]->is_attached &&
		    !port_prog_is_attached(engine->ports[i]->prog))
			port_detach(engine, engine->ports[i], false);
	}
	(void)engine_build_ports(engine, due);
}

uint64_t engine_next_retry_ns(const struct engine *engine)
{
	uint64_t next_ns = 0;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		uint64_t at_ns = engine->ports[i]->retry_at_ns;

		if (at_ns && (!next_ns || at_ns < next_ns))
			next_ns = at_ns;
	}
	return next_ns;
}

bool engine_is_complete(const struct engine *engine)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		enum port_state state = engine->ports[i]->state;

		if (state != PORT_FORWARDING && state != PORT_PASSING)
			return false;
	}
	return true;
}

bool engine_lacks_only_interfaces(const struct engine *engine)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		enum port_state state = engine->ports[i]->state;

		if (state != PORT_FORWARDING && state != PORT_PASSING && state != PORT_ABSENT)
			return false;
	}
	return true;
}

static bool has_settled(void *arg)
{
	struct engine *engine = arg;

	engine_retry(engine);
	return engine_next_retry_ns(engine) == 0 || engine_has_failed(engine);
}

bool engine_settle(struct engine *engine, uint64_t timeout_ns)
{
	return wait_until(has_settled, engine, timeout_ns);
}

bool engine_has_failed(const struct engine *engine)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (engine->ports[i]->state == PORT_FAILED)
			return true;
	}
	return false;
}

int engine_set_detached(struct engine *engine, const char *name, bool detached)
{
	bool found = false;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		if (strcmp(name, "*") != 0 && strcmp(name, port->name) != 0)
			continue;
		found = true;
		port->is_detached = detached;
		if (port->prog)
			port_prog_set_detached(port->prog, detached);
		log_notice("port %s: %s", port->name,
			   detached ? "detached, everything passes to the kernel" :
				      "attached again");
	}
	return found ? 0 : -ENOENT;
}

bool engine_all_beating(struct engine *engine, const char **ret_worker)
{
	bool all = engine->n_abandoned == 0;

	/* Its queues stay in use until the process ends: only a restart mends that. */
	if (!all)
		*ret_worker = "that was abandoned";
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		struct live_worker *worker = engine->workers[w];
		uint64_t beat;

		/* One without packet memory has no port yet; one that could not be started is
		 * silent. */
		if (worker->worker.n_umems == 0)
			continue;
		beat = worker_beat(&worker->worker);
		if (beat == worker->last_beat && all) {
			all = false;
			*ret_worker = worker->worker.name;
		}
		worker->last_beat = beat;
	}
	if (!engine_tables_beat(engine) && all) {
		all = false;
		*ret_worker = "of the tables";
	}
	return all;
}

void engine_free(struct engine *engine, bool gave_up)
{
	_cleanup_free_ bool *all = NULL;
	bool may_free;

	if (!engine)
		return;
	all = engine_alloc_flags(engine_n_ports(engine));
	for (uint32_t i = 0; all && i < engine_n_ports(engine); i++)
		all[i] = true;
	if (all)
		engine_close_ports(engine, all);
	for (uint32_t w = 0; w < engine_n_workers(engine); w++)
		crew_stop_worker(engine, engine->workers[w]);
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		port_detach(engine, port, gave_up && !port->pin_is_inherited);
	}
	/* After the programs that ask the gate, and before the workers that the tables look at. */
	may_free = engine_free_tables(engine);
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		if (may_free || !engine->workers[w]->reads_tables)
			crew_free_worker(engine, engine->workers[w]);
	}
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		port_log_totals(engine->ports[i]);
		port_free(engine->ports[i]);
	}
	/* Without a plan nothing was touched, and what an earlier run left is the next one's. */
	if (engine->plan)
		offload_record_restore(engine->offloads, engine->links, NULL, NULL);
	if (engine->n_abandoned == 0)
		port_free_retired(engine);
	free(engine->ports);
	free(engine->workers);
	plan_free(engine->plan);
	offload_record_close(engine->offloads);
	close_fdp(&engine->pin_dir_fd);
	jiffies_fini(&engine->jiffies);
	free(engine->bridge_names);
	free(engine);
}
