/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An acceptor's thread: wait, handle what epoll says, look at what is due, take up what control has
 * left, free what has ended. Everything in it is bounded per turn.
 */
#include "splice/acceptor.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kern/splice_maps.h"
#include "util/clock.h"

#define EVENTS_PER_TURN 256
/* It beats at least so often, and finds a lost wakeup. */
#define MAX_SLEEP_NS (500 * NSEC_PER_MSEC)
#define SCAN_NS      (500 * NSEC_PER_MSEC)
#define TRIM_NS      NSEC_PER_SEC

/* The low bits of an event's data: what the pointer is. Connections: the side. */
enum { TAG_LISTENING = 2, TAG_OTHER = 3, TAG_MASK = 3 };
#define DATA_WAKE  (0u | TAG_OTHER)
#define DATA_EVENT (4u | TAG_OTHER) /* the verdict's */

static struct conn *conn_of_timer(struct timer *timer)
{
	return (struct conn *)(void *)((char *)timer - offsetof(struct conn, timer));
}

/* --- epoll ---------------------------------------------------------------------------------------
 */

void acceptor_watch(struct conn *conn, enum conn_side side, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = (uintptr_t)conn | side};
	int op = conn->is_watched[side] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (conn->is_watched[side] && conn->epoll_events[side] == events)
		return;
	if (epoll_ctl(conn->acceptor->epoll_fd, op, conn->fd[side], &event) < 0) {
		/* ENOMEM, ENOSPC: a connection that cannot be waited for cannot be served. */
		acceptor_look_soon(conn);
		return;
	}
	conn->is_watched[side] = true;
	conn->epoll_events[side] = events;
}

void acceptor_unwatch(struct conn *conn, enum conn_side side)
{
	if (!conn->is_watched[side])
		return;
	(void)epoll_ctl(conn->acceptor->epoll_fd, EPOLL_CTL_DEL, conn->fd[side], NULL);
	conn->is_watched[side] = false;
	conn->epoll_events[side] = 0;
}

/* --- Soon ----------------------------------------------------------------------------------------
 */

static void look_at(struct conn *conn, uint64_t at_ns)
{
	struct acceptor *acceptor = conn->acceptor;

	if (conn->is_soon) {
		conn->soon_ns = MIN(conn->soon_ns, at_ns);
		return;
	}
	conn->soon_ns = at_ns;
	conn->is_soon = true;
	conn->soon_prev = NULL;
	conn->soon_next = acceptor->soon;
	if (conn->soon_next)
		conn->soon_next->soon_prev = conn;
	acceptor->soon = conn;
}

static void look_within(struct conn *conn, uint64_t max_delay_ns)
{
	conn->soon_delay_ns = conn->soon_delay_ns == 0 ? SOON_MIN_DELAY_NS :
							 MIN(2 * conn->soon_delay_ns, max_delay_ns);
	look_at(conn, conn->acceptor->now_ns + conn->soon_delay_ns);
}

void acceptor_look_soon(struct conn *conn)
{
	look_within(conn, SOON_MAX_DELAY_NS);
}

void acceptor_look_later(struct conn *conn)
{
	look_within(conn, LATE_MAX_DELAY_NS);
}

void acceptor_look_now(struct conn *conn)
{
	look_at(conn, conn->acceptor->now_ns);
}

void acceptor_forget_soon(struct conn *conn)
{
	if (!conn->is_soon)
		return;
	if (conn->soon_prev)
		conn->soon_prev->soon_next = conn->soon_next;
	else
		conn->acceptor->soon = conn->soon_next;
	if (conn->soon_next)
		conn->soon_next->soon_prev = conn->soon_prev;
	conn->soon_prev = conn->soon_next = NULL;
	conn->is_soon = false;
}

/* The list is taken whole: one that asks again is looked at in the next turn. */
static void run_soon(struct acceptor *acceptor)
{
	struct conn *due = NULL;

	for (struct conn *conn = acceptor->soon, *next; conn; conn = next) {
		next = conn->soon_next;
		if (conn->soon_ns > acceptor->now_ns)
			continue;
		acceptor_forget_soon(conn);
		conn->soon_next = due;
		due = conn;
	}
	while (due) {
		struct conn *conn = due;

		due = conn->soon_next;
		conn->soon_next = NULL;
		conn_on_soon(conn);
	}
}

/* --- Sides of the socket maps --------------------------------------------------------------------
 */

static int sides_new(struct acceptor *acceptor)
{
	const struct splice *splice = acceptor->splice;
	uint32_t first, n;

	if (!splice->maps)
		return 0;
	splice_maps_block(splice->maps, acceptor->index, &first, &n);
	acceptor->free_sides = calloc(MAX(n, 1), sizeof(*acceptor->free_sides));
	acceptor->by_side = calloc(MAX(n, 1), sizeof(struct conn *));
	if (!acceptor->free_sides || !acceptor->by_side)
		return -ENOMEM;
	acceptor->first_side = 2 * first;
	acceptor->n_sides = acceptor->n_free_sides = n;
	for (uint32_t i = 0; i < n; i++)
		acceptor->free_sides[i] = acceptor->first_side + 2 * (n - 1 - i);
	return 0;
}

bool acceptor_take_sides(struct conn *conn, uint32_t *ret_client_side)
{
	struct acceptor *acceptor = conn->acceptor;
	uint32_t side;

	if (acceptor->n_free_sides == 0)
		return false;
	side = acceptor->free_sides[--acceptor->n_free_sides];
	acceptor->by_side[(side - acceptor->first_side) / 2] = conn;
	*ret_client_side = side;
	return true;
}

void acceptor_return_sides(struct conn *conn, uint32_t client_side)
{
	struct acceptor *acceptor = conn->acceptor;

	acceptor->by_side[(client_side - acceptor->first_side) / 2] = NULL;
	acceptor->free_sides[acceptor->n_free_sides++] = client_side;
}

/* A late event may be about a number's previous connection: then this finds nothing to do. */
static void on_passed(struct acceptor *acceptor, uint32_t side)
{
	uint32_t i = (side - acceptor->first_side) / 2;

	if (side >= acceptor->first_side && i < acceptor->n_sides && acceptor->by_side[i])
		conn_on_passed(acceptor->by_side[i], side % 2 ? SERVER : CLIENT);
}

static void on_event_of_verdict(const struct splice_event *event, void *arg)
{
	if (event->kind == SPLICE_EVENT_PASSED)
		on_passed(arg, event->side);
}

/* Notes can be lost (a full ring): every spliced connection is looked at now and then. */
static void scan_spliced(struct acceptor *acceptor)
{
	for (uint32_t i = 0; i < acceptor->n_sides; i++) {
		struct conn *conn = acceptor->by_side[i];

		if (conn && conn->state == CONN_OPEN && !sockmap_watch(conn))
			conn_abort(conn, "too many bytes parked");
	}
}

/* The bound of all together is passed by one that grows, perhaps, and kept by one that is large
 * and stands still: no event leads there. */
static void scan_parked(struct acceptor *acceptor)
{
	struct splice *splice = acceptor->splice;
	uint64_t max_bytes = acceptor->config ? acceptor->config->max_parked_bytes : 0;

	for (struct conn *conn = acceptor->conns, *next; conn; conn = next) {
		next = conn->next;
		if (max_bytes == 0 ||
		    atomic_load_explicit(&splice->parked_bytes, memory_order_relaxed) <= max_bytes)
			return;
		if (conn->state == CONN_OPEN)
			conn_check_parked(conn);
	}
}

static void scan(struct acceptor *acceptor)
{
	if (acceptor->now_ns < acceptor->scan_ns)
		return;
	acceptor->scan_ns = acceptor->now_ns + SCAN_NS;
	if (acceptor->n_free_sides < acceptor->n_sides)
		scan_spliced(acceptor);
	scan_parked(acceptor);
}

/* --- The turn ------------------------------------------------------------------------------------
 */

static void on_conn_event(struct conn *conn, enum conn_side side, uint32_t events)
{
	switch (conn->state) {
	case CONN_SNIFFING:
		sniffing_on_event(conn, events);
		break;
	case CONN_CONNECTING:
		connecting_on_event(conn, side, events);
		break;
	case CONN_OPEN:
		conn_on_event(conn, side, events);
		break;
	case CONN_LINGERING:
		lingering_on_event(conn);
		break;
	case CONN_CLOSED:
		break; /* by an earlier event of this turn */
	}
}

static void on_timer(struct timer *timer, void *arg)
{
	struct conn *conn = conn_of_timer(timer);

	switch (conn->state) {
	case CONN_SNIFFING:
		conn_reject(conn, SPLICE_REJECT_SNIFF_TIMEOUT);
		break;
	case CONN_CONNECTING:
		connecting_on_timeout(conn);
		break;
	case CONN_OPEN:
		conn_on_timeout(conn);
		break;
	case CONN_LINGERING:
		conn_close(conn, conn->how);
		break;
	case CONN_CLOSED:
		break;
	}
}

static void on_other_event(struct acceptor *acceptor, uint64_t data)
{
	uint64_t n;

	if (data == DATA_WAKE) {
		(void)!read(acceptor->wake_fd, &n, sizeof(n));
		counter_add(&acceptor->counters.n_wakeups, 1);
	} else {
		(void)splice_events_drain(acceptor->splice->maps, acceptor->index,
					  on_event_of_verdict, acceptor);
	}
}

static void dispatch(struct acceptor *acceptor, const struct epoll_event *event)
{
	uint64_t data = event->data.u64;
	void *object = (void *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);

	switch (data & TAG_MASK) {
	case TAG_LISTENING:
		accept_turn(acceptor, object);
		break;
	case TAG_OTHER:
		on_other_event(acceptor, data);
		break;
	default:
		on_conn_event(object, (enum conn_side)(data & TAG_MASK), event->events);
	}
}

static uint64_t sleep_ns(const struct acceptor *acceptor, uint64_t now_ns)
{
	uint64_t until_ns = now_ns + MAX_SLEEP_NS;

	until_ns = MIN(until_ns, timers_next_ns(&acceptor->timers));
	if (acceptor->resume_ns)
		until_ns = MIN(until_ns, acceptor->resume_ns);
	for (const struct conn *conn = acceptor->soon; conn; conn = conn->soon_next)
		until_ns = MIN(until_ns, conn->soon_ns);
	return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void bury(struct acceptor *acceptor)
{
	while (acceptor->graveyard) {
		struct conn *conn = acceptor->graveyard;

		acceptor->graveyard = conn->next;
		splice_config_unref(conn->config);
		free(conn);
	}
}

static void trim_pool(struct acceptor *acceptor)
{
	if (acceptor->now_ns < acceptor->trim_ns)
		return;
	acceptor->trim_ns = acceptor->now_ns + TRIM_NS;
	pool_trim(&acceptor->pool);
}

/* The end of draining: what is left is reset. */
static void check_drain(struct acceptor *acceptor)
{
	uint64_t at_ns = atomic_load_explicit(&acceptor->drain_at_ns, memory_order_relaxed);

	if (at_ns == 0)
		return;
	if (!acceptor->is_draining) {
		acceptor->is_draining = true;
		commands_drop_listening(acceptor);
	}
	if (acceptor->now_ns >= at_ns)
		while (acceptor->conns) {
			counter_add(&acceptor->counters.n_killed, 1);
			conn_abort(acceptor->conns, "drained");
		}
	atomic_store_explicit(&acceptor->is_drained, acceptor->n_conns == 0, memory_order_release);
}

static void turn(struct acceptor *acceptor)
{
	struct epoll_event events[EVENTS_PER_TURN];
	uint64_t ns = sleep_ns(acceptor, clock_now_ns());
	struct timespec timeout = {.tv_sec = (time_t)(ns / NSEC_PER_SEC),
				   .tv_nsec = (long)(ns % NSEC_PER_SEC)};
	int n = epoll_pwait2(acceptor->epoll_fd, events, EVENTS_PER_TURN, &timeout, NULL);

	acceptor->now_ns = clock_now_ns();
	for (int i = 0; i < n; i++)
		dispatch(acceptor, &events[i]);
	run_soon(acceptor);
	scan(acceptor);
	timers_run(&acceptor->timers, acceptor->now_ns, on_timer, acceptor);
	commands_run(acceptor);
	check_drain(acceptor);
	if (acceptor->resume_ns && acceptor->now_ns >= acceptor->resume_ns)
		accept_resume(acceptor);
	bury(acceptor);
	trim_pool(acceptor);
	counter_add(&acceptor->counters.n_turns, 1);
	atomic_fetch_add_explicit(&acceptor->beat, 1, memory_order_relaxed);
}

void *acceptor_run(void *arg)
{
	struct acceptor *acceptor = arg;

	atomic_store_explicit(&acceptor->tid, (int32_t)syscall(SYS_gettid), memory_order_relaxed);
	while (!atomic_load_explicit(&acceptor->is_stopping, memory_order_relaxed))
		turn(acceptor);
	commands_drop_listening(acceptor);
	while (acceptor->conns)
		conn_abort(acceptor->conns, "the daemon ends");
	bury(acceptor);
	return NULL;
}

/* --- Life ----------------------------------------------------------------------------------------
 */

void acceptor_wake(struct acceptor *acceptor)
{
	uint64_t one = 1;

	(void)!write(acceptor->wake_fd, &one, sizeof(one));
}

static int watch_fd(struct acceptor *acceptor, int fd, uint64_t data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_fds(struct acceptor *acceptor)
{
	int r;

	acceptor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (acceptor->epoll_fd < 0)
		return -errno;
	acceptor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (acceptor->wake_fd < 0)
		return -errno;
	r = watch_fd(acceptor, acceptor->wake_fd, DATA_WAKE);
	if (r < 0 || !acceptor->splice->maps)
		return r;
	return watch_fd(acceptor, splice_events_fd(acceptor->splice->maps, acceptor->index),
			DATA_EVENT);
}

int acceptor_new(struct splice *splice, uint32_t index, struct acceptor **ret_acceptor)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
	int r;

	if (!acceptor)
		return -ENOMEM;
	acceptor->splice = splice;
	acceptor->index = index;
	acceptor->epoll_fd = acceptor->wake_fd = -1;
	acceptor->is_open = true;
	acceptor->now_ns = clock_now_ns();
	timers_init(&acceptor->timers, acceptor->now_ns);
	acceptor->records = calloc(RECORDS_N, sizeof(*acceptor->records));
	r = acceptor->records ? 0 : -ENOMEM;
	if (r == 0)
		r = sides_new(acceptor);
	if (r == 0)
		r = open_fds(acceptor);
	if (r < 0) {
		acceptor_free(acceptor);
		return r;
	}
	*ret_acceptor = acceptor;
	return 0;
}

/* Its thread has ended, or never began. */
void acceptor_free(struct acceptor *acceptor)
{
	if (!acceptor)
		return;
	close_fdp(&acceptor->wake_fd);
	close_fdp(&acceptor->epoll_fd);
	pool_fini(&acceptor->pool);
	splice_config_unref(acceptor->config);
	splice_config_unref(atomic_load_explicit(&acceptor->next_config, memory_order_acquire));
	free(acceptor->turns);
	free(acceptor->records);
	free(acceptor->free_sides);
	free(acceptor->by_side);
	free(acceptor);
}
