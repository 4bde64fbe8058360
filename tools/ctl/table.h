/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables for people: columns as wide as their widest cell, numbers to the right, with units.
 *
 *   struct table table;
 *   table_begin(&table, columns, n);
 *   table_text(&table, "wan"); table_number(&table, 12345); …    n cells a row
 *   table_end(&table, stdout, has_color);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct table_column {
	const char *title;
	bool is_number;
};

enum table_color { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_COLOR_N };

struct table {
	const struct table_column *columns;
	size_t n_columns;
	struct table_cell {
		char *text;
		enum table_color color;
	} * cells;
	size_t n_cells;
	size_t n_room;
};

void table_begin(struct table *table, const struct table_column *columns, size_t n_columns);
void table_cell(struct table *table, enum table_color color, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void table_text(struct table *table, const char *text);
void table_number(struct table *table, uint64_t n);
/* Prints and releases. */
void table_end(struct table *table, FILE *out, bool has_color);

/* "12,345" */
const char *unit_count(char buf[32], uint64_t n);
/* "1.23 Mpps", "9.87 Gbit/s", "8.0 MiB", "3d 4h" */
const char *unit_rate(char buf[32], double per_s, const char *unit);
const char *unit_bytes(char buf[32], uint64_t bytes);
const char *unit_duration(char buf[32], double seconds);

/* `text` with control characters, but for newline and tab, as "?". */
void text_print(FILE *out, const char *text);

/* The same in a colour, if there are colours. */
void color_print(FILE *out, bool has_color, enum table_color color, const char *text);
