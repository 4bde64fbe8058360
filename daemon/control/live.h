/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live objects behind a plan, private to engine*.c, port*.c and crew.c.
 *
 *   engine ── ports[i]    struct live_port    program, sockets, totals of plan->ports[i]
 *          └─ workers[i]  struct live_worker  thread, UMEMs, sets of plan->workers[i]
 *
 * A live_port owns its lanes; a live_worker refers to them through the set it runs. So lanes are
 * freed only after the worker has taken up a set without them.
 *
 * Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "control/engine.h"
#include "control/offload_record.h"
#include "control/plan.h"
#include "control/report.h"
#include "control/tables.h"
#include "data/worker.h"
#include "kern/jiffies.h"
#include "kern/port_prog.h"
#include "kern/xsk.h"
#include "util/macros.h"

/* Bind and link_create may meet a dying predecessor: 70–195 ms after kill -9 (spikes.md §2). */
#define PATIENCE_NS   (5 * NSEC_PER_SEC)
#define RETRY_FAST_NS (5 * NSEC_PER_MSEC)
#define RETRY_SLOW_NS NSEC_PER_SEC
#define DRAIN_NS      (200 * NSEC_PER_MSEC)
/* A worker takes up a set within one sleep (25 ms); one that needs longer than this hangs. */
#define TAKE_UP_NS NSEC_PER_SEC

struct live_lane {
	struct lane lane; /* first: aligned to a cache line */
	bool is_slotted;  /* in the XSKMAP */
	struct live_worker *worker;
	struct live_port *port;      /* whose totals it counts into; NULL = that port is gone */
	struct live_lane *next_held; /* in live_worker.held */
};

/* What closed lanes of a queue have counted. */
struct queue_totals {
	struct lane_counters counters;
	struct report_xsk xsk;
	uint64_t rx_abandoned; /* left in the rx ring: the worker stood still for too long */
	uint64_t tx_abandoned; /* never completed: the device went, or stood still for too long */
};

struct live_port {
	char name[CONF_NAME_BYTES];
	uint32_t ifindex; /* of the device that the program is on */
	char interface[IF_NAMESIZE];
	enum port_state state;
	char problem[256];
	uint64_t n_map_update_failures; /* XSKMAP slots that could not be filled or emptied */
	struct port_prog *prog;
	bool is_attached;
	bool is_pinned;
	bool pin_is_inherited; /* it was there before this daemon */
	bool is_detached;      /* the operator's wish; survives a rebuild */
	bool is_generic;
	int promiscuous_fd;
	struct tap *tap;    /* the way back to the kernel, where the port has one */
	enum xsk_mode mode; /* XSK_MODE_N until settled */
	struct live_lane *lanes[CONF_MAX_QUEUES];
	struct queue_totals *totals;         /* CONF_MAX_QUEUES of them */
	uint64_t verdict_totals[SLUICE_V_N]; /* of all programs before the present one */
	uint64_t verdict_base[SLUICE_V_N]; /* … of those, what the present link's had not counted */
	uint64_t n_rebinds;
	bool was_built;            /* for n_rebinds */
	uint64_t first_failure_ns; /* of the present attempt to build; 0 = none */
	uint64_t retry_at_ns;      /* 0 = nothing to retry */
	int last_error;
};

struct live_worker {
	struct worker worker;   /* first: aligned to a cache line */
	struct worker_set *set; /* published */
	/* The sets that are not in use: one or both of two, so that publishing never allocates. */
	struct worker_set *spares[2];
	bool placement_noted;
	int publish_error; /* of the latest attempt; 0 = the worker runs `set` */
	enum xsk_mode umem_mode[WORKER_MAX_UMEMS]; /* ZEROCOPY, or COPY for both copying modes */
	struct reclaim_list {
		uint8_t tags[WORKER_MAX_LANES];
		uint32_t n;
	} reclaim[WORKER_MAX_UMEMS]; /* proven dead since the last set */
	uint64_t last_beat;
	bool hangs; /* neither touched nor freed, unless it is welcomed back */
	/* It was late to take up `set`: when it has taken it up after all, it is welcome back. */
	bool may_return;
	struct worker_set *late_for; /* the set before: in use until then */
	struct live_lane *held; /* of ports closed meanwhile: it may touch them until it is back */
	bool reads_tables;
	struct live_worker *next_left; /* in engine.left_behind */
};

/*
 * What a worker may still touch: a program that is off its interface, in whose heartbeat lines it
 * beats, or a TAP that it writes to. Either may be NULL.
 */
struct retired {
	struct port_prog *prog;
	struct tap *tap;
	struct retired *next;
};

struct bridge_name {
	char text[CONF_NAME_BYTES];
};

struct engine {
	struct links *links;
	char bpf_dir[CONF_PATH_BYTES]; /* as configured */
	char pin_dir[CONF_PATH_BYTES]; /* resolved and claimed; "" until a drop port needs it */
	int pin_dir_fd;                /* the claim; -1 = none */
	struct offload_record *offloads;
	struct plan *plan; /* NULL before the first apply */
	struct live_port **ports;
	struct live_worker **workers;
	struct retired *retired; /* freed once every worker has a set that knows none of them */
	uint32_t n_abandoned;    /* workers that hung and were left behind */
	struct live_worker *left_behind; /* those of them that are in no plan any more */
	struct tables *tables;           /* NULL until a port routes or bridges */
	int tables_error;                /* of the latest attempt to tell them; 0 = they know all */
	uint64_t tables_beat;
	struct bridge_name *bridge_names; /* the index is the bridge's number in programs and gate:
					   * that of its group in the plan shifts */
	uint32_t n_bridge_names;
	struct jiffies jiffies; /* the clock that workers beat by */
};

/* --- engine_close.c, engine_build.c: sets of ports, as flags per plan port ------------------- */

static inline bool plan_port_needs_sockets(const struct plan_port *plan_port)
{
	return plan_port->conf->forward != CONF_FORWARD_PASS;
}

static inline uint32_t engine_n_ports(const struct engine *engine)
{
	return engine->plan ? engine->plan->n_ports : 0;
}

static inline uint32_t engine_n_workers(const struct engine *engine)
{
	return engine->plan ? engine->plan->n_workers : 0;
}

/* One flag per port, all false; freed by the caller. NULL: out of memory. */
static inline bool *engine_alloc_flags(uint32_t n)
{
	return calloc(MAX(n, 1), sizeof(bool));
}

/*
 * Closes and frees the lanes; what they counted goes into the totals. The lanes of a worker that
 * hangs, which it may still touch, are left to it (live_worker.held), and their queues busy.
 */
void port_close_lanes(struct live_port *port);

/* Counts, closes and frees one lane that no worker knows any more. */
void port_free_lane(struct live_lane *lane);

/* Closes the lanes of the flagged ports in the order of design.md §4.5. Programs stay attached. */
void engine_close_ports(struct engine *engine, const bool *closing);

/*
 * Builds the flagged ports, publishes once, then lets traffic in. Clears the flags of those that
 * could not be built. Returns the first -errno that will not pass by itself, or 0.
 */
int engine_build_ports(struct engine *engine, bool *due);

/* --- port.c, port_lanes.c: one port's program, sockets and slots ----------------------------- */

struct live_port *port_new(const char *name);

/*
 * Mends offloads, loads and attaches the program, holds promiscuity. A port that needs no sockets
 * is then complete. On failure nothing of it remains and port->problem says why. -EBUSY may pass by
 * itself.
 */
int port_attach(struct engine *engine, uint32_t index);

/*
 * Finds out which mode the port's sockets can have, and notes it in port->mode. -EBUSY: the queue
 * to ask with is still in use; nothing is lost by asking again. Other errors: port->problem says
 * why.
 */
int port_settle_mode(struct engine *engine, uint32_t index);

/* Opens the sockets of all lanes; crew_ready() has prepared the UMEMs. Same promises. */
int port_bind(struct engine *engine, uint32_t index);

/* Switches off what `offloads = fix` finds on (again); complains where `check` does. */
int port_mend_offloads(struct engine *engine, uint32_t index);

/* Fills the XSKMAP slots: the worker must already beat and serve the lanes. */
int port_open_slots(struct live_port *port);

/* First step of removal; a grace period must follow (kern/grace.h). */
void port_clear_slots(struct live_port *port);

/* Never served by anybody, so that a failure leaves nothing of it: not even a pin. */
bool port_is_new(const struct live_port *port);

/* Puts aside what workers may still touch; port_free_retired() frees it. Either may be NULL. */
void port_retire(struct engine *engine, struct port_prog *prog, struct tap *tap);

/*
 * Opens the way back to the kernel that the port is to have, closes one that it is not to have any
 * more, and lets it carry frames of the port's MTU.
 */
int port_mend_tap(struct engine *engine, uint32_t index);

/* Takes program, promiscuity, TAP and pins (if `remove_pins`) away. */
void port_detach(struct engine *engine, struct live_port *port, bool remove_pins);

/* A port that goes to another interface starts there from nothing; port_totals.c. */
void port_leave_interface(struct live_port *port);

/* What was counted on the interface, as the log's last word on it. */
void port_log_totals(const struct live_port *port);

void port_free(struct live_port *port);

/* Frees what port_retire() has put aside: no worker knows it any more. */
void port_free_retired(struct engine *engine);

/* Is EBUSY still to be expected, of a predecessor that is dying? */
bool port_is_patient(const struct live_port *port);

/* Names what is wrong; state and retries are the engine's. */
void port_set_problem(struct live_port *port, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- crew.c: workers, their UMEMs and their sets --------------------------------------------- */

struct live_worker *crew_new_worker(const struct plan *plan, uint32_t index);

/*
 * Calibrates the clock that workers beat by and hands it to them: before the first of them starts,
 * and then once a second. -errno: they go on with what they have.
 */
int crew_set_clock(struct engine *engine);

/*
 * Makes sure that the workers of a port have a UMEM of the port's mode; a running worker stands
 * still for a moment while it gets its second one. On failure port->problem says why.
 */
int crew_ready(struct engine *engine, uint32_t port_index);

/* Index of the UMEM that lanes of `mode` use; WORKER_MAX_UMEMS if there is none. */
uint32_t crew_umem_of(const struct live_worker *worker, enum xsk_mode mode);

/*
 * Publishes a set that names the lanes now open, and waits until the worker has taken it up.
 * Lanes of ports in `closing` (bool per plan port; NULL = none) keep draining but nobody sends to
 * them; with `drop_closing` they are left out altogether. Starts the thread if it does not run.
 * -ETIMEDOUT: the worker hangs.
 */
int crew_publish(struct engine *engine, uint32_t worker_index, const bool *closing,
		 bool drop_closing);

/* Ends the thread; one that does not end is abandoned. */
void crew_stop_worker(struct engine *engine, struct live_worker *worker);

/* crew_ports.c. A set that is to be filled by crew_publish(). */
struct set_request {
	const struct engine *engine;
	uint32_t worker_index;
	const bool *closing; /* per plan port, or NULL */
	bool drop_closing;
};

/* With the ports[] that the worker's group asks for, so that publishing never allocates. */
struct worker_set *crew_new_set(const struct plan *plan, uint32_t worker_index);
void crew_free_set(struct worker_set *set);
void crew_clear_set(struct worker_set *set);

/* What a set has beyond lanes and beats where the group routes or bridges. */
void crew_add_ports(const struct set_request *request, struct worker_set *set);

/* Marks a lane's tag as proven dead: its frames return with the next set. */
void crew_reclaim(struct live_worker *worker, uint32_t umem, uint8_t tag);

/*
 * Workers that hung and have taken up their set meanwhile hang no more, and the lanes that were
 * left to them are closed; true if there is one. What was not published to it is then to be
 * published.
 */
bool crew_welcome_back(struct engine *engine);

/* Lanes that are held for a port which goes away count for nobody. */
void crew_forget_port(struct engine *engine, const struct live_port *port);

/* Stops the thread and frees; one that hangs is abandoned. NULL is fine. */
void crew_free_worker(struct engine *engine, struct live_worker *worker);

/* --- engine_tables.c: what the tables are told ------------------------------------------------ */

bool conf_port_needs_tables(const struct conf_port *conf);

/* Makes the tables if there are none yet; on failure port->problem says why. */
int engine_need_tables(struct engine *engine, struct live_port *port);

/* The number by which programs and gate know a bridge, for as long as the daemon lives. -ENOMEM. */
int engine_bridge_number(struct engine *engine, const char *bridge, uint32_t *ret_number);

/*
 * Tells the tables of all ports, bridges and workers of the plan as they are now. Those flagged in
 * `leaving` (bool per plan worker; NULL = none) have ended and are not known any more afterwards.
 */
int engine_tell_tables(struct engine *engine, const bool *leaving);

/* Has the tables' thread moved since the last call, or is there none? */
bool engine_tables_beat(struct engine *engine);

/*
 * Every worker has ended, or hangs: then what it may read is left behind, too. False: the tables
 * could not be told that the others have ended, and may look at them.
 */
bool engine_free_tables(struct engine *engine);

/* --- explain.c: what an errno means to an operator ------------------------------------------- */

/* Text with cause and remedy for a failed step; see operations.md §3.2. */
void explain_attach(int error, const struct plan_port *port, bool generic,
		    const struct port_prog_conflict *conflict, char *buf, unsigned size);
void explain_load(int error, const struct plan_port *port, char *buf, unsigned size);
void explain_xsk(int error, enum xsk_step step, const struct plan_port *port, uint32_t queue,
		 uint64_t umem_bytes, char *buf, unsigned size);
void explain_umem(int error, const struct umem_spec *spec, char *buf, unsigned size);
void explain_pin(int error, const char *dir, char *buf, unsigned size);

/* Adds a socket's XDP_STATISTICS; engine_report.c. */
void report_xsk_add(struct report_xsk *sum, const struct xsk *xsk);

/* Waits for a state that another thread or the kernel brings about; the control thread only. */
bool wait_until(bool (*done)(void *arg), void *arg, uint64_t timeout_ns);
