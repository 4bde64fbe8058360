/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: which CPU runs which worker, which (port, queue) pairs it owns, how many frames on
 * which node. A pure function of four values; the same input gives the byte-equal plan, so a
 * reload without a change is no action.
 *
 *   struct conf ───┐
 *   struct link ───┼─ plan_make ──► struct plan ──► engine (builds exactly this)
 *   struct topo ───┤                     └────────► plan_print (--dry-run, sluicectl)
 *   plan_limits ────┘
 *
 * Terms. A *group* is a set of ports that can send to each other: an xconnect pair, the ports of a
 * bridge, all route ports. It has W workers; worker w of the group owns queue q of every port of it
 * where q mod W == w. A (port, queue) pair owned by a worker is a *lane*. A packet received on a
 * lane leaves by a lane of the out port that the same worker owns, index (rx queue div W) mod n, so
 * a packet never changes worker and a flow keeps one tx queue. Where `queues` is a list, q is the
 * place in the list, so that every worker still gets a lane on every port.
 *
 * A port whose interface is missing keeps its place in the plan: `is_present` is false and it has
 * no lanes. Frames and workers are counted as if it had its peer's queues (or its own list's), so
 * that its coming and going leaves the workers alone. A group of missing ports has no workers.
 *
 * Thread: control. No system call, no clock, no logging.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "control/conf.h"
#include "control/link.h"
#include "util/topo.h"

#define PLAN_NONE UINT32_MAX

struct plan_lane {
	uint32_t port;       /* index into plan.ports */
	uint32_t queue;      /* rx_queue_index */
	uint32_t out_lane;   /* of a wire: index into this worker's lanes; PLAN_NONE = the out port
			      * is absent, or any port may be it */
	uint32_t out_number; /* queue div W: picks among the lanes of an out port */
	uint32_t tag;   /* unique in the worker: port-in-group and queue, stable over re-planning */
	bool is_remote; /* the port's node is not the worker's */
};

struct plan_worker {
	uint32_t number; /* over the whole daemon, for people; shifts as groups come and go */
	uint32_t group;
	uint32_t index; /* within its group, for the heartbeat maps; stable */
	uint32_t cpu;
	int numa_node; /* wanted for the UMEM; -1 = no preference */
	uint32_t n_frames;
	uint32_t fill_size, rx_size, tx_size, completion_size; /* of each of its lanes */
	struct plan_lane *lanes;
	uint32_t n_lanes;
};

struct plan_port {
	const struct conf_port *conf; /* borrowed from the conf that the plan was made of */
	struct link link;             /* as it was when the plan was made */
	bool is_present;
	uint32_t group;     /* PLAN_NONE for `forward = pass` */
	uint32_t peer;      /* index of the out port of a wire, else PLAN_NONE */
	uint32_t n_queues;  /* that the XSKMAP has room for; 0 = not present */
	uint32_t n_workers; /* of its group: lines of the heartbeat map */
	uint16_t queue_worker[CONF_MAX_QUEUES]; /* plan_worker.index or SLUICE_NO_WORKER */
	bool fix_offload[LINK_OFFLOAD_N];       /* is on and has to be turned off */
	bool host_is_on_bridge; /* an address of this host is on a port of its bridge */
	char problem[256]; /* planner_remake(): what the interface, as it is now, is refused for;
			    * without is_present, it is a new device that was never taken */
};

struct plan {
	const struct conf *conf; /* borrowed */
	struct plan_port *ports; /* conf->n_ports of them, same order */
	uint32_t n_ports;
	struct plan_worker *workers;
	uint32_t n_workers;
	uint32_t n_groups;
	uint32_t frame_size_bytes;
	uint64_t umem_bytes;      /* all workers: what memlock must allow */
	bool cpus[TOPO_MAX_CPUS]; /* where workers may run */
};

#define PLAN_HUGE_PAGE_BYTES ((uint64_t)2 << 20)

/* What packet memory may take; UINT64_MAX = no limit, or not known. */
struct plan_limits {
	uint64_t memlock_bytes;   /* RLIMIT_MEMLOCK, where it applies */
	uint64_t available_bytes; /* MemAvailable */
	uint64_t huge_bytes;      /* in free huge pages */
};

/* What the operator should know or must mend; the text names port, value and remedy. */
enum plan_severity { PLAN_INFO, PLAN_WARNING, PLAN_ERROR, PLAN_SEVERITY_N };

struct plan_notes {
	struct plan_note {
		enum plan_severity severity;
		uint32_t port; /* PLAN_NONE = about the whole */
		char *text;
	} * notes;
	uint32_t n;
};

/*
 * links[i] belongs to conf->ports[i]. Refusals (host traffic, bond, MTU against frame size, unequal
 * tx queues, cpus not allowed, …) are PLAN_ERROR notes: *ret_plan is then still filled, for
 * printing, and -EINVAL is returned. -ENOMEM: nothing is returned. `conf` must outlive the plan.
 * Without limits (NULL) memory is not judged.
 */
int plan_make(const struct conf *conf, const struct link *links, const struct topo *topo,
	      const struct plan_limits *limits, struct plan **ret_plan,
	      struct plan_notes *ret_notes);

/*
 * The same for a daemon that is running by the plan `previous`: where the CPUs for workers are the
 * same, its workers keep theirs, so that a group that comes or goes moves no worker of another.
 * Still a pure function; without a change it gives `previous` again.
 * What `previous` has of free memory is not asked for once more.
 */
int plan_make_next(const struct plan *previous, const struct conf *conf, const struct link *links,
		   const struct topo *topo, const struct plan_limits *limits,
		   struct plan **ret_plan, struct plan_notes *ret_notes);

void plan_free(struct plan *plan);
void plan_notes_fini(struct plan_notes *notes);

/* The largest MTU whose frames fit: frame size − XDP headroom (256) − Ethernet and two tags (22).
 */
uint32_t plan_max_mtu(uint32_t frame_size_bytes);

/* --- Difference of two plans (reload, link events) ------------------------------------------- */

/*
 * What has to be done about one port to get from the old plan to the new one. KEEP and LIVE leave
 * its sockets alone; REBUILD closes and opens them, ADD and REMOVE are one half of that: an
 * interface that appeared is KEEP in the old plan and ADD in the new one, one that went is REMOVE
 * and KEEP. LIVE: a fact changed that needs no new socket (MTU within bounds, offloads to fix,
 * take_host_traffic, flood_limit, the out lanes of its peer, whether its bridge reaches the host).
 */
enum plan_action { PLAN_KEEP, PLAN_LIVE, PLAN_ADD, PLAN_REMOVE, PLAN_REBUILD, PLAN_ACTION_N };

extern const char *const plan_action_names[PLAN_ACTION_N];

struct plan_diff {
	enum plan_action *new_ports; /* new->n_ports: KEEP, LIVE, ADD or REBUILD */
	enum plan_action *old_ports; /* old->n_ports: KEEP, LIVE, REMOVE or REBUILD */
	uint32_t *old_of;     /* new->n_ports: index of the same-named port in old, or PLAN_NONE */
	bool *rebuild_worker; /* new->n_workers: its UMEM, CPU or lane layout changed shape, so
			       * that the worker is replaced and its ports rebuilt; also true
			       * of a worker that had no predecessor */
	uint32_t *old_worker_of; /* new->n_workers: the old worker that goes on, or PLAN_NONE */
	bool *keep_old_worker;   /* old->n_workers: it goes on; else it is to be stopped */
	bool is_empty;           /* nothing to do at all */
};

/* Pure. Ports are matched by name, workers by (group's ports, index in the group). -ENOMEM. */
int plan_diff(const struct plan *old, const struct plan *new, struct plan_diff *ret_diff);
void plan_diff_fini(struct plan_diff *diff);

/* The text of --dry-run and `sluicectl show plan`: stable, one fact a line. */
void plan_print(const struct plan *plan, const struct plan_notes *notes, FILE *out);
