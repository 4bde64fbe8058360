/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of a side. Timers are found by looking at all live ends: there are hundreds at most.
 */
#include "side.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/macros.h"

#define EVENTS_N      256
#define BACKLOG       4096
#define QUIET_NS      (400 * NSEC_PER_MSEC) /* servers: nobody came for so long after the clients */
#define MAX_WAIT_MS   20
#define ACCEPT_AT_ONE 64

static int open_side(struct side *side)
{
	struct epoll_event event = {.events = EPOLLIN};

	side->listen_fd = -1;
	side->max_ends = side->role == ROLE_CLIENT ? side->n_wanted : 2 * side->n_wanted + 64;
	side->ends = calloc(side->max_ends, sizeof(*side->ends));
	side->live = calloc(side->max_ends, sizeof(*side->live));
	side->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!side->ends || !side->live || side->epoll_fd < 0)
		return -ENOMEM;
	if (side->role == ROLE_CLIENT)
		return 0;
	side->listen_fd = address_listen(&side->address, BACKLOG);
	if (side->listen_fd < 0)
		return side->listen_fd;
	return epoll_ctl(side->epoll_fd, EPOLL_CTL_ADD, side->listen_fd, &event) < 0 ? -errno : 0;
}

static void add(struct side *side, int fd, uint64_t now_ns)
{
	struct end *end = &side->ends[side->n_ends];

	end_open(end, &side->options, side->role, side->first_number + side->n_ends, fd,
		 side->epoll_fd, now_ns);
	end->others = side->others->ends;
	end->first_other = side->others->first_number;
	end->n_others = side->others->max_ends;
	side->n_ends++;
	side->live[side->n_live++] = end;
	end_turn(end, 0, now_ns);
}

static void accept_some(struct side *side, uint64_t now_ns)
{
	for (unsigned i = 0; i < ACCEPT_AT_ONE && side->n_ends < side->max_ends; i++) {
		int fd = accept4(side->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			side->n_refused += errno != EAGAIN && errno != ECONNABORTED;
			return;
		}
		add(side, fd, now_ns);
		side->idle_since_ns = now_ns;
	}
}

static void connect_some(struct side *side, uint64_t now_ns)
{
	while (side->n_live < side->n_at_once && side->n_ends + side->n_refused < side->n_wanted) {
		int fd = address_connect(&side->address);

		if (fd < 0)
			side->n_refused++;
		else
			add(side, fd, now_ns);
	}
}

/* Gives a turn to those whose time has come; returns when the next one's comes. */
static uint64_t run_timers(struct side *side, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; i < side->n_live; i++) {
		struct end *end = side->live[i];

		if (!end->is_done && end->next_ns <= now_ns)
			end_turn(end, 0, now_ns);
		if (end->is_done) {
			side->live[i--] = side->live[--side->n_live];
			side->idle_since_ns = now_ns;
		} else {
			next_ns = MIN(next_ns, end->next_ns);
		}
	}
	return next_ns;
}

static bool is_over(struct side *side, uint64_t now_ns)
{
	if (now_ns >= side->deadline_ns) {
		for (uint32_t i = 0; i < side->n_live; i++)
			end_give_up(side->live[i]);
		return true;
	}
	if (side->n_live)
		return false;
	if (side->role == ROLE_CLIENT)
		return side->n_ends + side->n_refused >= side->n_wanted;
	return atomic_load(&side->others->is_over) && now_ns - side->idle_since_ns >= QUIET_NS;
}

static void turn(struct side *side, uint64_t next_ns, uint64_t now_ns)
{
	struct epoll_event events[EVENTS_N];
	uint64_t wait_ms = next_ns <= now_ns ? 0 : (next_ns - now_ns) / NSEC_PER_MSEC + 1;
	int n = epoll_wait(side->epoll_fd, events, EVENTS_N, (int)MIN(wait_ms, MAX_WAIT_MS));

	now_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		struct end *end = events[i].data.ptr;

		if (!end)
			accept_some(side, now_ns);
		else if (!end->is_done)
			end_turn(end, events[i].events, now_ns);
	}
}

static void *run(void *arg)
{
	struct side *side = arg;
	uint64_t now_ns = clock_now_ns(), next_ns;

	/* Sockets of clients are made here; the listening one is in its namespace already. */
	if (address_enter_netns(side->netns) < 0)
		abort();
	side->idle_since_ns = now_ns;
	while (!is_over(side, now_ns)) {
		if (side->role == ROLE_CLIENT)
			connect_some(side, now_ns);
		next_ns = run_timers(side, now_ns);
		turn(side, next_ns, now_ns);
		now_ns = clock_now_ns();
	}
	atomic_store(&side->is_over, true);
	return NULL;
}

static void *prepare(void *arg)
{
	struct side *side = arg;
	int r = address_enter_netns(side->netns);

	return (void *)(intptr_t)(r < 0 ? r : open_side(side));
}

/* Prepared in a thread of its own, so that the caller stays in its namespace. */
int side_start(struct side *side)
{
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, prepare, side) != 0)
		return -EAGAIN;
	(void)pthread_join(thread, &result);
	if ((intptr_t)result < 0)
		return (int)(intptr_t)result;
	return -pthread_create(&side->thread, NULL, run, side);
}

void side_join(struct side *side)
{
	(void)pthread_join(side->thread, NULL);
}

void side_free(struct side *side)
{
	close_fdp(&side->listen_fd);
	close_fdp(&side->epoll_fd);
	free(side->ends);
	free(side->live);
}
