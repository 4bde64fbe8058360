/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is read of a machine's memory, from a tree of the test's own and from the real one. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "control/memlimits.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define HUGE_PAGES "sys/kernel/mm/hugepages/hugepages-2048kB"

static char root[] = "/tmp/sluice-memlimits-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *slash = strchr(full + sizeof(root), '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_what_is_not_there_is_no_limit(void **state)
{
	struct plan_limits limits;

	memlimits_read("/nonexistent", &limits);
	assert_true(limits.available_bytes == UINT64_MAX);
	assert_true(limits.huge_bytes == UINT64_MAX);
}

static void test_free_memory_and_huge_pages_are_read(void **state)
{
	struct plan_limits limits;

	assert_non_null(mkdtemp(root));
	put("proc/meminfo",
	    "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:    4096 kB\n");
	put(HUGE_PAGES "/free_hugepages", "10\n");
	put(HUGE_PAGES "/resv_hugepages", "3\n");
	put(HUGE_PAGES "/nr_overcommit_hugepages", "5\n");
	put(HUGE_PAGES "/surplus_hugepages", "4\n");
	memlimits_read(root, &limits);
	assert_int_equal(limits.available_bytes, 4 << 20);
	assert_int_equal(limits.huge_bytes, 8 * PLAN_HUGE_PAGE_BYTES);
	put(HUGE_PAGES "/resv_hugepages", "11\n");
	put(HUGE_PAGES "/surplus_hugepages", "6\n");
	memlimits_read(root, &limits);
	assert_int_equal(limits.huge_bytes, 0);
}

static void test_the_real_machine_has_memory(void **state)
{
	struct plan_limits limits;

	memlimits_read("", &limits);
	assert_in_range(limits.available_bytes, 1 << 20, 1ULL << 60);
}

static int remove_tree(void **state)
{
	static const char *const paths[] = {
		HUGE_PAGES "/free_hugepages",
		HUGE_PAGES "/resv_hugepages",
		HUGE_PAGES "/nr_overcommit_hugepages",
		HUGE_PAGES "/surplus_hugepages",
		HUGE_PAGES,
		"sys/kernel/mm/hugepages",
		"sys/kernel/mm",
		"sys/kernel",
		"sys",
		"proc/meminfo",
		"proc",
		"",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		char full[256];

		(void)snprintf(full, sizeof(full), "%s/%s", root, paths[i]);
		(void)remove(full);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_there_is_no_limit),
		cmocka_unit_test(test_free_memory_and_huge_pages_are_read),
		cmocka_unit_test(test_the_real_machine_has_memory),
	};

	return cmocka_run_group_tests_name("memlimits", tests, NULL, remove_tree);
}
