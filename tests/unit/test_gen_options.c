/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator's values with units, lists and ranges; and whole command lines, good and bad. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "tools/gen/options.h"
#include "util/macros.h"

static void test_counts_have_decimal_letters(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} table[] = {
		{"0", 0, 0},          {"12", 0, 12},         {"200k", 0, 200000},
		{"1.5M", 0, 1500000}, {"2G", 0, 2000000000}, {"", -EINVAL, 0},
		{"k", -EINVAL, 0},    {"-1", -EINVAL, 0},    {"1K", -EINVAL, 0},
		{"1 k", -EINVAL, 0},  {"nan", -EINVAL, 0},   {"99999999999G", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t value = 0;

		assert_int_equal(options_parse_count(table[i].text, &value), table[i].r);
		assert_int_equal(value, table[i].value);
	}
}

static void test_durations_need_their_unit(void **state)
{
	uint64_t ns = 7;

	assert_int_equal(options_parse_duration("5", &ns), -EINVAL);
	assert_int_equal(options_parse_duration("5h", &ns), -EINVAL);
	assert_int_equal(ns, 7);
	assert_int_equal(options_parse_duration("5s", &ns), 0);
	assert_int_equal(ns, 5 * NSEC_PER_SEC);
	assert_int_equal(options_parse_duration("0.5ms", &ns), 0);
	assert_int_equal(ns, 500000);
	assert_int_equal(options_parse_duration("100us", &ns), 0);
	assert_int_equal(ns, 100000);
}

static void test_sizes_are_one_a_range_or_imix(void **state)
{
	struct gen_sizes s;

	assert_int_equal(options_parse_sizes("64", &s), 0);
	assert_true(s.low == 64 && s.high == 64 && !s.imix);
	assert_int_equal(options_parse_sizes("60-1514", &s), 0);
	assert_true(s.low == 60 && s.high == 1514);
	assert_int_equal(options_parse_sizes("imix", &s), 0);
	assert_true(s.imix && s.high == 1514);
	assert_int_equal(options_parse_sizes("13", &s), -ERANGE);
	assert_int_equal(options_parse_sizes("5000", &s), -ERANGE);
	assert_int_equal(options_parse_sizes("100-60", &s), -ERANGE);
	assert_int_equal(options_parse_sizes("60-", &s), -EINVAL);
	assert_int_equal(options_parse_sizes("60,70", &s), -EINVAL);
}

static void test_queues_keep_their_order(void **state)
{
	struct gen_queues q;

	assert_int_equal(options_parse_queues("all", &q), 0);
	assert_int_equal(q.n, 0);
	assert_int_equal(options_parse_queues("5,0-2", &q), 0);
	assert_int_equal(q.n, 4);
	assert_int_equal(q.list[0], 5);
	assert_int_equal(q.list[3], 2);
	assert_int_equal(options_parse_queues("", &q), -EINVAL);
	assert_int_equal(options_parse_queues("1,", &q), -EINVAL);
	assert_int_equal(options_parse_queues("2-1", &q), -ERANGE);
	assert_int_equal(options_parse_queues("0-99", &q), -ERANGE);
	assert_int_equal(options_parse_queues("1;2", &q), -EINVAL);
}

static enum options_result parse(const char *line, struct gen_options *ret_options)
{
	static char text[256];
	static char name[] = "sluice-gen";
	char *argv[32] = {name};
	int argc = 1;

	(void)snprintf(text, sizeof(text), "%s", line);
	for (char *save, *word = strtok_r(text, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	optind = 0; /* glibc: start anew */
	return options_parse(argc, argv, ret_options);
}

static void test_a_whole_line(void **state)
{
	struct gen_options o;

	assert_int_equal(parse("send va --count 10k --queues 1,3 --rate 1M --vlan 5 --dst-mac "
			       "02:00:00:00:00:ff --json",
			       &o),
			 OPTIONS_OK);
	assert_string_equal(o.ifname[0], "va");
	assert_int_equal(o.count, 10000);
	assert_int_equal(o.rate_fps, 1000000);
	assert_int_equal(o.queues.n, 2);
	assert_int_equal(o.frame.vlan, 5);
	assert_int_equal(o.frame.dst_mac[5], 0xff);
	assert_true(o.json);
	assert_int_equal(parse("run va vb --count 5 --ip6 --bidirectional", &o), OPTIONS_OK);
	assert_string_equal(o.ifname[1], "vb");
	assert_int_equal(o.frame.family, AF_INET6);
	assert_int_equal(parse("send va --count 1", &o), OPTIONS_OK);
	assert_int_equal(o.queues.n, 1);
	assert_int_equal(parse("sink vb", &o), OPTIONS_OK);
	assert_int_equal(o.queues.n, 0);
}

static void test_size_is_the_least_that_the_headers_need(void **state)
{
	static const struct {
		const char *line;
		uint32_t low, high; /* 0: refused */
	} table[] = {
		{"send va --count 1", 60, 60},
		{"send va --count 1 --vlan 5", 60, 60},
		{"send va --count 1 --ip", 82, 82},
		{"send va --count 1 --ip6", 102, 102},
		{"send va --count 1 --ip --vlan 5", 86, 86},
		{"send va --count 1 --ip6 --vlan 5", 106, 106},
		{"send va --count 1 --ip --flood", 82, 82},
		{"run va vb --count 1 --ip", 82, 82},
		{"send va --count 1 --size 82-1514 --ip", 82, 1514},
		{"send va --count 1 --size 102 --ip6", 102, 102},
		{"send va --count 1 --size 14", 14, 14},
		{"sink vb", 60, 60},
		{"send va --count 1 --ip --size 81", 0, 0},
		{"send va --count 1 --ip --size 60-1514", 0, 0},
		{"send va --count 1 --ip --length 14", 0, 0},
		{"send va --count 1 --ip6 --size 101", 0, 0},
		{"send va --count 1 --ip --vlan 5 --size 85", 0, 0},
		{"run va vb --count 1 --ip --size imix", 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct gen_options o = {0};

		print_message("  '%s'\n", table[i].line);
		assert_int_equal(parse(table[i].line, &o),
				 table[i].low ? OPTIONS_OK : OPTIONS_WRONG);
		assert_int_equal(o.sizes.low, table[i].low);
		assert_int_equal(o.sizes.high, table[i].high);
	}
}

static void test_wrong_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"fly va",
		"send",
		"send va",
		"send va vb --count 1",
		"run va --count 1",
		"send va --count 0",
		"send va --count x",
		"send va --count",
		"send va --sizes 60",
		"sink va --count 5",
		"send va --count 1 --expect 1",
		"sink vb --window 100",
		"sink vb --ring 1000",
		"send va --count 1 --vlan 4095",
		"send va --count 1 --dst-mac 02:00",
		"send va --count 1 --ip --ip6",
		"send va --count 1 --src-ip 1.2.3.4",
		"send va --count 1 --ip --src-ip ::1",
		"send va --count 1 --flood --queue 0",
		"send va --count 1 --flood --rate 5k",
		"send va --count 1 --flood --size imix",
		"send va --count 1 --burst 2000",
	};
	struct gen_options o = {.count = 12345};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		print_message("  '%s'\n", lines[i]);
		assert_int_equal(parse(lines[i], &o), OPTIONS_WRONG);
		assert_int_equal(o.count, 12345);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_have_decimal_letters),
		cmocka_unit_test(test_durations_need_their_unit),
		cmocka_unit_test(test_sizes_are_one_a_range_or_imix),
		cmocka_unit_test(test_queues_keep_their_order),
		cmocka_unit_test(test_a_whole_line),
		cmocka_unit_test(test_size_is_the_least_that_the_headers_need),
		cmocka_unit_test(test_wrong_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
