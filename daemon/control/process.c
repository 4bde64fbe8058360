/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getrusage(2), getrlimit(2) and two files of /proc/self. */
#include "control/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "util/macros.h"

static double seconds_of(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

static double read_cpu_s(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
}

static uint64_t read_resident_bytes(void)
{
	_cleanup_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	uint64_t n_pages;

	if (!statm || fscanf(statm, "%*u %" SCNu64, &n_pages) != 1)
		return 0;
	return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t count_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			n++;
	}
	(void)closedir(dir);
	return n > 0 ? n - 1 : 0; /* less the one that looked */
}

static uint64_t read_max_fds(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : (uint64_t)limit.rlim_cur;
}

void process_read(struct process_stats *ret_stats)
{
	*ret_stats = (struct process_stats){
		.cpu_s = read_cpu_s(),
		.resident_bytes = read_resident_bytes(),
		.n_open_fds = count_open_fds(),
		.n_max_fds = read_max_fds(),
	};
}
