/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compares two configurations by their printed values, row by row of the table. */
#include "control/conf_compare.h"

#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "control/conf_keys.h"
#include "control/conf_value.h"
#include "util/macros.h"

static char *value_text(const struct conf_key *key, const void *section)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	conf_value_print(key, section, out);
	(void)fclose(out);
	return text;
}

/* Keys of one section, those of `reload` only; `title` is what stands in the brackets. */
static unsigned compare(enum conf_section_kind kind, enum conf_reload reload, const char *title,
			const void *old, const void *new, FILE *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONF_KEYS_N; i++) {
		const struct conf_key *key = &conf_keys[i];
		_cleanup_free_ char *before = NULL, *after = NULL;

		if (key->section != kind || key->reload != reload || !key->in_conf)
			continue;
		before = value_text(key, old);
		after = value_text(key, new);
		if (!before || !after || strcmp(before, after) == 0)
			continue;
		fprintf(out, "[%s] %s: %s -> %s\n", title, key->name, before[0] ? before : "none",
			after[0] ? after : "none");
		n++;
	}
	return n;
}

unsigned conf_table_changes(const struct conf *old, const struct conf *new, FILE *out)
{
	unsigned n = compare(CONF_SECTION_ROUTE, CONF_RELOAD_LIVE, "route", &old->route,
			     &new->route, out);

	for (unsigned i = 0; i < old->n_bridges; i++) {
		for (unsigned j = 0; j < new->n_bridges; j++) {
			char title[CONF_NAME_BYTES + 8];

			if (strcmp(old->bridges[i].name, new->bridges[j].name) != 0)
				continue;
			(void)snprintf(title, sizeof(title), "bridge %s", new->bridges[j].name);
			n += compare(CONF_SECTION_BRIDGE, CONF_RELOAD_LIVE, title, &old->bridges[i],
				     &new->bridges[j], out);
		}
	}
	return n;
}

/* One of a kind of named sections, of which both configurations have arrays. */
struct named {
	enum conf_section_kind kind;
	const void *sections;
	size_t bytes;
	unsigned n;
};

static const void *named_at(const struct named *named, unsigned i)
{
	return (const char *)named->sections + i * named->bytes;
}

/* The name is the first member. */
static const void *find_named(const struct named *named, const char *name)
{
	for (unsigned i = 0; i < named->n; i++)
		if (strcmp(named_at(named, i), name) == 0)
			return named_at(named, i);
	return NULL;
}

static unsigned compare_named(const struct named *old, const struct named *new, FILE *out)
{
	const char *kind = conf_section_types[old->kind].kind;
	unsigned n = 0;

	for (unsigned i = 0; i < new->n; i++) {
		const char *name = named_at(new, i);
		const void *before = find_named(old, name);
		char title[CONF_NAME_BYTES + 16];

		(void)snprintf(title, sizeof(title), "%s %s", kind, name);
		if (before)
			n += compare(old->kind, CONF_RELOAD_LIVE, title, before, name, out);
		else
			n += fprintf(out, "%s: add\n", title) > 0;
	}
	for (unsigned i = 0; i < old->n; i++)
		if (!find_named(new, named_at(old, i)))
			n += fprintf(out, "%s %s: remove\n", kind, (const char *)named_at(old, i)) >
			     0;
	return n;
}

static struct named listeners_of(const struct conf *conf)
{
	return (struct named){CONF_SECTION_LISTENER, conf->listeners, sizeof(*conf->listeners),
			      conf->n_listeners};
}

static struct named backends_of(const struct conf *conf)
{
	return (struct named){CONF_SECTION_BACKEND, conf->backends, sizeof(*conf->backends),
			      conf->n_backends};
}

unsigned conf_splice_changes(const struct conf *old, const struct conf *new, FILE *out)
{
	const struct named listeners[] = {listeners_of(old), listeners_of(new)};
	const struct named backends[] = {backends_of(old), backends_of(new)};

	return compare(CONF_SECTION_DAEMON, CONF_RELOAD_LIVE, "daemon", &old->daemon, &new->daemon,
		       out) +
	       compare_named(&listeners[0], &listeners[1], out) +
	       compare_named(&backends[0], &backends[1], out);
}

unsigned conf_restart_changes(const struct conf *old, const struct conf *new, FILE *out)
{
	/* Ports come and go by reload; only [daemon] has keys that need a restart. */
	return compare(CONF_SECTION_DAEMON, CONF_RELOAD_RESTART, "daemon", &old->daemon,
		       &new->daemon, out);
}
