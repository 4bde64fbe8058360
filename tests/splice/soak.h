/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How busy a CPU is, whoever is at work there: a thread of SCHED_IDLE counts in what is left of it
 * (splice-lab.md D4). Softirqs and kworkers are seen, which no process's own times show; so is the
 * cost of waking up.
 */
#pragma once

#include <stdint.h>

struct soak;

/* Calibrates for 200 ms, in which the CPU should be idle. NULL: it could not be started. */
struct soak *soak_start(unsigned cpu);
void soak_begin(struct soak *soak);
/* Since soak_begin(): the share of the CPU that others had, 0 … 1. */
double soak_busy(struct soak *soak);
void soak_stop(struct soak *soak);
