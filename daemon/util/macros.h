/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small language helpers that every room uses: branch hints, array sizes, and the cleanup
 * attributes by which a function can be seen to leak nothing without reading its callees.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

/* The line that two threads must not share; 64 on x86-64 and on the arm64 servers we know. */
#define CACHE_LINE_BYTES 64
#define CACHE_ALIGNED    __attribute__((aligned(CACHE_LINE_BYTES)))

/* Against -ftrivial-auto-var-init (root meson.build), where the compiler has that: for arrays of
 * the packet path of which only what was written is read. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define UNINITIALIZED __attribute__((uninitialized))
#endif
#endif
#ifndef UNINITIALIZED
#define UNINITIALIZED
#endif

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC  1000000000ULL

/* Ownership leaves a function only through TAKE_FD() or TAKE_PTR(): the variable is emptied. */
#define TAKE_FD(fd)                    \
	({                             \
		int *_fdp = &(fd);     \
		int _taken_fd = *_fdp; \
		*_fdp = -1;            \
		_taken_fd;             \
	})

#define TAKE_PTR(ptr)                              \
	({                                         \
		__typeof__(&(ptr)) _pp = &(ptr);   \
		__typeof__(ptr) _taken_ptr = *_pp; \
		*_pp = NULL;                       \
		_taken_ptr;                        \
	})

static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static inline void free_ptrp(void *ptr)
{
	free(*(void **)ptr);
	*(void **)ptr = NULL;
}

static inline void fclose_ptrp(FILE **file)
{
	if (*file)
		(void)fclose(*file);
	*file = NULL;
}

#define _cleanup_(fn)    __attribute__((cleanup(fn)))
#define _cleanup_close_  _cleanup_(close_fdp)
#define _cleanup_free_   _cleanup_(free_ptrp)
#define _cleanup_fclose_ _cleanup_(fclose_ptrp)

static inline uint32_t round_down_pow2(uint32_t n)
{
	return n ? 1u << (31 - __builtin_clz(n)) : 0;
}
