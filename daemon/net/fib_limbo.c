/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of retired pieces. Owned by one table, used by its control thread only. */
#include "net/fib_limbo.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int fib_limbo_init(struct fib_limbo *limbo, uint32_t capacity)
{
	struct fib_retired *pieces;

	assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
	pieces = calloc(capacity, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	*limbo = (struct fib_limbo){.pieces = pieces, .capacity = capacity};
	return 0;
}

void fib_limbo_fini(struct fib_limbo *limbo)
{
	free(limbo->pieces);
	limbo->pieces = NULL;
}

void fib_limbo_put(struct fib_limbo *limbo, uint32_t ref, uint32_t size_bytes)
{
	assert(fib_limbo_has_room(limbo, 1));
	limbo->pieces[limbo->tail++ & (limbo->capacity - 1)] = (struct fib_retired){
		.generation = limbo->generation,
		.ref = ref,
		.size_bytes = size_bytes,
	};
	limbo->size_bytes += size_bytes;
}

bool fib_limbo_take(struct fib_limbo *limbo, uint64_t oldest_seen, uint32_t *ret_ref)
{
	const struct fib_retired *piece = &limbo->pieces[limbo->head & (limbo->capacity - 1)];

	if (fib_limbo_is_empty(limbo) || piece->generation >= oldest_seen)
		return false;
	limbo->head++;
	limbo->size_bytes -= piece->size_bytes;
	*ret_ref = piece->ref;
	return true;
}
