/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values, words and suggestions: what each type accepts at its edges, how it prints what it
 * accepted, and that a refusal leaves the field alone. Refusals' texts are in tests/conf/bad.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/conf_keys.h"
#include "control/conf_suggest.h"
#include "control/conf_value.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

union section {
	struct conf_daemon daemon;
	struct conf_port port;
	struct conf_route route;
	struct conf_bridge bridge;
};

static char *print_value(const struct conf_key *key, const void *section)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	conf_value_print(key, section, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void accepts(enum conf_key_id id, const char *text, const char *canonical)
{
	const struct conf_key *key = &conf_keys[id];
	_cleanup_free_ char *printed = NULL;
	union section section, again;
	struct conf_why why;

	/* Bytes that no parser leaves by accident. */
	memset(&section, 0x5a, sizeof(section));
	memset(&again, 0x5a, sizeof(again));
	if (conf_value_parse(key, text, &section, &why) < 0)
		fail_msg("%s = %s: %s", key->name, text, why.text);
	printed = print_value(key, &section);
	assert_string_equal(printed, canonical);
	assert_int_equal(conf_value_parse(key, printed, &again, &why), 0);
	assert_memory_equal(&section, &again, sizeof(section));
}

static void refuses(enum conf_key_id id, const char *text, const char *reason)
{
	const struct conf_key *key = &conf_keys[id];
	union section section, before;
	struct conf_why why = {""};

	memset(&section, 0x5a, sizeof(section));
	before = section;
	assert_int_equal(conf_value_parse(key, text, &section, &why), -EINVAL);
	assert_memory_equal(&section, &before, sizeof(section));
	if (!strstr(why.text, reason))
		fail_msg("%s = %s: expected \"%s\" in: %s", key->name, text, reason, why.text);
}

static void test_numbers_have_two_ends_and_a_word(void **state)
{
	accepts(CONF_KEY_DAEMON_workers, "1", "1");
	accepts(CONF_KEY_DAEMON_workers, "1024", "1024");
	accepts(CONF_KEY_DAEMON_workers, "007", "7");
	accepts(CONF_KEY_DAEMON_workers, "auto", "auto");
	refuses(CONF_KEY_DAEMON_workers, "0", "out of range");
	refuses(CONF_KEY_DAEMON_workers, "1025", "out of range");
	refuses(CONF_KEY_DAEMON_workers, "18446744073709551616", "out of range");
	refuses(CONF_KEY_DAEMON_workers, "-1", "not a number");
	refuses(CONF_KEY_DAEMON_workers, "4 ", "not a number");
	refuses(CONF_KEY_DAEMON_workers, "Auto", "or auto");
	refuses(CONF_KEY_DAEMON_workers, "", "no value; expected a number of threads");
}

static void test_sizes_are_powers_of_two_with_or_without_unit(void **state)
{
	accepts(CONF_KEY_DAEMON_frame_size, "2048", "2048");
	accepts(CONF_KEY_DAEMON_frame_size, "4096", "4096");
	accepts(CONF_KEY_DAEMON_frame_size, "2KiB", "2048");
	accepts(CONF_KEY_DAEMON_frame_size, "4KiB", "4096");
	refuses(CONF_KEY_DAEMON_frame_size, "3072", "not a power of two");
	refuses(CONF_KEY_DAEMON_frame_size, "1024", "out of range");
	refuses(CONF_KEY_DAEMON_frame_size, "1MiB", "out of range");
	refuses(CONF_KEY_DAEMON_frame_size, "2kB", "unknown unit \"kB\"");
	refuses(CONF_KEY_DAEMON_frame_size, "17592186044416MiB", "out of range");
}

static void test_times_need_a_unit_and_print_in_the_largest(void **state)
{
	accepts(CONF_KEY_PORT_stall_timeout, "10ms", "10ms");
	accepts(CONF_KEY_PORT_stall_timeout, "10000us", "10ms");
	accepts(CONF_KEY_PORT_stall_timeout, "10001us", "10001us");
	accepts(CONF_KEY_PORT_stall_timeout, "10s", "10s");
	accepts(CONF_KEY_PORT_stall_timeout, "10000ms", "10s");
	accepts(CONF_KEY_DAEMON_drain_timeout, "0s", "0s");
	accepts(CONF_KEY_DAEMON_drain_timeout, "0h", "0s");
	accepts(CONF_KEY_DAEMON_drain_timeout, "60s", "1min");
	accepts(CONF_KEY_DAEMON_drain_timeout, "90s", "90s");
	accepts(CONF_KEY_DAEMON_drain_timeout, "10min", "10min");
	refuses(CONF_KEY_PORT_stall_timeout, "9999us", "out of range");
	refuses(CONF_KEY_PORT_stall_timeout, "10001ms", "out of range");
	refuses(CONF_KEY_PORT_stall_timeout, "100", "no unit");
	refuses(CONF_KEY_PORT_stall_timeout, "100 ms", "unknown unit");
	refuses(CONF_KEY_PORT_stall_timeout, "100m", "unknown unit \"m\"");
	refuses(CONF_KEY_PORT_stall_timeout, "ms", "not a number");
	refuses(CONF_KEY_DAEMON_drain_timeout, "5124095576030432h", "out of range");
}

static void test_times_in_microseconds_keep_their_unit(void **state)
{
	union section section = {0};
	struct conf_why why;

	accepts(CONF_KEY_PORT_busy_poll, "1us", "1us");
	accepts(CONF_KEY_PORT_busy_poll, "10ms", "10ms");
	accepts(CONF_KEY_PORT_busy_poll, "off", "off");
	refuses(CONF_KEY_PORT_busy_poll, "10001us", "out of range");
	refuses(CONF_KEY_PORT_busy_poll, "0us", "out of range");
	assert_int_equal(
		conf_value_parse(&conf_keys[CONF_KEY_PORT_busy_poll], "2ms", &section, &why), 0);
	assert_int_equal(section.port.busy_poll_us, 2000);
}

static void test_lists_print_as_ranges(void **state)
{
	accepts(CONF_KEY_DAEMON_cpus, "0", "0");
	accepts(CONF_KEY_DAEMON_cpus, "2-5,8", "2-5,8");
	accepts(CONF_KEY_DAEMON_cpus, "8, 5,4,3,2", "2-5,8");
	accepts(CONF_KEY_DAEMON_cpus, "0-1023", "0-1023");
	accepts(CONF_KEY_DAEMON_cpus, "63,64,1023", "63-64,1023");
	accepts(CONF_KEY_DAEMON_cpus, "3-3", "3");
	accepts(CONF_KEY_DAEMON_cpus, "auto", "auto");
	accepts(CONF_KEY_PORT_queues, "all", "all");
	refuses(CONF_KEY_PORT_queues, "auto", "not a list");
	refuses(CONF_KEY_PORT_queues, "256", "out of range");
	refuses(CONF_KEY_DAEMON_cpus, "0-18446744073709551615", "out of range");
	refuses(CONF_KEY_DAEMON_cpus, "1-2-3", "not a list");
	refuses(CONF_KEY_DAEMON_cpus, ",1", "not a list");
	refuses(CONF_KEY_DAEMON_cpus, "1 ,2", "not a list");
	refuses(CONF_KEY_DAEMON_cpus, "1,1", "1 is listed twice");
}

static void test_a_set_holds_what_was_listed_and_all_holds_everything(void **state)
{
	union section section = {0};
	struct conf_why why;
	const struct conf_key *key = &conf_keys[CONF_KEY_DAEMON_cpus];

	assert_int_equal(conf_value_parse(key, "2-3,64", &section, &why), 0);
	assert_false(section.daemon.cpus.all);
	for (unsigned n = 0; n < CONF_MAX_CPUS; n++)
		assert_int_equal(conf_set_has(&section.daemon.cpus, n),
				 n == 2 || n == 3 || n == 64);
	assert_false(conf_set_has(&section.daemon.cpus, CONF_MAX_CPUS));
	assert_int_equal(conf_value_parse(key, "auto", &section, &why), 0);
	assert_true(conf_set_has(&section.daemon.cpus, 1023));
}

static void test_words_are_exact_and_suggested_when_near(void **state)
{
	accepts(CONF_KEY_PORT_mode, "zerocopy", "zerocopy");
	accepts(CONF_KEY_PORT_mode, "generic", "generic");
	accepts(CONF_KEY_DAEMON_huge_pages, "off", "off");
	accepts(CONF_KEY_PORT_take_host_traffic, "yes", "yes");
	accepts(CONF_KEY_PORT_take_host_traffic, "no", "no");
	refuses(CONF_KEY_PORT_take_host_traffic, "on", "expected yes or no");
	refuses(CONF_KEY_PORT_mode, "zero", "expected auto, zerocopy, copy or generic");
	refuses(CONF_KEY_PORT_mode, "zerocpoy", "did you mean \"zerocopy\"?");
	refuses(CONF_KEY_PORT_mode, "COPY", "did you mean \"copy\"?");
	refuses(CONF_KEY_PORT_offloads, "chekc", "did you mean \"check\"?");
}

static void test_forward_fills_the_peer_or_empties_it(void **state)
{
	const struct conf_key *key = &conf_keys[CONF_KEY_PORT_forward];
	union section section = {0};
	struct conf_why why;

	assert_int_equal(conf_value_parse(key, "xconnect \t lan", &section, &why), 0);
	assert_int_equal(section.port.forward, CONF_FORWARD_XCONNECT);
	assert_string_equal(section.port.peer, "lan");
	assert_int_equal(conf_value_parse(key, "pass", &section, &why), 0);
	assert_int_equal(section.port.forward, CONF_FORWARD_PASS);
	assert_string_equal(section.port.peer, "");
	refuses(CONF_KEY_PORT_forward, "xconnect", "no name");
	refuses(CONF_KEY_PORT_forward, "pass lan", "takes no name");
	assert_int_equal(conf_value_parse(key, "bridge office", &section, &why), 0);
	assert_int_equal(section.port.forward, CONF_FORWARD_BRIDGE);
	assert_string_equal(section.port.peer, "office");
	assert_int_equal(conf_value_parse(key, "route", &section, &why), 0);
	assert_int_equal(section.port.forward, CONF_FORWARD_ROUTE);
	assert_string_equal(section.port.peer, "");
	refuses(CONF_KEY_PORT_forward, "bridge", "no name");
	refuses(CONF_KEY_PORT_forward, "route lan", "takes no name");
	refuses(CONF_KEY_PORT_forward, "xconnect 12345678901234567890123456789012", "31");
}

static void test_a_table_is_a_number_or_a_vrf(void **state)
{
	const struct conf_key *key = &conf_keys[CONF_KEY_ROUTE_table];
	union section section = {0};
	struct conf_why why;

	assert_int_equal(conf_value_parse(key, "blue", &section, &why), 0);
	assert_string_equal(section.route.vrf, "blue");
	assert_int_equal(conf_value_parse(key, "100", &section, &why), 0);
	assert_string_equal(section.route.vrf, "");
	assert_int_equal(section.route.table, 100);
	assert_int_equal(conf_value_parse(key, "main", &section, &why), 0);
	assert_int_equal(section.route.table, 254);
	accepts(CONF_KEY_ROUTE_table, "254", "main");
	accepts(CONF_KEY_ROUTE_table, "4294967295", "4294967295");
	accepts(CONF_KEY_ROUTE_table, "00253", "253");
	accepts(CONF_KEY_ROUTE_table, "vrf-15-letters-", "vrf-15-letters-");
	refuses(CONF_KEY_ROUTE_table, "255", "followed in any case");
	refuses(CONF_KEY_ROUTE_table, "4294967296", "out of range");
	refuses(CONF_KEY_ROUTE_table, "0", "out of range");
}

static void test_static_entries_gather(void **state)
{
	const struct conf_key *key = &conf_keys[CONF_KEY_BRIDGE_static];
	static const uint8_t mac[6] = {0x02, 0xab, 0xcd, 0xef, 0x00, 0x99};
	static union section section;
	struct conf_why why;
	_cleanup_free_ char *printed = NULL;

	assert_int_equal(conf_list_count(key, &section), 0);
	assert_int_equal(conf_value_parse(key, "02:aB:cd:EF:00:99 \t wan", &section, &why), 0);
	conf_list_set_last_line(key, &section, 7);
	assert_int_equal(conf_value_parse(key, "00:00:00:00:00:01 lan", &section, &why), 0);
	assert_int_equal(conf_list_count(key, &section), 2);
	assert_int_equal(conf_list_line(key, &section, 0), 7);
	assert_int_equal(conf_list_line(key, &section, 1), 0);
	assert_memory_equal(section.bridge.statics[0].mac, mac, sizeof(mac));
	assert_string_equal(section.bridge.statics[0].port, "wan");
	printed = print_value(key, &section);
	assert_string_equal(printed, "02:ab:cd:ef:00:99 wan, 00:00:00:00:00:01 lan");
	assert_int_equal(conf_value_parse(key, "03:00:00:00:00:01 lan", &section, &why), -EINVAL);
	assert_int_equal(conf_list_count(key, &section), 2);
}

static void test_texts_fit_their_fields(void **state)
{
	char path[CONF_PATH_BYTES + 1] = "/";

	memset(path + 1, 'p', CONF_PATH_BYTES - 2);
	accepts(CONF_KEY_DAEMON_control_socket, path, path);
	path[CONF_PATH_BYTES - 1] = 'p';
	refuses(CONF_KEY_DAEMON_control_socket, path, "longer than 107 bytes");
	accepts(CONF_KEY_PORT_interface, "123456789012345", "123456789012345");
	refuses(CONF_KEY_PORT_interface, "1234567890123456", "longer than 15");
	refuses(CONF_KEY_PORT_interface, "a/b", "not a name");
	refuses(CONF_KEY_PORT_interface, "a b", "not a name");
	refuses(CONF_KEY_PORT_interface, ".", "not a name");
	refuses(CONF_KEY_PORT_interface, "\"eth0\"", "without quotes");
	refuses(CONF_KEY_PORT_interface, "eth0 # uplink", "begins with \" ;\"");
	accepts(CONF_KEY_PORT_interface, "e#0", "e#0");
	accepts(CONF_KEY_DAEMON_bpf_dir, "auto", "auto");
	refuses(CONF_KEY_DAEMON_bpf_dir, "/", "ends in '/'");
}

static void test_metrics_are_served_on_loopback_or_a_unix_socket(void **state)
{
	static const char *const good[] = {
		"127.0.0.1:1", "127.255.255.254:65535",         "[::1]:9733",
		"off",         "unix:/run/sluice/metrics.sock",
	};
	static const char *const bad[] = {
		"0.0.0.0:9733", "[::]:9733",      "10.0.0.1:80", "[::ffff:127.0.0.1]:80",
		"[fe80::1]:80", "localhost:1",    "127.0.0.1",   "127.0.0.1:",
		":9733",        "9733",           "[::1]",       "[::1]9733",
		"::1:9733",     "[127.0.0.1]:80", "127.1:80",    "127.0.0.1:+80",
		"unix:",        "unix:run",       "/run/m.sock", "127.0.0.1:80:80",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		accepts(CONF_KEY_DAEMON_metrics_listen, good[i], good[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		refuses(CONF_KEY_DAEMON_metrics_listen, bad[i], "expected 127.0.0.1:PORT");
}

static void test_names_of_sections_are_plain(void **state)
{
	assert_null(conf_check_name("wan"));
	assert_null(conf_check_name("0.uplink-2_b"));
	assert_null(conf_check_name("1234567890123456789012345678901"));
	assert_non_null(conf_check_name("12345678901234567890123456789012"));
	assert_non_null(conf_check_name("-wan"));
	assert_non_null(conf_check_name("w an"));
	assert_non_null(conf_check_name("w]an"));
	assert_non_null(conf_check_name(""));
}

static void test_distance_counts_slips_of_the_finger(void **state)
{
	assert_int_equal(conf_edit_distance("queues", "queues"), 0);
	assert_int_equal(conf_edit_distance("queus", "queues"), 1);
	assert_int_equal(conf_edit_distance("qeuues", "queues"), 1);
	assert_int_equal(conf_edit_distance("QUEUES", "queues"), 0);
	assert_int_equal(conf_edit_distance("", "mode"), 4);
	assert_int_equal(conf_edit_distance("mode", ""), 4);
	assert_int_equal(conf_edit_distance("sniff_timout", "sniff_timeout"), 1);
	assert_int_equal(conf_edit_distance("kitten", "sitting"), 3);
}

static void test_only_near_words_are_suggested_and_the_nearest_first(void **state)
{
	struct conf_suggest suggest = {.word = "cop"};
	char huge[300];

	conf_suggest_offer(&suggest, "generic");
	assert_null(suggest.best);
	conf_suggest_offer(&suggest, "copy");
	conf_suggest_offer(&suggest, "cpo");
	assert_string_equal(suggest.best, "copy");
	memset(huge, 'c', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	suggest = (struct conf_suggest){.word = huge};
	conf_suggest_offer(&suggest, "copy");
	assert_null(suggest.best);
}

static void test_rows_of_the_table_are_sound(void **state)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		union section section = {0};
		struct conf_why why;

		assert_non_null(key->name);
		assert_true(key->help && key->help[strlen(key->help) - 1] == '.');
		assert_true(key->min <= key->max);
		assert_true(key->in_conf || key->later || key->n_choices);
		/* store_word() knows no word for these: a choice is a word already. */
		if (key->type == CONF_TYPE_BOOL || key->n_choices)
			assert_null(key->word);
		assert_int_equal(key->n_choices != 0,
				 key->type == CONF_TYPE_CHOICE || key->type == CONF_TYPE_FORWARD);
		if (key->default_text &&
		    conf_value_parse(key, key->default_text, &section, &why) < 0)
			fail_msg("default of %s: %s", key->name, why.text);
		for (enum conf_key_id other = 0; other < id; other++)
			assert_true(conf_keys[other].section != key->section ||
				    strcmp(conf_keys[other].name, key->name) != 0);
	}
}

static void test_defaults_print_as_they_stand_in_the_table(void **state)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		if (conf_keys[id].in_conf && conf_keys[id].default_text)
			accepts(id, conf_keys[id].default_text, conf_keys[id].default_text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_have_two_ends_and_a_word),
		cmocka_unit_test(test_sizes_are_powers_of_two_with_or_without_unit),
		cmocka_unit_test(test_times_need_a_unit_and_print_in_the_largest),
		cmocka_unit_test(test_times_in_microseconds_keep_their_unit),
		cmocka_unit_test(test_lists_print_as_ranges),
		cmocka_unit_test(test_a_set_holds_what_was_listed_and_all_holds_everything),
		cmocka_unit_test(test_words_are_exact_and_suggested_when_near),
		cmocka_unit_test(test_forward_fills_the_peer_or_empties_it),
		cmocka_unit_test(test_a_table_is_a_number_or_a_vrf),
		cmocka_unit_test(test_static_entries_gather),
		cmocka_unit_test(test_texts_fit_their_fields),
		cmocka_unit_test(test_metrics_are_served_on_loopback_or_a_unix_socket),
		cmocka_unit_test(test_names_of_sections_are_plain),
		cmocka_unit_test(test_distance_counts_slips_of_the_finger),
		cmocka_unit_test(test_only_near_words_are_suggested_and_the_nearest_first),
		cmocka_unit_test(test_rows_of_the_table_are_sound),
		cmocka_unit_test(test_defaults_print_as_they_stand_in_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
