/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon knows about itself at one moment, as one value: the source of /metrics, of every
 * sluicectl answer, of STATUS= and of /readyz. One datum has one place, so the page, the tool and
 * the journal cannot disagree.
 *
 * The engine fills it (engine_report in control/engine.h), main's life adds the daemon's own part,
 * and the renderers (control/metrics.c, control/answers.c) only read. Making one is loads of
 * counters plus one getsockopt per queue, one map read and one netlink request per port; it never
 * touches a worker.
 *
 * Counters include what closed lanes and replaced programs had counted ("totals are carried over a
 * rebuild"): they never go backwards while the daemon lives. They belong to the interface: a port
 * that a reload moves to another one starts there from 0, and the series of the former end.
 *
 * Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/sluice_abi.h"
#include "control/conf.h"
#include "control/link.h"
#include "control/tables.h"
#include "data/counters.h"
#include "data/worker.h"
#include "kern/xsk.h"
#include "splice/splice.h"

/* The six counters of XDP_STATISTICS, in the kernel's order. */
struct report_xsk {
	uint64_t rx_dropped;
	uint64_t rx_invalid_descs;
	uint64_t tx_invalid_descs;
	uint64_t rx_ring_full;
	uint64_t fill_ring_empty;
	uint64_t tx_ring_empty;
};

struct report_queue {
	uint32_t queue;
	uint32_t worker; /* index into report.workers; UINT32_MAX = the kernel's queue */
	bool is_bound;   /* a socket is open and in the XSKMAP */
	bool is_zerocopy;
	bool busy_poll_active; /* asked for and with a NAPI id */
	uint32_t rx_waiting;   /* in the rx ring now */
	uint32_t in_tx;        /* submitted and not completed */
	uint64_t rx_abandoned; /* left in the rx ring of a socket that had to be closed */
	uint64_t tx_abandoned; /* submitted to a socket that was closed before it gave them back */
	struct lane_counters counters;
	struct report_xsk xsk;
};

/* What a port is doing, as one word for status, log and tests. */
enum port_state {
	PORT_FORWARDING, /* attached, every planned queue bound, link up */
	PORT_PASSING,    /* `forward = pass`: attached, everything to the kernel */
	PORT_DETACHED,   /* by sluicectl detach: everything to the kernel until attach */
	PORT_LINK_DOWN,  /* attached and bound, no carrier or administratively down */
	PORT_ABSENT,     /* no interface of that name */
	PORT_REBUILDING, /* being bound again; retried until it works */
	PORT_FAILED,     /* refused for a reason that waiting does not mend; see `problem` */
	PORT_STATE_N
};

extern const char *const port_state_names[PORT_STATE_N]; /* "forwarding", "passing", … */

struct report_port {
	const struct conf_port *conf;
	struct link link; /* fresh state and statistics */
	enum port_state state;
	char problem[256]; /* "" if none: what is wrong and what to do */
	bool is_attached;
	bool is_pinned;
	enum xsk_mode mode; /* XSK_MODE_N: no socket */
	uint32_t prog_id;
	uint64_t n_rebinds;
	uint64_t n_map_update_failures; /* XSKMAP slots that could not be filled or emptied */
	uint64_t verdicts[SLUICE_V_N];
	struct report_queue *queues; /* n_queues, ascending */
	uint32_t n_queues;
};

struct report_worker {
	char name[16];
	uint32_t cpu;
	bool is_pinned_to_cpu;
	int numa_node; /* of its (first) UMEM, verified; -1 = unknown */
	bool is_huge;
	bool is_stalled; /* no beat for longer than a second */
	int32_t tid;
	uint64_t beat_age_ns;
	uint64_t n_preemptions; /* nonvoluntary_ctxt_switches of the thread */
	uint32_t n_frames;      /* over its UMEMs */
	uint64_t umem_bytes;
	struct frame_states frames; /* summed over its UMEMs */
	struct worker_counters counters;
};

struct report_listener {
	char name[CONF_NAME_BYTES];
	char addresses[512];
	enum splice_sniff sniff;
	enum splice_engine engine;
	uint32_t n_active, n_sniffing, max_connections;
	uint64_t n_accepted;
	uint64_t n_rejected[SPLICE_REJECT_N];
	uint64_t sniff_time[SPLICE_TIME_BUCKETS];
	uint64_t sniff_time_sum_ns;
};

struct report_server {
	char name[CONF_NAME_BYTES];
	char address[128];
	uint32_t weight, n_active;
	bool is_up, is_draining, is_out; /* by its checks; by the operator; by failed connects */
	uint64_t n_connections, n_failures;
	uint64_t n_checks, n_check_failures;
};

struct report_backend {
	char name[CONF_NAME_BYTES];
	enum splice_balance balance;
	bool is_up; /* some server of it may be chosen */
	uint32_t n_active;
	uint64_t n_connections, n_failures;
	uint64_t connect_time[SPLICE_TIME_BUCKETS];
	uint64_t connect_time_sum_ns;
	struct report_server *servers;
	uint32_t n_servers;
};

struct report_splice {
	bool is_running; /* there are acceptors */
	bool selftest_passed, sockmap_is_on, sockops_is_on;
	uint64_t selftest_ns; /* that it took */
	char sockmap_why_not[256], sockops_why_not[160];
	uint32_t n_conns, max_conns;
	uint64_t n_sockets_closed, n_retransmits; /* as sock_ops told */
	uint64_t n_sockops_lost;                  /* of its records */
	struct acceptor_counters totals;          /* of all acceptors */
	struct report_acceptor {
		uint32_t cpu, n_conns;
		int32_t tid;
	} acceptors[CONF_MAX_ACCEPTORS];
	uint32_t n_acceptors;
	struct report_listener *listeners;
	uint32_t n_listeners;
	struct report_backend *backends;
	uint32_t n_backends;
};

/* A datagram of sd_notify(3) may be 4096. */
#define REPORT_STATUS_BYTES 2048

struct report {
	uint64_t begun_ns; /* clock_now_ns() when its making began; set by who asks for it */
	/* the daemon */
	bool is_ready;    /* everything that the configuration names is attached and bound */
	bool is_degraded; /* ready or not, something is not as configured; `status_line` says what
			   */
	bool is_draining;
	char status_line[REPORT_STATUS_BYTES]; /* the text of STATUS= */
	const char *config_path;
	char config_sha256[65];
	bool config_differs_from_file; /* the file on disk is not the one running */
	bool last_reload_ok;
	char last_reload_error[512];
	uint64_t n_reloads, n_reload_failures;
	double last_reload_unix_s;
	double start_unix_s;
	uint64_t n_control_requests, n_control_failures;
	uint64_t n_netlink_resyncs;
	/* the packet plane */
	struct report_port *ports;
	uint32_t n_ports;
	struct report_worker *workers;
	uint32_t n_workers;
	struct report_tables tables; /* zero where no port has routed or bridged yet */
	struct report_splice splice; /* zero where there was no listener yet */
};

/*
 * Is the queue a worker's, or was it one's earlier, so that it has counts to show? The kernel's
 * queues of a port have no series and no row.
 */
bool report_queue_is_ours(const struct report_queue *queue);

/* The configured name of the interface that a port is. */
static inline const char *report_port_interface(const struct report_port *port)
{
	return port->conf->interface;
}

/* What the program does with the frames of a verdict on this port: "redirect", "pass", … */
const char *report_verdict_action(const struct report_port *port, enum sluice_verdict verdict);

extern const char *const report_verdict_names[SLUICE_V_N];
extern const char *const report_verdict_helps[SLUICE_V_N];
extern const char *const report_drop_names[DROP_N];
extern const char *const report_drop_helps[DROP_N];
extern const char *const report_handback_names[HANDBACK_N];
extern const char *const report_handback_helps[HANDBACK_N];
extern const char *const report_engine_names[SPLICE_ENGINE_N]; /* "auto", "sockmap", … */
extern const char *const report_balance_names[];
extern const char *const report_sniff_names[];

/* "192.0.2.1:80", "[2001:db8::1]:80"; "local" of a socket that has no such address. */
#define REPORT_ENDPOINT_BYTES 64
const char *report_endpoint_text(const struct ip_endpoint *endpoint,
				 char buf[REPORT_ENDPOINT_BYTES]);

/*
 * A zeroed array for a report's queues, workers or ports, released by report_fini(): their counters
 * are cache lines, which calloc(3) would not align. NULL without memory; n may be 0.
 */
void *report_array(size_t n, size_t size);

void report_splice_fini(struct report_splice *splice);

/* Releases what the report owns; conf and strings are borrowed. A zeroed report is fine. */
void report_fini(struct report *report);
