/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port's kernel objects but its sockets (port_lanes.c): program and attachment, offloads,
 * promiscuity, mode.
 * Each function either finishes or leaves nothing behind and a text in port->problem.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "kern/grace.h"
#include "kern/tap.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

/* Enough to bind one socket with, for asking a driver whether it has zero-copy. */
#define PROBE_FRAMES      128
#define PROBE_FRAME_BYTES 4096
#define PROBE_RING        64

struct live_port *port_new(const char *name)
{
	struct live_port *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	/* Aligned as the counters in it ask for, which calloc(3) does not promise. */
	port->totals = report_array(CONF_MAX_QUEUES, sizeof(*port->totals));
	if (!port->totals) {
		free(port);
		return NULL;
	}
	port->promiscuous_fd = -1;
	port->mode = XSK_MODE_N;
	port->state = PORT_ABSENT;
	snprintf(port->name, sizeof(port->name), "%s", name);
	return port;
}

void port_free(struct live_port *port)
{
	if (!port)
		return;
	close_fdp(&port->promiscuous_fd);
	port_prog_free(port->prog);
	tap_close(port->tap);
	free(port->totals);
	free(port);
}

void port_set_problem(struct live_port *port, const char *fmt, ...)
{
	char text[sizeof(port->problem)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Said once, however often a retry finds it again. */
	if (text[0] && strcmp(text, port->problem) != 0)
		log_err("port %s: %s", port->name, text);
	memcpy(port->problem, text, sizeof(text));
}

bool port_is_patient(const struct live_port *port)
{
	return port->first_failure_ns == 0 || clock_now_ns() - port->first_failure_ns < PATIENCE_NS;
}

bool port_is_new(const struct live_port *port)
{
	return !port->was_built && !port->pin_is_inherited;
}

/* --- Program --------------------------------------------------------------------------------- */

static bool is_drop(const struct plan_port *plan_port)
{
	return plan_port->conf->on_failure == CONF_FAIL_DROP &&
	       plan_port->conf->forward != CONF_FORWARD_PASS;
}

/* Jiffies that have certainly all passed when the timeout has: a part of one counts as one. */
static uint32_t stall_jiffies(uint64_t stall_timeout_ns)
{
	uint64_t hz = clock_kernel_hz();

	return (uint32_t)MAX(1, (stall_timeout_ns * hz + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

static const enum sluice_forward program_forwards[CONF_FORWARD_N] = {
	[CONF_FORWARD_PASS] = SLUICE_FORWARD_PASS,
	[CONF_FORWARD_XCONNECT] = SLUICE_FORWARD_WIRE,
	[CONF_FORWARD_ROUTE] = SLUICE_FORWARD_ROUTE,
	[CONF_FORWARD_BRIDGE] = SLUICE_FORWARD_BRIDGE,
};

static int load_program(struct engine *engine, const struct plan_port *plan_port, bool generic,
			struct port_prog **ret_prog)
{
	const struct conf_port *conf = plan_port->conf;
	struct port_prog_spec spec = {
		.port = conf->name,
		.ifindex = plan_port->link.ifindex,
		.generic = generic,
		.config =
			{
				.forward = program_forwards[conf->forward],
				.pass_control = conf->pass_control,
				.fallback = is_drop(plan_port) ? XDP_DROP : XDP_PASS,
				.stall_jiffies = stall_jiffies(conf->stall_timeout_ns),
				.group = SLUICE_NO_GROUP,
			},
		.queue_worker = plan_port->queue_worker,
		.n_queues = MAX(1, plan_port->n_queues),
		.n_workers = plan_port->n_workers,
		.numa_node = plan_port->link.numa_node,
	};
	int r = 0;

	if (conf_port_needs_tables(conf))
		spec.gate = tables_gate(engine->tables);
	if (conf->forward == CONF_FORWARD_BRIDGE)
		r = engine_bridge_number(engine, conf->peer, &spec.config.group);
	return r < 0 ? r : port_prog_load(&spec, ret_prog);
}

/* The directory is looked for when the first drop port needs it: others never touch bpffs. */
static int need_pin_dir(struct engine *engine, struct live_port *port)
{
	char dir[CONF_PATH_BYTES], text[256];
	int r;

	if (engine->pin_dir[0] && pin_dir_is_same(engine->pin_dir, engine->pin_dir_fd))
		return 0;
	/* Somebody has removed it under us: it is made again. */
	engine->pin_dir[0] = '\0';
	close_fdp(&engine->pin_dir_fd);
	r = pin_dir_resolve(engine->bpf_dir, dir, sizeof(dir));
	if (r == 0)
		r = pin_dir_claim(dir, &engine->pin_dir_fd);
	if (r == 0) {
		memcpy(engine->pin_dir, dir, sizeof(dir));
	} else {
		explain_pin(r, engine->bpf_dir, text, sizeof(text));
		port_set_problem(port, "%s", text);
	}
	/* Who has it lives: nothing to be patient with. */
	return r == -EBUSY ? -EEXIST : r;
}

/* A name is not always to be had; one that is not ours leaves nothing to wait for. */
static bool may_be_predecessor(const struct port_prog_conflict *conflict)
{
	return conflict->name[0] == '\0' || port_prog_is_ours(conflict->name);
}

/*
 * An adopted link brings the counts of all programs that it has held; a link of our own starts
 * from nothing, on top of what this port counted under others before.
 */
static void carry_over_verdicts(struct live_port *port, bool adopted)
{
	uint64_t counts[SLUICE_V_N] = {0};

	if (!adopted)
		memcpy(port->verdict_base, port->verdict_totals, sizeof(port->verdict_base));
	else
		port_prog_adopted_verdicts(port->prog, counts);
	for (unsigned i = 0; i < SLUICE_V_N; i++)
		port->verdict_totals[i] = port->verdict_base[i] + counts[i];
}

static int attach_in_mode(struct engine *engine, uint32_t index, bool generic)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	const char *pin_dir = is_drop(plan_port) ? engine->pin_dir : NULL;
	struct port_prog_conflict conflict = {0};
	char text[512];
	bool adopted = false;
	int r;

	r = load_program(engine, plan_port, generic, &port->prog);
	if (r < 0) {
		explain_load(r, plan_port, text, sizeof(text));
		port_set_problem(port, "%s", text);
		return r;
	}
	port_prog_set_detached(port->prog, port->is_detached);
	r = port_prog_attach(port->prog, pin_dir, &adopted, &conflict);
	if (r < 0) {
		port_prog_free(TAKE_PTR(port->prog));
		/* The caller may have another mode to try, or patience for a dying predecessor. */
		if (r == -EOPNOTSUPP && !generic && plan_port->conf->mode == CONF_MODE_AUTO)
			return r;
		if (r == -EBUSY && may_be_predecessor(&conflict) && port_is_patient(port))
			return r;
		if (r == -EBUSY)
			r = -EEXIST; /* waiting cannot help */
		explain_attach(r, plan_port, generic, &conflict, text, sizeof(text));
		if (conflict.pin_is_broken)
			snprintf(
				text, sizeof(text),
				"cannot attach to %s: the pins in %s/%s are incomplete, and what they "
				"hold stays in force; `sluiced %s--detach %s` removes them",
				plan_port->conf->interface, engine->pin_dir, port->name,
				engine->bpf_dir[0] ? "-c FILE " : "", port->name);
		else if (conflict.pin_is_foreign)
			snprintf(
				text, sizeof(text),
				"cannot attach to %s: what is pinned in %s/%s is not sluiced's; move it "
				"away or set bpf_dir",
				plan_port->conf->interface, engine->pin_dir, port->name);
		port_set_problem(port, "%s", text);
		return r;
	}
	carry_over_verdicts(port, adopted);
	if (adopted) {
		port->pin_is_inherited |= !port->is_pinned;
		log_notice("port %s: took over the pinned program on %s", port->name,
			   plan_port->conf->interface);
	}
	port->is_attached = true;
	port->is_pinned = pin_dir != NULL;
	port->is_generic = generic;
	port->ifindex = plan_port->link.ifindex;
	snprintf(port->interface, sizeof(port->interface), "%s", plan_port->conf->interface);
	return 0;
}

static int attach_program(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	enum conf_mode mode = plan_port->conf->mode;
	int r;

	if (is_drop(plan_port)) {
		r = need_pin_dir(engine, engine->ports[index]);
		if (r < 0)
			return r;
	}
	if (conf_port_needs_tables(plan_port->conf)) {
		r = engine_need_tables(engine, engine->ports[index]);
		if (r < 0)
			return r;
	}
	r = attach_in_mode(engine, index, mode == CONF_MODE_GENERIC);
	if (r == -EOPNOTSUPP && conf_port_needs_tables(plan_port->conf)) {
		/* What goes back to the kernel would be seen by generic XDP again. */
		port_set_problem(
			engine->ports[index],
			"%s (driver %s) has no native XDP, and generic XDP cannot %s: make "
			"no port of it",
			plan_port->conf->interface,
			plan_port->link.driver[0] ? plan_port->link.driver : "unknown",
			plan_port->conf->forward == CONF_FORWARD_ROUTE ? "route" : "bridge");
	} else if (r == -EOPNOTSUPP && mode == CONF_MODE_AUTO) {
		log_warning("port %s: %s has no native XDP, continuing in generic mode (slow)",
			    plan_port->conf->name, plan_port->conf->interface);
		r = attach_in_mode(engine, index, true);
	}
	return r;
}

/* --- Offloads, promiscuity, mode ------------------------------------------------------------- */

static int mend_offload(struct engine *engine, uint32_t index, enum link_offload offload)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	const char *interface = plan_port->conf->interface;
	const char *name = link_offload_names[offload];
	int r;

	if (!plan_port->link.offload_on[offload])
		return 0;
	if (plan_port->conf->offloads == CONF_OFFLOADS_CHECK) {
		port_set_problem(port,
				 "offload %s is on and would alter frames; run "
				 "`ethtool -K %s %s off` or set offloads = fix",
				 name, interface, name);
		return -EINVAL;
	}
	r = offload_record_switch_off(engine->offloads, engine->links, &plan_port->link, offload);
	if (r < 0) {
		port_set_problem(port, "cannot switch offload %s of %s off: %s", name, interface,
				 strerror(-r));
		return r;
	}
	log_notice("port %s: switched offload %s of %s off", port->name, name, interface);
	return 0;
}

/* GRO merges frames before generic XDP sees them, and only there. */
static int mend_for_generic(struct engine *engine, uint32_t index)
{
	if (!engine->ports[index]->is_generic)
		return 0;
	return mend_offload(engine, index, LINK_OFFLOAD_GRO);
}

int port_mend_offloads(struct engine *engine, uint32_t index)
{
	for (enum link_offload i = 0; i < LINK_OFFLOAD_N; i++) {
		int r = i == LINK_OFFLOAD_GRO ? mend_for_generic(engine, index) :
						mend_offload(engine, index, i);

		if (r < 0)
			return r;
	}
	return 0;
}

static int hold_promiscuity(struct live_port *port)
{
	int r = link_hold_promiscuous(port->ifindex, &port->promiscuous_fd);

	if (r == -EPERM)
		port_set_problem(port,
				 "cannot make %s promiscuous: capability CAP_NET_RAW is missing",
				 port->interface);
	else if (r == -EAFNOSUPPORT)
		port_set_problem(port,
				 "cannot make %s promiscuous: AF_PACKET sockets are not "
				 "allowed; add AF_PACKET to RestrictAddressFamilies= of the unit",
				 port->interface);
	else if (r < 0)
		port_set_problem(port, "cannot make %s promiscuous: %s", port->interface,
				 strerror(-r));
	return r;
}

/*
 * 1: the driver binds zero-copy; 0: it does not; -EBUSY: ask again later. What fails before the
 * bind is no answer of the driver, and port->problem says what it is.
 */
static int probe_zerocopy(struct live_port *port, const struct plan_port *plan_port, uint32_t queue)
{
	const struct umem_spec umem_spec = {
		.n_frames = PROBE_FRAMES,
		.frame_size_bytes = PROBE_FRAME_BYTES,
		.numa_node = plan_port->link.numa_node,
	};
	const struct xsk_spec spec = {
		.ifindex = plan_port->link.ifindex,
		.queue = queue,
		.fill_size = PROBE_RING,
		.rx_size = PROBE_RING,
		.tx_size = PROBE_RING,
		.completion_size = PROBE_RING,
		.zerocopy = true,
		.shared_fd = -1,
	};
	enum xsk_step step;
	struct umem umem;
	struct xsk xsk;
	char text[256];
	int r;

	r = umem_init(&umem, &umem_spec);
	if (r < 0) {
		explain_umem(r, &umem_spec, text, sizeof(text));
		port_set_problem(port, "%s", text);
		return r;
	}
	r = xsk_open(&xsk, &umem, &spec, &step);
	if (r == 0)
		xsk_close(&xsk);
	umem_fini(&umem);
	if (r == 0)
		return 1;
	if (step == XSK_STEP_BIND)
		return r == -EBUSY ? r : 0;
	explain_xsk(r, step, plan_port, queue, PROBE_FRAMES * PROBE_FRAME_BYTES, text,
		    sizeof(text));
	port_set_problem(port, "%s", text);
	return r;
}

static uint32_t first_owned_queue(const struct plan_port *plan_port)
{
	for (uint32_t q = 0; q < plan_port->n_queues; q++) {
		if (plan_port->queue_worker[q] != SLUICE_NO_WORKER)
			return q;
	}
	return 0;
}

/*
 * Intel's 1 Gb/s drivers tell the NIC the size of a buffer in KiB, rounded down, and do not know
 * frames of several buffers in zero-copy mode: of 2048 bytes less the headroom 1024 are left, and
 * what is longer arrives as two frames, the second of which is anything but a frame. Tried with
 * igb of 7.2. Frames of 4096 bytes leave more than its greatest MTU for XDP.
 */
static bool cuts_frames(const struct plan_port *plan_port, uint32_t frame_size_bytes)
{
	static const char *const drivers[] = {"igb", "igc"};

	for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (strcmp(plan_port->link.driver, drivers[i]) == 0)
			return frame_size_bytes < 4096;
	}
	return false;
}

/* 1: zero-copy is not for this port; -errno: and it asked for it by name. */
static int refuse_cutting(struct live_port *port, const struct plan_port *plan_port,
			  uint32_t frame_size_bytes)
{
	if (!cuts_frames(plan_port, frame_size_bytes))
		return 0;
	if (plan_port->conf->mode == CONF_MODE_ZEROCOPY) {
		port_set_problem(port,
				 "mode = zerocopy: driver %s of %s would cut what is longer than "
				 "1024 bytes in two; set frame_size = 4096, or mode = copy or auto",
				 plan_port->link.driver, port->interface);
		return -EOPNOTSUPP;
	}
	log_warning("port %s: driver %s of %s would cut what is longer than 1024 bytes in two in "
		    "zero-copy mode, continuing in copy mode; set frame_size = 4096 for zero-copy",
		    port->name, plan_port->link.driver, port->interface);
	return 1;
}

int port_settle_mode(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	enum conf_mode wanted = plan_port->conf->mode;
	int r;

	if (port->is_generic) {
		port->mode = XSK_MODE_GENERIC;
		return 0;
	}
	if (wanted == CONF_MODE_COPY) {
		port->mode = XSK_MODE_COPY;
		return 0;
	}
	r = refuse_cutting(port, plan_port, engine->plan->frame_size_bytes);
	if (r != 0) {
		port->mode = XSK_MODE_COPY;
		return MIN(r, 0);
	}
	r = probe_zerocopy(port, plan_port, first_owned_queue(plan_port));
	if (r == -EBUSY) {
		if (!port_is_patient(port))
			port_set_problem(port, "queue %u of %s is in use by another AF_XDP socket",
					 first_owned_queue(plan_port), port->interface);
		return r;
	}
	if (r < 0)
		return r;
	if (r == 0 && wanted == CONF_MODE_ZEROCOPY) {
		port_set_problem(port,
				 "mode = zerocopy: driver %s of %s does not offer it; "
				 "set mode = copy or auto",
				 plan_port->link.driver, port->interface);
		return -EOPNOTSUPP;
	}
	port->mode = r == 1 ? XSK_MODE_ZEROCOPY : XSK_MODE_COPY;
	return 0;
}

int port_attach(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	bool forwards = plan_port->conf->forward != CONF_FORWARD_PASS;
	bool mend_first = forwards && port_prog_has_none(plan_port->link.ifindex);
	int r;

	/*
	 * Drivers refuse a program on top of LRO, and virtio_net a change of rx-gro-hw beneath one.
	 * But a program that is there is a pin of ours, which mended, or somebody else's business.
	 */
	port->is_generic = plan_port->conf->mode == CONF_MODE_GENERIC;
	if (mend_first && (r = port_mend_offloads(engine, index)) < 0)
		return r;
	r = attach_program(engine, index);
	if (r < 0)
		return r;
	if (!forwards)
		return 0;
	if (!mend_first)
		r = port_mend_offloads(engine, index);
	else if (plan_port->conf->mode == CONF_MODE_AUTO)
		r = mend_for_generic(engine, index); /* what auto ended in */
	/* A router is sent what is for it; a wire and a bridge take what is for others. */
	if (r == 0 && plan_port->conf->forward != CONF_FORWARD_ROUTE)
		r = hold_promiscuity(port);
	if (r == 0)
		r = port_mend_tap(engine, index);
	if (r < 0) {
		port_detach(engine, port, port_is_new(port));
		return r;
	}
	return 0;
}

void port_detach(struct engine *engine, struct live_port *port, bool remove_pins)
{
	uint64_t counts[SLUICE_V_N];

	if (port->prog) {
		if (remove_pins || !port->is_pinned) {
			int r = port_prog_detach(port->prog);

			/* CPUs that are in the program still count. */
			if (r == 0)
				r = grace_wait();
			if (r < 0)
				log_warning(
					"port %s: cannot remove the program cleanly: %s, ignoring",
					port->name, strerror(-r));
		}
		if (port_prog_verdicts(port->prog, counts) == 0) {
			for (unsigned i = 0; i < SLUICE_V_N; i++)
				port->verdict_totals[i] += counts[i];
		}
		port_retire(engine, TAKE_PTR(port->prog), NULL);
	}
	port_retire(engine, NULL, TAKE_PTR(port->tap));
	close_fdp(&port->promiscuous_fd);
	port->is_attached = false;
	port->is_pinned = port->is_pinned && !remove_pins;
	port->pin_is_inherited = port->pin_is_inherited && !remove_pins;
	port->mode = XSK_MODE_N;
}
