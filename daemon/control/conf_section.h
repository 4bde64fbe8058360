/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sections while a file is being loaded, and the checks that need more than one line of it.
 * Private to conf*.c.
 *
 * A section is kept although its header or a value was wrong, so that the rest of it is checked
 * too and nothing that refers to it looks like a second error. Thread: control.
 */
#pragma once

#include <stdbool.h>

#include "control/conf.h"
#include "control/conf_error.h"
#include "control/conf_keys.h"

/* conf.origins: CONF_KEYS_N of them for [daemon] and [route], then as many for each port, each
 * bridge, each listener, each backend. */
struct conf_origin {
	unsigned line; /* 0: the table's default */
};

struct conf_section {
	enum conf_section_kind kind;
	char name[CONF_NAME_BYTES]; /* "" if the kind has none */
	unsigned line;              /* of the header */
	bool is_broken;             /* a duplicate, or badly named: never part of the result */
	bool is_taken;              /* into a struct conf, which now owns its lists */
	bool has_wrong_line;        /* which may have been any key */
	bool is_wrong[CONF_KEYS_N]; /* the value of this key was refused, or its name misspelt */
	struct conf_origin origins[CONF_KEYS_N];
	union conf_section_value {
		struct conf_daemon daemon;
		struct conf_port port;
		struct conf_route route;
		struct conf_bridge bridge;
		struct conf_listener listener;
		struct conf_backend backend;
	} value;
};

/* Where the origins of a section begin, by kind and place among those of its kind. */
static inline size_t conf_origin_index(const struct conf *conf, enum conf_section_kind kind,
				       unsigned i)
{
	const unsigned first[CONF_SECTION_N] = {
		[CONF_SECTION_DAEMON] = 0,
		[CONF_SECTION_ROUTE] = 1,
		[CONF_SECTION_PORT] = 2,
		[CONF_SECTION_BRIDGE] = 2 + conf->n_ports,
		[CONF_SECTION_LISTENER] = 2 + conf->n_ports + conf->n_bridges,
		[CONF_SECTION_BACKEND] = 2 + conf->n_ports + conf->n_bridges + conf->n_listeners,
	};

	return (first[kind] + i) * (size_t)CONF_KEYS_N;
}

struct conf_sections {
	struct conf_section *at;
	unsigned n;
	unsigned n_allocated;
};

/* "[port wan] forward" for messages; key may be NULL. A line of the file always fits. */
struct conf_where {
	char text[256];
};
struct conf_where conf_where(const struct conf_section *section, const struct conf_key *key);

/* NULL if there is none; `name` is "" for kinds without names. */
const struct conf_section *conf_find_section(const struct conf_sections *sections,
					     enum conf_section_kind kind, const char *name);

/* Everything about a whole file that its lines alone cannot show (control/conf_check.c). */
void conf_check(const struct conf_sections *sections, struct conf_report *report);

/* Its part about listeners and backends (control/conf_check_splice.c). */
void conf_check_splice(const struct conf_sections *sections, struct conf_report *report);

/* Given, or by default, and not refused: only then is a value judged further. */
static inline bool conf_is_sound(const struct conf_section *section, enum conf_key_id id)
{
	return !section->is_wrong[id] &&
	       (section->origins[id].line != 0 || conf_keys[id].default_text);
}

/* At the line of the key, or if it has none at that of the section. */
void conf_report_key(struct conf_report *report, const struct conf_section *section,
		     enum conf_key_id id, const char *what);
