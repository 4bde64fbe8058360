/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bridges of the tables: what they learn from workers' rings, and what a reload leaves. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/tables_internal.h"
#include "net/fdb.h"
#include "unit.h"
#include "util/clock.h"
#include "util/log.h"

#define NS (5000 * NSEC_PER_SEC) /* now */

struct world {
	struct fdbs *fdbs;
	struct worker *workers[2];
	struct worker_set sets[2];
	struct tables_port ports[8];
	struct tables_bridge bridges[2];
	struct tables_static statics[2];
	struct tables_config config;
};

static const uint8_t *mac(uint16_t number)
{
	static uint8_t macs[8][6];
	static unsigned next;
	uint8_t *octets = macs[next++ % ARRAY_SIZE(macs)];

	memcpy(octets, (uint8_t[]){2, 0, 0, 0, (uint8_t)(number >> 8), (uint8_t)number}, 6);
	return octets;
}

static void name_port(struct world *w, uint32_t place, const char *name, uint32_t bridge)
{
	memset(&w->ports[place], 0, sizeof(w->ports[place]));
	w->ports[place].bridge = bridge;
	strncpy(w->ports[place].name, name, sizeof(w->ports[place].name) - 1);
	w->config.n_ports = MAX(w->config.n_ports, place + 1);
}

/* Ports a, b, c of bridge "br", x of none; two workers. */
static struct world *world(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(fdbs_new(&w->fdbs), 0);
	for (unsigned i = 0; i < 2; i++) {
		w->workers[i] = aligned_alloc(CACHE_LINE_BYTES, sizeof(*w->workers[i]));
		assert_non_null(w->workers[i]);
		memset(w->workers[i], 0, sizeof(*w->workers[i]));
		assert_int_equal(learn_ring_new(&w->workers[i]->learn), 0);
		w->sets[i].generation = 1;
		w->workers[i]->next = &w->sets[i];
		w->workers[i]->seen = 1;
	}
	name_port(w, 0, "a", 0);
	name_port(w, 1, "b", 0);
	name_port(w, 2, "x", UINT32_MAX);
	name_port(w, 3, "c", 0);
	w->bridges[0] = (struct tables_bridge){.name = "br",
					       .ageing_ns = 300 * NSEC_PER_SEC,
					       .max_entries = 100,
					       .learn_per_s = 1000};
	w->config.ports = w->ports;
	w->config.bridges = w->bridges;
	w->config.n_bridges = 1;
	w->config.workers = w->workers;
	w->config.n_workers = 2;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	return w;
}

static void world_end(struct world *w)
{
	fdbs_free(w->fdbs);
	for (unsigned i = 0; i < 2; i++) {
		learn_ring_free(w->workers[i]->learn);
		free(w->workers[i]);
	}
	free(w);
}

/* As a worker makes it that has the latest set. */
static learn_report report_by(struct world *w, uint16_t number, uint16_t place)
{
	const struct tables_port *port = &w->ports[place % ARRAY_SIZE(w->ports)];
	uint32_t bridge = port->bridge < w->config.n_bridges ? port->bridge : 0;

	return learn_report_of(mac(number), place,
			       fdb_tag(fdbs_find(w->fdbs, w->bridges[bridge].name)));
}

static void report(struct world *w, unsigned worker, uint16_t number, uint16_t place)
{
	assert_true(learn_push(w->workers[worker]->learn, report_by(w, number, place)));
	(void)learn_submit(w->workers[worker]->learn);
}

static uint16_t where(struct world *w, uint16_t number)
{
	return fdb_lookup(fdbs_find(w->fdbs, "br"), mac(number));
}

static struct report_bridge report_of(const struct world *w)
{
	static struct report_tables all;

	fdbs_report(w->fdbs, &all);
	assert_int_equal(all.n_bridges, w->config.n_bridges);
	return all.bridges[0];
}

static void test_reports_of_all_workers_are_learnt(void **state)
{
	struct world *w = world();

	report(w, 0, 1, 0);
	report(w, 1, 2, 3);
	report(w, 1, 2, 3); /* twice: counted once */
	report(w, 0, 3, 2); /* a port of no bridge */
	report(w, 0, 4, 63);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 1), 0);
	assert_int_equal(where(w, 2), 3);
	assert_int_equal(where(w, 3), FDB_NO_PORT);
	assert_int_equal(report_of(w).n_learned, 2);
	report(w, 0, 2, 1);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 2), 1);
	assert_int_equal(report_of(w).n_moved, 1);
	assert_int_equal(report_of(w).n_entries, 2);
	assert_int_equal(report_of(w).n_refused, 0);
	world_end(w);
}

/* Two cables between the same switches: every station is behind both ports at once. */
static void test_a_loop_is_told_of_once_a_second(void **state)
{
	struct world *w = world();
	uint64_t before = log_count(LOG_LEVEL_WARNING);

	for (unsigned i = 0; i < 50; i++) {
		report(w, 0, 1, i % 2);
		fdbs_drain(w->fdbs, NS);
	}
	fdbs_age(w->fdbs, 2 * NS);
	assert_int_equal(log_count(LOG_LEVEL_WARNING), before);
	for (unsigned i = 0; i < 200; i++) {
		report(w, 0, 1, i % 2);
		fdbs_drain(w->fdbs, 2 * NS);
	}
	fdbs_age(w->fdbs, 3 * NS);
	assert_int_equal(log_count(LOG_LEVEL_WARNING), before + 1);
	fdbs_age(w->fdbs, 4 * NS);
	assert_int_equal(log_count(LOG_LEVEL_WARNING), before + 1);
	world_end(w);
}

/* Port b stood in place 1, where c stands now; the worker has not taken up the new set yet. */
static void test_a_report_by_the_places_of_before_is_not_learnt(void **state)
{
	struct world *w = world();

	report(w, 0, 1, 1);
	name_port(w, 1, "c", 0);
	name_port(w, 3, "b", 0);
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 1), FDB_NO_PORT);
	report(w, 0, 1, 3);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 1), 3);
	world_end(w);
}

static void test_draining_asks_to_be_woken(void **state)
{
	struct world *w = world();
	uint64_t n;

	fdbs_drain(w->fdbs, NS);
	assert_true(learn_push(w->workers[0]->learn, report_by(w, 1, 0)));
	assert_true(learn_submit(w->workers[0]->learn));
	n = 1;
	assert_int_equal(write(w->workers[0]->learn->eventfd, &n, sizeof(n)), sizeof(n));
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 1), 0);
	/* It has read the eventfd, and will be told of the next. */
	assert_int_equal(read(w->workers[0]->learn->eventfd, &n, sizeof(n)), -1);
	assert_true(learn_push(w->workers[0]->learn, report_by(w, 2, 0)));
	assert_true(learn_submit(w->workers[0]->learn));
	world_end(w);
}

static void test_the_learning_limit_is_a_second_s_worth(void **state)
{
	struct world *w = world();

	w->bridges[0].learn_per_s = 10;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	for (uint16_t i = 0; i < 15; i++)
		report(w, 0, i + 1, 0);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(report_of(w).n_learned, 10);
	assert_int_equal(report_of(w).n_refused, 5);
	for (uint16_t i = 10; i < 15; i++)
		report(w, 0, i + 1, 0);
	fdbs_drain(w->fdbs, NS + 200 * NSEC_PER_MSEC);
	assert_int_equal(report_of(w).n_learned, 12);
	assert_int_equal(report_of(w).n_refused, 8);
	world_end(w);
}

static void test_max_entries_is_a_bound_that_ageing_lifts(void **state)
{
	struct world *w = world();
	struct fdb *fdb = fdbs_find(w->fdbs, "br");

	for (uint16_t i = 0; i < 120; i++)
		report(w, i % 2, i + 1, 0);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(report_of(w).n_entries, 100);
	assert_int_equal(report_of(w).n_refused, 20);
	fdbs_age(w->fdbs, NS + 300 * NSEC_PER_SEC);
	assert_int_equal(report_of(w).n_entries, 100);
	(void)fdb_saw(fdb, fdb_key(fdb, mac(1)), 0, (uint32_t)(NS / NSEC_PER_SEC) + 200);
	fdbs_age(w->fdbs, NS + 302 * NSEC_PER_SEC);
	assert_int_equal(report_of(w).n_entries, 1);
	assert_int_equal(report_of(w).n_aged, 99);
	assert_int_equal(where(w, 1), 0);
	/* Just after boot nothing is older than 300 s. */
	fdbs_age(w->fdbs, 10 * NSEC_PER_SEC);
	assert_int_equal(report_of(w).n_entries, 1);
	world_end(w);
}

static void test_a_port_that_went_down_is_forgotten(void **state)
{
	struct world *w = world();

	w->statics[0] = (struct tables_static){.mac = {2, 0, 0, 0, 0, 9}, .port = 1};
	w->bridges[0].statics = w->statics;
	w->bridges[0].n_statics = 1;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	report(w, 0, 1, 0);
	report(w, 0, 2, 1);
	fdbs_drain(w->fdbs, NS);
	report(w, 0, 3, 1); /* on its way when the link went */
	fdbs_port_down(w->fdbs, 1, NS);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 1), 0);
	assert_int_equal(where(w, 2), FDB_NO_PORT);
	assert_int_equal(where(w, 3), FDB_NO_PORT);
	assert_int_equal(where(w, 9), 1);
	fdbs_port_down(w->fdbs, 2, NS); /* of no bridge */
	fdbs_port_down(w->fdbs, 99, NS);
	assert_int_equal(report_of(w).n_entries, 2);
	world_end(w);
}

static void test_static_entries_follow_the_configuration(void **state)
{
	struct world *w = world();

	report(w, 0, 9, 0);
	report(w, 0, 8, 0);
	fdbs_drain(w->fdbs, NS);
	w->statics[0] = (struct tables_static){.mac = {2, 0, 0, 0, 0, 9}, .port = 1};
	w->statics[1] = (struct tables_static){.mac = {2, 0, 0, 0, 0, 7}, .port = 3};
	w->bridges[0].statics = w->statics;
	w->bridges[0].n_statics = 2;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(where(w, 9), 1);
	assert_int_equal(where(w, 7), 3);
	report(w, 0, 9, 0); /* it does not move */
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 9), 1);
	w->bridges[0].n_statics = 1;
	w->statics[0].port = 3;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(where(w, 9), 3);
	assert_int_equal(where(w, 7), FDB_NO_PORT);
	assert_int_equal(where(w, 8), 0);
	world_end(w);
}

static void test_a_static_entry_has_room_in_a_full_database(void **state)
{
	struct world *w = world();

	for (uint16_t i = 0; i < 100; i++)
		report(w, 0, i + 100, 0);
	fdbs_drain(w->fdbs, NS);
	w->statics[0] = (struct tables_static){.mac = {2, 0, 0, 0, 0, 9}, .port = 1};
	w->bridges[0].statics = w->statics;
	w->bridges[0].n_statics = 1;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(where(w, 9), 1);
	world_end(w);
}

static void test_a_port_more_keeps_the_database(void **state)
{
	struct world *w = world();
	struct fdb *fdb = fdbs_find(w->fdbs, "br");

	report(w, 0, 1, 3);
	fdbs_drain(w->fdbs, NS);
	name_port(w, 4, "d", 0);
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_ptr_equal(fdbs_find(w->fdbs, "br"), fdb);
	assert_int_equal(where(w, 1), 3);
	world_end(w);
}

static void test_ports_that_change_places_are_renumbered_in_a_new_database(void **state)
{
	struct world *w = world();
	struct fdb *old = fdbs_find(w->fdbs, "br");

	report(w, 0, 1, 0); /* behind a */
	report(w, 0, 2, 1); /* b, which vanishes */
	report(w, 0, 3, 3); /* c */
	fdbs_drain(w->fdbs, NS);
	name_port(w, 0, "c", 0);
	name_port(w, 1, "y", UINT32_MAX);
	name_port(w, 2, "a", 0);
	name_port(w, 3, "new", 0);
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_ptr_not_equal(fdbs_find(w->fdbs, "br"), old);
	assert_int_equal(where(w, 1), 2);
	assert_int_equal(where(w, 2), FDB_NO_PORT);
	assert_int_equal(where(w, 3), 0);
	assert_int_equal(report_of(w).n_learned, 3);
	/* Workers still have the old one until both have taken up another set. */
	assert_int_equal(fdb_lookup(old, mac(1)), 0);
	w->workers[0]->seen = 2;
	fdbs_age(w->fdbs, NS);
	assert_int_equal(fdb_lookup(old, mac(3)), 3);
	w->workers[1]->seen = 2;
	fdbs_age(w->fdbs, NS); /* frees: ASan would see a read, LeakSanitizer a leak */
	world_end(w);
}

static void test_another_size_keeps_what_fits(void **state)
{
	struct world *w = world();

	for (uint16_t i = 0; i < 100; i++)
		report(w, 0, i + 1, 1);
	fdbs_drain(w->fdbs, NS);
	w->bridges[0].max_entries = 40;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(report_of(w).n_entries, 40);
	w->bridges[0].max_entries = 5000;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(report_of(w).n_entries, 40);
	world_end(w);
}

static void test_bridges_come_and_go(void **state)
{
	struct world *w = world();

	report(w, 0, 1, 0);
	fdbs_drain(w->fdbs, NS);
	w->bridges[1] = w->bridges[0];
	strcpy(w->bridges[0].name, "other");
	w->config.n_bridges = 2;
	for (unsigned i = 0; i < 4; i++)
		w->ports[i].bridge = i < 2 ? 1 : 0;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_int_equal(where(w, 1), 0);
	assert_non_null(fdbs_find(w->fdbs, "other"));
	report(w, 0, 2, 3);
	fdbs_drain(w->fdbs, NS);
	assert_int_equal(where(w, 2), FDB_NO_PORT);
	assert_int_equal(fdb_lookup(fdbs_find(w->fdbs, "other"), mac(2)), 3);
	w->config.n_bridges = 0;
	assert_int_equal(fdbs_configure(w->fdbs, &w->config), 0);
	assert_null(fdbs_find(w->fdbs, "br"));
	world_end(w);
}

static const char *text(struct json_object *row, const char *key)
{
	return json_object_get_string(json_object_object_get(row, key));
}

static void test_show_fdb_is_bounded_and_names_ports(void **state)
{
	struct world *w = world();
	struct json_object *rows;

	report(w, 0, 1, 3);
	fdbs_drain(w->fdbs, NS);
	rows = fdbs_json(w->fdbs, NULL, 10, NS + 7 * NSEC_PER_SEC);
	assert_int_equal(json_object_array_length(rows), 1);
	assert_string_equal(text(json_object_array_get_idx(rows, 0), "mac"), "02:00:00:00:00:01");
	assert_string_equal(text(json_object_array_get_idx(rows, 0), "port"), "c");
	assert_string_equal(text(json_object_array_get_idx(rows, 0), "bridge"), "br");
	assert_string_equal(text(json_object_array_get_idx(rows, 0), "static"), "false");
	assert_string_equal(text(json_object_array_get_idx(rows, 0), "age_s"), "7");
	json_object_put(rows);
	for (uint16_t i = 0; i < 50; i++)
		report(w, 0, i + 10, 0);
	fdbs_drain(w->fdbs, NS);
	rows = fdbs_json(w->fdbs, "br", 10, NS);
	assert_int_equal(json_object_array_length(rows), 10);
	json_object_put(rows);
	rows = fdbs_json(w->fdbs, "none", 10, NS);
	assert_int_equal(json_object_array_length(rows), 0);
	json_object_put(rows);
	world_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports_of_all_workers_are_learnt),
		cmocka_unit_test(test_a_loop_is_told_of_once_a_second),
		cmocka_unit_test(test_draining_asks_to_be_woken),
		cmocka_unit_test(test_a_report_by_the_places_of_before_is_not_learnt),
		cmocka_unit_test(test_the_learning_limit_is_a_second_s_worth),
		cmocka_unit_test(test_max_entries_is_a_bound_that_ageing_lifts),
		cmocka_unit_test(test_a_port_that_went_down_is_forgotten),
		cmocka_unit_test(test_static_entries_follow_the_configuration),
		cmocka_unit_test(test_a_static_entry_has_room_in_a_full_database),
		cmocka_unit_test(test_a_port_more_keeps_the_database),
		cmocka_unit_test(test_ports_that_change_places_are_renumbered_in_a_new_database),
		cmocka_unit_test(test_another_size_keeps_what_fits),
		cmocka_unit_test(test_bridges_come_and_go),
		cmocka_unit_test(test_show_fdb_is_bounded_and_names_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
