/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The schema, printed: --list-keys[=json]. Feeds completion, editors and people who look for a
 * key; the text form is one line per key, fields separated by tabs.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "control/conf_keys.h"
#include "control/conf_value.h"
#include "control/json_add.h"
#include "util/macros.h"

static bool is_later(const struct conf_key *key)
{
	return key->later || conf_section_types[key->section].later;
}

static char *expected_text(const struct conf_key *key)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	conf_value_print_expected(key, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* [section], key, default, type, what it may be, reload class, version, help. */
void conf_list_keys(FILE *out)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		const struct conf_section_type *section = &conf_section_types[key->section];

		(void)fprintf(out, "[%s%s]\t%s\t%s\t%s%s\t", section->kind,
			      section->has_name ? " NAME" : "", key->name,
			      key->default_text ? key->default_text : "-",
			      conf_type_name(key->type), key->is_list ? " (repeatable)" : "");
		conf_value_print_expected(key, out);
		(void)fprintf(out, "\t%s\t%s%s\n", conf_reload_names[key->reload],
			      is_later(key) ? "(not in this version) " : "", key->help);
	}
}

static int add_choices(const struct conf_key *key, struct json_object *object)
{
	struct json_object *array = json_object_new_array();
	int r = json_add(object, "choices", array);

	for (unsigned i = 0; i < key->n_choices && r == 0; i++) {
		if (key->choices[i].later)
			continue;
		r = json_append(array, json_object_new_string(key->choices[i].text));
	}
	return r;
}

static int add_range(const struct conf_key *key, struct json_object *object)
{
	const char *unit = key->unit ? key->unit : "";
	int r;

	if (key->type == CONF_TYPE_DURATION_NS)
		unit = "ns";
	if (key->type == CONF_TYPE_DURATION_US)
		unit = "us";
	r = json_add(object, "min", json_object_new_uint64(key->min));
	if (r == 0)
		r = json_add(object, "max", json_object_new_uint64(key->max));
	if (r == 0)
		r = json_add(object, "unit", json_object_new_string(unit));
	return r;
}

/* Fields that every row has, in the order in which they are read. */
static int add_facts(const struct conf_key *key, struct json_object *object)
{
	_cleanup_free_ char *expected = expected_text(key);
	const struct {
		const char *name, *text;
	} texts[] = {
		{"section", conf_section_types[key->section].kind},
		{"key", key->name},
		{"type", conf_type_name(key->type)},
		{"expected", expected},
		{"reload", conf_reload_names[key->reload]},
		{"help", key->help},
	};
	int r = expected ? 0 : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = json_add(object, texts[i].name, json_object_new_string(texts[i].text));
	if (r == 0 && key->default_text)
		r = json_add(object, "default", json_object_new_string(key->default_text));
	if (r == 0)
		r = json_add(object, "repeatable", json_object_new_boolean(key->is_list));
	if (r == 0)
		r = json_add(object, "in_this_version", json_object_new_boolean(!is_later(key)));
	if (r == 0 && key->n_choices)
		r = add_choices(key, object);
	if (r == 0 && key->max)
		r = add_range(key, object);
	return r;
}

int conf_list_keys_json(FILE *out)
{
	struct json_object *array = json_object_new_array();
	const char *text = NULL;
	int r = array ? 0 : -ENOMEM;

	for (enum conf_key_id id = 0; id < CONF_KEYS_N && r == 0; id++) {
		struct json_object *object = json_object_new_object();

		r = json_append(array, object);
		if (r == 0)
			r = add_facts(&conf_keys[id], object);
	}
	if (r == 0)
		text = json_object_to_json_string_ext(
			array, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		r = fprintf(out, "%s\n", text) < 0 ? -EIO : 0;
	else
		r = -ENOMEM;
	json_object_put(array);
	return r;
}
