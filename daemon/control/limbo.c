/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that was taken out of what workers read, and that one of them may still be reading: a
 * queue in the order of generations (net/fib.h). Thread: tables.
 */
#include <errno.h>
#include <stdlib.h>

#include "control/tables_internal.h"
#include "util/macros.h"

#define LIMBO_FIRST_CAPACITY 1024

struct limbo {
	struct piece {
		uint64_t generation;
		void *ptr;
		size_t bytes;
	} * pieces;
	uint32_t capacity; /* a power of two */
	uint32_t head;     /* next to be freed; wraps */
	uint32_t tail;     /* next to be filled; wraps */
	uint64_t generation;
	size_t bytes;
};

int limbo_new(struct limbo **ret_limbo)
{
	_cleanup_free_ struct limbo *limbo = calloc(1, sizeof(*limbo));

	if (!limbo)
		return -ENOMEM;
	limbo->pieces = calloc(LIMBO_FIRST_CAPACITY, sizeof(*limbo->pieces));
	if (!limbo->pieces)
		return -ENOMEM;
	limbo->capacity = LIMBO_FIRST_CAPACITY;
	*ret_limbo = TAKE_PTR(limbo);
	return 0;
}

void limbo_free(struct limbo *limbo)
{
	if (!limbo)
		return;
	limbo_reclaim(limbo, UINT64_MAX);
	free(limbo->pieces);
	free(limbo);
}

void limbo_begin_generation(struct limbo *limbo, uint64_t generation)
{
	limbo->generation = generation;
}

static int limbo_grow(struct limbo *limbo)
{
	struct piece *pieces = calloc((size_t)limbo->capacity * 2, sizeof(*pieces));
	uint32_t n = limbo->tail - limbo->head;

	if (!pieces)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		pieces[i] = limbo->pieces[(limbo->head + i) & (limbo->capacity - 1)];
	free(limbo->pieces);
	limbo->pieces = pieces;
	limbo->capacity *= 2;
	limbo->head = 0;
	limbo->tail = n;
	return 0;
}

void limbo_retire(struct limbo *limbo, void *ptr, size_t bytes)
{
	if (!ptr)
		return;
	limbo->bytes += bytes;
	/* Leaked and counted: what a worker may be reading cannot be freed, nor waited for. */
	if (limbo->tail - limbo->head == limbo->capacity && limbo_grow(limbo) < 0)
		return;
	limbo->pieces[limbo->tail++ & (limbo->capacity - 1)] = (struct piece){
		.generation = limbo->generation,
		.ptr = ptr,
		.bytes = bytes,
	};
}

void limbo_reclaim(struct limbo *limbo, uint64_t oldest_generation_seen)
{
	while (limbo->head != limbo->tail) {
		struct piece *piece = &limbo->pieces[limbo->head & (limbo->capacity - 1)];

		if (piece->generation >= oldest_generation_seen)
			return;
		free(piece->ptr);
		limbo->bytes -= piece->bytes;
		limbo->head++;
	}
}

size_t limbo_bytes(const struct limbo *limbo)
{
	return limbo->bytes;
}
