/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of the worker thread: pinning, the loop around worker_turn(), sleeping, stopping. */
#include "data/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"

#include "data/hot.h"

/*
 * How long to look for work before sleeping. Longer than the gap between two bursts of a busy
 * generator, short enough that an idle daemon, woken a few times a second, costs nothing.
 */
#define SPIN_NS (50 * NSEC_PER_USEC)
/* Packets are waiting for a peer that does not take them: look again soon. */
#define PENDING_SLEEP_NS  NSEC_PER_MSEC
#define FRAMES_READ_TRIES 1000

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
	       "the channels between control and worker must not hide a lock");

void worker_init(struct worker *worker, const char *name, uint32_t cpu, uint64_t beat_interval_ns)
{
	memset(worker, 0, sizeof(*worker));
	for (unsigned i = 0; i < WORKER_MAX_UMEMS; i++)
		worker->umems[i].memfd = -1;
	worker->cpu = cpu;
	worker->spin_ns = SPIN_NS;
	worker->tick_ns = clock_tick_ns();
	worker->beat_interval_ns = MIN(beat_interval_ns, WORKER_SLEEP_MAX_NS);
	worker->residence_countdown = 1;
	atomic_init(&worker->tables_seen, WORKER_NOT_READING);
	strncpy(worker->name, name, sizeof(worker->name) - 1);
}

uint64_t worker_publish(struct worker *worker, struct worker_set *set)
{
	const struct worker_set *last = atomic_load_explicit(&worker->next, memory_order_relaxed);

	set->generation = last ? last->generation + 1 : 1;
	/* pairs with the acquire in worker_take_set(): lanes and routes are complete */
	atomic_store_explicit(&worker->next, set, memory_order_release);
	return set->generation;
}

bool worker_frames(const struct worker *worker, uint32_t umem, struct frame_states *ret_states)
{
	for (unsigned i = 0; i < FRAMES_READ_TRIES; i++) {
		/* pairs with the releases in publish_frames() */
		uint32_t before = atomic_load_explicit(&worker->frames_seq, memory_order_acquire);
		uint64_t words[FRAME_STATES_WORDS];

		for (unsigned j = 0; j < FRAME_STATES_WORDS; j++)
			words[j] = atomic_load_explicit(&worker->frames[umem][j],
							memory_order_acquire);
		if (before % 2 == 0 &&
		    before == atomic_load_explicit(&worker->frames_seq, memory_order_relaxed)) {
			memcpy(ret_states, words, sizeof(*ret_states));
			return true;
		}
	}
	return false;
}

/* poll(2) on a copy-mode socket also sends what is left in its tx ring (xsk_poll, net/xdp/xsk.c).
 */
static void sleep_for_work(struct worker *worker)
{
	const struct worker_set *set = worker->set;
	struct pollfd fds[WORKER_MAX_LANES];
	uint64_t ns = atomic_load_explicit(&worker->beat_interval_ns, memory_order_relaxed);
	struct timespec timeout;

	if (worker_tx_is_pending(worker))
		ns = MIN(ns, PENDING_SLEEP_NS);
	timeout = (struct timespec){.tv_nsec = (long)ns};
	for (uint32_t i = 0; i < set->n_lanes; i++)
		fds[i] = (struct pollfd){.fd = set->routes[i].rx->xsk.fd, .events = POLLIN};
	counter_add(&worker->counters.sleeps, 1);
	worker_stop_reading(worker);
	(void)ppoll(fds, set->n_lanes, &timeout, NULL);
}

static void loop(struct worker *worker)
{
	uint32_t n_moved = 0;

	worker->now_ns = worker->last_work_ns = clock_now_ns();
	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		uint64_t now_ns = clock_now_ns();

		counter_add(n_moved ? &worker->counters.busy_ns : &worker->counters.idle_ns,
			    now_ns - worker->now_ns);
		worker->now_ns = now_ns;
		worker_take_set(worker);
		n_moved = worker_turn(worker);
		worker_housekeep(worker);
		if (n_moved)
			worker->last_work_ns = now_ns;
		else if (now_ns - worker->last_work_ns > worker->spin_ns)
			sleep_for_work(worker);
	}
	worker_stop_reading(worker);
}

static int pin_to_cpu(uint32_t cpu)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	int r = 0;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	if (sched_setaffinity(0, size, set) < 0)
		r = -errno;
	CPU_FREE(set);
	return r;
}

static void *run(void *arg)
{
	struct worker *worker = arg;

	(void)prctl(PR_SET_NAME, worker->name);
	atomic_store_explicit(&worker->start_error, -pin_to_cpu(worker->cpu), memory_order_relaxed);
	/* release: who sees the tid sees start_error */
	atomic_store_explicit(&worker->tid, (int32_t)syscall(SYS_gettid), memory_order_release);
	loop(worker);
	atomic_store_explicit(&worker->tid, 0, memory_order_relaxed);
	return NULL;
}

int worker_start(struct worker *worker)
{
	int r;

	atomic_store_explicit(&worker->stop, false, memory_order_relaxed);
	r = pthread_create(&worker->thread, NULL, run, worker);

	if (r != 0)
		return -r;
	worker->is_started = true;
	return 0;
}

int worker_stop(struct worker *worker, uint64_t timeout_ns)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_ns;
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int r;

	if (!worker->is_started)
		return 0;
	atomic_store_explicit(&worker->stop, true, memory_order_relaxed);
	r = pthread_clockjoin_np(worker->thread, NULL, CLOCK_MONOTONIC, &deadline);
	if (r != 0)
		return -r;
	worker->is_started = false;
	return 0;
}
