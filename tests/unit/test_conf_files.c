/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walks tests/conf: every file of bad/ fails with exactly the lines of its .expect, every file of
 * good/ loads, dumps as its .dump says, and the dump loads again with the same values.
 *
 * A message or a dump that was changed on purpose is changed in those files too, by hand.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

/* The issue asks for sixty; fewer means that the walk did not find them. */
#define MIN_BAD_FILES  60
#define MIN_GOOD_FILES 15

static char *read_whole(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	if (getdelim(&text, &size, '\0', file) < 0) {
		free(text);
		text = strdup("");
	}
	assert_non_null(text);
	return text;
}

/* Loads a file under the name of its last part, so that messages do not hold the tree's path. */
static int load_file(const char *path, struct conf **ret_conf, struct conf_errors *errors)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	return conf_load_stream(file, strrchr(path, '/') + 1, ret_conf, errors);
}

static char *join_lines(const struct conf_errors *errors)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (unsigned i = 0; i < errors->n; i++)
		(void)fprintf(out, "%s\n", errors->lines[i]);
	assert_int_equal(fclose(out), 0);
	return text;
}

static char *dump(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	conf_dump_ini(conf, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* A dump without the origins, which differ when it is loaded from another file. */
static char *strip_comments(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char *stripped = NULL, *rest = copy;
	size_t size;
	FILE *out = open_memstream(&stripped, &size);

	assert_non_null(out);
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		char *end = line[0] == ';' ? line : strstr(line, " ;");

		if (end)
			*end = '\0';
		while (*line && line[strlen(line) - 1] == ' ')
			line[strlen(line) - 1] = '\0';
		if (*line)
			(void)fprintf(out, "%s\n", line);
	}
	assert_int_equal(fclose(out), 0);
	return stripped;
}

static int keep_conf(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && strcmp(dot, ".conf") == 0;
}

/* Runs `check` with the path of every .conf file of tests/conf/KIND; returns how many. */
static int walk(const char *kind, void (*check)(const char *path, const char *sibling))
{
	const char *root = getenv("SLUICE_SOURCE_ROOT");
	struct dirent **entries = NULL;
	char directory[512];
	int n;

	assert_non_null(root);
	(void)snprintf(directory, sizeof(directory), "%s/tests/conf/%s", root, kind);
	n = scandir(directory, &entries, keep_conf, alphasort);
	if (n < 0)
		fail_msg("%s: %s", directory, strerror(errno));
	for (int i = 0; i < n; i++) {
		char path[1024], sibling[1024];
		int n_stem = (int)strlen(entries[i]->d_name) - (int)strlen(".conf");

		(void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		(void)snprintf(sibling, sizeof(sibling), "%s/%.*s.%s", directory, n_stem,
			       entries[i]->d_name, strcmp(kind, "bad") == 0 ? "expect" : "dump");
		check(path, sibling);
		free(entries[i]);
	}
	free(entries);
	return n;
}

static void check_bad(const char *path, const char *sibling)
{
	_cleanup_free_ char *expected = read_whole(sibling);
	struct conf *conf = NULL;
	struct conf_errors errors;
	int r = load_file(path, &conf, &errors);
	_cleanup_free_ char *got = join_lines(&errors);

	if (strcmp(got, expected) != 0)
		fail_msg("%s\n--- expected\n%s--- got\n%s", path, expected, got);
	assert_true(expected[0] != '\0');
	assert_int_equal(r, -EINVAL);
	assert_null(conf);
	conf_errors_fini(&errors);
}

static void check_same_values(const struct conf *conf, const char *text)
{
	_cleanup_fclose_ FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	_cleanup_free_ char *values = strip_comments(text), *again = NULL, *values_again = NULL;
	struct conf_errors errors;
	struct conf *second = NULL;

	assert_non_null(stream);
	if (conf_load_stream(stream, conf->path, &second, &errors) < 0)
		fail_msg("%s: the dump does not load: %s", conf->path, errors.lines[0]);
	again = dump(second);
	values_again = strip_comments(again);
	assert_string_equal(values, values_again);
	conf_errors_fini(&errors);
	conf_free(second);
}

static void check_good(const char *path, const char *sibling)
{
	_cleanup_free_ char *expected = read_whole(sibling), *got = NULL;
	struct conf_errors errors;
	struct conf *conf = NULL;

	if (load_file(path, &conf, &errors) < 0)
		fail_msg("%s", errors.n ? errors.lines[0] : "no error line");
	assert_int_equal(errors.n, 0);
	got = dump(conf);
	if (strcmp(got, expected) != 0)
		fail_msg("%s\n--- expected\n%s--- got\n%s", path, expected, got);
	check_same_values(conf, got);
	conf_errors_fini(&errors);
	conf_free(conf);
}

static void test_every_bad_file_fails_with_exactly_its_errors(void **state)
{
	assert_true(walk("bad", check_bad) >= MIN_BAD_FILES);
}

static void test_every_good_file_dumps_as_written_down_and_loads_again(void **state)
{
	assert_true(walk("good", check_good) >= MIN_GOOD_FILES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bad_file_fails_with_exactly_its_errors),
		cmocka_unit_test(test_every_good_file_dumps_as_written_down_and_loads_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
