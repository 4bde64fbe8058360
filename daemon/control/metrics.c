/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metrics page: the tables of families in order, and plain values.
 *
 * Names and labels are a contract (operations.md §2.4); labels hold closed sets only. A queue that
 * is no worker's has no series. The page is not one consistent cut: a worker goes on counting
 * while it is read, so the identities of data/counters.h are exact here when no frame is moving.
 */
#include "control/metrics.h"

#include <errno.h>
#include <string.h>

#include "control/metrics_family.h"
#include "util/clock.h"
#include "util/macros.h"

void metrics_field(const struct metrics_page *page, const struct metrics_family *family,
		   const char *labels, const void *base)
{
	const char *at = (const char *)base + family->offset;
	uint64_t u64;
	uint32_t u32;
	double real;

	switch (family->kind) {
	case METRICS_BOOL:
		metrics_sample(page->out, family->name, labels, *at != 0);
		break;
	case METRICS_U32:
		memcpy(&u32, at, sizeof(u32));
		metrics_sample(page->out, family->name, labels, u32);
		break;
	case METRICS_U64:
		memcpy(&u64, at, sizeof(u64));
		metrics_sample(page->out, family->name, labels, u64);
		break;
	case METRICS_NS:
		memcpy(&u64, at, sizeof(u64));
		metrics_sample_real(page->out, family->name, labels,
				    (double)u64 / (double)NSEC_PER_SEC);
		break;
	case METRICS_REAL:
		memcpy(&real, at, sizeof(real));
		metrics_sample_real(page->out, family->name, labels, real);
		break;
	case METRICS_NONE:
		break;
	}
}

static const struct metrics_family *const tables[] = {
	metrics_daemon_families, metrics_port_families,   metrics_queue_families,
	metrics_worker_families, metrics_tables_families, metrics_splice_families,
};

static void emit_table(const struct metrics_page *page, const struct metrics_family *family)
{
	for (; family->name; family++) {
		metrics_head(page->out, family->name, family->type, family->help);
		family->emit(page, family);
	}
}

int metrics_render(const struct report *report, FILE *out)
{
	struct metrics_page page = {.report = report, .begun_ns = clock_now_ns(), .out = out};

	process_read(&page.process);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		emit_table(&page, tables[i]);
	errno = 0;
	if (fflush(out) == EOF || ferror(out))
		return errno ? -errno : -EIO;
	return 0;
}
