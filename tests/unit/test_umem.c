/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packet memory: the region as the kernel sees it, and the books over its frames. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "kern/umem.h"
#include "unit.h"

static struct umem umem_of(uint32_t n_frames, uint32_t frame_size_bytes)
{
	const struct umem_spec spec = {
		.n_frames = n_frames, .frame_size_bytes = frame_size_bytes, .numa_node = -1};
	struct umem umem;

	assert_int_equal(umem_init(&umem, &spec), 0);
	return umem;
}

static void test_the_region_is_a_sealed_memfd_of_the_right_size(void **state)
{
	struct umem umem = umem_of(1000, 2048);
	struct stat st;
	uint8_t *again;

	assert_int_equal(umem.size_bytes, 2048 * 1000);
	assert_int_equal(fstat(umem.memfd, &st), 0);
	assert_int_equal(st.st_size, 2048 * 1000);
	assert_true(fcntl(umem.memfd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(ftruncate(umem.memfd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(umem.memfd, 1 << 30), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(umem.memfd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* A successor maps the same bytes. */
	again = mmap(NULL, umem.size_bytes, PROT_READ, MAP_SHARED, umem.memfd, 0);
	assert_true(again != MAP_FAILED);
	umem.area[999 * 2048 + 7] = 0xa7;
	assert_int_equal(again[999 * 2048 + 7], 0xa7);
	assert_int_equal(munmap(again, umem.size_bytes), 0);
	umem_fini(&umem);
}

/* From /proc/self/smaps: the line `key` of the mapping that starts at addr, in kB or flags. */
static bool smaps_line(const void *addr, const char *key, char *line, int size)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	bool is_ours = false, found = false;

	assert_non_null(file);
	while (!found && fgets(line, size, file)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			is_ours = start == (unsigned long)addr;
		else
			found = is_ours && strncmp(line, key, strlen(key)) == 0;
	}
	(void)fclose(file);
	return found;
}

static void test_every_page_is_there_before_the_first_packet(void **state)
{
	struct umem umem = umem_of(1024, 4096);
	char line[256];

	assert_true(smaps_line(umem.area, "Rss:", line, sizeof(line)));
	assert_int_equal(strtoul(line + 4, NULL, 10), 4096);
	umem_fini(&umem);
}

static void test_packets_stay_out_of_core_files(void **state)
{
	struct umem umem = umem_of(1024, 2048);
	char line[256];

	assert_true(smaps_line(umem.area, "VmFlags:", line, sizeof(line)));
	assert_non_null(strstr(line, " dd"));
	umem_fini(&umem);
}

static void test_odd_sizes_are_refused_and_nothing_stays_open(void **state)
{
	static const struct umem_spec specs[] = {
		{.n_frames = 0, .frame_size_bytes = 2048},
		{.n_frames = 8, .frame_size_bytes = 0},
		{.n_frames = 8, .frame_size_bytes = 1024},
		{.n_frames = 8, .frame_size_bytes = 3000},
		{.n_frames = 8, .frame_size_bytes = 8192},
	};

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		struct umem umem;

		memset(&umem, 0x5a, sizeof(umem));
		assert_int_equal(umem_init(&umem, &specs[i]), -EINVAL);
		assert_null(umem.area);
		assert_int_equal(umem.memfd, -1);
		umem_fini(&umem);
	}
}

/* What cannot be had fails at once and with a reason, never as SIGBUS under traffic. */
static void test_more_huge_pages_than_there_are_is_enomem(void **state)
{
	const struct umem_spec spec = {.n_frames = 1U << 30, /* 2 TiB */
				       .frame_size_bytes = 2048,
				       .numa_node = -1,
				       .want_huge = true};
	struct umem umem;

	assert_int_equal(umem_init(&umem, &spec), -ENOMEM);
	assert_null(umem.area);
	assert_int_equal(umem.memfd, -1);
}

static void test_the_node_is_that_of_the_pages_or_unknown(void **state)
{
	static const int wanted[] = {-1, 0, 1, 63, 1023, 1024, 100000};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct umem_spec spec = {
			.n_frames = 64, .frame_size_bytes = 2048, .numa_node = wanted[i]};
		struct umem umem;
		char path[64];

		/* A node that cannot be had is no error; whatever is said is true. */
		assert_int_equal(umem_init(&umem, &spec), 0);
		assert_true(umem.node >= -1);
		if (umem.node >= 0) {
			(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d",
				       umem.node);
			assert_int_equal(access(path, F_OK), 0);
		}
		if (access("/sys/devices/system/node/node1", F_OK) != 0 &&
		    access("/sys/devices/system/node/node0", F_OK) == 0)
			assert_int_equal(umem.node, 0);
		umem_fini(&umem);
	}
}

static void test_all_frames_are_free_lowest_first(void **state)
{
	struct umem umem = umem_of(8, 4096);

	assert_int_equal(umem.n_free, 8);
	assert_int_equal(umem.min_free, 8);
	assert_int_equal(umem.frame_shift, 12);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(umem.owner[i], FRAME_FREE);
		assert_int_equal(umem_take(&umem), i);
	}
	assert_int_equal(umem.n_free, 0);
	/* Last in, first out. */
	umem_put(&umem, 5);
	umem_put(&umem, 2);
	assert_int_equal(umem_take(&umem), 2);
	assert_int_equal(umem_take(&umem), 5);
	umem_fini(&umem);
}

static void test_addresses_are_checked_against_frame_and_region(void **state)
{
	struct umem umem = umem_of(16, 2048);

	assert_int_equal(umem_frame_addr(&umem, 15), 15 * 2048);
	assert_int_equal(umem_frame_of(&umem, 15 * 2048 + 2047), 15);
	assert_int_equal(umem_frame_of(&umem, 16 * 2048), 16);
	assert_true(umem_holds(&umem, 0, 2048));
	assert_false(umem_holds(&umem, 0, 2049));
	assert_false(umem_holds(&umem, 1, 2048));
	assert_true(umem_holds(&umem, 15 * 2048 + 256, 1792));
	assert_false(umem_holds(&umem, 15 * 2048 + 256, 1793));
	assert_false(umem_holds(&umem, 16 * 2048, 0));
	assert_false(umem_holds(&umem, UINT64_MAX, 1));
	assert_false(umem_holds(&umem, 256, UINT32_MAX));
	umem_fini(&umem);
}

static void test_owner_bytes_of_all_tags_differ(void **state)
{
	uint8_t seen[256] = {[FRAME_FREE] = 1};

	for (unsigned tag = 0; tag < UMEM_MAX_LANES; tag++) {
		assert_false(seen[FRAME_FILL(tag)]++);
		assert_false(seen[FRAME_TX(tag)]++);
	}
}

static void test_reclaim_frees_the_frames_of_its_tag_and_no_others(void **state)
{
	struct umem umem = umem_of(64, 2048);

	for (unsigned i = 0; i < 30; i++) {
		uint32_t frame = umem_take(&umem);
		unsigned tag = i % 3 == 2 ? 126 : i % 3; /* 0, 1, 126 */

		umem.owner[frame] = i % 2 ? FRAME_FILL(tag) : FRAME_TX(tag);
	}
	umem.n_quarantine = 20;
	assert_int_equal(umem_reclaim(&umem, 126), 10);
	assert_int_equal(umem.n_free, 44);
	assert_int_equal(umem.n_quarantine, 10);
	assert_int_equal(umem_reclaim(&umem, 126), 0);
	assert_int_equal(umem_reclaim(&umem, 5), 0);
	assert_int_equal(umem_reclaim(&umem, 0), 10);
	assert_int_equal(umem.n_quarantine, 0);
	for (uint32_t i = 0; i < umem.n_free; i++)
		assert_int_equal(umem.owner[umem.free[i]], FRAME_FREE);
	umem_fini(&umem);
}

static void test_fini_takes_anything(void **state)
{
	struct umem zeroed = {0}, umem = umem_of(8, 2048);

	umem_fini(&zeroed);
	assert_int_equal(zeroed.memfd, -1);
	umem_fini(&umem);
	umem_fini(&umem);
	assert_null(umem.owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_region_is_a_sealed_memfd_of_the_right_size),
		cmocka_unit_test(test_every_page_is_there_before_the_first_packet),
		cmocka_unit_test(test_packets_stay_out_of_core_files),
		cmocka_unit_test(test_odd_sizes_are_refused_and_nothing_stays_open),
		cmocka_unit_test(test_more_huge_pages_than_there_are_is_enomem),
		cmocka_unit_test(test_the_node_is_that_of_the_pages_or_unknown),
		cmocka_unit_test(test_all_frames_are_free_lowest_first),
		cmocka_unit_test(test_addresses_are_checked_against_frame_and_region),
		cmocka_unit_test(test_owner_bytes_of_all_tags_differ),
		cmocka_unit_test(test_reclaim_frees_the_frames_of_its_tag_and_no_others),
		cmocka_unit_test(test_fini_takes_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
