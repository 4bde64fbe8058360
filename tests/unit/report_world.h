/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A report out of thin air for the tests of page, answers and sockets: two cross-connected ports of
 * four queues, three workers, every counter with a value of its own, and every identity holding.
 */
#pragma once

#include "control/report.h"

#define WORLD_PORTS   2
#define WORLD_QUEUES  4
#define WORLD_WORKERS 3

/* To be released by report_fini(). */
void report_world_make(struct report *ret_report);

/* The same with another number of queues per port, up to 256. */
void report_world_make_sized(struct report *ret_report, uint32_t n_queues);
