/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Can the packet memory of a plan be had? Asked before anything is touched: memory that is not
 * there is noticed by the kernel only after minutes of swapping, or by a kill.
 */
#include <inttypes.h>
#include <string.h>

#include "control/plan_internal.h"
#include "util/macros.h"

struct need {
	uint64_t bytes;
	uint64_t huge_bytes; /* the same in whole huge pages, region by region */
};

static struct need need_of(const struct plan *plan)
{
	struct need need = {0};

	for (uint32_t i = 0; plan && i < plan->n_workers; i++) {
		uint64_t bytes = (uint64_t)plan->workers[i].n_frames * plan->frame_size_bytes;

		need.bytes += bytes;
		need.huge_bytes += (bytes + PLAN_HUGE_PAGE_BYTES - 1) / PLAN_HUGE_PAGE_BYTES *
				   PLAN_HUGE_PAGE_BYTES;
	}
	return need;
}

static double mebibytes(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now - MIN(now, before);
}

static void check_huge(struct plan_builder *b, uint64_t more_bytes)
{
	uint64_t huge_bytes = b->limits->huge_bytes;

	if (more_bytes <= huge_bytes)
		return;
	plan_note(b, PLAN_ERROR, PLAN_NONE,
		  "huge_pages = on: packet memory needs %" PRIu64
		  " free huge pages of 2 MiB, there "
		  "are %" PRIu64 ": raise vm.nr_hugepages by %" PRIu64 ", or set huge_pages = auto",
		  more_bytes / PLAN_HUGE_PAGE_BYTES, huge_bytes / PLAN_HUGE_PAGE_BYTES,
		  (more_bytes - huge_bytes) / PLAN_HUGE_PAGE_BYTES);
}

static void check_available(struct plan_builder *b, uint64_t more_bytes)
{
	uint64_t available_bytes = b->limits->available_bytes;

	if (more_bytes <= available_bytes)
		return;
	plan_note(b, PLAN_ERROR, PLAN_NONE,
		  "packet memory needs %.1f MiB, the machine has %.1f MiB available: set "
		  "frames_per_worker or workers to less, or use fewer queues",
		  mebibytes(more_bytes), mebibytes(available_bytes));
}

/* Counted over all that the user has locked, so the whole plan and not what is added. */
static void check_memlock(struct plan_builder *b, uint64_t bytes)
{
	uint64_t limit_bytes = b->limits->memlock_bytes;

	if (bytes <= limit_bytes)
		return;
	plan_note(b, PLAN_ERROR, PLAN_NONE,
		  "packet memory needs %" PRIu64 " bytes locked, RLIMIT_MEMLOCK allows %" PRIu64
		  ": set LimitMEMLOCK= of the unit (ulimit -l) to %" PRIu64 " or more, give "
		  "CAP_IPC_LOCK, or set frames_per_worker to less",
		  bytes, limit_bytes, bytes);
}

void plan_check_memory(struct plan_builder *b)
{
	struct need need = need_of(b->plan), had = need_of(b->previous);
	enum conf_huge_pages huge = b->conf->daemon.huge_pages;
	uint64_t more_bytes = grown(need.bytes, had.bytes);

	if (!b->limits)
		return;
	check_memlock(b, need.bytes);
	if (huge == CONF_HUGE_ON)
		check_huge(b, grown(need.huge_bytes, had.huge_bytes));
	else if (huge == CONF_HUGE_OFF ||
		 grown(need.huge_bytes, had.huge_bytes) > b->limits->huge_bytes)
		check_available(b, more_bytes);
}
