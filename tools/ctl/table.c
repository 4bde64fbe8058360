/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables, units and colours; out of memory ends the tool, which holds nothing. */
#include "tools/ctl/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

static const char *const color_codes[TABLE_COLOR_N] = {
	[TABLE_PLAIN] = "",
	[TABLE_GOOD] = "\033[32m",
	[TABLE_WARN] = "\033[33m",
	[TABLE_BAD] = "\033[31m",
};

static void *required(void *memory)
{
	if (!memory) {
		(void)fputs("sluicectl: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

void table_begin(struct table *table, const struct table_column *columns, size_t n_columns)
{
	*table = (struct table){.columns = columns, .n_columns = n_columns};
}

void table_cell(struct table *table, enum table_color color, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (table->n_cells == table->n_room) {
		table->n_room = MAX(64, 2 * table->n_room);
		table->cells =
			required(reallocarray(table->cells, table->n_room, sizeof(*table->cells)));
	}
	table->cells[table->n_cells++] = (struct table_cell){required(text), color};
}

void table_text(struct table *table, const char *text)
{
	table_cell(table, TABLE_PLAIN, "%s", text[0] ? text : "-");
}

void table_number(struct table *table, uint64_t n)
{
	char buf[32];

	table_cell(table, TABLE_PLAIN, "%s", unit_count(buf, n));
}

static size_t column_width(const struct table *table, size_t column)
{
	size_t width = strlen(table->columns[column].title);

	for (size_t i = column; i < table->n_cells; i += table->n_columns)
		width = MAX(width, strlen(table->cells[i].text));
	return width;
}

static void print_cell(const struct table *table, size_t column, const char *text,
		       enum table_color color, FILE *out, bool has_color)
{
	bool is_last = column + 1 == table->n_columns;
	int pad = (int)(column_width(table, column) - strlen(text));

	if (column > 0)
		(void)fputs("  ", out);
	if (table->columns[column].is_number)
		(void)fprintf(out, "%*s", pad, "");
	color_print(out, has_color, color, text);
	if (!table->columns[column].is_number && !is_last)
		(void)fprintf(out, "%*s", pad, "");
	if (is_last)
		(void)fputc('\n', out);
}

void table_end(struct table *table, FILE *out, bool has_color)
{
	for (size_t column = 0; column < table->n_columns; column++)
		print_cell(table, column, table->columns[column].title, TABLE_PLAIN, out,
			   has_color);
	for (size_t i = 0; i < table->n_cells; i++) {
		print_cell(table, i % table->n_columns, table->cells[i].text, table->cells[i].color,
			   out, has_color);
	}
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i].text);
	free(table->cells);
	*table = (struct table){0};
}

const char *unit_count(char buf[32], uint64_t n)
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), pos = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf[pos++] = ',';
		buf[pos++] = digits[i];
	}
	buf[pos] = '\0';
	return buf;
}

const char *unit_rate(char buf[32], double per_s, const char *unit)
{
	static const char *const prefixes[] = {"", "k", "M", "G", "T"};
	size_t i = 0;

	while (per_s >= 1000 && i + 1 < ARRAY_SIZE(prefixes)) {
		per_s /= 1000;
		i++;
	}
	(void)snprintf(buf, 32, "%.*f %s%s", i == 0 ? 0 : 2, per_s, prefixes[i], unit);
	return buf;
}

const char *unit_bytes(char buf[32], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	(void)snprintf(buf, 32, "%.*f %s", i == 0 ? 0 : 1, value, units[i]);
	return buf;
}

const char *unit_duration(char buf[32], double seconds)
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (s >= 86400)
		(void)snprintf(buf, 32, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		(void)snprintf(buf, 32, "%" PRIu64 "h %" PRIu64 "min", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		(void)snprintf(buf, 32, "%" PRIu64 "min %" PRIu64 "s", s / 60, s % 60);
	else
		(void)snprintf(buf, 32, "%" PRIu64 "s", s);
	return buf;
}

/* What came over the socket does not steer the terminal. */
void text_print(FILE *out, const char *text)
{
	for (; *text; text++) {
		bool is_control = ((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') ||
				  *text == 0x7f;

		(void)fputc(is_control ? '?' : *text, out);
	}
}

void color_print(FILE *out, bool has_color, enum table_color color, const char *text)
{
	bool is_colored = has_color && color != TABLE_PLAIN;

	if (is_colored)
		(void)fputs(color_codes[color], out);
	text_print(out, text);
	if (is_colored)
		(void)fputs("\033[0m", out);
}
