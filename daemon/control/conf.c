/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the bytes of a file to a struct conf, or to all that is wrong with them.
 *
 *   bytes ─ conf_reader ─► headers, pairs ─ this file, conf_value ─► sections ─ conf_check ─►
 *   no error: the sections are moved into a struct conf. Any error: they are dropped.
 *
 * Thread: control, and main before it.
 */
#include "control/conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/conf_error.h"
#include "control/conf_keys.h"
#include "control/conf_reader.h"
#include "control/conf_section.h"
#include "control/conf_suggest.h"
#include "control/conf_value.h"
#include "util/macros.h"

/* Broken ones included: they are kept so that their keys are checked, but not without bound. */
#define SECTIONS_MAX 1024

struct loader {
	struct conf_report report;
	struct conf_sections sections;
	struct conf_section *current; /* NULL: what follows is nobody's */
	bool had_header;
	bool out_of_memory;
};

struct conf_where conf_where(const struct conf_section *section, const struct conf_key *key)
{
	const char *kind = conf_section_types[section->kind].kind;
	struct conf_where where;
	int n;

	n = snprintf(where.text, sizeof(where.text), "[%s%s%s]", kind, section->name[0] ? " " : "",
		     section->name);
	if (key && n > 0)
		(void)snprintf(where.text + n, sizeof(where.text) - (size_t)n, " %s", key->name);
	return where;
}

const struct conf_section *conf_find_section(const struct conf_sections *sections,
					     enum conf_section_kind kind, const char *name)
{
	for (unsigned i = 0; i < sections->n; i++) {
		if (sections->at[i].kind == kind && strcmp(sections->at[i].name, name) == 0)
			return &sections->at[i];
	}
	return NULL;
}

static void set_defaults(struct conf_section *section)
{
	struct conf_why why;

	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		int r = 0;

		if (key->section == section->kind && key->in_conf && key->default_text)
			r = conf_value_parse(key, key->default_text, &section->value, &why);
		assert(r == 0);
		(void)r;
	}
}

/* Returns the new section, or NULL without memory. Pointers to other sections end here. */
static struct conf_section *add_section(struct loader *loader, enum conf_section_kind kind,
					const char *name, unsigned line)
{
	struct conf_sections *sections = &loader->sections;
	struct conf_section *section;

	if (sections->n == sections->n_allocated) {
		unsigned n = sections->n_allocated ? sections->n_allocated * 2 : 8;

		section = reallocarray(sections->at, n, sizeof(*section));
		if (!section) {
			loader->out_of_memory = true;
			return NULL;
		}
		sections->at = section;
		sections->n_allocated = n;
	}
	section = &sections->at[sections->n++];
	*section = (struct conf_section){.kind = kind, .line = line};
	(void)snprintf(section->name, sizeof(section->name), "%s", name);
	set_defaults(section);
	return section;
}

/* Splits "kind name" in place. */
static char *split_name(char *text)
{
	char *blank = text + strcspn(text, " \t");
	char *name = blank + strspn(blank, " \t");

	*blank = '\0';
	return name;
}

static bool find_section_type(const char *kind, enum conf_section_kind *ret_kind)
{
	for (enum conf_section_kind i = 0; i < CONF_SECTION_N; i++) {
		if (strcmp(conf_section_types[i].kind, kind) == 0) {
			*ret_kind = i;
			return true;
		}
	}
	return false;
}

static void refuse_section_type(struct loader *loader, unsigned line, const char *where,
				const char *kind)
{
	struct conf_suggest suggest = {.word = kind};

	for (enum conf_section_kind i = 0; i < CONF_SECTION_N; i++)
		conf_suggest_offer(&suggest, conf_section_types[i].kind);
	if (suggest.best)
		conf_report_add(&loader->report, line, where,
				"unknown section; did you mean \"%s\"?", suggest.best);
	else
		conf_report_add(&loader->report, line, where, "unknown section");
}

static unsigned count_sound(const struct conf_sections *sections, enum conf_section_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sections->n; i++)
		n += sections->at[i].kind == kind && !sections->at[i].is_broken;
	return n;
}

/* Reports what is wrong with a header. True if its section can be part of the result. */
static bool check_header(struct loader *loader, unsigned line, const char *where,
			 enum conf_section_kind kind, const char *name)
{
	const struct conf_section_type *type = &conf_section_types[kind];
	const struct conf_section *other = conf_find_section(&loader->sections, kind, name);
	const char *wrong = NULL;

	if (type->has_name && !*name)
		wrong = "no name";
	else if (!type->has_name && *name)
		wrong = "this section has no name";
	else if (*name)
		wrong = conf_check_name(name);
	if (wrong)
		conf_report_add(&loader->report, line, where, "%s; expected [%s%s]", wrong,
				type->kind, type->has_name ? " NAME" : "");
	else if (other)
		conf_report_add(&loader->report, line, where, "duplicate section, first in line %u",
				other->line);
	else if (type->later)
		conf_report_add(&loader->report, line, where, "not in this version");
	return !wrong && !other;
}

static void take_section(void *user, unsigned line, const char *text)
{
	struct loader *loader = user;
	enum conf_section_kind kind;
	char where[256], copy[CONF_LINE_MAX_BYTES + 1];
	bool is_sound;
	char *name;

	loader->had_header = true;
	loader->current = NULL;
	if (!text)
		return;
	(void)snprintf(where, sizeof(where), "[%s]", text);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	name = split_name(copy);
	if (!find_section_type(copy, &kind)) {
		refuse_section_type(loader, line, where, copy);
		return;
	}
	is_sound = check_header(loader, line, where, kind, name);
	if (is_sound && count_sound(&loader->sections, kind) >= conf_section_types[kind].max) {
		conf_report_add(&loader->report, line, where, "more than %u [%s] sections",
				conf_section_types[kind].max, copy);
		is_sound = false;
	}
	if (loader->sections.n >= SECTIONS_MAX)
		return;
	loader->current = add_section(loader, kind, name, line);
	if (loader->current)
		loader->current->is_broken = !is_sound;
}

static const struct conf_key *find_key(enum conf_section_kind kind, const char *name)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		if (conf_keys[id].section == kind && strcmp(conf_keys[id].name, name) == 0)
			return &conf_keys[id];
	}
	return NULL;
}

/* The near miss in this section first, else the section where the key would be right. */
static void refuse_key(struct loader *loader, unsigned line, const char *where, const char *name)
{
	enum conf_section_kind kind = loader->current->kind;
	struct conf_suggest suggest = {.word = name};

	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		if (conf_keys[id].section == kind)
			conf_suggest_offer(&suggest, conf_keys[id].name);
	}
	if (suggest.best) {
		size_t id = (size_t)(find_key(kind, suggest.best) - conf_keys);

		conf_report_add(&loader->report, line, where, "unknown key; did you mean \"%s\"?",
				suggest.best);
		if (!loader->current->origins[id].line)
			loader->current->is_wrong[id] = true;
		return;
	}
	for (enum conf_section_kind other = 0; other < CONF_SECTION_N; other++) {
		if (!find_key(other, name))
			continue;
		conf_report_add(&loader->report, line, where,
				"unknown key here; it is one of [%s%s]",
				conf_section_types[other].kind,
				conf_section_types[other].has_name ? " NAME" : "");
		return;
	}
	conf_report_add(&loader->report, line, where, "unknown key");
}

/* Checks a value, and keeps it if it is the first of its key. */
static void take_value(struct loader *loader, unsigned line, const struct conf_key *key,
		       const char *text)
{
	struct conf_section *section = loader->current;
	union conf_section_value value = section->value;
	struct conf_where where = conf_where(section, key);
	size_t id = (size_t)(key - conf_keys);
	unsigned first_line = section->origins[id].line;
	bool is_duplicate = first_line && !key->is_list;
	struct conf_why why;
	bool is_wrong = false;

	if (is_duplicate)
		conf_report_add(&loader->report, line, where.text,
				"duplicate key, first in line %u", first_line);
	if (conf_value_parse(key, text, &value, &why) < 0) {
		conf_report_add(&loader->report, line, where.text, "%s", why.text);
		is_wrong = true;
	} else if (key->later && !conf_section_types[section->kind].later && key->default_text &&
		   strcmp(text, key->default_text) != 0) {
		conf_report_add(&loader->report, line, where.text,
				"\"%s\": not in this version; only \"%s\" is", text,
				key->default_text);
		is_wrong = true;
	}
	if (is_duplicate)
		return;
	if (!first_line)
		section->origins[id].line = line;
	section->is_wrong[id] |= is_wrong;
	if (is_wrong)
		return;
	if (key->is_list && key->in_conf)
		conf_list_set_last_line(key, &value, line);
	section->value = value;
}

static void take_pair(void *user, unsigned line, const char *name, const char *text)
{
	struct loader *loader = user;
	const struct conf_key *key;
	char where[256];
	int n;

	if (!loader->current) {
		if (!loader->had_header)
			conf_report_add(&loader->report, line, name,
					"key before the first section; expected [daemon] above it");
		return;
	}
	key = find_key(loader->current->kind, name);
	if (key) {
		take_value(loader, line, key, text);
		return;
	}
	n = snprintf(where, sizeof(where), "%s", conf_where(loader->current, NULL).text);
	(void)snprintf(where + n, sizeof(where) - (size_t)n, " %s", name);
	refuse_key(loader, line, where, name);
}

static void take_wrong(void *user, unsigned line, const char *what)
{
	struct loader *loader = user;

	conf_report_add(&loader->report, line, "", "%s", what);
	if (loader->current)
		loader->current->has_wrong_line = true;
}

/* What a struct conf is to have, however a file leaves it out: one of each, and used bridges. */
static void add_defaults(struct loader *loader)
{
	unsigned n = loader->sections.n;

	if (!conf_find_section(&loader->sections, CONF_SECTION_DAEMON, ""))
		(void)add_section(loader, CONF_SECTION_DAEMON, "", 0);
	if (!conf_find_section(&loader->sections, CONF_SECTION_ROUTE, ""))
		(void)add_section(loader, CONF_SECTION_ROUTE, "", 0);
	for (unsigned i = 0; i < n; i++) {
		const struct conf_section *section = &loader->sections.at[i];
		char name[CONF_NAME_BYTES];

		if (section->kind != CONF_SECTION_PORT ||
		    section->value.port.forward != CONF_FORWARD_BRIDGE)
			continue;
		memcpy(name, section->value.port.peer, sizeof(name));
		if (!conf_find_section(&loader->sections, CONF_SECTION_BRIDGE, name))
			(void)add_section(loader, CONF_SECTION_BRIDGE, name, 0);
	}
}

static void take_into(struct conf *conf, struct conf_section *section)
{
	unsigned place = 0;

	switch (section->kind) {
	case CONF_SECTION_DAEMON:
		conf->daemon = section->value.daemon;
		break;
	case CONF_SECTION_ROUTE:
		conf->route = section->value.route;
		break;
	case CONF_SECTION_PORT:
		place = conf->n_ports++;
		conf->ports[place] = section->value.port;
		memcpy(conf->ports[place].name, section->name, sizeof(section->name));
		conf->ports[place].line = section->line;
		break;
	case CONF_SECTION_BRIDGE:
		place = conf->n_bridges++;
		conf->bridges[place] = section->value.bridge;
		memcpy(conf->bridges[place].name, section->name, sizeof(section->name));
		break;
	case CONF_SECTION_LISTENER:
		place = conf->n_listeners++;
		conf->listeners[place] = section->value.listener;
		memcpy(conf->listeners[place].name, section->name, sizeof(section->name));
		break;
	case CONF_SECTION_BACKEND:
		place = conf->n_backends++;
		conf->backends[place] = section->value.backend;
		memcpy(conf->backends[place].name, section->name, sizeof(section->name));
		break;
	case CONF_SECTION_N:
		return;
	}
	/* Its lists have a new owner. */
	section->is_taken = true;
	memcpy(&conf->origins[conf_origin_index(conf, section->kind, place)], section->origins,
	       sizeof(section->origins));
}

/* Room for as many as there are of each kind. */
static bool alloc_sections(struct conf *conf, const struct conf_sections *sections)
{
	unsigned n_ports = count_sound(sections, CONF_SECTION_PORT);
	unsigned n_bridges = count_sound(sections, CONF_SECTION_BRIDGE);
	unsigned n_listeners = count_sound(sections, CONF_SECTION_LISTENER);
	unsigned n_backends = count_sound(sections, CONF_SECTION_BACKEND);

	conf->ports = calloc(MAX(n_ports, 1), sizeof(*conf->ports));
	conf->bridges = calloc(MAX(n_bridges, 1), sizeof(*conf->bridges));
	conf->listeners = calloc(MAX(n_listeners, 1), sizeof(*conf->listeners));
	conf->backends = calloc(MAX(n_backends, 1), sizeof(*conf->backends));
	conf->n_origins = (n_ports + n_bridges + n_listeners + n_backends + 2) * CONF_KEYS_N;
	conf->origins = calloc(conf->n_origins, sizeof(*conf->origins));
	return conf->ports && conf->bridges && conf->listeners && conf->backends && conf->origins;
}

/* Moves the sections' values into a new struct conf. NULL without memory. */
static struct conf *build(const struct loader *loader, const char *path)
{
	/* The origins of each kind lie behind those of all of the kinds before it. */
	static const enum conf_section_kind order[] = {
		CONF_SECTION_DAEMON, CONF_SECTION_ROUTE,    CONF_SECTION_PORT,
		CONF_SECTION_BRIDGE, CONF_SECTION_LISTENER, CONF_SECTION_BACKEND,
	};
	const struct conf_sections *sections = &loader->sections;
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return NULL;
	conf->path = strdup(path);
	if (!conf->path || !alloc_sections(conf, sections)) {
		conf_free(conf);
		return NULL;
	}
	for (unsigned kind = 0; kind < ARRAY_SIZE(order); kind++)
		for (unsigned i = 0; i < sections->n; i++)
			if (sections->at[i].kind == order[kind])
				take_into(conf, &sections->at[i]);
	return conf;
}

static void free_sections(struct conf_sections *sections)
{
	for (unsigned i = 0; i < sections->n; i++)
		if (!sections->at[i].is_taken)
			conf_lists_free(sections->at[i].kind, &sections->at[i].value);
	free(sections->at);
}

static void hash_bytes(const char *text, size_t n_bytes, char ret_hex[65])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha256;

	sha256_init(&sha256);
	sha256_update(&sha256, n_bytes, (const uint8_t *)text);
	sha256_digest(&sha256, sizeof(digest), digest);
	for (unsigned i = 0; i < sizeof(digest); i++)
		(void)snprintf(ret_hex + 2 * (size_t)i, 3, "%02x", digest[i]);
}

/* Reads, checks and builds. Errors about the file's content are in loader->report. */
static int load_bytes(struct loader *loader, const char *text, size_t n_bytes, const char *path,
		      struct conf **ret_conf)
{
	static const struct conf_reader_ops ops = {
		.section = take_section,
		.pair = take_pair,
		.wrong = take_wrong,
	};
	struct conf *conf;
	int r;

	r = conf_reader_run(text, n_bytes, &ops, loader);
	if (r < 0)
		return r;
	conf_check(&loader->sections, &loader->report);
	/* They come last and so disturb no message. */
	add_defaults(loader);
	if (loader->out_of_memory || loader->report.out_of_memory)
		return -ENOMEM;
	if (loader->report.n_lines)
		return -EINVAL;
	conf = build(loader, path);
	if (!conf)
		return -ENOMEM;
	hash_bytes(text, n_bytes, conf->sha256);
	*ret_conf = conf;
	return 0;
}

/* Reads up to one byte more than the limit. */
static int read_bytes(FILE *stream, char **ret_text, size_t *ret_n)
{
	_cleanup_free_ char *text = malloc((size_t)CONF_FILE_MAX_BYTES + 1);

	if (!text)
		return -ENOMEM;
	errno = 0;
	*ret_n = fread(text, 1, CONF_FILE_MAX_BYTES + 1, stream);
	if (ferror(stream))
		return errno ? -errno : -EIO;
	*ret_text = TAKE_PTR(text);
	return 0;
}

static int load(struct loader *loader, FILE *stream, const char *path, struct conf **ret_conf)
{
	_cleanup_free_ char *text = NULL;
	size_t n_bytes = 0;
	int r;

	r = read_bytes(stream, &text, &n_bytes);
	if (r < 0)
		return r;
	if (n_bytes > CONF_FILE_MAX_BYTES) {
		conf_report_add(&loader->report, 0, "", "larger than 1 MiB");
		return -EINVAL;
	}
	return load_bytes(loader, text, n_bytes, path, ret_conf);
}

int conf_load_stream(FILE *stream, const char *path, struct conf **ret_conf,
		     struct conf_errors *errors)
{
	struct loader loader = {.report = {.path = path}};
	int r;

	r = load(&loader, stream, path, ret_conf);
	if (r < 0 && r != -EINVAL)
		conf_report_add(&loader.report, 0, "", "cannot be read: %s", strerror(-r));
	(void)conf_report_finish(&loader.report, errors);
	free_sections(&loader.sections);
	return r;
}

/* A FIFO or a device would make the control thread wait for a writer: only a file is read. */
static int open_regular(const char *path, FILE **ret_stream)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat info;
	FILE *stream;

	if (fd < 0 || fstat(fd, &info) < 0)
		return -errno;
	/* Reading a directory fails by itself. */
	if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
		return -ENXIO;
	stream = fdopen(fd, "r");
	if (!stream)
		return -errno;
	(void)TAKE_FD(fd);
	*ret_stream = stream;
	return 0;
}

int conf_load(const char *path, struct conf **ret_conf, struct conf_errors *errors)
{
	_cleanup_fclose_ FILE *stream = NULL;
	int r = open_regular(path, &stream);

	if (r < 0) {
		struct conf_report report = {.path = path};

		conf_report_add(&report, 0, "", "cannot be opened: %s",
				r == -ENXIO ? "not a regular file" : strerror(-r));
		(void)conf_report_finish(&report, errors);
		return r == -EINVAL ? -EIO : r;
	}
	return conf_load_stream(stream, path, ret_conf, errors);
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	free(conf->path);
	free(conf->ports);
	free(conf->bridges);
	for (unsigned i = 0; i < conf->n_listeners; i++)
		conf_lists_free(CONF_SECTION_LISTENER, &conf->listeners[i]);
	free(conf->listeners);
	for (unsigned i = 0; i < conf->n_backends; i++)
		conf_lists_free(CONF_SECTION_BACKEND, &conf->backends[i]);
	free(conf->backends);
	free(conf->origins);
	free(conf);
}
