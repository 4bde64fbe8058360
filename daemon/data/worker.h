/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker: one thread pinned to one CPU, the UMEM(s) of its lanes, and the loop over them.
 *
 * Theory of operation
 *
 * Control and worker share three channels and no lock (style.md T3):
 *
 *   worker_set    control ──release──► worker: which lanes to serve and where each sends. A set is
 *                 immutable; the worker takes up a new one between two turns and then stores its
 *                 generation in `seen`. Control may free the old set, and owns the lanes that are
 *                 not in the new one, once worker_seen() ≥ the new generation.
 *   counters      worker ──relaxed──► control, at any time.
 *   flags         control ──relaxed──► worker: stop.
 *
 * Liveness. At most once a millisecond, asleep too at least every beat_interval_ns, the worker
 * bumps `beat` in its own memory for the watchdog, and writes the time in jiffies (kern/jiffies.h)
 * through worker_set.beats[] into the heartbeat map of every port that it serves, where the XDP
 * program looks.
 *
 * Tables. A worker that routes reads a route_view, whose parts the tables thread (control/tables.h)
 * replaces and frees. What it may free it learns from tables_seen:
 *
 *   tables                                  worker
 *   store pointers to new objects           turn: acquire view->generation = g
 *   view->generation = g + 1  ──release──►        tables_seen = g  ──release──►  tables
 *   seq_cst fence                                 … reads pointers; keeps none beyond the turn
 *   acquire tables_seen of all workers      next turn: g + 1, and with it the new pointers
 *
 * An object that was taken out before generation g is free to go when every worker has been seen in
 * g or later, or is WORKER_NOT_READING: asleep in poll, not running, or in a set that routes
 * nothing. So a worker that sleeps holds nothing up. When it wakes it stores the generation, then a
 * seq_cst fence, then it reads: of the two fences one is first, so either the tables see that it is
 * awake and wait, or it sees what they have replaced. One that hangs within a turn holds up
 * reclaiming; the tables bound that. A bridge's fdb retires nothing (net/fdb.h), and the pointer to
 * it changes by set.
 *
 * Removing a lane (design.md §4.5), with packets in flight: control empties the XSKMAP slot and
 * waits out a grace period, so nothing new comes in; the worker goes on as ever and thereby drains
 * rx and completes tx, while control watches xsk_rx_waiting() and the counters; then control
 * publishes a set without the lane. The frames that the kernel still holds are counted as
 * quarantine until a later set lists the lane's tag in reclaim[].
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "data/counters.h"
#include "data/lane.h"
#include "data/learn.h"
#include "kern/umem.h"
#include "net/route.h"
#include "util/macros.h"

struct fdb;

/* Ports of one group (heartbeat lines) and lanes of one worker. */
#define WORKER_MAX_BEATS 64
#define WORKER_MAX_LANES UMEM_MAX_LANES
/* A group whose ports bind in unlike modes has one UMEM for zero-copy lanes and one for the rest.
 */
#define WORKER_MAX_UMEMS 2

/* A new set or a stop is noticed within this time even where stall_timeout allows more. */
#define WORKER_SLEEP_MAX_NS (25 * NSEC_PER_MSEC)

/* Packets per burst: grout measured 64 best, 256 adds L1 misses (afxdp.md §3.2). */
#define BURST 64

/* Ports of one worker's group, by place in the plan. */
#define WORKER_MAX_PORTS ROUTE_MAX_PORTS

/* What the ports of the worker's group do with each other's frames. */
enum worker_forward { WORKER_WIRE, WORKER_ROUTE, WORKER_BRIDGE };

struct worker_set {
	uint64_t generation; /* 1, 2, …: set by worker_publish() */
	enum worker_forward forward;
	struct route_view *view; /* WORKER_ROUTE */
	struct fdb *fdb;         /* WORKER_BRIDGE */
	/*
	 * WORKER_ROUTE and WORKER_BRIDGE: the ports of the group, by place in the plan. A next hop
	 * whose ifindex is not the port's was meant for another plan: the frame is handed back.
	 */
	struct worker_port {
		bool is_member;       /* of this group */
		bool can_send;        /* its link is up and it is not on its way out */
		uint8_t mac[6];       /* as of the plan: of frames it receives */
		uint32_t ifindex;     /* 0 = no device */
		uint32_t max_len;     /* as in worker_route */
		int handback_fd;      /* this worker's queue of the port's TAP; -1 = none */
		uint32_t flood_per_s; /* this worker's share of flood_limit; 0 = no limit */
		bool floods_to_host;  /* the host has an address on the bridge */
		uint32_t n_lanes;     /* 0: missing */
		struct lane *lanes[WORKER_MAX_LANES]; /* out: (rx queue div W) mod n_lanes */
	} * ports; /* WORKER_MAX_PORTS of them, owned with the set; or NULL */
	uint32_t n_lanes;
	struct worker_route {
		struct lane *rx;
		struct lane *out; /* NULL: the out port is missing or down, drop{link_down} */
		uint32_t max_len; /* of an untagged frame on the out port: MTU + Ethernet header */
		/* WORKER_ROUTE, WORKER_BRIDGE; `out` and `max_len` are then unused */
		uint16_t port;       /* place of the rx lane's port */
		uint16_t out_number; /* rx queue div W: picks among the lanes of an out port */
	} routes[WORKER_MAX_LANES];
	uint32_t n_beats;
	uint64_t *beats[WORKER_MAX_BEATS]; /* lines of the ports' heartbeat maps */
	uint8_t reclaim[WORKER_MAX_UMEMS][WORKER_MAX_LANES]; /* tags whose quarantine is over … */
	uint32_t n_reclaim[WORKER_MAX_UMEMS];                /* … per UMEM */
};

#define WORKER_NOT_READING UINT64_MAX

struct worker {
	/* read-mostly, set by control before the thread starts */
	struct umem umems[WORKER_MAX_UMEMS];
	uint32_t n_umems;
	uint32_t cpu;
	uint64_t spin_ns; /* how long to look for work before sleeping */
	uint64_t tick_ns; /* of the kernel: what jiffies count */
	char name[16];    /* of the thread: shown by top -H and in core dumps */
	pthread_t thread;
	bool is_started;

	/* w: control, r: worker */
	_Atomic(const struct worker_set *) next CACHE_ALIGNED;
	_Atomic bool stop;
	_Atomic uint64_t beat_interval_ns;  /* longest sleep: ≤ a quarter of the shortest
					     * stall_timeout and ≤ WORKER_SLEEP_MAX_NS */
	_Atomic uint64_t jiffies_origin_ns; /* of beats in jiffies: see kern/jiffies.h */

	/* w: worker, r: control */
	_Atomic uint64_t seen CACHE_ALIGNED; /* generation of the set in use */
	_Atomic uint64_t beat;               /* turns into liveness: see worker_beat() */
	_Atomic uint64_t beat_at_ns;         /* clock_now_ns() of the latest beat */
	/*
	 * Generation of the route_view that the worker had read before this turn: it reaches
	 * nothing that was retired earlier. WORKER_NOT_READING: see Tables above.
	 */
	_Atomic uint64_t tables_seen;
	_Atomic int32_t tid;         /* 0 before the thread runs, and after its end */
	_Atomic int32_t start_error; /* errno of pinning to the CPU; valid once tid is not 0 */
	_Atomic uint32_t frames_seq; /* odd while frames[] is being written */
	_Atomic uint64_t frames[WORKER_MAX_UMEMS][FRAME_STATES_WORDS]; /* see worker_frames() */
	struct worker_counters counters;
	struct learn_ring *learn; /* WORKER_BRIDGE: to tables; lives as long as the worker */

	/* private to the worker */
	const struct worker_set *set CACHE_ALIGNED;
	uint64_t now_ns; /* of this turn */
	uint64_t last_work_ns;
	uint64_t last_beat_ns;
	uint64_t beat_value;
	uint32_t residence_countdown;
	uint32_t now_s; /* of now_ns, for fdb_saw() */
	struct token_bucket {
		uint64_t filled_at_ns;
		uint32_t tokens;
	} handback_tokens[HANDBACK_N], flood_tokens[WORKER_MAX_PORTS];
};

/*
 * Zeroes and sets the defaults; the UMEMs are then initialised by the caller, and the first set is
 * published before worker_start(). Thread: control.
 */
void worker_init(struct worker *worker, const char *name, uint32_t cpu, uint64_t beat_interval_ns);

/*
 * Starts the thread; the worker pins itself before the first turn. A stopped worker may be started
 * again and goes on where it was. -errno of pthread_create.
 */
int worker_start(struct worker *worker);

/*
 * Hands over a new set, which the caller keeps alive and constant until worker_seen() reaches the
 * generation returned. A set that is replaced before it was taken up is never looked at, nor is its
 * reclaim[]: wait for one that reclaims. Thread: control.
 */
uint64_t worker_publish(struct worker *worker, struct worker_set *set);

/* Generation of the set that the worker uses now. */
static inline uint64_t worker_seen(const struct worker *worker)
{
	/* pairs with the release in worker_take_set(): the old set is not touched any more */
	return atomic_load_explicit(&worker->seen, memory_order_acquire);
}

/* Changes whenever the worker is alive; for the watchdog. */
static inline uint64_t worker_beat(const struct worker *worker)
{
	return atomic_load_explicit(&worker->beat, memory_order_relaxed);
}

/*
 * Asks the worker to stop after its current turn, and waits at most timeout_ns for the thread to
 * end. -ETIMEDOUT: it hangs; its memory must then never be freed. Thread: control.
 */
int worker_stop(struct worker *worker, uint64_t timeout_ns);

/* A consistent copy of a UMEM's frame states. Bounded tries; false if the worker kept writing. */
bool worker_frames(const struct worker *worker, uint32_t umem, struct frame_states *ret_states);

/* --- data/loop.c, called by the thread body and by the tests on fake rings ---------------------
 */

/* Takes up a newly published set, if there is one. */
void worker_take_set(struct worker *worker);

/*
 * One turn: reap completions, receive and forward one burst per lane, wake tx, refill. Returns the
 * number of descriptors moved; 0 means that there was nothing to do.
 */
uint32_t worker_turn(struct worker *worker);

/* The worker holds nothing of the tables until its next turn: before it sleeps, and at its end. */
void worker_stop_reading(struct worker *worker);

/* Beats and publishes the frame states if a millisecond has passed since the last time. */
void worker_housekeep(struct worker *worker);

/* Does any lane have packets that the kernel has not taken yet? Then the worker sleeps briefly. */
bool worker_tx_is_pending(const struct worker *worker);
