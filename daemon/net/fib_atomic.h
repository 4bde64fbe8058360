/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How workers read a table that is being changed.
 *
 * Words: a relaxed load for each, then fib_acquire() once for a whole burst of them, before the
 * first is followed. An acquire load each would be as good on x86, but on arm64 it holds back every
 * later load, and with that the overlap of cache misses for which a burst exists.
 *
 * Changes: each word is replaced by one store, so one change that is under way gives its old or
 * its new result. Two of them could mix: the default read before it was set, the prefix read after
 * it was deleted, and no route is found though there always was one. So control counts each change
 * before it begins, and a burst during which the count moved is done again. At 10,000 changes a
 * second that is one burst in a hundred; the count moves once per change, not for its duration, so
 * a worker never waits for control. If it moves again, each address is looked up by itself, which
 * takes a tenth of the quickest change; after FIB_TRIES of these a worker takes what it has.
 *
 * gcc's ThreadSanitizer does not know fences: under it each load acquires by itself, and the order
 * of control's stores is x86's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

#define FIB_TRIES 16

#if defined(__SANITIZE_THREAD__)
#define FIB_LOAD_ORDER memory_order_acquire
#define FIB_FENCE(order)
#else
#define FIB_LOAD_ORDER   memory_order_relaxed
#define FIB_FENCE(order) atomic_thread_fence(order)
#endif

static inline void fib_acquire(void)
{
	FIB_FENCE(memory_order_acquire);
}

static inline uint16_t fib_load16(const _Atomic uint16_t *word)
{
	return atomic_load_explicit(word, FIB_LOAD_ORDER);
}

static inline uint32_t fib_load32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, FIB_LOAD_ORDER);
}

/* Thread: control, before the first store of a change. */
static inline void fib_change_begins(_Atomic uint32_t *n_changes)
{
	uint32_t n = atomic_load_explicit(n_changes, memory_order_relaxed);

	atomic_store_explicit(n_changes, n + 1, memory_order_relaxed);
	/* pairs with fib_acquire() in fib_was_changed(): who sees the change sees the count */
	FIB_FENCE(memory_order_release);
}

/* Thread: worker, before the first load of a burst. */
static inline uint32_t fib_changes(const _Atomic uint32_t *n_changes)
{
	return atomic_load_explicit(n_changes, memory_order_acquire);
}

/* Thread: worker, after the last. */
static inline bool fib_was_changed(const _Atomic uint32_t *n_changes, uint32_t since)
{
	fib_acquire();
	return unlikely(atomic_load_explicit(n_changes, memory_order_relaxed) != since);
}
