/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing Prometheus' text format 0.0.4: heads, samples, labels, histograms. It knows the format
 * and nothing of what is measured. Errors are the stream's, looked at once by the caller.
 *
 * Thread: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Room for the labels of any family of ours; an interface's name can grow fourfold by escaping. */
#define METRICS_LABELS_BYTES 512

void metrics_head(FILE *out, const char *name, const char *type, const char *help);

/*
 * `a="1",b="2"` from pairs of name and value, ended by NULL; values are escaped. What does not fit
 * is left out as a whole pair. Returns buf.
 */
const char *metrics_labels(char buf[METRICS_LABELS_BYTES], ...) __attribute__((sentinel));

/* `labels` is "" or the text of metrics_labels(). */
void metrics_sample(FILE *out, const char *name, const char *labels, uint64_t value);
void metrics_sample_signed(FILE *out, const char *name, const char *labels, int64_t value);
void metrics_sample_real(FILE *out, const char *name, const char *labels, double value);

/*
 * A histogram whose bucket i counts observations ≤ 2^i × unit that no bucket before it counted.
 * Is the last one bounded too, or does it hold the rest?
 */
enum metrics_last { METRICS_LAST_BOUNDED, METRICS_LAST_IS_REST };

struct metrics_histogram {
	const uint64_t *buckets;
	size_t n_buckets;
	enum metrics_last last;
	double unit; /* upper bound of bucket 0 */
	double sum;
};

void metrics_histogram(FILE *out, const char *name, const char *labels,
		       const struct metrics_histogram *histogram);
