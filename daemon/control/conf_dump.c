/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration and the schema, printed: --dump-config[=json] and --list-keys[=json].
 *
 * The INI form can be loaded again and gives the same values. Its origins are comments, on a line
 * of their own where they would make a line too long to be read back.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "control/conf_reader.h"
#include "control/conf_section.h"
#include "control/conf_value.h"
#include "control/json_add.h"
#include "util/macros.h"

#define ORIGIN_COLUMN 40

/* A section of a struct conf: what conf_value.h calls one, and where its values came from. */
struct view {
	enum conf_section_kind kind;
	const void *value;
	const struct conf_origin *origins;
};

static struct view view_of(const struct conf *conf, enum conf_section_kind kind, unsigned i)
{
	const void *const values[CONF_SECTION_N] = {
		[CONF_SECTION_DAEMON] = &conf->daemon,
		[CONF_SECTION_ROUTE] = &conf->route,
		[CONF_SECTION_PORT] = &conf->ports[i],
		[CONF_SECTION_BRIDGE] = &conf->bridges[i],
		[CONF_SECTION_LISTENER] = &conf->listeners[i],
		[CONF_SECTION_BACKEND] = &conf->backends[i],
	};

	return (struct view){kind, values[kind], &conf->origins[conf_origin_index(conf, kind, i)]};
}

/* Sections with names, in the order in which they are printed. */
struct named {
	enum conf_section_kind kind;
	const char *json; /* key of their array */
};

static const struct named behind_route[] = {
	{CONF_SECTION_BRIDGE, "bridges"},
	{CONF_SECTION_LISTENER, "listeners"},
	{CONF_SECTION_BACKEND, "backends"},
};
static const struct named ports = {CONF_SECTION_PORT, "ports"};

static unsigned count_named(const struct conf *conf, enum conf_section_kind kind)
{
	const unsigned counts[CONF_SECTION_N] = {
		[CONF_SECTION_PORT] = conf->n_ports,
		[CONF_SECTION_BRIDGE] = conf->n_bridges,
		[CONF_SECTION_LISTENER] = conf->n_listeners,
		[CONF_SECTION_BACKEND] = conf->n_backends,
	};

	return counts[kind];
}

/* Their name is the first member of each. */
static const char *name_of(const struct view *view)
{
	return view->value;
}
_Static_assert(offsetof(struct conf_port, name) == 0, "read through name_of()");
_Static_assert(offsetof(struct conf_bridge, name) == 0, "read through name_of()");
_Static_assert(offsetof(struct conf_listener, name) == 0, "read through name_of()");
_Static_assert(offsetof(struct conf_backend, name) == 0, "read through name_of()");

/* Of a list, the value in place `i`. */
static char *value_text(const struct view *view, const struct conf_key *key, unsigned i)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (key->is_list)
		conf_list_print(key, view->value, i, out);
	else
		conf_value_print(key, view->value, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* The path is the operator's and may hold anything; a newline in it would end the comment. */
static void print_origin(const struct conf *conf, unsigned line, FILE *out)
{
	if (!line) {
		(void)fputs("default", out);
		return;
	}
	for (const char *c = conf->path; *c; c++)
		(void)fputc((unsigned char)*c < ' ' ? '?' : *c, out);
	(void)fprintf(out, ":%u", line);
}

static unsigned line_of(const struct view *view, const struct conf_key *key, unsigned i)
{
	return key->is_list ? conf_list_line(key, view->value, i) :
			      view->origins[key - conf_keys].line;
}

static unsigned count_values(const struct view *view, const struct conf_key *key)
{
	return key->is_list ? conf_list_count(key, view->value) : 1;
}

static void dump_value(const struct conf *conf, const struct view *view, const struct conf_key *key,
		       unsigned i, FILE *out)
{
	_cleanup_free_ char *text = value_text(view, key, i);
	unsigned line = line_of(view, key, i);
	size_t n_origin = line ? strlen(conf->path) + 16 : 16;
	size_t n_setting;

	if (!text)
		return;
	n_setting = strlen(key->name) + 3 + strlen(text);
	if (MAX(n_setting, ORIGIN_COLUMN) + n_origin > CONF_LINE_MAX_BYTES) {
		(void)fputs("; ", out);
		print_origin(conf, line, out);
		/* The longest line of a file may have had no blanks around its "=". */
		(void)fprintf(out, n_setting > CONF_LINE_MAX_BYTES ? "\n%s=%s\n" : "\n%s = %s\n",
			      key->name, text);
		return;
	}
	(void)fprintf(out, "%s = %s%*s ; ", key->name, text,
		      (int)(ORIGIN_COLUMN - MIN(n_setting, ORIGIN_COLUMN)), "");
	print_origin(conf, line, out);
	(void)fputc('\n', out);
}

static void dump_section(const struct conf *conf, const struct view *view, FILE *out)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];

		if (key->section != view->kind)
			continue;
		for (unsigned i = 0; i < count_values(view, key); i++)
			dump_value(conf, view, key, i, out);
	}
}

static void dump_named(const struct conf *conf, const struct named *named, FILE *out)
{
	for (unsigned i = 0; i < count_named(conf, named->kind); i++) {
		struct view view = view_of(conf, named->kind, i);

		(void)fprintf(out, "\n[%s %s]\n", conf_section_types[named->kind].kind,
			      name_of(&view));
		dump_section(conf, &view, out);
	}
}

void conf_dump_ini(const struct conf *conf, FILE *out)
{
	struct view view = view_of(conf, CONF_SECTION_DAEMON, 0);

	(void)fputs("[daemon]\n", out);
	dump_section(conf, &view, out);
	dump_named(conf, &ports, out);
	(void)fputs("\n[route]\n", out);
	view = view_of(conf, CONF_SECTION_ROUTE, 0);
	dump_section(conf, &view, out);
	for (unsigned i = 0; i < ARRAY_SIZE(behind_route); i++)
		dump_named(conf, &behind_route[i], out);
}

/* Numbers and truths as such, everything else as the text that a file would have. */
static struct json_object *value_json(const struct view *view, const struct conf_key *key,
				      unsigned i)
{
	_cleanup_free_ char *text = value_text(view, key, i);
	bool is_number = key->type == CONF_TYPE_COUNT || key->type == CONF_TYPE_SIZE;

	if (!text)
		return NULL;
	if (key->type == CONF_TYPE_BOOL)
		return json_object_new_boolean(strcmp(text, "yes") == 0);
	if (is_number && (!key->word || strcmp(text, key->word) != 0) && key->in_conf)
		return json_object_new_uint64(*(const uint32_t *)conf_field(key, view->value));
	if (key->type == CONF_TYPE_BYTES)
		return json_object_new_uint64(*(const uint64_t *)conf_field(key, view->value));
	return json_object_new_string(text);
}

static struct json_object *origin_json(const struct conf *conf, unsigned line)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	print_origin(conf, line, out);
	if (fclose(out) != 0)
		return NULL;
	return json_object_new_string(text);
}

static int fill_value_json(const struct conf *conf, const struct view *view,
			   const struct conf_key *key, unsigned i, struct json_object *object)
{
	int r = json_add(object, "value", value_json(view, key, i));

	if (r < 0)
		return r;
	return json_add(object, "origin", origin_json(conf, line_of(view, key, i)));
}

static int add_key_json(const struct conf *conf, const struct view *view,
			const struct conf_key *key, struct json_object *object)
{
	struct json_object *child =
		key->is_list ? json_object_new_array() : json_object_new_object();
	int r = json_add(object, key->name, child);

	if (r == 0 && !key->is_list)
		return fill_value_json(conf, view, key, 0, child);
	for (unsigned i = 0; r == 0 && i < count_values(view, key); i++) {
		struct json_object *item = json_object_new_object();

		r = json_append(child, item);
		if (r == 0)
			r = fill_value_json(conf, view, key, i, item);
	}
	return r;
}

static int add_section_json(const struct conf *conf, const struct view *view,
			    struct json_object *object)
{
	int r = 0;

	for (enum conf_key_id id = 0; id < CONF_KEYS_N && r == 0; id++) {
		if (conf_keys[id].section == view->kind)
			r = add_key_json(conf, view, &conf_keys[id], object);
	}
	return r;
}

static int fill_named_json(const struct conf *conf, enum conf_section_kind kind, unsigned i,
			   struct json_object *array)
{
	struct json_object *object = json_object_new_object();
	struct view view = view_of(conf, kind, i);
	int r = json_append(array, object);

	if (r < 0)
		return r;
	r = json_add(object, "name", json_object_new_string(name_of(&view)));
	if (r < 0)
		return r;
	return add_section_json(conf, &view, object);
}

static int add_named_json(const struct conf *conf, const struct named *named,
			  struct json_object *root)
{
	struct json_object *array = json_object_new_array();
	int r = json_add(root, named->json, array);

	for (unsigned i = 0; i < count_named(conf, named->kind) && r == 0; i++)
		r = fill_named_json(conf, named->kind, i, array);
	return r;
}

static int add_single_json(const struct conf *conf, enum conf_section_kind kind,
			   struct json_object *root)
{
	struct json_object *object = json_object_new_object();
	struct view view = view_of(conf, kind, 0);
	int r = json_add(root, conf_section_types[kind].kind, object);

	return r < 0 ? r : add_section_json(conf, &view, object);
}

static int fill_conf_json(const struct conf *conf, struct json_object *root)
{
	int r = add_single_json(conf, CONF_SECTION_DAEMON, root);

	if (r == 0)
		r = add_named_json(conf, &ports, root);
	if (r == 0)
		r = add_single_json(conf, CONF_SECTION_ROUTE, root);
	for (unsigned i = 0; i < ARRAY_SIZE(behind_route) && r == 0; i++)
		r = add_named_json(conf, &behind_route[i], root);
	if (r == 0)
		r = json_add(root, "sha256", json_object_new_string(conf->sha256));
	return r;
}

static int print_json(struct json_object *root, FILE *out)
{
	const char *text = json_object_to_json_string_ext(
		root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!text)
		return -ENOMEM;
	return fprintf(out, "%s\n", text) < 0 ? -EIO : 0;
}

int conf_dump_json(const struct conf *conf, FILE *out)
{
	struct json_object *root = json_object_new_object();
	int r;

	if (!root)
		return -ENOMEM;
	r = fill_conf_json(conf, root);
	if (r == 0)
		r = print_json(root, out);
	json_object_put(root);
	return r;
}
