/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off: a figure */
/*
 * The tables: a thread of its own that follows the kernel and keeps what workers look up.
 *
 *   rtnetlink ─► links, addresses ─┬─► gate (kern/gate.h)      ─► XDP programs
 *                routes, nexthops ─┼─► route_view (net/route.h) ─► workers
 *                neighbours ───────┘
 *   policy.h  ─► families and ports that the kernel keeps to itself
 *   learn rings of bridge workers ─► fdb (net/fdb.h)            ─► workers
 *
 *   tables.c       the thread: what wakes it, slices, generations, reports, the lock
 *   tables_rtnl.c  the rtnetlink socket: dumps, notifications, overflow and resync
 *   rib.c          all routes of the tables followed; the best of each prefix into the FIB and gate
 *   nexthops.c     numbers for what routes lead to; groups
 *   neighbours.c   adjacencies; keeping those in use alive
 *   locals.c       addresses of this host
 *   policy.c       what the kernel would do besides forwarding
 *   fdbs.c         the bridges: learning, ageing, static entries
 *
 * Locking. One mutex guards all state of the thread; it is held for a slice of at most
 * TABLES_SLICE_NS at a time and given up in between. Control takes it to configure and to report.
 * Workers never do: they read the route_view and the fdbs, and what changes there is retired by
 * generation (net/fib.h). A worker that stands still within a turn holds up reclaiming; when
 * retired memory has reached its bound, the gates of all route ports are closed (everything passes
 * to the kernel, sluice_policy_bypass{kind="tables_full"}) until it moves or is gone: memory is
 * bounded, and nobody is forwarded by a stale route.
 *
 * Thread: control calls what is declared here. Capabilities: CAP_NET_ADMIN (SO_RCVBUFFORCE,
 * NTF_USE, netfilter and XFRM dumps). This room logs.
 */
/* clang-format on */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/policy.h"
#include "data/worker.h"
#include "kern/gate.h"
#include "net/route.h"

struct tables;
struct json_object;

/* One slice of work under the lock: a tenth of the time within which a change is to be visible. */
#define TABLES_SLICE_NS NSEC_PER_MSEC

/* How long tables_configure() waits for the first dump: a million routes take a second or two. */
#define TABLES_FIRST_SYNC_NS (5 * NSEC_PER_SEC)

/* A port as the tables see it; by place in the plan. */
struct tables_port {
	bool is_route;    /* forward = route and its device is there */
	uint32_t bridge;  /* index into tables_config.bridges; UINT32_MAX = none */
	uint32_t group;   /* of the plan */
	uint32_t ifindex; /* 0 = no device */
	char name[32];    /* of the port */
	/* Line 0 of its heartbeat map: the tables store routes and max_packet_len there, and mac.
	 */
	struct sluice_heartbeat *line; /* NULL while it has no program */
};

struct tables_bridge {
	char name[32];
	uint64_t ageing_ns;
	uint32_t max_entries;
	uint32_t learn_per_s;
	const struct tables_static {
		uint8_t mac[6];
		uint16_t port; /* place in the plan */
	} * statics;
	uint32_t n_statics;
};

struct tables_config {
	uint32_t table; /* RT_TABLE_MAIN, another number … */
	char vrf[16];   /* … or the VRF device whose table it is; "" = none */
	bool bypass_netfilter;
	const struct tables_port *ports; /* n_ports, by place in the plan */
	uint32_t n_ports;
	const struct tables_bridge *bridges;
	uint32_t n_bridges;
	struct worker *const *workers; /* of route and bridge groups: those that read the tables */
	uint32_t n_workers;
};

/*
 * Makes the gate and an empty view; neither thread nor socket yet. CAP_BPF. -errno.
 */
int tables_new(struct tables **ret_tables);

/*
 * Starts the thread at the first call with a route or bridge port, and waits (≤ 5 s) until the
 * first dump is in the FIB, so that no port is opened on empty tables; -ETIMEDOUT then, it goes on.
 * Later calls replace the configuration. Everything is copied. After it returns, the tables touch
 * neither lines nor workers of the call before. What leads to a port whose place or device changed
 * is computed anew before it returns.
 */
int tables_configure(struct tables *tables, const struct tables_config *config);

/* Lives as long as the tables. */
struct route_view *tables_view(struct tables *tables);
struct gate *tables_gate(struct tables *tables);

/* The database of a bridge, by its name in the latest configuration; NULL = none. */
struct fdb *tables_fdb(struct tables *tables, const char *bridge);

/* Stops the thread and frees; no worker reads any more. NULL is fine. */
void tables_free(struct tables *tables);

/* --- What it says ------------------------------------------------------------------------------
 */

struct report_tables {
	bool is_running;
	uint64_t beat;          /* changes while the thread is alive: for the watchdog */
	uint64_t n_prefixes[2]; /* in the FIB: IPv4, IPv6 */
	uint64_t n_routes[2];   /* in the RIB, worse ones of a prefix included */
	uint64_t fib_bytes[2];  /* lookup structure */
	uint64_t retired_bytes;
	uint64_t n_nexthops;
	uint64_t n_neighbours[2]; /* known and resolved on route ports */
	uint64_t n_resyncs;       /* full dumps after the first, by overflow or by doubt */
	uint64_t n_overflows;     /* ENOBUFS */
	uint64_t n_route_changes; /* notifications applied */
	uint64_t n_refused;       /* routes that the FIB had no room for: the kernel's */
	uint64_t n_keepalives;    /* NTF_USE sent */
	uint64_t last_sync_ns;    /* how long the last dump took */
	bool is_synced;           /* no resync is pending */
	struct policy_state policy;
	struct report_bridge {
		char name[32];
		uint32_t n_entries, max_entries;
		uint64_t n_learned, n_moved, n_aged, n_refused;
	} bridges[ROUTE_MAX_PORTS];
	uint32_t n_bridges;
};

void tables_report(struct tables *tables, struct report_tables *ret_report);

/*
 * Answers of sluicectl as JSON, in slices: the lock is not held for longer than one. At most `max`
 * rows. Filter: a prefix in text, NULL for all. NULL: out of memory, or (with *ret_error) -EINVAL.
 */
struct json_object *tables_routes_json(struct tables *tables, const char *filter, uint32_t max,
				       int *ret_error);
struct json_object *tables_neighbours_json(struct tables *tables, uint32_t max);
struct json_object *tables_fdb_json(struct tables *tables, const char *bridge, uint32_t max);

/*
 * What a worker would do with a frame that came in by a port, by the worker's own code on a copy:
 * an object with the FIB's prefix, the next hop, the verdict, the frame that would leave.
 */
struct json_object *tables_explain(struct tables *tables, uint32_t port, const uint8_t *frame,
				   uint32_t len);
