/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel says about this process, for the process_* families. Thread: control.
 */
#pragma once

#include <stdint.h>

struct process_stats {
	double cpu_s; /* user and system, all threads */
	uint64_t resident_bytes;
	uint64_t n_open_fds;
	uint64_t n_max_fds;
};

/* Values that cannot be read are 0: a page without them is better than no page. */
void process_read(struct process_stats *ret_stats);
