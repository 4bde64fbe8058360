/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config/sluice.conf and config/sluice.conf.5 against the table of keys: each key once, in its
 * section, with its default, its values, its reload class and its help; and nothing else.
 *
 * A document is read into entries, whatever its markup; text is compared without line breaks.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "control/conf_keys.h"
#include "control/conf_value.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define MAX_ENTRIES 128

struct entry {
	char section[32]; /* "port", whatever the name behind it */
	char key[64];
	char value[128]; /* "" if the document shows none */
	char text[2048]; /* what is said about the key, blanks for line breaks */
};

struct document {
	const char *path;
	struct entry entries[MAX_ENTRIES];
	unsigned n;
};

static FILE *open_document(const char *name, char *path, size_t size)
{
	const char *root = getenv("SLUICE_SOURCE_ROOT");
	FILE *file;

	assert_non_null(root);
	(void)snprintf(path, size, "%s/config/%s", root, name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	return file;
}

static void append(char *text, size_t size, const char *more)
{
	size_t n = strlen(text);
	int r = snprintf(text + n, size - n, "%s%s", n ? " " : "", more);

	assert_true(r >= 0 && (size_t)r < size - n);
}

static struct entry *add_entry(struct document *document, const char *section)
{
	struct entry *entry;

	assert_true(document->n < MAX_ENTRIES);
	entry = &document->entries[document->n++];
	*entry = (struct entry){0};
	(void)snprintf(entry->section, sizeof(entry->section), "%s", section);
	return entry;
}

/* "key = value" or "key". */
static void split_setting(struct entry *entry, const char *line)
{
	size_t n_key = strcspn(line, " ");
	const char *value = strstr(line, " = ");

	assert_in_range(n_key, 1, sizeof(entry->key) - 1);
	memcpy(entry->key, line, n_key);
	if (value)
		(void)snprintf(entry->value, sizeof(entry->value), "%s", value + 3);
}

/* "[port NAME]", "[daemon]" → "port", "daemon" */
static void take_header(char *section, size_t size, const char *line)
{
	(void)snprintf(section, size, "%.*s", (int)strcspn(line + 1, " ]"), line + 1);
}

/* sluice.conf: "# " is text about the key that follows; "#" and a letter or "[" is a setting. */
static void read_conf(struct document *document)
{
	char path[512], line[512], section[32] = "", text[2048] = "";
	_cleanup_fclose_ FILE *file = open_document("sluice.conf", path, sizeof(path));

	document->path = "config/sluice.conf";
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#') {
			text[0] = '\0';
			/* Everything is commented out: a line that is not would have an effect. */
			assert_string_equal(line, "");
		} else if (line[1] == '[') {
			take_header(section, sizeof(section), line + 1);
		} else if (islower((unsigned char)line[1])) {
			struct entry *entry = add_entry(document, section);

			split_setting(entry, line + 1);
			memcpy(entry->text, text, sizeof(text));
			text[0] = '\0';
		} else if (line[1] == ' ') {
			append(text, sizeof(text), line + 2);
		}
	}
}

/* ".It Ic KEY[ = DEFAULT]", then text until the next item; sections by ".Sh" and ".Ss". */
static void read_man(struct document *document)
{
	char path[512], line[512], section[32] = "";
	_cleanup_fclose_ FILE *file = open_document("sluice.conf.5", path, sizeof(path));
	struct entry *entry = NULL;

	document->path = "config/sluice.conf.5";
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, ".Sh DAEMON SECTION") == 0)
			take_header(section, sizeof(section), "[daemon]");
		else if (strcmp(line, ".Sh PORT SECTIONS") == 0)
			take_header(section, sizeof(section), "[port NAME]");
		else if (strncmp(line, ".Ss [", 5) == 0)
			take_header(section, sizeof(section), line + 4);
		if (strncmp(line, ".It Ic ", 7) == 0) {
			entry = add_entry(document, section);
			split_setting(entry, line + 7);
		} else if (strcmp(line, ".El") == 0) {
			entry = NULL;
		} else if (entry && line[0] != '.') {
			append(entry->text, sizeof(entry->text),
			       strncmp(line, "\\&", 2) == 0 ? line + 2 : line);
		}
	}
}

static const struct conf_key *find_key(const struct entry *entry)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];

		if (strcmp(conf_section_types[key->section].kind, entry->section) == 0 &&
		    strcmp(key->name, entry->key) == 0)
			return key;
	}
	return NULL;
}

static void check_text(const struct document *document, const struct entry *entry,
		       const struct conf_key *key, bool has_values)
{
	char wanted[2048] = "";
	_cleanup_fclose_ FILE *out = fmemopen(wanted, sizeof(wanted), "w");

	assert_non_null(out);
	(void)fputs(key->help, out);
	if (has_values) {
		(void)fputs(" Values: ", out);
		conf_value_print_expected(key, out);
		(void)fprintf(out, ". Reload: %s.", conf_reload_names[key->reload]);
	}
	assert_int_equal(fflush(out), 0);
	/* A comment above a section header may stand before the text of its first key. */
	if (!strstr(entry->text, wanted))
		fail_msg("%s: [%s] %s\n--- the table says\n%s\n--- the document says\n%s",
			 document->path, entry->section, entry->key, wanted, entry->text);
}

static void check_default(const struct document *document, const struct entry *entry,
			  const struct conf_key *key)
{
	if (key->default_text && strcmp(entry->value, key->default_text) != 0)
		fail_msg("%s: [%s] %s = %s, but the default is %s", document->path, entry->section,
			 entry->key, entry->value, key->default_text);
}

static unsigned count(const struct document *document, const struct conf_key *key)
{
	unsigned n = 0;

	for (unsigned i = 0; i < document->n; i++)
		n += find_key(&document->entries[i]) == key;
	return n;
}

static bool is_later(const struct conf_key *key)
{
	return key->later || conf_section_types[key->section].later;
}

static void check_document(const struct document *document, bool has_later)
{
	for (unsigned i = 0; i < document->n; i++) {
		const struct entry *entry = &document->entries[i];
		const struct conf_key *key = find_key(entry);

		if (!key)
			fail_msg("%s: there is no key [%s] %s", document->path, entry->section,
				 entry->key);
		check_default(document, entry, key);
		check_text(document, entry, key, !is_later(key));
	}
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		unsigned n_wanted = has_later || !is_later(key) ? 1 : 0;

		if (count(document, key) != n_wanted)
			fail_msg("%s: [%s] %s is there %u times, not %u", document->path,
				 conf_section_types[key->section].kind, key->name,
				 count(document, key), n_wanted);
	}
}

static void test_sluice_conf_shows_every_key_of_this_version(void **state)
{
	static struct document document;

	read_conf(&document);
	check_document(&document, false);
}

static void test_the_manual_describes_every_key(void **state)
{
	static struct document document;

	read_man(&document);
	check_document(&document, true);
}

static void test_sluice_conf_as_shipped_is_the_empty_configuration(void **state)
{
	char path[512];
	_cleanup_fclose_ FILE *file = open_document("sluice.conf", path, sizeof(path));
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_int_equal(conf_load_stream(file, "sluice.conf", &conf, &errors), 0);
	assert_int_equal(conf->n_ports, 0);
	conf_errors_fini(&errors);
	conf_free(conf);
}

/*
 * With every "#" before a setting taken away it is one port, a bridge that wants it, a listener, a
 * backend, and nothing but defaults. As it stands the port passes, and the listener reads nothing:
 * what else they could do stands beside it.
 */
static void test_sluice_conf_uncommented_is_valid_and_all_defaults(void **state)
{
	char path[512], line[512], *text = NULL;
	_cleanup_fclose_ FILE *file = open_document("sluice.conf", path, sizeof(path)),
			      *stream = NULL, *empty = fopen("/dev/null", "re");
	struct conf *conf = NULL, *defaults = NULL;
	struct conf_errors errors;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_true(out && empty);
	while (fgets(line, sizeof(line), file)) {
		bool is_setting =
			line[0] == '#' && (line[1] == '[' || islower((unsigned char)line[1]));

		if (strcmp(line, "#forward = pass\n") == 0)
			(void)fputs("forward = bridge lan\n", out);
		else if (strcmp(line, "#sniff = none\n") == 0)
			(void)fputs("sniff = tls\n", out);
		else if (strcmp(line, "#proxy_protocol = off\n") == 0)
			(void)fputs("proxy_protocol = v2\n", out);
		else
			(void)fputs(is_setting ? line + 1 : line, out);
	}
	assert_int_equal(fclose(out), 0);
	stream = fmemopen(text, size, "r");
	if (conf_load_stream(stream, "sluice.conf", &conf, &errors) < 0)
		fail_msg("%s", errors.lines[0]);
	conf_errors_fini(&errors);
	assert_int_equal(conf_load_stream(empty, "empty", &defaults, &errors), 0);
	conf_errors_fini(&errors);
	assert_memory_equal(&conf->daemon, &defaults->daemon, sizeof(conf->daemon));
	assert_int_equal(conf->n_ports, 1);
	assert_int_equal(conf->ports[0].forward, CONF_FORWARD_BRIDGE);
	assert_memory_equal(&conf->route, &defaults->route, sizeof(conf->route));
	assert_int_equal(conf->n_bridges, 1);
	assert_int_equal(conf->bridges[0].n_statics, 1);
	assert_int_equal(conf->n_listeners, 1);
	assert_int_equal(conf->n_backends, 1);
	conf_free(conf);
	conf_free(defaults);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sluice_conf_shows_every_key_of_this_version),
		cmocka_unit_test(test_the_manual_describes_every_key),
		cmocka_unit_test(test_sluice_conf_as_shipped_is_the_empty_configuration),
		cmocka_unit_test(test_sluice_conf_uncommented_is_valid_and_all_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
