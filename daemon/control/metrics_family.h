/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the metrics page share: a family is a row of a table (name, type, help,
 * emitter, and for plain values the field of the report that it shows). A plain value needs a row
 * and no code.
 *
 *   metrics.c           the order of the tables, plain values
 *   metrics_daemon.c    daemon, process
 *   metrics_ports.c     ports, XDP programs and their maps
 *   metrics_queues.c    queues and their sockets
 *   metrics_workers.c   workers and their UMEMs
 *   metrics_splice.c    listeners, backends, spliced connections
 *   metrics_tables.c    routes, neighbours, policy, bridges
 *
 * Private to control/metrics*.c. Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/metrics_text.h"
#include "control/process.h"
#include "control/report.h"

/* One answer being built. */
struct metrics_page {
	const struct report *report;
	struct process_stats process;
	uint64_t begun_ns;
	FILE *out;
};

enum metrics_kind {
	METRICS_NONE,
	METRICS_BOOL,
	METRICS_U32,
	METRICS_U64,
	METRICS_REAL,
	METRICS_NS, /* shown in seconds */
};

struct metrics_family {
	const char *name;
	const char *type;
	const char *help;
	void (*emit)(const struct metrics_page *page, const struct metrics_family *family);
	size_t offset; /* of the value in the struct that the emitter walks … */
	enum metrics_kind kind;
};

#define GAUGE     "gauge"
#define COUNTER   "counter"
#define HISTOGRAM "histogram"

/* The value of a row is this member; its C type says how to read it. */
#define OF(type, member)                                                                   \
	.offset = offsetof(type, member), .kind = _Generic(((const type *)0)->member, bool \
							   : METRICS_BOOL, uint32_t        \
							   : METRICS_U32, uint64_t         \
							   : METRICS_U64, double           \
							   : METRICS_REAL)

/* The same for a time in nanoseconds, which is shown in seconds. */
#define SECONDS_OF(type, member) .offset = offsetof(type, member), .kind = METRICS_NS

/* The one sample of a row's plain value in the struct at `base`. */
void metrics_field(const struct metrics_page *page, const struct metrics_family *family,
		   const char *labels, const void *base);

/* The tables, each ended by a row without a name. */
extern const struct metrics_family metrics_daemon_families[];
extern const struct metrics_family metrics_port_families[];
extern const struct metrics_family metrics_queue_families[];
extern const struct metrics_family metrics_worker_families[];
extern const struct metrics_family metrics_splice_families[];
extern const struct metrics_family metrics_tables_families[];
