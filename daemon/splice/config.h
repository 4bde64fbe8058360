/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What acceptors are told: an immutable value that control makes of the configuration, and the
 * backends' living state beside it.
 *
 *   control ── splice_config ──► acceptors (splice_apply): each takes it up between two turns;
 *              connections keep the one that they began under by a reference, so a reload touches
 *              no existing connection
 *
 * Server and backend *state* (health, connections, marks) outlives configurations: it is matched by
 * backend name, server name and address, counted by references, and its words are atomic.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/maglev.h"
#include "net/proxy_header.h"
#include "net/sniff.h"
#include "net/wire.h"
#include "util/macros.h"

#define SPLICE_NAME_BYTES 32

enum splice_sniff { SPLICE_SNIFF_NONE, SPLICE_SNIFF_TLS, SPLICE_SNIFF_HTTP, SPLICE_SNIFF_AUTO };
enum splice_engine { SPLICE_AUTO, SPLICE_SOCKMAP, SPLICE_SPLICE, SPLICE_COPY, SPLICE_ENGINE_N };
enum splice_balance { SPLICE_ROUND_ROBIN, SPLICE_LEAST_CONNECTIONS, SPLICE_MAGLEV };

/* Histogram of times: bucket i counts ≤ 100 µs × 2^i; the last the rest. */
#define SPLICE_TIME_BUCKETS 20

/* One server, whoever refers to it. */
struct server_state {
	char name[SPLICE_NAME_BYTES];
	struct sockaddr_storage address;
	socklen_t address_len;
	_Atomic uint32_t refs;
	_Atomic uint32_t n_active; /* connections, connecting ones included */
	_Atomic bool is_up;        /* control's health check */
	_Atomic bool is_draining;  /* the operator's wish: no new connection */
	/* Passive: connects that failed in a row; at `passive_fall` it is out until this time. */
	_Atomic uint32_t n_failed;
	_Atomic uint64_t out_until_ns;
	_Atomic uint64_t n_connections, n_failures; /* attempts, and those in vain */
};

struct backend_state {
	char name[SPLICE_NAME_BYTES];
	_Atomic uint32_t refs;
	_Atomic uint32_t n_active;
	_Atomic uint64_t n_connections, n_failures;
	_Atomic uint64_t connect_time[SPLICE_TIME_BUCKETS];
	_Atomic uint64_t connect_time_sum_ns;
};

struct backend_config {
	struct backend_state *state;
	enum splice_balance balance;
	enum proxy_version send_proxy;
	uint64_t connect_timeout_ns;
	uint32_t max_connections; /* 0 = no limit */
	uint32_t n_retries;       /* on other servers, while no byte was taken by one */
	uint32_t passive_fall;    /* failed connects in a row that take a server out … */
	uint64_t passive_out_ns;  /* … for so long */
	bool has_health_check;
	uint64_t health_interval_ns;
	uint32_t health_rise, health_fall;
	struct backend_server {
		struct server_state *state;
		uint16_t weight;
	} * servers;
	uint32_t n_servers;
	uint16_t *maglev; /* maglev_size of them; NULL unless balance = maglev */
	uint32_t maglev_size;
};

/* X(ID, label, help): reasons of sluice_listener_connections_rejected_total. */
#define SPLICE_REJECTS(X)                                                          \
	X(LIMIT, limit, "max_connections of the listener, or of every backend")    \
	X(SOURCE_LIMIT, source_limit, "max_connections_per_source")                \
	X(ACL, acl, "a PROXY header from a client that proxy_from does not name")  \
	X(SNIFF_TIMEOUT, sniff_timeout, "the first bytes did not come in time")    \
	X(SNIFF_OVERSIZE, sniff_oversize, "the first bytes are too many")          \
	X(SNIFF_MALFORMED, sniff_malformed, "the first bytes are broken")          \
	X(PROXY_HEADER, proxy_header, "the PROXY header is missing or broken")     \
	X(NO_BACKEND, no_backend, "no route matches, or no server can be reached") \
	X(CLIENT_GONE, client_gone, "the client left before a backend was chosen") \
	X(RESOURCES, resources, "no memory, file descriptor or port")

#define SPLICE_REJECT_ID(id, label, help) SPLICE_REJECT_##id,
enum splice_reject { SPLICE_REJECTS(SPLICE_REJECT_ID) SPLICE_REJECT_N };
#undef SPLICE_REJECT_ID

struct listener_state {
	char name[SPLICE_NAME_BYTES];
	uint32_t number; /* stable over reloads: conn_meta.listener */
	_Atomic uint32_t refs;
	_Atomic uint32_t n_active, n_sniffing;
	_Atomic uint64_t n_accepted;
	_Atomic uint64_t n_rejected[SPLICE_REJECT_N];
	_Atomic uint64_t sniff_time[SPLICE_TIME_BUCKETS];
	_Atomic uint64_t sniff_time_sum_ns;
};

struct listener_config {
	struct listener_state *state;
	enum splice_sniff sniff;
	enum splice_engine engine;
	enum proxy_version proxy_protocol; /* what clients must send */
	struct splice_prefix {
		struct ip_endpoint addr;
		unsigned len;
	} * proxy_from;
	uint32_t n_proxy_from;
	struct listener_route {
		char pattern[SNIFF_NAME_BYTES + 2];
		uint32_t backend; /* index into splice_config.backends */
	} * routes;
	uint32_t n_routes;
	uint32_t default_backend; /* SPLICE_NONE = none */
	uint32_t max_connections, max_per_source;
	uint64_t sniff_timeout_ns, idle_timeout_ns, half_closed_timeout_ns;
	uint64_t keepalive_ns,
		user_timeout_ns; /* TCP_KEEPIDLE, TCP_USER_TIMEOUT; 0 = the kernel's */
};

struct splice_config {
	_Atomic uint32_t refs;
	struct listener_config *listeners;
	uint32_t n_listeners;
	struct backend_config *backends;
	uint32_t n_backends;
	uint64_t max_parked_bytes;      /* of all flows */
	uint64_t max_flow_parked_bytes; /* of one: design.md §5.5 */
	uint32_t flow_log_every;        /* one connection in so many is logged; 0 = none */
};

/* The last reference frees it with its arrays (malloc) and lets go of its states, of which it holds
 * one reference for each pointer. Any thread. */
void splice_config_ref(struct splice_config *config);
void splice_config_unref(struct splice_config *config);

/* The last reference frees it (malloc). NULL is nothing. Any thread. */
void server_state_unref(struct server_state *state);
void backend_state_unref(struct backend_state *state);
void listener_state_unref(struct listener_state *state);

/* One more observation of a histogram. */
static inline void splice_time_observe(_Atomic uint64_t *buckets, _Atomic uint64_t *sum_ns,
				       uint64_t time_ns)
{
	unsigned i = 0;

	while (i < SPLICE_TIME_BUCKETS - 1 && time_ns > 100 * NSEC_PER_USEC << i)
		i++;
	atomic_fetch_add_explicit(&buckets[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(sum_ns, time_ns, memory_order_relaxed);
}
