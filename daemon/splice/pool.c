/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers and pipes that are lent; see the header. */
#include "splice/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/macros.h"

/* What a burst leaves behind, until pool_trim(). */
#define MAX_IDLE_SMALL 1024
#define MAX_IDLE_LARGE 256

void pool_set_up_process(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, POOL_LARGE_BYTES);
	/* Setting one stops glibc from moving both: this is its own first value. */
	(void)mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

static struct pool_class *class_of(struct pool *pool, uint32_t size)
{
	return size <= POOL_SMALL_BYTES ? &pool->small : &pool->large;
}

struct pool_buffer *pool_get(struct pool *pool, uint32_t size)
{
	struct pool_class *class = class_of(pool, size);
	struct pool_buffer *buffer = class->idle;

	if (buffer) {
		class->idle = buffer->next;
		class->n_idle--;
		class->n_spare = MIN(class->n_spare, class->n_idle);
	} else {
		uint32_t room = size <= POOL_SMALL_BYTES ? POOL_SMALL_BYTES : POOL_LARGE_BYTES;

		buffer = malloc(sizeof(*buffer) + room);
		if (!buffer)
			return NULL;
		buffer->size = room;
	}
	buffer->next = NULL;
	buffer->start = buffer->end = 0;
	class->n_used++;
	return buffer;
}

void pool_put(struct pool *pool, struct pool_buffer *buffer)
{
	struct pool_class *class = class_of(pool, buffer->size);
	uint32_t max_idle = class == &pool->small ? MAX_IDLE_SMALL : MAX_IDLE_LARGE;

	class->n_used--;
	if (class->n_idle == max_idle) {
		free(buffer);
		return;
	}
	buffer->next = class->idle;
	class->idle = buffer;
	class->n_idle++;
}

int pool_get_pipe(struct pool *pool, int ret_pipe[2])
{
	int ends[2];

	if (pool->n_idle_pipes) {
		pool->n_idle_pipes--;
		pool->n_spare_pipes = MIN(pool->n_spare_pipes, pool->n_idle_pipes);
		ret_pipe[0] = pool->pipes[pool->n_idle_pipes][0];
		ret_pipe[1] = pool->pipes[pool->n_idle_pipes][1];
		pool->n_used_pipes++;
		return 0;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* Beyond the user's share of pipe pages (pipe-user-pages-soft) it stays as it is: slower.
	 */
	(void)fcntl(ends[0], F_SETPIPE_SZ, POOL_PIPE_BYTES);
	ret_pipe[0] = ends[0];
	ret_pipe[1] = ends[1];
	pool->n_used_pipes++;
	return 0;
}

void pool_put_pipe(struct pool *pool, int pipe[2], bool is_empty)
{
	pool->n_used_pipes--;
	if (is_empty && pool->n_idle_pipes < POOL_MAX_IDLE_PIPES) {
		pool->pipes[pool->n_idle_pipes][0] = pipe[0];
		pool->pipes[pool->n_idle_pipes][1] = pipe[1];
		pool->n_idle_pipes++;
	} else {
		(void)close(pipe[0]);
		(void)close(pipe[1]);
	}
	pipe[0] = pipe[1] = -1;
}

static void close_idle_pipes(struct pool *pool, uint32_t n)
{
	while (n-- > 0) {
		pool->n_idle_pipes--;
		(void)close(pool->pipes[pool->n_idle_pipes][0]);
		(void)close(pool->pipes[pool->n_idle_pipes][1]);
	}
	pool->n_spare_pipes = pool->n_idle_pipes;
}

static void free_idle(struct pool_class *class, uint32_t n)
{
	while (n-- > 0) {
		struct pool_buffer *next = class->idle->next;

		free(class->idle);
		class->idle = next;
		class->n_idle--;
	}
	class->n_spare = class->n_idle;
}

void pool_trim(struct pool *pool)
{
	free_idle(&pool->small, pool->small.n_spare);
	free_idle(&pool->large, pool->large.n_spare);
	close_idle_pipes(pool, pool->n_spare_pipes);
}

void pool_trim_pipes(struct pool *pool)
{
	close_idle_pipes(pool, pool->n_idle_pipes);
}

void pool_fini(struct pool *pool)
{
	close_idle_pipes(pool, pool->n_idle_pipes);
	free_idle(&pool->small, pool->small.n_idle);
	free_idle(&pool->large, pool->large.n_idle);
}
