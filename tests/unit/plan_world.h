/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The four values that a plan is made of, for tests: two ports "wan" (eth0) and "lan" (eth1),
 * cross-connected, of four queues each, on eight CPUs and no known node. A test changes what it is
 * about and asks for the plan.
 */
#pragma once

#include "control/plan.h"

#define WORLD_MAX_PORTS 8

struct world {
	struct conf conf;
	struct conf_port ports[WORLD_MAX_PORTS];
	struct link links[WORLD_MAX_PORTS];
	struct topo topo;
	struct plan_limits limits; /* none */
	struct plan *plan;         /* of the last world_plan() */
	struct plan_notes notes;
};

enum { WAN, LAN };

void world_init(struct world *world);
void world_fini(struct world *world);

/* Appends a cross-connected pair on interfaces of the same names; returns its first index. */
unsigned world_add_pair(struct world *world, const char *a, const char *b);

/* An interface as a NIC driver would describe it; ifindex 10 + port. */
void world_set_link(struct world *world, unsigned port, unsigned n_queues);

/* The interface of a port is not there. */
void world_remove_link(struct world *world, unsigned port);

/* "0,2" style sets from an array that ends in -1. */
struct conf_set world_set(const int *numbers);

/* plan_make_next(): its return value; plan and notes are in the world. */
int world_plan(struct world *world, const struct plan *previous);

/* The same, which must succeed without an error note. */
void world_plan_ok(struct world *world, const struct plan *previous);

/* plan_print() into a string that the caller frees. */
char *world_text(const struct plan *plan, const struct plan_notes *notes);

/* Fails unless the notes of `severity` are exactly this one text. */
void world_expect_note(const struct world *world, enum plan_severity severity, const char *text);
unsigned world_count_notes(const struct world *world, enum plan_severity severity);
