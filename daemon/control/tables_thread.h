/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of the tables thread, shared by the files tables*.c and by nobody else. All of it is
 * guarded by tables.lock, but for what says otherwise.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "control/tables_internal.h"

/* --- tables_lock.c: a mutex that is given up in between ----------------------------------------
 */

/*
 * glibc's mutex goes to whoever comes first, which is always the thread that has just unlocked it.
 * So the tables thread waits, between two slices, until those who wait have had it.
 */
struct tables_lock {
	pthread_mutex_t mutex;
	pthread_cond_t was_served;
	sem_t was_synced; /* see tables_configure() */
	_Atomic uint32_t n_waiting;
};

int tables_lock_init(struct tables_lock *lock);
void tables_lock_fini(struct tables_lock *lock);
/* Thread: any but tables. */
void tables_lock_take(struct tables_lock *lock);
void tables_lock_give(struct tables_lock *lock);
/* Thread: tables, which holds it. Lets those in who wait. */
void tables_lock_yield(struct tables_lock *lock);
void tables_lock_tell_synced(struct tables_lock *lock);
/*
 * Thread: any but tables; it holds the lock, gives it while it waits and has it again when this
 * returns: 0 = a sync may have ended, -ETIMEDOUT. At most one at a time.
 */
int tables_lock_wait_synced(struct tables_lock *lock, uint64_t deadline_ns);

/* --- tables_replay.c: route notifications that came during a dump of routes --------------------
 */

struct replay;

int replay_new(struct replay **ret_replay);
void replay_free(struct replay *replay);
void replay_clear(struct replay *replay);
/* False: no room, the dump cannot be trusted. */
bool replay_record(struct replay *replay, const struct rt_route *route,
		   const struct nlmsghdr *message);
/* Calls fn for what was recorded about routes of this prefix, table, TOS and metric, in order. */
void replay_run(const struct replay *replay, const struct rt_route *route,
		void (*fn)(const struct nlmsghdr *message, void *arg), void *arg);
uint32_t replay_count(const struct replay *replay);

/* --- The thread --------------------------------------------------------------------------------
 */

/* One answer of a dump; the kernel fills at most 32 KiB. */
#define RTNL_BUFFER_BYTES 32768

/* tables_rtnl.c */
struct rtnl {
	int event_fd;      /* notifications */
	int dump_fd;       /* requests and their answers */
	int use_fd;        /* neighbours_keep_alive() */
	uint32_t sequence; /* of the dump that runs */
	_Alignas(8) char buffer[RTNL_BUFFER_BYTES];
};

/* tables_sync.c */
struct sync {
	unsigned step; /* index into the list of dumps; SYNC_IDLE */
	bool is_open;  /* the dump has been asked for */
	bool is_interrupted;
	bool is_doubtful; /* all tries were interrupted: nothing is swept, and it is done again */
	unsigned n_tries;
	bool is_settling;    /* notifications from before the end of the last one may wait still */
	uint64_t n_deletes6; /* IPv6 routes gone since the dump began */
	uint64_t started_ns;
	uint64_t wanted_first_ns, wanted_last_ns; /* 0 = not wanted */
	uint64_t not_before_ns;
	struct replay *replay;
};

#define SYNC_IDLE UINT32_MAX

struct tables {
	struct tables_lock lock;
	pthread_t thread;
	bool is_started;
	_Atomic bool is_stopping;
	_Atomic uint64_t beat; /* w: tables */
	int epoll_fd;
	int wake_fd; /* eventfd: control has news, or a learn ring */

	struct route_view *view;
	struct gate *gate;
	struct limbo *limbo;
	struct link_table *links;
	struct nexthops *nexthops;
	struct rib_table *rib;
	struct neighbours *neighbours;
	struct locals *locals;
	struct fdbs *fdbs;
	struct policy *policy;
	struct rtnl rtnl;
	struct sync sync;

	/* configuration; the strings and arrays are ours */
	struct tables_config config;
	struct tables_port ports[ROUTE_MAX_PORTS];
	struct worker **workers;
	int *ring_fds;  /* eventfds of learn rings that the epoll has; -1 = none; n_workers */
	uint32_t table; /* that is followed: the configured one or that of the VRF; 0 = none yet */

	struct policy_state policy_state;
	uint64_t policy_due_ns, policy_not_before_ns;
	uint64_t keep_alive_due_ns, age_due_ns, generation_due_ns;
	uint64_t generation_interval_ns;
	bool is_synced_once; /* a dump of the table followed is in the FIB */
	bool is_owed;        /* rib_retry() has something to do */
	bool is_full;        /* the gates are closed until it has not */
	bool must_pass[2];   /* as rib_stats() had it when the lines were stored */
	uint64_t short_since_ns;
	bool lines_are_stale;
	bool is_repainting, wants_repaint;

	uint64_t n_resyncs, n_overflows, n_route_changes, n_keepalives, n_bad_messages;
	uint64_t last_sync_ns;
};

/* tables_rtnl.c. -errno. */
int rtnl_open(struct rtnl *rtnl);
void rtnl_close(struct rtnl *rtnl);
/* Reads notifications until there are none (true) or the time is up (false). */
bool rtnl_drain(struct tables *tables, uint64_t until_ns);
struct rtnl_dump {
	uint16_t type;
	uint8_t family;
	uint32_t table; /* of RTM_GETROUTE */
};
int rtnl_dump_begin(struct rtnl *rtnl, const struct rtnl_dump *dump);
/* Takes answers: 1 = that was the last, 0 = the time is up, -EINTR = it is inconsistent. */
int rtnl_dump_read(struct tables *tables, uint64_t until_ns);

/* tables_apply.c: what one message means. */
void tables_apply(struct tables *tables, const struct nlmsghdr *message, bool is_dump);
/* The links have been read or changed: the table of the VRF configured. */
void tables_resolve_table(struct tables *tables);

/* tables_sync.c */
void sync_want(struct tables *tables);
bool sync_is_running(const struct tables *tables);
/* Notifications may be applied now; else they wait in the socket. */
bool sync_lets_drain(const struct tables *tables);
bool sync_reads_routes(const struct tables *tables);
/* When it has something to do; UINT64_MAX = nothing. */
uint64_t sync_due_ns(const struct tables *tables);
void sync_work(struct tables *tables, uint64_t until_ns);
void sync_sweep_link(uint32_t ifindex, void *arg);

/* tables_retire.c */
void retire_work(struct tables *tables, uint64_t now_ns);
uint64_t retire_due_ns(const struct tables *tables);

/* tables_lines.c: what the XDP programs and workers are told of ports. */
void lines_store(struct tables *tables);
void lines_refresh_policy(struct tables *tables, uint64_t now_ns);
/* The policy may have changed: it is asked for in this turn, or as soon as that is bearable. */
void lines_want_policy(struct tables *tables, uint64_t now_ns);
uint64_t lines_route_ports(const struct tables *tables); /* bit by place */
/* The policy's state with what the tables themselves keep from forwarding. */
void lines_policy_state(const struct tables *tables, struct policy_state *ret_state);

/* tables_json.c: a route as `show routes` and `explain` show it; NULL: out of memory. */
struct json_object *tables_row_json(const struct tables *tables, const struct rib_row *row);
