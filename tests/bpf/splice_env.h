/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spliced connections of the bpf tests: client–[a b]–server over loopback, with a user space that
 * is as small as the protocol of kern/splice_maps.h allows, and a content of which every byte is
 * checked: byte i of a way is a hash of i and the way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/splice_maps.h"

enum { CLIENT, A, B, SERVER, N_SOCKETS };

/* One direction: fds of the far end that sends, ours, ours, the far end that receives. */
struct way {
	int from, source, sink, to;
	uint64_t seed;
	struct splice_flow *flow;
	uint64_t sink_base;
	uint64_t n_sent, n_relayed, n_received;
	uint8_t held[64 << 10];
	size_t n_held, held_at;
	bool is_ended;   /* the far end sends no more */
	bool source_eof; /* recv() == 0 and nothing owed */
	bool sink_shut, to_eof;
};

struct link {
	struct splice_maps *maps;
	uint32_t client_side;
	int fd[N_SOCKETS];
	struct way way[2];
};

/* Enters namespaces and brings lo up. */
void splice_env_enter(void);
struct splice_maps *splice_env_maps(uint32_t n_conns);

/* Connected, not in the maps. */
void link_open(struct link *link, struct splice_maps *maps, uint32_t conn);
/* In the maps, wish = RELAY; returns splice_enter()'s result. */
int link_enter(struct link *link);
/* …, KERNEL, and kicked. Fails the test if refused. */
void link_splice(struct link *link);
void link_close(struct link *link);

void link_wish(struct link *link, enum splice_wish wish);

/* Far ends: up to n bytes, as many as fit; what is there, checked. Fail the test on an error. */
void way_feed(struct way *way, size_t n);
void way_drain(struct way *way);
/* User space: relays what is passed, sends FIN on. False: an error (errno). */
bool way_relay(struct way *way);
bool way_is_taken(const struct way *way);

/* Until n bytes in all have arrived; with the relay at work or not. */
void way_feed_all(struct way *way, uint64_t n);
void way_expect(struct way *way, uint64_t n, bool is_relayed);

/* Waits until bytes can be read at a socket. */
void env_wait_readable(int fd);
/* A socket's error, and 0 bytes or more to read. */
int env_so_error(int fd);
void env_reset(int *fd);
int connect_pair(int *ret_passive);
