/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sluicectl is answered about the tables: rows by filter, neighbours, and what a frame meets.
 */
#include <endian.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "tables_env.h"
#include "util/clock.h"
#include "util/macros.h"

static void set_up_routes(void)
{
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	sh("ip route add 11.1.0.0/16 via 10.0.1.2 metric 7");
	sh("ip route add 11.1.2.0/25 via 10.0.0.2");
	sh("ip route add blackhole 12.0.0.0/8");
	sh("ip -6 route add 2001:db8:f::/48 via 2001:db8:1::2");
	configure();
}

static const char *text_of(struct json_object *row, const char *key)
{
	return json_object_get_string(json_object_object_get(row, key));
}

static bool has_prefix(struct json_object *rows, const char *prefix)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		if (strcmp(text_of(json_object_array_get_idx(rows, i), "prefix"), prefix) == 0)
			return true;
	}
	return false;
}

static struct json_object *routes(const char *filter, uint32_t max, size_t n_expected)
{
	int error = 0;
	struct json_object *rows = tables_routes_json(tables, filter, max, &error);

	assert_non_null(rows);
	assert_int_equal(error, 0);
	assert_int_equal(json_object_array_length(rows), n_expected);
	return rows;
}

static void test_a_prefix_shows_itself_and_what_is_more_specific(void **state)
{
	struct json_object *rows;

	set_up_routes();
	rows = routes("11.1.0.0/16", 100, 2);
	assert_true(has_prefix(rows, "11.1.0.0/16"));
	assert_true(has_prefix(rows, "11.1.2.0/25"));
	json_object_put(rows);
	json_object_put(routes("11.0.0.0/8", 100, 3));
	json_object_put(routes("11.0.0.0/8", 2, 2));
	json_object_put(routes("11.1.2.128/25", 100, 0));
	json_object_put(routes("2001:db8:e::/47", 100, 1));
}

static void test_an_address_shows_the_row_that_forwards_it(void **state)
{
	struct json_object *rows;

	set_up_routes();
	rows = routes("11.1.2.200", 100, 1);
	assert_true(has_prefix(rows, "11.1.0.0/16"));
	assert_int_equal(json_object_get_int(json_object_object_get(
				 json_object_array_get_idx(rows, 0), "metric")),
			 7);
	json_object_put(rows);
	rows = routes("12.1.1.1", 100, 1);
	assert_string_equal(text_of(json_object_array_get_idx(rows, 0), "type"), "blackhole");
	json_object_put(rows);
	json_object_put(routes("99.1.1.1", 100, 0));
}

static void test_a_filter_that_is_none_is_refused(void **state)
{
	static const char *const filters[] = {"",          "11.0.0.0/33", "11.0.0/8",  "::/129",
					      "11.0.0.0/", "11.0.0.0/x",  "localhost", "::/1/2"};

	configure();
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
		int error = 0;

		assert_null(tables_routes_json(tables, filters[i], 10, &error));
		assert_int_equal(error, -EINVAL);
	}
}

static void test_neighbours_of_ports_are_shown(void **state)
{
	struct json_object *rows;
	bool is_found = false;

	configure();
	rows = tables_neighbours_json(tables, 100);
	assert_non_null(rows);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (strcmp(text_of(row, "address"), "10.0.1.2") != 0)
			continue;
		is_found = true;
		assert_string_equal(text_of(row, "interface"), "p1");
		assert_string_equal(text_of(row, "mac"), "06:00:00:00:00:01");
		assert_string_equal(text_of(row, "state"), "permanent");
		assert_true(json_object_get_boolean(json_object_object_get(row, "usable")));
	}
	assert_true(is_found);
	json_object_put(rows);
}

static uint16_t checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)header[i] << 8 | header[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* 60 octets: a UDP datagram of no data from 10.0.0.2, TTL 64, and padding. */
static void make_frame(uint8_t frame[60], uint8_t dst_first)
{
	const uint8_t ip[20] = {0x45, 0, 0,  28, 0, 1, 0,         0, 64, 17,
				0,    0, 10, 0,  0, 2, dst_first, 1, 9,  9};
	uint64_t mac = lines[0].mac;
	uint16_t sum;

	memset(frame, 0, 60);
	memcpy(frame, &mac, 6);
	memset(frame + 6, 6, 6);
	frame[12] = 8;
	memcpy(frame + 14, ip, sizeof(ip));
	sum = checksum(frame + 14);
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
}

static void test_explain_shows_the_way_of_a_frame_and_what_leaves(void **state)
{
	struct json_object *answer;
	uint8_t frame[60];
	const char *out;

	set_up_routes();
	make_frame(frame, 11);
	answer = tables_explain(tables, 0, frame, sizeof(frame));
	assert_non_null(answer);
	assert_string_equal(text_of(answer, "verdict"), "forward");
	assert_string_equal(text_of(answer, "port"), "a");
	assert_string_equal(text_of(answer, "out_port"), "b");
	assert_string_equal(text_of(json_object_object_get(answer, "route"), "prefix"),
			    "11.1.0.0/16");
	out = text_of(answer, "out_frame");
	assert_memory_equal(out, "060000000001", 12);
	assert_memory_equal(out + 2 * 22, "3f11", 4); /* TTL 63, UDP */
	assert_int_equal(strlen(out), 2 * (14 + 28)); /* without the padding */
	json_object_put(answer);
}

static void test_explain_names_the_reason_where_the_kernel_has_it(void **state)
{
	struct json_object *answer;
	uint8_t frame[60];

	set_up_routes();
	make_frame(frame, 99);
	answer = tables_explain(tables, 0, frame, sizeof(frame));
	assert_string_equal(text_of(answer, "verdict"), "hand_back");
	assert_string_equal(text_of(answer, "reason"), "no_route");
	assert_null(json_object_object_get(answer, "route"));
	json_object_put(answer);
	make_frame(frame, 12);
	answer = tables_explain(tables, 0, frame, sizeof(frame));
	assert_string_equal(text_of(answer, "reason"), "policy");
	json_object_put(answer);
	assert_null(tables_explain(tables, 7, frame, sizeof(frame)));
	answer = tables_explain(tables, 0, frame, 14);
	assert_string_not_equal(text_of(answer, "verdict"), "forward");
	json_object_put(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tables_test(test_a_prefix_shows_itself_and_what_is_more_specific),
		tables_test(test_an_address_shows_the_row_that_forwards_it),
		tables_test(test_a_filter_that_is_none_is_refused),
		tables_test(test_neighbours_of_ports_are_shown),
		tables_test(test_explain_shows_the_way_of_a_frame_and_what_leaves),
		tables_test(test_explain_names_the_reason_where_the_kernel_has_it),
	};

	return tables_env_run(tests, ARRAY_SIZE(tests));
}
