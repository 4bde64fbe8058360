/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A splice plane with real acceptor threads over loopback, one listener and its backends, and peers
 * that do one thing at a time. Every wait has a deadline; a test that passes it fails.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "splice/acceptor.h"
#include "splice/splice.h"

#define WORLD_MAX_SERVERS 4
#define WORLD_WAIT_MS     5000

struct world_options {
	enum splice_engine engine;
	enum splice_sniff sniff;
	enum proxy_version proxy_protocol, send_proxy;
	enum splice_balance balance;
	bool is_proxy_from_here; /* 127.0.0.0/8 may send PROXY headers */
	bool has_no_default;
	bool is_unix;         /* the listener; shared by all acceptors */
	uint32_t n_acceptors; /* 0 = 1 */
	uint32_t n_servers;   /* 0 = 1 */
	uint32_t n_retries;
	uint32_t max_connections, max_per_source, max_backend_connections, max_conns;
	uint64_t keepalive_ns; /* 0 = a minute; UINT64_MAX = off */
	uint64_t sniff_timeout_ns, idle_timeout_ns, half_closed_timeout_ns, connect_timeout_ns;
	uint64_t max_flow_parked_bytes; /* 0 = no bound */
	uint32_t flow_log_every;
};

struct world {
	struct world_options options;
	struct splice_maps *maps; /* with engine = sockmap */
	struct splice *splice;
	struct splice_config *config;
	struct listener_state *listener;
	struct backend_state *backend;
	struct server_state *servers[WORLD_MAX_SERVERS];
	int server_fds[WORLD_MAX_SERVERS]; /* they listen */
	struct sockaddr_storage address;   /* of the plane's listener */
	socklen_t address_len;
	unsigned n_fds; /* before it was there */
};

/* With engine = sockmap it skips the test where the kernel or a capability says no. */
void world_open(struct world *world, const struct world_options *options);
/* Nothing may be left: connections, flows, buffers, pipes, file descriptors. */
void world_close(struct world *world);

/* The same again, as a reload makes it; the world's options may have been changed. */
void world_reload(struct world *world);

/* Waits until `*word` is `value`. */
void world_wait_u32(const _Atomic uint32_t *word, uint32_t value);
void world_wait_no_conns(struct world *world);
/* … until so many have been rejected for this reason, and no more. */
void world_wait_rejected(const struct world *world, enum splice_reject reason, uint64_t n);
struct acceptor_counters world_counters(const struct world *world);
/* Wakes of all acceptors' threads while nothing ought to happen for `ms`; the fd must stay silent.
 */
uint64_t world_turns_while_quiet(const struct world *world, int fd, short events, int ms);

/* --- Peers: blocking sockets with deadlines ------------------------------------------------------
 */

int listen_on_loopback(int backlog, struct sockaddr_storage *ret_address, socklen_t *ret_len);
int world_connect(const struct world *world);
int world_accept(const struct world *world, unsigned server);
void world_pair(const struct world *world, int *ret_client, int *ret_server);

/* Byte i of stream `seed`. */
void pattern_fill(uint8_t *data, size_t len, uint32_t seed, uint64_t at);

void peer_send(int fd, const void *data, size_t len);
void peer_send_pattern(int fd, uint32_t seed, uint64_t at, size_t len);
void peer_expect(int fd, const void *data, size_t len);
void peer_expect_pattern(int fd, uint32_t seed, uint64_t at, size_t len);
void peer_expect_eof(int fd);
/* Reads to the end; true: it was a reset. *ret_n: bytes before it. */
bool peer_ends_by_reset(int fd, uint64_t *ret_n);
void peer_expect_reset(int fd);
void peer_finish(int fd); /* FIN */
void peer_reset(int fd);  /* RST */
void peer_close(int fd);

/* As much as goes without anyone reading, in a non-blocking way: until nothing went for 100 ms. */
uint64_t peer_fill(int fd, uint32_t seed);
/* …, after `from` bytes of the stream; how many more. */
uint64_t peer_fill_on(int fd, uint32_t seed, uint64_t from);

/* One message each way; the client's end, and the server's. */
void peer_ping(int client, int server);
void peer_end_pair(int client, int server);

/* A queue that is full: its SYNs are dropped, and connect() waits. */
void fill_queue(int *fds, unsigned n, const struct server_state *server);
