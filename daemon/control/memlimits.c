/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See memlimits.h. */
#include "control/memlimits.h"

#include <cap-ng.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#include "util/macros.h"

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB"

static uint64_t read_available(const char *root)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[PATH_MAX], line[128];
	uint64_t kib;

	(void)snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %19" SCNu64 " kB", &kib) == 1)
			return kib << 10;
	}
	return UINT64_MAX;
}

static bool read_pages(const char *root, const char *name, uint64_t *ret_n)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s" HUGE_PAGES "/%s", root, name);
	file = fopen(path, "re");
	return file && fscanf(file, "%19" SCNu64, ret_n) == 1;
}

/* Reserved pages are counted as free; surplus ones are made when they are asked for. */
static uint64_t read_huge(const char *root)
{
	uint64_t n_free, n_reserved, n_overcommit, n_surplus;

	if (!read_pages(root, "free_hugepages", &n_free) ||
	    !read_pages(root, "resv_hugepages", &n_reserved) ||
	    !read_pages(root, "nr_overcommit_hugepages", &n_overcommit) ||
	    !read_pages(root, "surplus_hugepages", &n_surplus))
		return UINT64_MAX;
	n_free -= MIN(n_reserved, n_free);
	n_free += n_overcommit - MIN(n_surplus, n_overcommit);
	return n_free * PLAN_HUGE_PAGE_BYTES;
}

/*
 * The kernel counts what sockets register against the limit, unless CAP_IPC_LOCK. Who could not
 * attach a program either is somebody looking (--dry-run), whose limit is not the daemon's.
 */
static uint64_t read_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
	    capng_get_caps_process() < 0 || capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK) ||
	    !capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN))
		return UINT64_MAX;
	return limit.rlim_cur;
}

void memlimits_read(const char *root, struct plan_limits *ret_limits)
{
	*ret_limits = (struct plan_limits){
		.memlock_bytes = read_memlock(),
		.available_bytes = read_available(root),
		.huge_bytes = read_huge(root),
	};
}
