/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pieces of a table that were taken out and that a worker may still be reading, in the order of
 * their generations; see net/fib.h. A bounded queue, allocated once. Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fib_limbo {
	struct fib_retired {
		uint64_t generation;
		uint32_t ref; /* the table's name for the piece */
		uint32_t size_bytes;
	} * pieces;
	uint32_t capacity; /* a power of two */
	uint32_t head;     /* next to be freed; wraps */
	uint32_t tail;     /* next to be filled; wraps */
	uint64_t generation;
	size_t size_bytes; /* of all pieces in it */
};

/* capacity: a power of two. -ENOMEM. */
int fib_limbo_init(struct fib_limbo *limbo, uint32_t capacity);

void fib_limbo_fini(struct fib_limbo *limbo);

static inline bool fib_limbo_has_room(const struct fib_limbo *limbo, uint32_t n)
{
	return limbo->capacity - (limbo->tail - limbo->head) >= n;
}

static inline bool fib_limbo_is_empty(const struct fib_limbo *limbo)
{
	return limbo->tail == limbo->head;
}

/* The caller has made sure of the room. */
void fib_limbo_put(struct fib_limbo *limbo, uint32_t ref, uint32_t size_bytes);

/* Takes out the oldest piece if it was retired before `oldest_seen`. */
bool fib_limbo_take(struct fib_limbo *limbo, uint64_t oldest_seen, uint32_t *ret_ref);
