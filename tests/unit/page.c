/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plain walk over lines; knows the format's grammar and no name of a family. */
#include "page.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/metrics.h"
#include "unit.h"

char *page_of(const struct report *report)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(metrics_render(report, out), 0);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* Calls fn with each line, cut. */
static void for_each_line(const char *page, void (*fn)(const char *line, void *arg), void *arg)
{
	char *copy = strdup(page), *rest = copy;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		fn(line, arg);
	free(copy);
}

struct lookup {
	const char *series;
	const char *labels[2];
	size_t n_found;
	double sum;
};

/* The blank before the value: the last one, for labels may hold blanks. */
static const char *value_of(const char *line)
{
	return strrchr(line, ' ');
}

static void match_exact(const char *line, void *arg)
{
	struct lookup *lookup = arg;
	size_t len = strlen(lookup->series);
	const char *value = value_of(line);

	if (!value || (size_t)(value - line) != len || strncmp(line, lookup->series, len) != 0)
		return;
	lookup->n_found++;
	lookup->sum += strtod(value + 1, NULL);
}

static void match_family(const char *line, void *arg)
{
	struct lookup *lookup = arg;
	size_t len = strlen(lookup->series);

	if (strncmp(line, lookup->series, len) != 0 || (line[len] != '{' && line[len] != ' '))
		return;
	for (size_t i = 0; i < 2; i++) {
		if (lookup->labels[i] && !strstr(line, lookup->labels[i]))
			return;
	}
	lookup->n_found++;
	lookup->sum += strtod(value_of(line) + 1, NULL);
}

static void match_start(const char *line, void *arg)
{
	struct lookup *lookup = arg;

	if (strncmp(line, lookup->series, strlen(lookup->series)) == 0)
		lookup->n_found++;
}

double page_value(const char *page, const char *series)
{
	struct lookup lookup = {.series = series};

	for_each_line(page, match_exact, &lookup);
	if (lookup.n_found != 1)
		fail_msg("%zu series %s", lookup.n_found, series);
	return lookup.sum;
}

double page_sum(const char *page, const char *family, const char *label1, const char *label2)
{
	struct lookup lookup = {.series = family, .labels = {label1, label2}};

	for_each_line(page, match_family, &lookup);
	if (lookup.n_found == 0)
		fail_msg("no sample of %s", family);
	return lookup.sum;
}

size_t page_count(const char *page, const char *start)
{
	struct lookup lookup = {.series = start};

	for_each_line(page, match_start, &lookup);
	return lookup.n_found;
}

static void match_sum(const char *line, void *arg)
{
	struct lookup *lookup = arg;

	if (strncmp(line, lookup->series, strlen(lookup->series)) == 0 &&
	    !strstr(line, "timestamp"))
		lookup->sum += strtod(value_of(line) + 1, NULL);
}

double page_sum_of_start(const char *page, const char *start)
{
	struct lookup lookup = {.series = start};

	for_each_line(page, match_sum, &lookup);
	return lookup.sum;
}
