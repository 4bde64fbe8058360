/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an acceptor's connections borrow while bytes wait in user space: buffers of two sizes, and
 * pipes. Given back at once when they are empty; a bounded number is kept for the next, and of
 * those, what was not needed between two pool_trim() goes back to the kernel.
 *
 * Thread: the acceptor that owns the pool.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Small: the first bytes of a client, which may be one of thousands that send little. Large: all
 * that one recv of an engine brings. */
#define POOL_SMALL_BYTES 4000
#define POOL_LARGE_BYTES (64 << 10)
#define POOL_PIPE_BYTES  (256 << 10)

#define POOL_MAX_IDLE_PIPES 64

struct pool_buffer {
	struct pool_buffer *next;
	uint32_t size;
	uint32_t start, end; /* data[start … end) is there */
	uint8_t data[];
};

struct pool {
	struct pool_class {
		struct pool_buffer *idle;
		uint32_t n_idle, n_used;
		uint32_t n_spare; /* fewest idle ones since the last trim */
	} small, large;
	int pipes[POOL_MAX_IDLE_PIPES][2];
	uint32_t n_idle_pipes, n_used_pipes, n_spare_pipes;
};

/*
 * A setting of malloc, so of the whole process, before threads begin: a large buffer is a mapping
 * of its own, and free() gives it back. In a thread's arena it would stay, under whatever small
 * thing was allocated above it: 1,000 stuck peers left 35 MB so.
 */
void pool_set_up_process(void);

/* Empty, of at least `size` ≤ POOL_LARGE_BYTES. NULL: no memory. */
struct pool_buffer *pool_get(struct pool *pool, uint32_t size);
void pool_put(struct pool *pool, struct pool_buffer *buffer);

/* Both ends non-blocking. -EMFILE, -ENFILE: the caller goes on without. */
int pool_get_pipe(struct pool *pool, int ret_pipe[2]);
/* A pipe that is not empty is closed. The ends become -1. */
void pool_put_pipe(struct pool *pool, int pipe[2], bool is_empty);

/* Called now and then: frees what has been idle ever since the last call. */
void pool_trim(struct pool *pool);

/* Closes idle pipes: file descriptors are wanted elsewhere. */
void pool_trim_pipes(struct pool *pool);
void pool_fini(struct pool *pool);

static inline uint32_t pool_buffer_len(const struct pool_buffer *buffer)
{
	return buffer->end - buffer->start;
}
