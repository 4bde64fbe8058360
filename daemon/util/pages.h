/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Large tables from the kernel: zeroed, committed as they are touched, in huge pages where the
 * kernel gives them.
 */
#pragma once

#include <stddef.h>

/*
 * NULL if the address space is exhausted. Nothing is reserved: a table may be mapped for its worst
 * case and costs what is touched, in pieces of 2 MiB where transparent huge pages are allowed.
 * Thread: any. Syscalls: mmap, madvise.
 */
void *pages_map(size_t size_bytes);

/* Takes what pages_map() gave, with the same size. */
void pages_unmap(void *area, size_t size_bytes);
