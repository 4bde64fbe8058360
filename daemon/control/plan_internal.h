/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files that make a plan share: the plan under construction.
 *
 *   plan.c         the order of making; groups and ports
 *   plan_check.c   what an interface must be like; which of its queues are used
 *   plan_worker.c  lanes, node and frames of the workers
 *   plan_cpu.c     their CPUs
 *   plan_memory.c  whether their memory can be had
 *   plan_note.c    what the operator is told
 */
#pragma once

#include "control/plan.h"

/* The queues of one port that its group's workers share out. */
struct plan_queues {
	uint16_t queue[CONF_MAX_QUEUES]; /* ascending */
	unsigned n;                      /* 0 if the port is not present */
	unsigned n_expected;             /* n, or a guess for a port that is not present */
};

struct plan_builder {
	const struct conf *conf;
	const struct topo *topo;
	const struct plan_limits *limits; /* NULL = none */
	const struct plan *previous;      /* NULL = none */
	struct plan *plan;
	struct plan_notes notes;
	struct plan_queues queues[CONF_MAX_PORTS];
	unsigned n_candidates;            /* CPUs in plan->cpus */
	unsigned cpu_load[TOPO_MAX_CPUS]; /* workers given to each so far */
	bool has_errors;
	int error; /* -ENOMEM, sticky */
};

/* `port` is PLAN_NONE for what is about the whole. Out of memory is remembered in the builder. */
void plan_note(struct plan_builder *b, enum plan_severity severity, uint32_t port, const char *fmt,
	       ...) __attribute__((format(printf, 4, 5)));

/* Notes all that speaks against the port, and the offloads to fix. */
void plan_check_port(struct plan_builder *b, uint32_t port);

/* Fills b->queues[port] of a port that forwards; notes queues that cannot be had. */
void plan_select_queues(struct plan_builder *b, uint32_t port);

/* Workers of a group, with all but their CPU. Queues of its ports have been selected. */
void plan_add_workers(struct plan_builder *b, uint32_t group);

/* Fills plan->cpus from `cpus` and the allowed set. */
void plan_find_cpus(struct plan_builder *b);

/* Gives every worker its CPU; notes CPUs that are shared, remote, or busy with interrupts. */
void plan_assign_cpus(struct plan_builder *b);

/* Notes memory that cannot be had, by limits or what is free. After the workers are known. */
void plan_check_memory(struct plan_builder *b);

/* The group of `old` with the same ports in the same order, or PLAN_NONE (plan_diff.c). */
uint32_t plan_match_group(const struct plan *old, const struct plan *new, uint32_t new_group);

/*
 * The worker of `old` in the place of new->workers[worker]: same index in a matching group of as
 * many workers. PLAN_NONE if there is none.
 */
uint32_t plan_match_worker(const struct plan *old, const struct plan *new, uint32_t worker);
