// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/jiffies against the kernel that it estimates: busy, asleep so that the kernel stops its
 * ticks, and after any error of the origin. Two ticks of error are allowed; one is what is said.
 *
 * The kernel's own count may be late: in a virtual machine whose CPU for the tick is kept from
 * running, by 5 ticks as seen here. Then the estimate is ahead until the kernel has caught up,
 * which makes a dead worker look alive for that long; it must never stay ahead, nor be behind.
 */
#include <sys/timerfd.h>

#include "bpf_env.h"
#include "kern/jiffies.h"
#include "util/clock.h"
#include "util/macros.h"

#define RUN_NS    (NSEC_PER_SEC / 2)
#define MAX_ERROR 2
/* The kernel catches up within this time; an estimate that drifts away does not come back. */
#define CATCH_UP_NS NSEC_PER_SEC
/* Readings of the first calibration, over several ticks: the daemon's are as far apart, at start.
 */
#define N_FIRST 20

static struct jiffies jiffies;

static int set_up(void **state)
{
	uint64_t until_ns = clock_now_ns() + N_FIRST * clock_tick_ns();
	int r;

	jiffies = JIFFIES_INIT;
	do
		r = jiffies_calibrate(&jiffies);
	while (r == 0 && clock_now_ns() < until_ns);
	return r;
}

static int tear_down(void **state)
{
	jiffies_fini(&jiffies);
	return jiffies.prog_fd == -1 ? 0 : -1;
}

/*
 * Estimate minus kernel; the kernel is asked twice, so that being kept from the CPU in between
 * does not count.
 */
static int64_t error_now(void)
{
	uint64_t before, after, estimate;

	assert_int_equal(jiffies_read(&jiffies, &before), 0);
	estimate = jiffies_at(jiffies.origin_ns, clock_tick_ns(), clock_now_ns());
	assert_int_equal(jiffies_read(&jiffies, &after), 0);
	if ((int64_t)(estimate - before) < 0)
		return (int64_t)(estimate - before);
	return (int64_t)(estimate - after) > 0 ? (int64_t)(estimate - after) : 0;
}

static void assert_close(void)
{
	uint64_t until_ns = clock_now_ns() + CATCH_UP_NS;
	int64_t error = error_now();

	while (error > MAX_ERROR && clock_now_ns() < until_ns)
		error = error_now();
	if (error < -MAX_ERROR || error > MAX_ERROR)
		fail_msg("the estimate is %lld ticks off", (long long)error);
}

static void test_follows_the_kernel_while_busy(void **state)
{
	uint64_t until_ns = clock_now_ns() + RUN_NS, first, last;

	assert_int_equal(jiffies_read(&jiffies, &first), 0);
	while (clock_now_ns() < until_ns)
		assert_close();
	assert_int_equal(jiffies_read(&jiffies, &last), 0);
	assert_in_range(last - first, RUN_NS / clock_tick_ns() - 2,
			(clock_now_ns() - until_ns + RUN_NS) / clock_tick_ns() + 2);
}

/* Asleep between looks, for longer than a tick each time: the kernel may stop its tick (nohz). */
static void test_follows_the_kernel_while_idle(void **state)
{
	const struct itimerspec every = {{.tv_nsec = 37 * NSEC_PER_MSEC}, {.tv_nsec = 1}};
	_cleanup_close_ int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t until_ns = clock_now_ns() + RUN_NS, n;

	assert_int_equal(timerfd_settime(timer, 0, &every, NULL), 0);
	while (clock_now_ns() < until_ns) {
		assert_int_equal(read(timer, &n, sizeof(n)), sizeof(n));
		assert_close();
	}
}

static void test_another_calibration_moves_it_by_less_than_a_tick(void **state)
{
	uint64_t until_ns = clock_now_ns() + RUN_NS;
	const uint64_t first_ns = jiffies.origin_ns;

	while (clock_now_ns() < until_ns) {
		int64_t moved_ns;

		assert_int_equal(jiffies_calibrate(&jiffies), 0);
		moved_ns = (int64_t)(jiffies.origin_ns - first_ns);
		assert_in_range(moved_ns + (int64_t)clock_tick_ns(), 0, 2 * clock_tick_ns());
		assert_close();
	}
}

/* The timer was fast (or ticks came late at the first calibration): mended at once. */
static void test_an_origin_too_late_is_mended_at_once(void **state)
{
	jiffies.origin_ns += 100 * clock_tick_ns();
	assert_true(error_now() < -90);
	assert_int_equal(jiffies_calibrate(&jiffies), 0);
	assert_close();
}

/* The timer was slow, or lost ticks: by 1/1024 of the time since, and no further than the truth. */
static void test_an_origin_too_early_is_mended_slowly(void **state)
{
	const uint64_t true_ns = jiffies.origin_ns;
	uint64_t moved_ns;

	jiffies.origin_ns -= 100 * clock_tick_ns();
	jiffies.calibrated_at_ns -= 1024 * 10 * clock_tick_ns(); /* ten ticks' worth */
	assert_true(error_now() > 90);
	assert_int_equal(jiffies_calibrate(&jiffies), 0);
	moved_ns = jiffies.origin_ns - (true_ns - 100 * clock_tick_ns());
	assert_in_range(moved_ns, 10 * clock_tick_ns(), 11 * clock_tick_ns());
	jiffies.calibrated_at_ns -= 1024 * 200 * clock_tick_ns();
	assert_int_equal(jiffies_calibrate(&jiffies), 0);
	assert_close();
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_follows_the_kernel_while_busy),
		T(test_follows_the_kernel_while_idle),
		T(test_another_calibration_moves_it_by_less_than_a_tick),
		T(test_an_origin_too_late_is_mended_at_once),
		T(test_an_origin_too_early_is_mended_slowly),
	};

	env_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
