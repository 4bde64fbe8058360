/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gathering, escaping and sorting the error lines of one configuration file.
 */
#include "control/conf_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

static void put_escaped(FILE *out, const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c >= ' ' && *c < 0x7f)
			(void)fputc(*c, out);
		else
			(void)fprintf(out, "\\x%02x", (unsigned char)*c);
	}
}

static bool make_room(struct conf_report *report)
{
	unsigned n = report->n_allocated ? report->n_allocated * 2 : 16;
	struct conf_report_line *lines;

	if (report->n_lines < report->n_allocated)
		return true;
	lines = reallocarray(report->lines, n, sizeof(*lines));
	if (!lines)
		return false;
	report->lines = lines;
	report->n_allocated = n;
	return true;
}

static char *render(const struct conf_report *report, unsigned line, const char *where,
		    const char *what)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	put_escaped(out, report->path);
	if (line)
		(void)fprintf(out, ":%u", line);
	(void)fputs(": ", out);
	if (*where) {
		put_escaped(out, where);
		(void)fputs(": ", out);
	}
	put_escaped(out, what);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

void conf_report_add(struct conf_report *report, unsigned line, const char *where, const char *fmt,
		     ...)
{
	_cleanup_free_ char *what = NULL;
	char *text;
	va_list args;
	int n;

	if (report->n_lines >= CONF_REPORT_MAX) {
		report->n_suppressed++;
		return;
	}
	va_start(args, fmt);
	n = vasprintf(&what, fmt, args);
	va_end(args);
	if (n < 0) {
		what = NULL; /* undefined after a failure */
		report->out_of_memory = true;
		return;
	}
	text = render(report, line, where, what);
	if (!text || !make_room(report)) {
		free(text);
		report->out_of_memory = true;
		return;
	}
	report->lines[report->n_lines++] = (struct conf_report_line){line, text};
}

/* Insertion sort: nearly sorted already, at most CONF_REPORT_MAX, and stable, which qsort is not.
 */
static void sort_by_line(struct conf_report *report)
{
	for (unsigned i = 1; i < report->n_lines; i++) {
		struct conf_report_line moved = report->lines[i];
		unsigned at = i;

		for (; at > 0 && report->lines[at - 1].line > moved.line; at--)
			report->lines[at] = report->lines[at - 1];
		report->lines[at] = moved;
	}
}

static char *render_suppressed(const struct conf_report *report)
{
	char what[64];

	(void)snprintf(what, sizeof(what), "and %u more errors", report->n_suppressed);
	return render(report, 0, "", what);
}

int conf_report_finish(struct conf_report *report, struct conf_errors *errors)
{
	char **lines = NULL;
	unsigned n = 0;

	sort_by_line(report);
	if (report->n_lines)
		lines = calloc(report->n_lines + 1, sizeof(*lines));
	if (!lines && report->n_lines)
		report->out_of_memory = true;
	for (unsigned i = 0; i < report->n_lines; i++) {
		if (lines)
			lines[n++] = report->lines[i].text;
		else
			free(report->lines[i].text);
	}
	if (lines && report->n_suppressed) {
		lines[n] = render_suppressed(report);
		if (lines[n])
			n++;
	}
	free(report->lines);
	report->lines = NULL;
	report->n_lines = report->n_allocated = 0;
	*errors = (struct conf_errors){.lines = lines, .n = n};
	return report->out_of_memory ? -ENOMEM : 0;
}

void conf_errors_fini(struct conf_errors *errors)
{
	for (unsigned i = 0; i < errors->n; i++)
		free(errors->lines[i]);
	free(errors->lines);
	*errors = (struct conf_errors){0};
}
