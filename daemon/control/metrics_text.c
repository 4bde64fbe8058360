/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The exposition format; see prometheus/docs, exposition_formats. */
#include "control/metrics_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "util/macros.h"

void metrics_head(FILE *out, const char *name, const char *type, const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/*
 * The format wants valid UTF-8 with three characters escaped. Interface names may be any bytes, and
 * one bad byte would cost the operator the whole page, so bytes beyond ASCII are spelled \xNN.
 */
static int escape_byte(char out[6], unsigned char c)
{
	switch (c) {
	case '\\':
		return snprintf(out, 6, "\\\\");
	case '"':
		return snprintf(out, 6, "\\\"");
	case '\n':
		return snprintf(out, 6, "\\n");
	default:
		if (c < ' ' || c >= 0x7f)
			return snprintf(out, 6, "\\\\x%02x", c);
		out[0] = (char)c;
		return 1;
	}
}

/* Returns the bytes written, or 0 if the pair does not fit. */
static size_t append_pair(char *buf, size_t size, bool is_first, const char *name,
			  const char *value)
{
	int n = snprintf(buf, size, "%s%s=\"", is_first ? "" : ",", name);
	size_t pos = (size_t)n;

	if (n < 0 || pos >= size)
		return 0;
	for (; *value; value++) {
		char escaped[6];
		int len = escape_byte(escaped, (unsigned char)*value);

		if (pos + (size_t)len + 2 > size)
			return 0;
		memcpy(buf + pos, escaped, (size_t)len);
		pos += (size_t)len;
	}
	if (pos + 2 > size)
		return 0;
	buf[pos++] = '"';
	buf[pos] = '\0';
	return pos;
}

const char *metrics_labels(char buf[METRICS_LABELS_BYTES], ...)
{
	const char *name;
	size_t pos = 0;
	va_list ap;

	buf[0] = '\0';
	va_start(ap, buf);
	while ((name = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);

		pos += append_pair(buf + pos, METRICS_LABELS_BYTES - pos, pos == 0, name, value);
		buf[pos] = '\0';
	}
	va_end(ap);
	return buf;
}

static void put_series(FILE *out, const char *name, const char *labels)
{
	if (labels[0])
		(void)fprintf(out, "%s{%s} ", name, labels);
	else
		(void)fprintf(out, "%s ", name);
}

void metrics_sample(FILE *out, const char *name, const char *labels, uint64_t value)
{
	put_series(out, name, labels);
	(void)fprintf(out, "%" PRIu64 "\n", value);
}

void metrics_sample_signed(FILE *out, const char *name, const char *labels, int64_t value)
{
	put_series(out, name, labels);
	(void)fprintf(out, "%" PRId64 "\n", value);
}

void metrics_sample_real(FILE *out, const char *name, const char *labels, double value)
{
	put_series(out, name, labels);
	/* 15 digits: a Unix time to the microsecond, and no 0.30000000000000004 */
	(void)fprintf(out, "%.15g\n", value);
}

static void put_bucket(FILE *out, const char *name, const char *labels, const char *le,
		       uint64_t count)
{
	(void)fprintf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels,
		      labels[0] ? "," : "", le, count);
}

void metrics_histogram(FILE *out, const char *name, const char *labels,
		       const struct metrics_histogram *histogram)
{
	uint64_t count = 0;
	char series[128];

	for (size_t i = 0; i < histogram->n_buckets; i++) {
		bool is_last = i + 1 == histogram->n_buckets;
		char le[32];

		count += histogram->buckets[i];
		if (is_last && histogram->last == METRICS_LAST_IS_REST)
			break;
		(void)snprintf(le, sizeof(le), "%.15g",
			       histogram->unit * (double)(UINT64_C(1) << i));
		put_bucket(out, name, labels, le, count);
	}
	put_bucket(out, name, labels, "+Inf", count);
	(void)snprintf(series, sizeof(series), "%s_sum", name);
	metrics_sample_real(out, series, labels, histogram->sum);
	(void)snprintf(series, sizeof(series), "%s_count", name);
	metrics_sample(out, series, labels, count);
}
