/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The value of one key: text to field, field to text, and what the text may be.
 *
 * What a parser accepts, conf_value_print() prints in one canonical form that the parser accepts
 * again with the same result. A refusal always says what was expected.
 *
 * `section` is the struct conf_daemon, conf_port, … that holds the field; it may be NULL for a key
 * that has no field (struct conf_key.in_conf). Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "control/conf_keys.h"

struct conf_unit {
	const char *text;
	uint64_t factor; /* in nanoseconds, or in bytes */
};

/* Ascending; a time is printed with the last that leaves a whole number. */
#define CONF_DURATION_UNITS_N 5
extern const struct conf_unit conf_duration_units[CONF_DURATION_UNITS_N];

/* Why a value was refused: `"5x": unknown unit "x"; expected …`. */
struct conf_why {
	char text[512];
};

/* 0, or -EINVAL with the reason; the field is untouched then. */
int conf_value_parse(const struct conf_key *key, const char *text, void *section,
		     struct conf_why *ret_why);

/* Of a list, all that it holds, separated by commas. */
void conf_value_print(const struct conf_key *key, const void *section, FILE *out);

/* A key that may be repeated, one by one; the line is that of the file, set by who reads it. */
unsigned conf_list_count(const struct conf_key *key, const void *section);
const void *conf_list_item(const struct conf_key *key, const void *section, unsigned i);
void conf_list_print(const struct conf_key *key, const void *section, unsigned i, FILE *out);
unsigned conf_list_line(const struct conf_key *key, const void *section, unsigned i);
void conf_list_set_last_line(const struct conf_key *key, void *section, unsigned line);
/* Frees what the lists of a section hold. */
void conf_lists_free(enum conf_section_kind kind, void *section);

/* "a time from 10ms to 10s": completes "expected …". */
void conf_value_print_expected(const struct conf_key *key, FILE *out);

const char *conf_type_name(enum conf_type type);

void conf_print_duration(uint64_t ns, FILE *out);

/* The field of a key in its section. */
static inline const void *conf_field(const struct conf_key *key, const void *section)
{
	return (const char *)section + key->offset;
}

/*
 * Checks of texts that are kept as text (control/conf_value_text.c): NULL if well formed, else
 * what is wrong, a string constant.
 */
const char *conf_check_interface(const char *text);
const char *conf_check_path(const char *text);
const char *conf_check_listen(const char *text);
const char *conf_check_name(const char *text);
