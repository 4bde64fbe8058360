/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of values share: the rows of conf_value.c and conf_value_print.c that are about
 * listeners and backends stand in conf_value_splice.c. Private to conf_value*.c.
 */
#pragma once

#include "control/conf_value.h"

/* Composes `"TEXT": what; expected …` and returns -EINVAL. */
int conf_refuse(const struct conf_key *key, const char *text, struct conf_why *why, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

/* Reads digits at *cursor and moves it behind them. False: no digit, or more than 64 bits. */
bool conf_read_digits(const char **cursor, uint64_t *ret_n);

/* To the last byte. The caller checked the length. */
void conf_store_text(char *field, size_t size, const char *text);

#define CONF_PARSER(name) \
	int name(const struct conf_key *key, const char *text, void *value, struct conf_why *why)
CONF_PARSER(conf_parse_backend);
CONF_PARSER(conf_parse_bind);
CONF_PARSER(conf_parse_name_route);
CONF_PARSER(conf_parse_prefix);
CONF_PARSER(conf_parse_server);

void conf_expect_backend(const struct conf_key *key, FILE *out);
void conf_expect_bind(const struct conf_key *key, FILE *out);
void conf_expect_name_route(const struct conf_key *key, FILE *out);
void conf_expect_prefix(const struct conf_key *key, FILE *out);
void conf_expect_server(const struct conf_key *key, FILE *out);

void conf_print_bind(const void *item, FILE *out);
void conf_print_name_route(const void *item, FILE *out);
void conf_print_prefix(const void *item, FILE *out);
void conf_print_server(const void *item, FILE *out);
