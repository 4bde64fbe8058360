/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bridge of four ports on fake rings, lane i being port i's, and what leaves it. The way back to
 * the kernel (data/handback.c) is replaced by -Wl,--wrap=hand_back.
 */
#pragma once

#include "data/burst.h"
#include "data/learn.h"
#include "net/fdb.h"
#include "tests/unit/loop_world.h"

#define BRIDGE_PORTS WORLD_LANES
#define ALL_PORTS    0xfU

struct bridge_world {
	struct world *w;
	struct fdb *fdb;
	struct worker_port ports[2][WORKER_MAX_PORTS]; /* of either set */
	/* what left: by port and in order */
	struct bridge_sent {
		uint32_t port, len;
		uint8_t bytes[2048];
	} sent[1024];
	uint32_t n_sent;
	/* what was handed back, and what the next calls answer */
	struct bridge_handed {
		const struct worker_port *port;
		enum handback_reason reason;
		uint32_t len;
		uint8_t bytes[64];
	} handed[64];
	uint32_t n_handed;
	enum drop_reason hand_back_result;
};

/* Own addresses of the ports are 02:ff:00:00:00:PORT. Sizes as world_new() takes them. */
struct bridge_world *bridge_new(const struct world_spec *spec);
void bridge_free(struct bridge_world *b);

/* The next set, whose ports may be changed; world_publish() as ever. */
struct worker_set *bridge_next_set(struct bridge_world *b);

/* 02:00:00:00:xx:xx */
struct bridge_mac {
	uint8_t octet[6];
};
struct bridge_mac station(uint16_t number);
extern const struct bridge_mac broadcast;

/* Receives a frame of len bytes whose payload is made of `fill`. */
void bridge_receive(struct bridge_world *b, uint32_t port, struct bridge_mac to,
		    struct bridge_mac from, uint32_t len, uint8_t fill);

/* Receives a frame of 60 bytes, turns once and returns the ports it left by, as bits. */
uint32_t bridge_cross(struct bridge_world *b, uint32_t port, struct bridge_mac to,
		      struct bridge_mac from);

/* Learns what the worker has reported, as tables would. Returns the number of reports. */
uint32_t bridge_learn(struct bridge_world *b);

uint64_t bridge_drops(const struct bridge_world *b, uint32_t port, enum drop_reason reason);
