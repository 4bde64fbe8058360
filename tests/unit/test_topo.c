/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUs and nodes from a sysfs tree made up here; the affinity mask is this process's own. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "util/macros.h"
#include "util/topo.h"

static char root[] = "/tmp/sluice-topo-XXXXXX";

static const char *const dirs[] = {
	"devices",
	"devices/system",
	"devices/system/cpu",
	"devices/system/node",
	"devices/system/node/node0",
	"devices/system/node/node3",
};

#define ISOLATED "devices/system/cpu/isolated"
#define NODE0    "devices/system/node/node0/cpulist"
#define NODE3    "devices/system/node/node3/cpulist"

static void put(const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", root, file);
	out = fopen(path, "we");
	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static int make_tree(void **state)
{
	char path[PATH_MAX];

	if (!mkdtemp(root))
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
		if (mkdir(path, 0700) < 0)
			return -1;
	}
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const files[] = {ISOLATED, NODE0, NODE3};
	char path[PATH_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, files[i]);
		(void)unlink(path);
	}
	for (unsigned i = ARRAY_SIZE(dirs); i-- > 0;) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
		(void)rmdir(path);
	}
	return rmdir(root);
}

static void test_nodes_and_isolation_come_from_sysfs(void **state)
{
	struct topo topo;

	put(NODE0, "0-2,8-9\n");
	put(NODE3, "4,1000\n");
	put(ISOLATED, "2,8-9\n");
	assert_int_equal(topo_read(root, &topo), 0);
	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++) {
		bool is_node0 = cpu <= 2 || cpu == 8 || cpu == 9;
		bool is_node3 = cpu == 4 || cpu == 1000;

		assert_int_equal(topo.cpus[cpu].node, is_node0 ? 0 : is_node3 ? 3 : -1);
		assert_int_equal(topo.cpus[cpu].is_isolated, cpu == 2 || cpu == 8 || cpu == 9);
	}
	assert_int_equal(topo.n_cpus, 1001);
}

static void test_cpus_beyond_the_table_are_ignored(void **state)
{
	struct topo topo;

	put(NODE0, "1020-5000\n");
	put(NODE3, "\n");
	put(ISOLATED, "\n");
	assert_int_equal(topo_read(root, &topo), 0);
	assert_int_equal(topo.n_cpus, TOPO_MAX_CPUS);
	assert_int_equal(topo.cpus[TOPO_MAX_CPUS - 1].node, 0);
	assert_false(topo.cpus[0].is_isolated);
}

static void test_without_sysfs_nodes_are_unknown(void **state)
{
	struct topo topo;

	assert_int_equal(topo_read("/nonexistent", &topo), 0);
	assert_int_not_equal(topo_n_allowed(&topo), 0);
	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++) {
		assert_int_equal(topo.cpus[cpu].node, -1);
		assert_false(topo.cpus[cpu].is_isolated);
	}
}

static void test_allowed_is_the_affinity_mask(void **state)
{
	struct topo before, after;
	cpu_set_t saved, one;
	char text[64], expected[16];
	unsigned cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(saved), &saved), 0);
	assert_int_equal(topo_read("/nonexistent", &before), 0);
	assert_int_equal(topo_n_allowed(&before), CPU_COUNT(&saved));
	while (!CPU_ISSET(cpu, &saved))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(topo_read("/nonexistent", &after), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(saved), &saved), 0);
	assert_int_equal(topo_n_allowed(&after), 1);
	assert_true(after.cpus[cpu].is_allowed);
	assert_int_equal(topo_same_allowed(&before, &after), CPU_COUNT(&saved) == 1);
	assert_true(topo_same_allowed(&after, &after));
	(void)snprintf(expected, sizeof(expected), "%u", cpu);
	assert_string_equal(topo_format_allowed(&after, text, sizeof(text)), expected);
}

static void test_allowed_prints_as_ranges(void **state)
{
	static const unsigned cpus[] = {0, 1, 4, 6, 7, 8};
	struct topo topo = {.n_cpus = 9};
	char text[64];

	assert_string_equal(topo_format_allowed(&topo, text, sizeof(text)), "");
	for (unsigned i = 0; i < ARRAY_SIZE(cpus); i++)
		topo.cpus[cpus[i]].is_allowed = true;
	assert_string_equal(topo_format_allowed(&topo, text, sizeof(text)), "0-1,4,6-8");
	/* What does not fit is cut, never written beyond. */
	text[6] = 'x';
	assert_string_equal(topo_format_allowed(&topo, text, 6), "0-1,4");
	assert_int_equal(text[6], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_and_isolation_come_from_sysfs),
		cmocka_unit_test(test_cpus_beyond_the_table_are_ignored),
		cmocka_unit_test(test_without_sysfs_nodes_are_unknown),
		cmocka_unit_test(test_allowed_is_the_affinity_mask),
		cmocka_unit_test(test_allowed_prints_as_ranges),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
