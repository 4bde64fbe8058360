/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of the ring by which a worker of a bridge reports addresses; see learn.h. */
#include "data/learn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "data/hot.h"

int learn_ring_new(struct learn_ring **ret_ring)
{
	struct learn_ring *ring = aligned_alloc(CACHE_LINE_BYTES, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	memset(ring, 0, sizeof(*ring));
	ring->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ring->eventfd < 0) {
		int r = -errno;

		free(ring);
		return r;
	}
	*ret_ring = ring;
	return 0;
}

void learn_ring_free(struct learn_ring *ring)
{
	if (!ring)
		return;
	(void)close(ring->eventfd);
	free(ring);
}
