/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice_load, inside: what its modes (load.c), its clients (load_client.c) and its servers
 * (load_server.c) share.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"

#define LOAD_MAX_MESSAGE (64 << 10)

enum load_mode { LOAD_PINGPONG, LOAD_IDLE, LOAD_BULK, LOAD_CHURN, LOAD_STUCK, LOAD_MODE_N };

struct load {
	enum load_mode mode;
	struct address connect, listen;
	const char *client_netns, *server_netns;
	uint32_t n_connections, size, rate; /* rate: messages a second of each connection */
	uint64_t seconds_ns;
	int cpu, soak_cpu; /* -1: any, none */
	bool both;         /* stuck: the servers push, too */
	/* Words between the threads. */
	_Atomic bool is_measuring, is_reading, is_stopping;
	_Atomic uint64_t n_sent_by_clients, n_sent_by_servers; /* stuck */
	_Atomic uint64_t n_received;  /* by servers; bulk, and stuck once it reads */
	_Atomic uint64_t n_answered;  /* by clients, verified, while measuring; stuck: received */
	_Atomic uint64_t n_connected; /* pingpong, idle, bulk, stuck */
	_Atomic uint64_t n_errors, n_wrong;
	const char *_Atomic first_error; /* a literal */
	_Atomic int first_errno;
	uint32_t *latencies_us10; /* tenths of µs, of n_latencies messages */
	uint32_t n_latencies, max_latencies;
	int listen_fd;
};

/* Threads; arg is the load. */
void *load_client_run(void *load);
void *load_server_run(void *load);

/* Counts it, and remembers the first. `error` is an errno, or 0. */
void load_error(struct load *load, const char *what, int error);

/* This thread keeps to load->cpu. */
void load_pin(const struct load *load);

/* Byte `offset` and following of what either side pushes: depends on the position alone. */
void load_fill(uint8_t *data, uint64_t offset, uint32_t n);
bool load_check(const uint8_t *data, uint64_t offset, uint32_t n);
