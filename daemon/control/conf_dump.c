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

static struct view view_daemon(const struct conf *conf)
{
	return (struct view){CONF_SECTION_DAEMON, &conf->daemon, conf->origins};
}

static struct view view_port(const struct conf *conf, unsigned i)
{
	return (struct view){CONF_SECTION_PORT, &conf->ports[i],
			     &conf->origins[(i + 1) * (size_t)CONF_KEYS_N]};
}

static char *value_text(const struct view *view, const struct conf_key *key)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
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

static void dump_key(const struct conf *conf, const struct view *view, const struct conf_key *key,
		     FILE *out)
{
	_cleanup_free_ char *text = value_text(view, key);
	unsigned line = view->origins[key - conf_keys].line;
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
		if (conf_keys[id].section == view->kind)
			dump_key(conf, view, &conf_keys[id], out);
	}
}

void conf_dump_ini(const struct conf *conf, FILE *out)
{
	struct view view = view_daemon(conf);

	(void)fputs("[daemon]\n", out);
	dump_section(conf, &view, out);
	for (unsigned i = 0; i < conf->n_ports; i++) {
		view = view_port(conf, i);
		(void)fprintf(out, "\n[port %s]\n", conf->ports[i].name);
		dump_section(conf, &view, out);
	}
}

/* Numbers and truths as such, everything else as the text that a file would have. */
static struct json_object *value_json(const struct view *view, const struct conf_key *key)
{
	_cleanup_free_ char *text = value_text(view, key);
	bool is_number = key->type == CONF_TYPE_COUNT || key->type == CONF_TYPE_SIZE;

	if (!text)
		return NULL;
	if (key->type == CONF_TYPE_BOOL)
		return json_object_new_boolean(strcmp(text, "yes") == 0);
	if (is_number && (!key->word || strcmp(text, key->word) != 0) && key->in_conf)
		return json_object_new_uint64(*(const uint32_t *)conf_field(key, view->value));
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

static int add_key_json(const struct conf *conf, const struct view *view,
			const struct conf_key *key, struct json_object *object)
{
	struct json_object *child = json_object_new_object();
	unsigned line = view->origins[key - conf_keys].line;
	int r = json_add(object, key->name, child);

	if (r < 0)
		return r;
	r = json_add(child, "value", value_json(view, key));
	if (r < 0)
		return r;
	return json_add(child, "origin", origin_json(conf, line));
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

static int add_port_json(const struct conf *conf, unsigned i, struct json_object *ports)
{
	struct json_object *object = json_object_new_object();
	struct view view = view_port(conf, i);
	int r = json_append(ports, object);

	if (r < 0)
		return r;
	r = json_add(object, "name", json_object_new_string(conf->ports[i].name));
	if (r < 0)
		return r;
	return add_section_json(conf, &view, object);
}

static int fill_conf_json(const struct conf *conf, struct json_object *root)
{
	struct json_object *daemon = json_object_new_object();
	struct json_object *ports = json_object_new_array();
	struct view view = view_daemon(conf);
	int r = json_add(root, "daemon", daemon), r_ports = json_add(root, "ports", ports);

	if (r < 0 || r_ports < 0)
		return -ENOMEM;
	r = json_add(root, "sha256", json_object_new_string(conf->sha256));
	if (r == 0)
		r = add_section_json(conf, &view, daemon);
	for (unsigned i = 0; i < conf->n_ports && r == 0; i++)
		r = add_port_json(conf, i, ports);
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
