/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of the tables is had by those who wait, however busy its thread is. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "control/tables_thread.h"
#include "unit.h"
#include "util/clock.h"

#define PATIENCE_NS (20 * NSEC_PER_MSEC)
#define BUSY_NS     (2 * NSEC_PER_SEC)

struct busy {
	struct tables_lock lock;
	pthread_t thread;
	_Atomic bool is_stopping;
	_Atomic bool has_begun;
	uint64_t tell_ns; /* UINT64_MAX = never */
};

/* As the tables thread through a long dump: slice after slice, and the lock only in between. */
static void *read_a_long_table(void *arg)
{
	struct busy *busy = arg;
	uint64_t begin_ns = clock_now_ns(), now_ns = begin_ns;

	tables_lock_take(&busy->lock);
	atomic_store(&busy->has_begun, true);
	while (!atomic_load(&busy->is_stopping) && now_ns < begin_ns + BUSY_NS) {
		tables_lock_yield(&busy->lock);
		now_ns = clock_now_ns();
		if (now_ns - begin_ns < busy->tell_ns)
			continue;
		busy->tell_ns = UINT64_MAX;
		tables_lock_tell_synced(&busy->lock);
	}
	tables_lock_give(&busy->lock);
	return NULL;
}

static void begin(struct busy *busy, uint64_t tell_ns)
{
	*busy = (struct busy){.tell_ns = tell_ns};
	assert_int_equal(tables_lock_init(&busy->lock), 0);
	assert_int_equal(pthread_create(&busy->thread, NULL, read_a_long_table, busy), 0);
	while (!atomic_load(&busy->has_begun))
		continue;
	tables_lock_take(&busy->lock);
}

static void end(struct busy *busy)
{
	tables_lock_give(&busy->lock);
	atomic_store(&busy->is_stopping, true);
	assert_int_equal(pthread_join(busy->thread, NULL), 0);
	tables_lock_fini(&busy->lock);
}

static void test_a_wait_for_the_sync_ends_in_time_while_the_sync_goes_on(void **state)
{
	struct busy busy;
	uint64_t begin_ns;

	begin(&busy, UINT64_MAX);
	begin_ns = clock_now_ns();
	assert_int_equal(tables_lock_wait_synced(&busy.lock, begin_ns + PATIENCE_NS), -ETIMEDOUT);
	assert_in_range(clock_now_ns() - begin_ns, PATIENCE_NS, BUSY_NS / 2);
	end(&busy);
}

static void test_a_wait_for_the_sync_ends_with_it(void **state)
{
	struct busy busy;

	begin(&busy, PATIENCE_NS);
	assert_int_equal(tables_lock_wait_synced(&busy.lock, clock_now_ns() + BUSY_NS), 0);
	end(&busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_wait_for_the_sync_ends_in_time_while_the_sync_goes_on),
		cmocka_unit_test(test_a_wait_for_the_sync_ends_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
