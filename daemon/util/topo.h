/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUs and NUMA nodes as values: which CPUs this process may use, which of them the
 * administrator isolated for jobs like ours, and which node each belongs to.
 *
 * Thread: any; nothing is cached. Reads sched_getaffinity(2) and a sysfs tree that tests replace.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TOPO_MAX_CPUS 1024

struct topo {
	unsigned n_cpus; /* one past the highest CPU number seen */
	struct topo_cpu {
		bool is_allowed;  /* in our affinity mask (cpuset, CPUAffinity=, taskset) */
		bool is_isolated; /* isolcpus= or an isolated cpuset partition */
		int node;         /* -1 = unknown */
	} cpus[TOPO_MAX_CPUS];
};

/*
 * `sysfs_root` is "/sys" or a test's copy. -errno only if the affinity mask cannot be read;
 * a missing sysfs leaves nodes at -1 and isolation false.
 */
int topo_read(const char *sysfs_root, struct topo *ret_topo);

unsigned topo_n_allowed(const struct topo *topo);

/* Are the allowed sets equal? (a cpuset change is an event that the operator is told) */
bool topo_same_allowed(const struct topo *a, const struct topo *b);

/* "0-1,4": into `buf`, which is returned. */
const char *topo_format_allowed(const struct topo *topo, char *buf, unsigned size);
