// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Giving a frame back to the kernel (design.md §4.11): one write(2) to the TAP of the port that it
 * came in by, which never blocks, within the limit of its reason. Thread: worker.
 *
 * The limits are of one worker, so that no flood of frames that the fast path cannot take turns a
 * worker into a writer of files: a frame written costs as much as some hundred forwarded.
 */
#include <unistd.h>

#include "data/burst.h"

#include "data/hot.h"

/* A tenth of a second's frames may come at once, but never fewer than a burst. */
#define HANDBACK_BURST(per_second) MAX((per_second) / 10U, (uint32_t)BURST)

static const struct handback_limit {
	uint32_t per_second;
	uint32_t most;
} limits[HANDBACK_N] = {
#define HANDBACK_LIMIT(id, label, per_second, help) \
	[HANDBACK_##id] = {per_second, HANDBACK_BURST(per_second)},
	HANDBACK_REASONS(HANDBACK_LIMIT)
#undef HANDBACK_LIMIT
};

enum drop_reason hand_back(struct worker *worker, const struct worker_port *port,
			   enum handback_reason reason, const uint8_t *data, uint32_t len)
{
	const struct handback_limit *limit = &limits[reason];

	if (unlikely(port->handback_fd < 0))
		return DROP_HANDBACK_FAILED;
	if (!token_bucket_take(&worker->handback_tokens[reason], worker->now_ns, limit->per_second,
			       limit->most))
		return DROP_HANDBACK_LIMIT;
	/* Whatever the error is, the frame has no other way; the count tells the operator. */
	if (unlikely(write(port->handback_fd, data, len) != (ssize_t)len))
		return DROP_HANDBACK_FAILED;
	return DROP_N;
}
