/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prefixes shorter than /8 of a table: what is found by the first octet where the rest of the
 * table says nothing. They would cover up to half of a table of 2^24 entries, milliseconds for each
 * change and megabytes touched for the first time; here it is 256 entries, 512 bytes, which a
 * worker has in its L1 cache. Inside of net/fib*.c only.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define FIB_TOP_BITS 8

struct fib_top {
	_Atomic uint16_t nh[1U << FIB_TOP_BITS];
	uint8_t ruled_by[1U << FIB_TOP_BITS]; /* control: length of the prefix + 1; 0: none */
};

/* len < FIB_TOP_BITS. Thread: control. */
void fib_top_add(struct fib_top *top, uint8_t octet, unsigned len, uint16_t nh);

/* The next shorter prefix takes its place; cover_nh FIB_NO_ROUTE: there is none. */
void fib_top_delete(struct fib_top *top, uint8_t octet, unsigned len, unsigned cover_len,
		    uint16_t cover_nh);

/* Thread: worker. */
static inline uint16_t fib_top_lookup(const struct fib_top *top, uint8_t octet)
{
	return atomic_load_explicit(&top->nh[octet], memory_order_relaxed);
}
