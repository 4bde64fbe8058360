/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All clients, or all servers, of a torture run: a thread with an epoll of its own.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "end.h"

struct side {
	enum role role;
	struct recipe_options options;
	const char *netns; /* NULL: this one */
	struct address address;
	uint32_t n_wanted, n_at_once; /* clients: how many, how many at a time */
	uint32_t first_number;
	uint64_t deadline_ns;
	struct side *others;
	pthread_t thread;
	int epoll_fd, listen_fd;
	struct end *ends; /* n_ends, in the order of their numbers */
	struct end **live;
	uint32_t n_ends, max_ends, n_live;
	uint32_t n_refused; /* connect() or accept() failed at once */
	uint64_t idle_since_ns;
	_Atomic bool is_over;
};

/* Opens the listening socket in its namespace and starts the thread. -errno. */
int side_start(struct side *side);
void side_join(struct side *side);
void side_free(struct side *side);
