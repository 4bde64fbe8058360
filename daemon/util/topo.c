/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading CPUs and nodes: the affinity mask from the kernel, the rest from a sysfs tree. */
#include "util/topo.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "util/macros.h"

#define TOPO_MAX_NODES 256

/*
 * Calls `set` for each number of a kernel list ("0-3,8"), which is one line. A malformed tail ends
 * it: the kernel writes none, and a test that does wants no CPUs from it.
 */
static void for_each_in_list(const char *list, void (*set)(struct topo *, unsigned, int),
			     struct topo *topo, int arg)
{
	const char *pos = list;
	unsigned first, last;
	int used;

	while (sscanf(pos, "%u%n", &first, &used) == 1) {
		pos += used;
		last = first;
		if (sscanf(pos, "-%u%n", &last, &used) == 1)
			pos += used;
		for (unsigned n = first; n <= last && n < TOPO_MAX_CPUS; n++)
			set(topo, n, arg);
		if (*pos++ != ',')
			return;
	}
}

/* One line of a sysfs file; false if there is no such file. */
static bool read_line(const char *path, char *buf, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file && fgets(buf, (int)size, file);
}

static void see_cpu(struct topo *topo, unsigned cpu)
{
	topo->n_cpus = MAX(topo->n_cpus, cpu + 1);
}

static void set_isolated(struct topo *topo, unsigned cpu, int arg)
{
	see_cpu(topo, cpu);
	topo->cpus[cpu].is_isolated = true;
}

static void set_node(struct topo *topo, unsigned cpu, int node)
{
	see_cpu(topo, cpu);
	topo->cpus[cpu].node = node;
}

static int read_allowed(struct topo *topo)
{
	cpu_set_t *mask = CPU_ALLOC(TOPO_MAX_CPUS);
	size_t size = CPU_ALLOC_SIZE(TOPO_MAX_CPUS);
	int r = 0;

	if (!mask)
		return -ENOMEM;
	CPU_ZERO_S(size, mask);
	if (sched_getaffinity(0, size, mask) < 0)
		r = -errno;
	for (unsigned cpu = 0; r == 0 && cpu < TOPO_MAX_CPUS; cpu++) {
		if (!CPU_ISSET_S(cpu, size, mask))
			continue;
		see_cpu(topo, cpu);
		topo->cpus[cpu].is_allowed = true;
	}
	CPU_FREE(mask);
	return r;
}

static void read_nodes(struct topo *topo, const char *sysfs_root)
{
	char path[PATH_MAX], line[4096];

	for (int node = 0; node < TOPO_MAX_NODES; node++) {
		(void)snprintf(path, sizeof(path), "%s/devices/system/node/node%d/cpulist",
			       sysfs_root, node);
		if (read_line(path, line, sizeof(line)))
			for_each_in_list(line, set_node, topo, node);
	}
}

/* "isolated" lists isolcpus= and, since 6.7, the CPUs of isolated cpuset partitions. */
static void read_isolated(struct topo *topo, const char *sysfs_root)
{
	char path[PATH_MAX], line[4096];

	(void)snprintf(path, sizeof(path), "%s/devices/system/cpu/isolated", sysfs_root);
	if (read_line(path, line, sizeof(line)))
		for_each_in_list(line, set_isolated, topo, 0);
}

int topo_read(const char *sysfs_root, struct topo *ret_topo)
{
	_cleanup_free_ struct topo *topo = calloc(1, sizeof(*topo));
	int r;

	if (!topo)
		return -ENOMEM;
	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++)
		topo->cpus[cpu].node = -1;
	r = read_allowed(topo);
	if (r < 0)
		return r;
	read_nodes(topo, sysfs_root);
	read_isolated(topo, sysfs_root);
	*ret_topo = *topo;
	return 0;
}

unsigned topo_n_allowed(const struct topo *topo)
{
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < topo->n_cpus; cpu++)
		n += topo->cpus[cpu].is_allowed;
	return n;
}

bool topo_same_allowed(const struct topo *a, const struct topo *b)
{
	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++) {
		if (a->cpus[cpu].is_allowed != b->cpus[cpu].is_allowed)
			return false;
	}
	return true;
}

const char *topo_format_allowed(const struct topo *topo, char *buf, unsigned size)
{
	unsigned used = 0;

	if (size > 0)
		buf[0] = '\0';
	for (unsigned cpu = 0; cpu < topo->n_cpus; cpu++) {
		unsigned last = cpu;
		int n;

		if (!topo->cpus[cpu].is_allowed)
			continue;
		while (last + 1 < topo->n_cpus && topo->cpus[last + 1].is_allowed)
			last++;
		if (used >= size)
			break;
		n = last == cpu ? snprintf(buf + used, size - used, "%s%u", used ? "," : "", cpu) :
				  snprintf(buf + used, size - used, "%s%u-%u", used ? "," : "", cpu,
					   last);
		used += n > 0 ? (unsigned)n : 0;
		cpu = last;
	}
	return buf;
}
