/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off: a figure */
/*
 * The splice plane: acceptor threads, each with an epoll of its own, a listening socket per
 * address, and the connections that it accepted, whole: nobody else touches them.
 *
 *   accept ─► sniff ─► choose ─► connect ─► forward, both ways ─► close
 *             first    backend,  retries    an engine per direction:
 *             bytes    server               copy, splice, sockmap (splice/engine.h)
 *
 *   splice.c      the plane: acceptors, configurations, drain, reports       thread: control
 *   acceptor.c    a thread's turn: epoll, timers, limits                     thread: acceptor, as
 *   accept.c      accepting, EMFILE, admission                                  all that follows
 *   sniffing.c    PROXY header, first bytes, route
 *   connecting.c  server, retries, send_proxy
 *   conn.c        the state machine of an established pair: order, EOF, FIN, RST, idle
 *   engine_*.c    what moves the bytes
 *   promote.c     which engine a flow of `auto` deserves
 *   backend.c     choosing a server
 *
 * Control and an acceptor share: the configuration (a pointer, taken up between turns), a command
 * ring with an eventfd (sockets to take, drain), and counters (atomic words, or relaxed).
 *
 * Capabilities: with sockmap CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON. Acceptors allocate at accept and
 * close only, and log through a ring that control drains.
 */
/* clang-format on */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/splice_abi.h"
#include "splice/config.h"

struct splice;
struct splice_maps;
struct reuseport_group;
struct sockops;

struct splice_options {
	const uint32_t
		*cpus; /* n_acceptors of them; disjoint from workers' where there are enough */
	uint32_t n_acceptors;
	uint32_t max_conns;       /* of all acceptors, by fds: two and the pipes of each */
	struct splice_maps *maps; /* borrowed; NULL: sockmap is off */
	struct sockops *sockops;  /* borrowed; NULL: no metadata */
};

/* Starts the threads; they accept nothing yet. -errno. */
int splice_new(const struct splice_options *options, struct splice **ret_splice);

/* Hands over a configuration, of which the plane takes a reference. Waits ≤ 1 s for all acceptors
 * to take it up; -ETIMEDOUT names a hung one by the watchdog. */
int splice_apply(struct splice *splice, struct splice_config *config);

/*
 * A listening socket for one acceptor, or (is_shared: fd: and AF_UNIX) for all of them, which then
 * wait with EPOLLEXCLUSIVE. The plane takes the fd. `load`: the acceptor's line, NULL if shared.
 */
int splice_add_socket(struct splice *splice, uint32_t listener, uint32_t acceptor, int fd,
		      struct splice_acceptor_load *load, bool is_shared);

/* Closes all sockets of a listener (its queues migrate or are accepted first); existing connections
 * go on. Returns when no acceptor has one. */
int splice_remove_listener(struct splice *splice, uint32_t listener);

/* Takes one acceptor out of service, or back, under load: no connection is reset (tests, hotplug).
 */
int splice_set_acceptor(struct splice *splice, uint32_t acceptor, bool is_open);

/* Stop accepting; connections end by themselves until deadline_ns, then those left are reset and
 * counted. splice_is_drained() tells when nothing is left. */
void splice_drain(struct splice *splice, uint64_t deadline_ns);
bool splice_is_drained(const struct splice *splice);
uint32_t splice_n_conns(const struct splice *splice);

/* -ETIMEDOUT: an acceptor hangs. Then nothing is freed, what was lent to the plane must stay, too,
 * and the process should end. */
int splice_free(struct splice *splice);

/* --- Reports ------------------------------------------------------------------------------------
 */

/* X(ID, label, help): why a flow left the kernel or never got there. */
#define SPLICE_FALLBACKS(X)                                                     \
	X(CLOSE_WAIT, close_wait, "the client had ended before it could enter") \
	X(BUSY, busy, "another BPF agent owns the socket")                      \
	X(REFUSED, refused, "the kernel refused the socket otherwise")          \
	X(NO_SLOT, no_slot, "more flows than the maps have room for")           \
	X(CREDIT, credit, "it kept running out of credit: a bulk flow")         \
	X(PARKED, parked, "more bytes parked than allowed")

#define SPLICE_FALLBACK_ID(id, label, help) SPLICE_FALLBACK_##id,
enum splice_fallback { SPLICE_FALLBACKS(SPLICE_FALLBACK_ID) SPLICE_FALLBACK_N };
#undef SPLICE_FALLBACK_ID

/* Of one acceptor, written by it, relaxed. */
struct acceptor_counters {
	uint64_t n_flows[SPLICE_ENGINE_N]; /* directions moved by each engine now */
	uint64_t n_bytes[SPLICE_ENGINE_N]; /* moved, ever */
	uint64_t n_promotions, n_fallbacks[SPLICE_FALLBACK_N];
	uint64_t parked_bytes;    /* redirected or passed and not taken by the far end, now */
	uint64_t n_resets_sent;   /* passed on, or ours */
	uint64_t n_truncations;   /* closed with bytes that were accepted and not delivered */
	uint64_t n_accept_pauses; /* EMFILE, ENFILE, ENOMEM */
	uint64_t n_killed;        /* by drain, idle, half-closed, parked */
	uint64_t n_unawaited;     /* connections that nothing would have woken: an error of ours */
	uint64_t n_turns, n_wakeups;
	uint64_t n_records,
		n_records_lost; /* for the flow log; lost: nobody had read the earlier */
};

struct splice_report {
	bool sockmap_is_on;
	char sockmap_why_not[128];
	struct acceptor_report {
		uint32_t cpu;
		int32_t tid;
		uint64_t beat;
		uint32_t n_conns;
		struct acceptor_counters counters;
	} acceptors[128];
	uint32_t n_acceptors;
};

void splice_report(const struct splice *splice, struct splice_report *ret_report);

/* One line per live connection for `show flows`, bounded; asked of each acceptor by command. */
struct splice_flow_row {
	uint32_t acceptor;
	char listener[SPLICE_NAME_BYTES], backend[SPLICE_NAME_BYTES], server[SPLICE_NAME_BYTES];
	struct ip_endpoint client, upstream;
	char name[64], alpn[64]; /* sniffed; what ALPN offers, for display */
	bool has_ech;            /* then `name` is the outer one */
	const char *state;
	enum splice_engine engine[2]; /* from client, from server */
	uint64_t bytes[2];
	uint64_t parked;
	uint64_t age_ns, idle_ns;
	/* Of each socket: as sock_ops has them in SK_STORAGE (by_sockops), else from TCP_INFO. */
	uint32_t srtt_us[2], n_retransmits[2];
	bool by_sockops[2];
};
uint32_t splice_flows(struct splice *splice, struct splice_flow_row *rows, uint32_t max);

/* Finished connections that the flow log asked for; control writes the lines. */
struct splice_flow_record {
	struct splice_flow_row row;
	const char *how; /* "closed", "reset by client", "idle", … */
	/* Of sockets whose last record sock_ops has still to write: what TCP does after close(2).
	 * 0: nothing more comes. */
	uint64_t cookie[2];
};
int splice_records_fd(const struct splice *splice);
uint32_t splice_records_drain(struct splice *splice, struct splice_flow_record *records,
			      uint32_t max);
