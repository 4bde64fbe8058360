/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the plane, private to the room: an acceptor and what its parts do for each other.
 *
 *   control                                            acceptor
 *   ring[head % N] = command; head++ ──release──►      takes it, acts, done++ ──release──► control
 *   next_config = config             ──release──►      exchanges it for NULL, config_seen = number
 *   drain_at_ns, is_stopping         ──relaxed──►      looks once a turn
 *   write(wake_fd)                                     epoll;  write(splice->done_fd) when done
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "splice/backend.h"
#include "splice/conn.h"
#include "splice/engine.h"
#include "splice/pool.h"
#include "splice/sources.h"
#include "splice/splice.h"
#include "splice/timers.h"
#include "util/macros.h"

#define COMMANDS_N        64
#define RECORDS_N         256
#define ACCEPTOR_MAX_CPUS 128
#define SOON_MIN_DELAY_NS (50 * NSEC_PER_USEC)
#define SOON_MAX_DELAY_NS (10 * NSEC_PER_MSEC)
/* … of what may last as long as a far end pleases. */
#define LATE_MAX_DELAY_NS (250 * NSEC_PER_MSEC)

/* Bytes that one recv of the copy engine asks for: what the sink does not take is held in one. */
#define SCRATCH_BYTES POOL_LARGE_BYTES

/* What the PROXY header that we send may take, kept free before sniffed bytes. */
#define HEADER_ROOM_BYTES 256

struct flows_request;

enum command_kind { COMMAND_ADD_SOCKET, COMMAND_REMOVE_LISTENER, COMMAND_SET_OPEN, COMMAND_FLOWS };

struct command {
	enum command_kind kind;
	uint32_t listener;
	int fd;
	struct splice_acceptor_load *load;
	bool is_shared, is_open;
	struct flows_request *flows; /* one reference */
};

/* A listening socket of this acceptor. */
struct listening {
	struct listening *next;
	uint32_t number; /* of the listener */
	int fd;
	bool is_shared, is_watched;
	uint32_t n_untuned; /* of the next ones to be accepted: they may not have its options */
	struct splice_acceptor_load *load;
	const struct listener_config *config; /* in acceptor->config; NULL: not in it */
};

struct acceptor {
	struct splice *splice;
	uint32_t index;
	pthread_t thread;
	bool is_running; /* w: control */
	int epoll_fd, wake_fd;
	_Atomic int32_t tid;

	/* From control. */
	struct command ring[COMMANDS_N];
	_Atomic uint32_t head, done;
	_Atomic(struct splice_config *) next_config;
	_Atomic uint64_t config_wanted, config_seen;
	_Atomic uint64_t drain_at_ns; /* 0 = not draining */
	_Atomic bool is_stopping;

	/* To control. */
	_Atomic uint64_t beat;
	_Atomic uint32_t n_live;
	_Atomic bool is_drained;
	struct acceptor_counters counters; /* by counter_add() */
	struct splice_flow_record *records;
	_Atomic uint32_t records_head, records_tail;

	/* Its own. */
	struct splice_config *config;
	struct listening *listening;
	struct conn *conns, *graveyard, *soon;
	uint32_t n_conns;
	struct timers timers;
	struct pool pool;
	struct backend_turn *turns; /* by index of config's backends */
	uint32_t n_turns;
	uint64_t now_ns;
	bool is_open;         /* in service */
	bool is_paused;       /* no file descriptors, or no room for connections */
	bool is_draining;     /* sockets are closed */
	uint64_t resume_ns;   /* of accepting */
	uint32_t n_short;     /* connections that wait for file descriptors */
	uint64_t scan_ns;     /* when spliced connections are looked at next */
	uint64_t trim_ns;     /* when the pool is trimmed next */
	uint64_t n_for_log;   /* connections, for flow_log_every */
	uint32_t *free_sides; /* client sides, a stack */
	uint32_t n_free_sides;
	struct conn **by_side; /* (side - first_side) / 2 */
	uint32_t first_side, n_sides;
	uint8_t scratch[SCRATCH_BYTES];
};

struct splice {
	struct splice_maps *maps;
	struct sockops *sockops;
	struct sources *sources;
	uint32_t max_conns;
	_Atomic uint32_t n_conns;
	int done_fd, records_fd;
	_Atomic uint64_t parked_bytes; /* of all acceptors, from their latest looks */
	uint32_t n_acceptors;
	uint32_t cpus[ACCEPTOR_MAX_CPUS];
	struct acceptor *acceptors[ACCEPTOR_MAX_CPUS];
};

/* One writer, relaxed: control reads whenever it likes. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* --- acceptor.c --------------------------------------------------------------------------------
 */

int acceptor_new(struct splice *splice, uint32_t index, struct acceptor **ret_acceptor);
void acceptor_free(struct acceptor *acceptor);
void *acceptor_run(void *acceptor);
void acceptor_wake(struct acceptor *acceptor);

/* Registers a side for these events and no others; EPOLLERR and EPOLLHUP come always. */
void acceptor_watch(struct conn *conn, enum conn_side side, uint32_t events);
void acceptor_unwatch(struct conn *conn, enum conn_side side);

/* conn_on_soon() is called at conn->soon_delay_ns from now, which doubles each time; or now. */
void acceptor_look_soon(struct conn *conn);
void acceptor_look_later(struct conn *conn); /* the same, to a longer delay */
void acceptor_look_now(struct conn *conn);
void acceptor_forget_soon(struct conn *conn);

/* Numbers in splice_maps for both sides of a connection: *ret_client_side and the next. False: none
 * is free. Given back when the connection is closed, with stream[CLIENT].side. */
bool acceptor_take_sides(struct conn *conn, uint32_t *ret_client_side);
void acceptor_return_sides(struct conn *conn, uint32_t client_side);

/* --- commands.c --------------------------------------------------------------------------------
 */

/* Takes up what control has left for it. */
void commands_run(struct acceptor *acceptor);
void commands_drop_listening(struct acceptor *acceptor);

/* --- accept.c ----------------------------------------------------------------------------------
 */

void accept_turn(struct acceptor *acceptor, struct listening *listening);
/* Watches the listening sockets or does not, by is_paused. */
void accept_watch(struct acceptor *acceptor, struct listening *listening);
/* For a while, since something is short. */
void accept_pause(struct acceptor *acceptor);
void accept_resume(struct acceptor *acceptor);
/* Takes what is queued; bounded, for more may come meanwhile, and an error may stay. */
void accept_all(struct acceptor *acceptor, struct listening *listening);

/* A connection has ended: limits, lists, and its memory at the end of the turn. */
void accept_conn_closed(struct conn *conn);
/* For max_connections_per_source, when it is known whose it is. False: there are too many. */
bool accept_count_source(struct conn *conn);
void accept_count_reject(const struct conn *conn, enum splice_reject reason);

/* --- sniffing.c, connecting.c ------------------------------------------------------------------
 */

void sniffing_begin(struct conn *conn);
void sniffing_on_event(struct conn *conn, uint32_t events);
void connecting_begin(struct conn *conn);
void connecting_on_event(struct conn *conn, enum conn_side side, uint32_t events);
void connecting_on_timeout(struct conn *conn);

/* Counts why a connection was refused, and ends it by RST. */
void conn_reject(struct conn *conn, enum splice_reject reason);
/* Says so in the client's protocol, and lingers until it has been read. */
void conn_refuse(struct conn *conn, unsigned http_status);
void lingering_on_event(struct conn *conn);

/* --- sockets.c ---------------------------------------------------------------------------------
 */

struct ip_endpoint endpoint_of(const struct sockaddr_storage *address);
/* TCP_NODELAY, keepalive, TCP_USER_TIMEOUT; RST if the process ends. Nothing for other families.
 * All of it, for one that was accepted; for a listening one, whose children inherit it; all but
 * keepalive, for one to a server, and keepalive. */
void socket_tune(int fd, const struct listener_config *listener);
void socket_tune_listening(struct listening *listening);
void socket_tune_server(int fd, const struct listener_config *listener);
void socket_keep_alive(int fd, const struct listener_config *listener);
/* Before connect(): there will be bytes to send, and the handshake's last segment is to wait for
 * them and take them along. Afterwards not: a server whose second segment waits for the first one's
 * ACK (Nagle) would wait 40 ms. */
void socket_delay_ack(int fd, bool is_on);
/* close() sends RST. */
void socket_close_by_reset(int fd);
/* …, what is left to be sent and FIN. */
void socket_close_in_peace(int fd);
/* Bytes (and FIN) that the far end has not acknowledged; 0 if it cannot be told. */
uint32_t socket_unacked(int fd);
/* TCP_CLOSE: reset, or ended on both sides. */
bool socket_is_closed(int fd);

/* --- report.c ----------------------------------------------------------------------------------
 */

void report_flow(const struct conn *conn, struct splice_flow_row *ret_row);
void report_record(struct conn *conn);
void report_flows(struct acceptor *acceptor, struct flows_request *request);
