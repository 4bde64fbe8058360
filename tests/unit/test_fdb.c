/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The forwarding database of a bridge against a plain list, at its bounds, and under readers. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/fdb.h"
#include "tests/unit/fib_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define N_ADDRESSES 600 /* of the property test: more than fit */
#define MAX_ENTRIES 500
#define N_PORTS     5

struct mac {
	uint8_t octet[6];
};

static struct mac mac_of(uint64_t number)
{
	struct mac mac;

	for (unsigned i = 0; i < 6; i++)
		mac.octet[i] = (uint8_t)(number >> (8 * (5 - i)));
	return mac;
}

static struct fdb *fdb_sized(uint32_t max_entries, uint64_t seed)
{
	struct fdb *fdb = NULL;

	assert_int_equal(fdb_new(&world_pages, max_entries, seed, &fdb), 0);
	return fdb;
}

/* --- one thread against a list ---------------------------------------------------------------- */

struct list {
	struct listed {
		struct mac mac;
		bool is_there, is_static;
		uint16_t port;
		uint32_t seen_s;
	} entries[N_ADDRESSES];
	uint32_t n;
};

static void list_clear(struct list *list, struct listed *entry)
{
	list->n -= entry->is_there;
	entry->is_there = entry->is_static = false;
}

static void put_both(struct fdb *fdb, struct list *list, struct listed *entry, uint16_t port,
		     bool is_static, uint32_t now_s)
{
	int r = fdb_put(fdb, entry->mac.octet, port, is_static, now_s);

	if (entry->is_there && entry->is_static && !is_static) {
		assert_int_equal(r, -EPERM);
		return;
	}
	if (!entry->is_there && list->n == MAX_ENTRIES) {
		assert_int_equal(r, -ENOSPC);
		return;
	}
	assert_int_equal(r, 0);
	list->n += !entry->is_there;
	entry->is_there = true;
	entry->is_static = is_static;
	entry->port = port;
	entry->seen_s = now_s;
}

static void delete_both(struct fdb *fdb, struct list *list, struct listed *entry)
{
	assert_int_equal(fdb_delete(fdb, entry->mac.octet), entry->is_there ? 0 : -ENOENT);
	list_clear(list, entry);
}

static void see_both(struct fdb *fdb, struct listed *entry, uint16_t port, uint32_t now_s)
{
	bool is_known = entry->is_there && (entry->is_static || entry->port == port);

	assert_int_equal(fdb_saw(fdb, fdb_key(fdb, entry->mac.octet), port, now_s), is_known);
	if (is_known)
		entry->seen_s = now_s;
}

static void age_both(struct fdb *fdb, struct list *list, uint32_t oldest_s)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < N_ADDRESSES; i++) {
		struct listed *entry = &list->entries[i];

		if (entry->is_there && !entry->is_static && entry->seen_s < oldest_s) {
			list_clear(list, entry);
			n++;
		}
	}
	assert_int_equal(fdb_age(fdb, oldest_s), n);
}

static void flush_both(struct fdb *fdb, struct list *list, uint16_t port, bool and_static)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < N_ADDRESSES; i++) {
		struct listed *entry = &list->entries[i];

		if (entry->is_there && entry->port == port && (and_static || !entry->is_static)) {
			list_clear(list, entry);
			n++;
		}
	}
	assert_int_equal(fdb_flush_port(fdb, port, and_static), n);
}

static bool entry_is_listed(const struct fdb_entry *entry, void *arg)
{
	const struct list *list = arg;

	for (unsigned i = 0; i < N_ADDRESSES; i++) {
		const struct listed *listed = &list->entries[i];

		if (memcmp(listed->mac.octet, entry->mac, 6) != 0)
			continue;
		assert_true(listed->is_there);
		assert_int_equal(listed->port, entry->port);
		assert_int_equal(listed->is_static, entry->is_static);
		assert_int_equal(listed->seen_s, entry->seen_s);
		return true;
	}
	fail_msg("an address that nobody put");
	return false;
}

static void compare(const struct fdb *fdb, struct list *list)
{
	assert_int_equal(fdb_count(fdb), list->n);
	for (unsigned i = 0; i < N_ADDRESSES; i++) {
		const struct listed *entry = &list->entries[i];

		assert_int_equal(fdb_lookup(fdb, entry->mac.octet),
				 entry->is_there ? entry->port : FDB_NO_PORT);
	}
	fdb_for_each(fdb, entry_is_listed, list);
}

static void change_both(struct fdb *fdb, struct list *list, struct random *random, uint32_t now_s)
{
	struct listed *entry = &list->entries[random_below(random, N_ADDRESSES)];
	uint16_t port = (uint16_t)random_below(random, N_PORTS);
	uint32_t what = random_below(random, 1000);

	if (what < 550)
		put_both(fdb, list, entry, port, what < 30, now_s);
	else if (what < 700)
		delete_both(fdb, list, entry);
	else if (what < 990)
		see_both(fdb, entry, port, now_s);
	else if (what < 995)
		age_both(fdb, list, now_s - random_below(random, 50));
	else
		flush_both(fdb, list, port, what == 999);
}

static void test_fdb_agrees_with_a_plain_list(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	uint32_t n_changes = world_is_full() ? 3000000 : 100000 / WORLD_SLOWNESS;
	struct fdb *fdb = fdb_sized(MAX_ENTRIES, random_next(&random));
	struct list list = {0};

	for (unsigned i = 0; i < N_ADDRESSES; i++)
		list.entries[i].mac = mac_of(random_next(&random) << 8 | (i + 1));
	for (uint32_t i = 0; i < n_changes; i++) {
		change_both(fdb, &list, &random, 1000 + i / 100);
		if (i % 97 == 0)
			compare(fdb, &list);
	}
	compare(fdb, &list);
	fdb_free(fdb);
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* Half full, there is room for every address: of one vendor in a row, or any at all. */
static void fill_up(uint32_t max_entries, uint64_t seed, bool in_a_row)
{
	struct random random = {.state = seed | 1};
	struct fdb *fdb = fdb_sized(max_entries, seed);
	uint64_t base = random_next(&random) << 24;

	for (uint32_t i = 0; i < max_entries; i++) {
		struct mac mac = mac_of(in_a_row ? base + i : random_next(&random) >> 16);

		assert_int_equal(fdb_put(fdb, mac.octet, 1, false, 1), 0);
	}
	assert_int_equal(fdb_count(fdb), max_entries);
	assert_int_equal(fdb_put(fdb, mac_of(base - 1).octet, 1, false, 1), -ENOSPC);
	fdb_free(fdb);
}

static void test_fdb_takes_max_entries_and_no_more(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	unsigned n_times = world_is_full() ? 300 : 10;

	for (unsigned i = 0; i < n_times; i++) {
		fill_up(16384, random_next(&random), i % 2);
		fill_up(1000, random_next(&random), i % 2);
	}
	fill_up(1, 1, false);
	fill_up(16, 2, true);
}

static void test_fdb_keeps_a_static_entry_where_it_is(void **state)
{
	struct fdb *fdb = fdb_sized(16, 7);
	const struct mac mac = mac_of(0x020000000001);

	assert_int_equal(fdb_put(fdb, mac.octet, 2, true, 1), 0);
	assert_true(fdb_saw(fdb, fdb_key(fdb, mac.octet), 3, 2));
	assert_int_equal(fdb_put(fdb, mac.octet, 3, false, 2), -EPERM);
	assert_int_equal(fdb_age(fdb, 1000), 0);
	assert_int_equal(fdb_flush_port(fdb, 2, false), 0);
	assert_int_equal(fdb_lookup(fdb, mac.octet), 2);
	assert_int_equal(fdb_put(fdb, mac.octet, 3, true, 3), 0);
	assert_int_equal(fdb_lookup(fdb, mac.octet), 3);
	assert_int_equal(fdb_flush_port(fdb, 3, true), 1);
	assert_int_equal(fdb_lookup(fdb, mac.octet), FDB_NO_PORT);
	assert_int_equal(fdb_count(fdb), 0);
	fdb_free(fdb);
}

static void test_fdb_knows_no_address_of_zeroes(void **state)
{
	static const uint8_t zero[6];
	struct fdb *fdb = fdb_sized(16, 7);

	assert_int_equal(fdb_put(fdb, zero, 1, false, 1), -EINVAL);
	assert_int_equal(fdb_lookup(fdb, zero), FDB_NO_PORT);
	assert_false(fdb_saw(fdb, fdb_key(fdb, zero), 0, 1));
	assert_int_equal(fdb_delete(fdb, zero), -ENOENT);
	fdb_free(fdb);
}

static void test_fdb_survives_no_memory(void **state)
{
	struct fdb *fdb = NULL;

	world_pages_left = 0;
	assert_int_equal(fdb_new(&world_scarce_pages, 16, 1, &fdb), -ENOMEM);
	world_pages_left = 1;
	world_callocs_left = 0;
	assert_int_equal(fdb_new(&world_scarce_pages, 16, 1, &fdb), -ENOMEM);
	assert_null(fdb);
	assert_int_equal(fdb_new(&world_scarce_pages, 16, 1, &fdb), 0);
	fdb_free(fdb);
	fdb_free(NULL);
	assert_int_equal(world_pages_mapped, 0);
}

/* --- readers beside the writer ---------------------------------------------------------------- */

#define N_READERS  2
#define N_STEADY   200 /* stay where they are: port 1 */
#define N_ROAMING  200 /* move between ports 2 and 3, but are always there */
#define N_FLEETING 200 /* come and go at port 4 */

struct crowd {
	struct fdb *fdb;
	_Atomic bool stop;
	_Atomic uint64_t n_lookups;
	_Atomic uint64_t n_wrong;
};

static bool is_right(uint32_t number, uint16_t port)
{
	if (number < N_STEADY)
		return port == 1;
	if (number < N_STEADY + N_ROAMING)
		return port == 2 || port == 3;
	return port == 4 || port == FDB_NO_PORT;
}

static void *read_all(void *arg)
{
	struct crowd *crowd = arg;
	uint32_t now_s = 1;

	while (!atomic_load_explicit(&crowd->stop, memory_order_relaxed)) {
		for (uint32_t i = 0; i < N_STEADY + N_ROAMING + N_FLEETING; i++) {
			struct mac mac = mac_of(0x020000000000 + i);

			if (!is_right(i, fdb_lookup(crowd->fdb, mac.octet)))
				crowd->n_wrong++;
			if (!fdb_saw(crowd->fdb, fdb_key(crowd->fdb, mac.octet), 1, now_s) &&
			    i < N_STEADY)
				crowd->n_wrong++;
		}
		crowd->n_lookups += N_STEADY + N_ROAMING + N_FLEETING;
		now_s++;
	}
	return NULL;
}

static void change_once(struct fdb *fdb, struct random *random)
{
	uint32_t i = N_STEADY + random_below(random, N_ROAMING + N_FLEETING);
	struct mac mac = mac_of(0x020000000000 + i);

	if (i < N_STEADY + N_ROAMING)
		assert_int_equal(
			fdb_put(fdb, mac.octet, (uint16_t)(2 + random_below(random, 2)), false, 1),
			0);
	else if (fdb_lookup(fdb, mac.octet) == FDB_NO_PORT)
		assert_int_equal(fdb_put(fdb, mac.octet, 4, false, 1), 0);
	else
		assert_int_equal(fdb_delete(fdb, mac.octet), 0);
}

static void test_readers_see_before_or_after(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	/* just as large as needed: buckets are full, both are looked at */
	struct crowd crowd = {.fdb = fdb_sized(N_STEADY + N_ROAMING + N_FLEETING, 3)};
	uint32_t n_changes = world_is_full() ? 10000000 : 500000 / WORLD_SLOWNESS;
	pthread_t readers[N_READERS];

	for (uint32_t i = 0; i < N_STEADY + N_ROAMING; i++)
		assert_int_equal(fdb_put(crowd.fdb, mac_of(0x020000000000 + i).octet,
					 i < N_STEADY ? 1 : 2, false, 1),
				 0);
	for (unsigned i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_all, &crowd), 0);
	/* At least a few rounds of the readers, however late they start. */
	for (uint32_t i = 0; i < n_changes || crowd.n_lookups < 10000; i++)
		change_once(crowd.fdb, &random);
	crowd.stop = true;
	for (unsigned i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	assert_int_equal(crowd.n_wrong, 0);
	/* What the readers marked is seen by ageing: all of port 1, none of the others. */
	(void)fdb_age(crowd.fdb, 2);
	assert_int_equal(fdb_count(crowd.fdb), N_STEADY);
	fdb_free(crowd.fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fdb_agrees_with_a_plain_list),
		cmocka_unit_test(test_fdb_takes_max_entries_and_no_more),
		cmocka_unit_test(test_fdb_keeps_a_static_entry_where_it_is),
		cmocka_unit_test(test_fdb_knows_no_address_of_zeroes),
		cmocka_unit_test(test_fdb_survives_no_memory),
		cmocka_unit_test(test_readers_see_before_or_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
