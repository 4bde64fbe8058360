/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The errors of one file, gathered in any order and handed out sorted by line.
 *
 * Every text is one line "FILE:LINE: …". What comes from the file is printed with control and
 * non-ASCII bytes as \xNN: a configuration must not be able to write to the operator's terminal.
 *
 * Owns its texts until conf_report_finish(). Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "control/conf.h"

/* A file of a million wrong lines must not become a gigabyte of messages. */
#define CONF_REPORT_MAX 1000

struct conf_report_line {
	unsigned line;
	char *text;
};

struct conf_report {
	const char *path; /* borrowed */
	struct conf_report_line *lines;
	unsigned n_lines;
	unsigned n_allocated;
	unsigned n_suppressed; /* beyond CONF_REPORT_MAX */
	bool out_of_memory;
};

/* `where` is "[section]", "[section] key" or "" (a whole line); line 0 is the whole file. */
void conf_report_add(struct conf_report *report, unsigned line, const char *where, const char *fmt,
		     ...) __attribute__((format(printf, 4, 5)));

/* Moves the texts, sorted by line, to *errors. Returns 0, or -ENOMEM with what was gathered. */
int conf_report_finish(struct conf_report *report, struct conf_errors *errors);
