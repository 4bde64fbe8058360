/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading as a whole: the fields that come out, the reader's lines (every trap of libinih 55),
 * limits, hashing, ownership of results, and the JSON forms. Messages are in tests/conf/bad.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/conf.h"
#include "control/conf_keys.h"
#include "control/conf_reader.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

static int load(const char *text, size_t size, struct conf **ret_conf, struct conf_errors *errors)
{
	_cleanup_fclose_ FILE *stream =
		size ? fmemopen((void *)(uintptr_t)text, size, "r") : fopen("/dev/null", "re");

	assert_non_null(stream);
	return conf_load_stream(stream, "f", ret_conf, errors);
}

static struct conf *load_good(const char *text)
{
	struct conf_errors errors;
	struct conf *conf = NULL;

	if (load(text, strlen(text), &conf, &errors) < 0)
		fail_msg("%s", errors.n ? errors.lines[0] : "refused without a reason");
	assert_int_equal(errors.n, 0);
	conf_errors_fini(&errors);
	return conf;
}

/* ---- the reader: what inih makes of a line, and what we make of it ----------------------- */

struct seen {
	char text[512];
	size_t n;
};

static void see(struct seen *seen, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void see(struct seen *seen, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(seen->text + seen->n, sizeof(seen->text) - seen->n, fmt, args);
	va_end(args);
	assert_true(n >= 0 && (size_t)n < sizeof(seen->text) - seen->n);
	seen->n += (size_t)n;
}

static void see_section(void *user, unsigned line, const char *name)
{
	see(user, "%u[%s] ", line, name ? name : "?");
}

static void see_pair(void *user, unsigned line, const char *key, const char *value)
{
	see(user, "%u%s=%s| ", line, key, value);
}

static void see_wrong(void *user, unsigned line, const char *what)
{
	see(user, "%u!%.8s ", line, what);
}

static void reads_bytes(const char *text, size_t size, const char *expected)
{
	static const struct conf_reader_ops ops = {see_section, see_pair, see_wrong};
	struct seen seen = {.n = 0};

	assert_int_equal(conf_reader_run(text, size, &ops, &seen), 0);
	assert_string_equal(seen.text, expected);
}

static void reads(const char *text, const char *expected)
{
	reads_bytes(text, strlen(text), expected);
}

static void test_lines_are_counted_across_comments_and_blank_lines(void **state)
{
	reads("# c\n\n; c\n[a]\n\n\nx = 1\n  # c\ny = 2", "4[a] 7x=1| 9y=2| ");
}

static void test_a_line_of_190_bytes_is_read_whole_and_191_are_refused(void **state)
{
	char line[256] = "x = ", expected[512];

	memset(line + 4, 'v', 186);
	(void)snprintf(expected, sizeof(expected), "1x=%s| ", line + 4);
	reads(line, expected);
	line[190] = 'v';
	reads(line, "1!line lon ");
}

static void test_an_indented_line_is_a_line_of_its_own(void **state)
{
	reads("[a]\nx = 1\n  y = 2\n\tz = 3\n  w\n", "1[a] 2x=1| 3y=2| 4z=3| 5!expected ");
}

static void test_a_broken_header_ends_the_section_before_it(void **state)
{
	reads("[a]\nx = 1\n[b\ny = 2\n", "1[a] 2x=1| 3!section  3[?] 4y=2| ");
	reads("[a;b]\n", "1[a;b] ");
	reads("[a ;b]\n", "1!section  1[?] ");
	reads("[a] x = 1\n", "1!text aft 1[?] ");
	reads("[a] ; comment\n", "1[a] ");
	reads("[ ]\n", "1!section  1[?] ");
}

static void test_sections_without_keys_are_seen(void **state)
{
	reads("[a]\n[b]\n[a]\n", "1[a] 2[b] 3[a] ");
}

static void test_duplicates_are_delivered_each_with_its_line(void **state)
{
	reads("[a]\nx = 1\nx = 2\n", "1[a] 2x=1| 3x=2| ");
}

static void test_only_blank_and_semicolon_begin_a_comment_after_a_value(void **state)
{
	reads("z = 1 # note\n", "1z=1 # note| ");
	reads("z = 1 ; note\n", "1z=1| ");
	reads("z = 1\t;note\n", "1z=1| ");
	reads("z = 1;note\n", "1z=1;note| ");
	reads("z = ; note\n", "1z=| ");
}

static void test_a_colon_is_no_separator(void **state)
{
	reads("x:1 = 2\n", "1!':' in a ");
	reads("x: 2\n", "1!':' in a ");
	reads("x = a:b=c\n", "1x=a:b=c| ");
}

static void test_keys_are_not_empty_and_not_alone(void **state)
{
	reads("= 5\n", "1!no key b ");
	reads("x\n", "1!expected ");
	reads("x =\n", "1x=| ");
}

static void test_a_long_section_name_is_not_cut(void **state)
{
	reads("[port 0123456789012345678901234567890123456789012345678901234567890]\n",
	      "1[port 0123456789012345678901234567890123456789012345678901234567890] ");
}

static void test_quotes_mean_nothing_to_the_reader(void **state)
{
	reads("x=\"a ; b\"\n", "1x=\"a| ");
}

static void test_bom_crlf_and_a_missing_newline_are_fine(void **state)
{
	reads("\xef\xbb\xbf[a]\r\nx = 1\r\n\r\ny = 2", "1[a] 2x=1| 4y=2| ");
	reads("\xef\xbb\xbf  [a]", "1[a] ");
	reads("", "");
	reads("\n", "");
}

static void test_a_nul_byte_hides_nothing(void **state)
{
	reads_bytes("x = 1\0\ny = 2\n", 13, "1!NUL byte 2y=2| ");
	reads_bytes("#\0\ny = 2\n", 9, "1!NUL byte 2y=2| ");
	reads_bytes("\0", 1, "1!NUL byte ");
	reads_bytes("[a\0]\nx = 1", 10, "1!NUL byte 1[?] 2x=1| ");
}

static void test_bytes_outside_ascii_are_for_comments(void **state)
{
	reads("x = \xc3\xbc\n", "1!a byte t ");
	reads("x = 1 ; \xc3\xbc\n", "1x=1| ");
	reads("# \xc3\xbc\n", "");
	reads("x = 1\v\n", "1!a byte t ");
	reads("x = a\rb\n", "1!a byte t ");
}

/* ---- conf_load --------------------------------------------------------------------------- */

static void test_an_empty_file_is_a_daemon_without_ports(void **state)
{
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_int_equal(load("", 0, &conf, &errors), 0);
	assert_int_equal(conf->n_ports, 0);
	assert_int_equal(conf->daemon.workers, 0);
	assert_true(conf->daemon.cpus.all);
	assert_int_equal(conf->daemon.frames_per_worker, 0);
	assert_int_equal(conf->daemon.frame_size_bytes, 2048);
	assert_int_equal(conf->daemon.huge_pages, CONF_HUGE_AUTO);
	assert_string_equal(conf->daemon.bpf_dir, "");
	assert_string_equal(conf->daemon.control_socket, "/run/sluice/control.sock");
	assert_string_equal(conf->daemon.metrics_listen, "127.0.0.1:9733");
	assert_int_equal(conf->daemon.drain_timeout_ns, 10 * NSEC_PER_SEC);
	assert_string_equal(conf->path, "f");
	conf_errors_fini(&errors);
	conf_free(conf);
}

static void test_ports_come_out_in_order_with_defaults_and_values(void **state)
{
	struct conf *conf = load_good("[port b]\n"
				      "interface = eth1\n"
				      "forward = xconnect a\n"
				      "[port a]\n"
				      "interface = eth0\n"
				      "queues = 1\n"
				      "mode = copy\n"
				      "forward = xconnect b\n"
				      "on_failure = drop\n"
				      "stall_timeout = 5s\n"
				      "take_host_traffic = yes\n"
				      "pass_control = yes\n"
				      "offloads = check\n"
				      "busy_poll = 20us\n");
	const struct conf_port *b = &conf->ports[0], *a = &conf->ports[1];

	assert_int_equal(conf->n_ports, 2);
	assert_string_equal(b->name, "b");
	assert_string_equal(a->name, "a");
	assert_int_equal(b->line, 1);
	assert_string_equal(b->interface, "eth1");
	assert_true(b->queues.all);
	assert_int_equal(b->mode, CONF_MODE_AUTO);
	assert_int_equal(b->on_failure, CONF_FAIL_PASS);
	assert_int_equal(b->stall_timeout_ns, 100 * NSEC_PER_MSEC);
	assert_false(b->take_host_traffic);
	assert_false(b->pass_control);
	assert_int_equal(b->offloads, CONF_OFFLOADS_FIX);
	assert_int_equal(b->busy_poll_us, 0);
	assert_int_equal(a->line, 4);
	assert_false(a->queues.all);
	assert_true(conf_set_has(&a->queues, 1));
	assert_false(conf_set_has(&a->queues, 0));
	assert_int_equal(a->mode, CONF_MODE_COPY);
	assert_int_equal(a->forward, CONF_FORWARD_XCONNECT);
	assert_string_equal(a->peer, "b");
	assert_int_equal(a->on_failure, CONF_FAIL_DROP);
	assert_int_equal(a->stall_timeout_ns, 5 * NSEC_PER_SEC);
	assert_true(a->take_host_traffic);
	assert_true(a->pass_control);
	assert_int_equal(a->offloads, CONF_OFFLOADS_CHECK);
	assert_int_equal(a->busy_poll_us, 20);
	conf_free(conf);
}

static void test_the_hash_is_sha256_of_the_bytes(void **state)
{
	struct conf *conf = load_good("# abc\n");

	/* printf '# abc\n' | sha256sum */
	assert_string_equal(conf->sha256,
			    "c96d70129517a804082ed92c0ff5cc78c880c661376df954acf1d349484a7715");
	conf_free(conf);
}

static void test_one_mebibyte_is_read_and_a_byte_more_is_refused(void **state)
{
	_cleanup_free_ char *text = malloc((size_t)CONF_FILE_MAX_BYTES + 1);
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_non_null(text);
	memset(text, '#', CONF_FILE_MAX_BYTES + 1);
	assert_int_equal(load(text, CONF_FILE_MAX_BYTES, &conf, &errors), 0);
	conf_errors_fini(&errors);
	conf_free(conf);
	conf = NULL;
	assert_int_equal(load(text, CONF_FILE_MAX_BYTES + 1, &conf, &errors), -EINVAL);
	assert_null(conf);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.lines[0], "f: larger than 1 MiB");
	conf_errors_fini(&errors);
}

static void test_errors_without_end_are_counted_not_kept(void **state)
{
	char text[2 * 1500 + 1];
	struct conf_errors errors;
	struct conf *conf = NULL;

	for (unsigned i = 0; i < 1500; i++)
		memcpy(text + 2 * (size_t)i, "x\n", 3);
	assert_int_equal(load(text, strlen(text), &conf, &errors), -EINVAL);
	assert_int_equal(errors.n, 1001);
	assert_string_equal(errors.lines[999], "f:1000: expected \"key = value\" or \"[section]\"");
	assert_string_equal(errors.lines[1000], "f: and 500 more errors");
	conf_errors_fini(&errors);
}

static void test_headers_without_end_do_not_grow_without_bound(void **state)
{
	_cleanup_free_ char *text = malloc(100000 * 9 + 1);
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_non_null(text);
	for (size_t i = 0; i < 100000; i++)
		memcpy(text + 9 * i, "[port p]\n", 10);
	assert_int_equal(load(text, 100000 * 9, &conf, &errors), -EINVAL);
	assert_string_equal(errors.lines[errors.n - 1], "f: and 99001 more errors");
	conf_errors_fini(&errors);
}

/* The daemon compares the file once a second: a FIFO in its place must not stop it. */
static void test_a_fifo_is_refused_without_waiting_for_a_writer(void **state)
{
	char path[] = "/tmp/sluice-test-fifo.XXXXXX";
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_non_null(mkdtemp(path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(conf_load(path, &conf, &errors), -ENXIO);
	conf_errors_fini(&errors);
	assert_null(conf);
	assert_int_equal(unlink(path), 0);
}

static void test_a_file_that_cannot_be_opened_says_so_once(void **state)
{
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_int_equal(conf_load("/nonexistent/sluice.conf", &conf, &errors), -ENOENT);
	assert_int_equal(errors.n, 1);
	assert_string_equal(
		errors.lines[0],
		"/nonexistent/sluice.conf: cannot be opened: No such file or directory");
	conf_errors_fini(&errors);
	assert_int_equal(conf_load("/", &conf, &errors), -EISDIR);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.lines[0], "/: cannot be read: Is a directory");
	conf_errors_fini(&errors);
	assert_int_equal(conf_load("/dev/null", &conf, &errors), -ENXIO);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.lines[0], "/dev/null: cannot be opened: not a regular file");
	conf_errors_fini(&errors);
	assert_null(conf);
}

static void test_an_odd_path_is_escaped_in_messages(void **state)
{
	struct conf_errors errors;
	struct conf *conf = NULL;

	assert_int_equal(conf_load("/\033[2J\n\xc3", &conf, &errors), -ENOENT);
	assert_string_equal(errors.lines[0],
			    "/\\x1b[2J\\x0a\\xc3: cannot be opened: No such file or directory");
	conf_errors_fini(&errors);
}

static void test_a_path_with_a_newline_stays_inside_the_comments_of_a_dump(void **state)
{
	static const char text[] = "[daemon]\nworkers = 2\n";
	_cleanup_fclose_ FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	_cleanup_free_ char *dumped = NULL;
	struct conf_errors errors;
	struct conf *conf = NULL;
	size_t size;
	FILE *out = open_memstream(&dumped, &size);

	assert_int_equal(conf_load_stream(stream, "a\nworkers = 7", &conf, &errors), 0);
	conf_errors_fini(&errors);
	conf_dump_ini(conf, out);
	assert_int_equal(fclose(out), 0);
	conf_free(conf);
	conf = load_good(dumped);
	assert_int_equal(conf->daemon.workers, 2);
	conf_free(conf);
}

static void test_a_failure_leaves_the_result_untouched(void **state)
{
	struct conf dummy, *conf = &dummy;
	struct conf_errors errors;

	assert_int_equal(load("x\n", 2, &conf, &errors), -EINVAL);
	assert_ptr_equal(conf, &dummy);
	conf_errors_fini(&errors);
	conf_errors_fini(&errors);
	conf_free(NULL);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static struct json_object *get(struct json_object *object, const char *name)
{
	struct json_object *child = NULL;

	if (!json_object_object_get_ex(object, name, &child))
		fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
	return child;
}

static const char *get_text(struct json_object *object, const char *name)
{
	return json_object_get_string(get(object, name));
}

static void test_the_json_dump_holds_typed_values_and_origins(void **state)
{
	struct conf *conf = load_good("[daemon]\nworkers = 3\n[port wan]\ninterface = eth0\n"
				      "forward = pass\ntake_host_traffic = yes\n");
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct json_object *root, *daemon, *port;

	assert_non_null(out);
	assert_int_equal(conf_dump_json(conf, out), 0);
	assert_int_equal(fclose(out), 0);
	root = json_tokener_parse(text);
	assert_non_null(root);
	daemon = get(root, "daemon");
	assert_int_equal(json_object_get_int(get(get(daemon, "workers"), "value")), 3);
	assert_string_equal(get_text(get(daemon, "workers"), "origin"), "f:2");
	assert_string_equal(get_text(get(daemon, "cpus"), "value"), "auto");
	assert_string_equal(get_text(get(daemon, "cpus"), "origin"), "default");
	assert_int_equal(json_object_get_int(get(get(daemon, "frame_size"), "value")), 2048);
	assert_int_equal(json_object_array_length(get(root, "ports")), 1);
	port = json_object_array_get_idx(get(root, "ports"), 0);
	assert_string_equal(get_text(port, "name"), "wan");
	assert_true(json_object_get_boolean(get(get(port, "take_host_traffic"), "value")));
	assert_int_equal(json_object_get_type(get(get(port, "pass_control"), "value")),
			 json_type_boolean);
	assert_string_equal(get_text(get(port, "stall_timeout"), "value"), "100ms");
	assert_string_equal(get_text(root, "sha256"), conf->sha256);
	json_object_put(root);
	free(text);
	conf_free(conf);
}

static void test_the_json_dump_holds_bridges_and_their_lists(void **state)
{
	struct conf *conf = load_good("[port a]\ninterface = eth0\nforward = bridge office\n"
				      "[bridge office]\nstatic = 02:00:00:00:00:01 a\n"
				      "max_entries = 64\nstatic = 02:00:00:00:00:02 a\n"
				      "[route]\ntable = 7\n");
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct json_object *root, *bridge, *statics;

	assert_non_null(out);
	assert_int_equal(conf_dump_json(conf, out), 0);
	assert_int_equal(fclose(out), 0);
	root = json_tokener_parse(text);
	assert_non_null(root);
	assert_string_equal(get_text(get(get(root, "route"), "table"), "value"), "7");
	assert_string_equal(get_text(get(get(root, "route"), "table"), "origin"), "f:9");
	assert_int_equal(json_object_array_length(get(root, "bridges")), 1);
	bridge = json_object_array_get_idx(get(root, "bridges"), 0);
	assert_string_equal(get_text(bridge, "name"), "office");
	assert_int_equal(json_object_get_int(get(get(bridge, "max_entries"), "value")), 64);
	statics = get(bridge, "static");
	assert_int_equal(json_object_array_length(statics), 2);
	assert_string_equal(get_text(json_object_array_get_idx(statics, 1), "value"),
			    "02:00:00:00:00:02 a");
	assert_string_equal(get_text(json_object_array_get_idx(statics, 1), "origin"), "f:7");
	json_object_put(root);
	free(text);
	conf_free(conf);
}

static void test_the_schema_lists_every_row_once(void **state)
{
	char *text = NULL;
	size_t size, n_lines = 0;
	FILE *out = open_memstream(&text, &size);
	struct json_object *array, *row;

	assert_non_null(out);
	conf_list_keys(out);
	assert_int_equal(fflush(out), 0);
	for (const char *c = text; *c; c++)
		n_lines += *c == '\n';
	assert_int_equal(n_lines, CONF_KEYS_N);
	assert_int_equal(fclose(out), 0);
	free(text);
	out = open_memstream(&text, &size);
	assert_non_null(out);
	assert_int_equal(conf_list_keys_json(out), 0);
	assert_int_equal(fclose(out), 0);
	array = json_tokener_parse(text);
	assert_int_equal(json_object_array_length(array), CONF_KEYS_N);
	row = json_object_array_get_idx(array, CONF_KEY_PORT_stall_timeout);
	assert_string_equal(get_text(row, "key"), "stall_timeout");
	assert_string_equal(get_text(row, "section"), "port");
	assert_string_equal(get_text(row, "default"), "100ms");
	assert_string_equal(get_text(row, "reload"), "port");
	assert_string_equal(get_text(row, "unit"), "ns");
	assert_int_equal(json_object_get_int64(get(row, "max")), 10000000000);
	assert_true(json_object_get_boolean(get(row, "in_this_version")));
	row = json_object_array_get_idx(array, CONF_KEY_LISTENER_bind);
	assert_true(json_object_get_boolean(get(row, "in_this_version")));
	assert_true(json_object_get_boolean(get(row, "repeatable")));
	row = json_object_array_get_idx(array, CONF_KEY_PORT_forward);
	assert_string_equal(json_object_to_json_string(get(row, "choices")),
			    "[ \"pass\", \"xconnect\", \"route\", \"bridge\" ]");
	json_object_put(array);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_are_counted_across_comments_and_blank_lines),
		cmocka_unit_test(test_a_line_of_190_bytes_is_read_whole_and_191_are_refused),
		cmocka_unit_test(test_an_indented_line_is_a_line_of_its_own),
		cmocka_unit_test(test_a_broken_header_ends_the_section_before_it),
		cmocka_unit_test(test_sections_without_keys_are_seen),
		cmocka_unit_test(test_duplicates_are_delivered_each_with_its_line),
		cmocka_unit_test(test_only_blank_and_semicolon_begin_a_comment_after_a_value),
		cmocka_unit_test(test_a_colon_is_no_separator),
		cmocka_unit_test(test_keys_are_not_empty_and_not_alone),
		cmocka_unit_test(test_a_long_section_name_is_not_cut),
		cmocka_unit_test(test_quotes_mean_nothing_to_the_reader),
		cmocka_unit_test(test_bom_crlf_and_a_missing_newline_are_fine),
		cmocka_unit_test(test_a_nul_byte_hides_nothing),
		cmocka_unit_test(test_bytes_outside_ascii_are_for_comments),
		cmocka_unit_test(test_an_empty_file_is_a_daemon_without_ports),
		cmocka_unit_test(test_ports_come_out_in_order_with_defaults_and_values),
		cmocka_unit_test(test_the_hash_is_sha256_of_the_bytes),
		cmocka_unit_test(test_one_mebibyte_is_read_and_a_byte_more_is_refused),
		cmocka_unit_test(test_errors_without_end_are_counted_not_kept),
		cmocka_unit_test(test_headers_without_end_do_not_grow_without_bound),
		cmocka_unit_test(test_a_file_that_cannot_be_opened_says_so_once),
		cmocka_unit_test(test_a_fifo_is_refused_without_waiting_for_a_writer),
		cmocka_unit_test(test_an_odd_path_is_escaped_in_messages),
		cmocka_unit_test(test_a_path_with_a_newline_stays_inside_the_comments_of_a_dump),
		cmocka_unit_test(test_a_failure_leaves_the_result_untouched),
		cmocka_unit_test(test_the_json_dump_holds_typed_values_and_origins),
		cmocka_unit_test(test_the_json_dump_holds_bridges_and_their_lists),
		cmocka_unit_test(test_the_schema_lists_every_row_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
