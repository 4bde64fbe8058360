/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large tables from the kernel. No state; runs in the thread of its caller. */
#include "util/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES (2UL << 20)

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

void *pages_map(size_t size_bytes)
{
	size_t size = round_up(size_bytes, HUGE_PAGE_BYTES);
	size_t head, tail;
	uint8_t *area;

	if (size < size_bytes || size > SIZE_MAX - HUGE_PAGE_BYTES)
		return NULL;
	area = mmap(NULL, size + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	/* mmap(2) aligns to 4 KiB: ask for one huge page more and return what sticks out. */
	head = round_up((uintptr_t)area, HUGE_PAGE_BYTES) - (uintptr_t)area;
	tail = HUGE_PAGE_BYTES - head;
	if (head > 0)
		(void)munmap(area, head);
	if (tail > 0)
		(void)munmap(area + head + size, tail);
	/* Refused where the kernel has none: small pages then, slower by their TLB misses. */
	(void)madvise(area + head, size, MADV_HUGEPAGE);
	return area + head;
}

void pages_unmap(void *area, size_t size_bytes)
{
	if (area)
		(void)munmap(area, round_up(size_bytes, HUGE_PAGE_BYTES));
}
