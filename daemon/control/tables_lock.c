/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of the tables; see tables_thread.h. */
#include <errno.h>

#include "control/tables_thread.h"
#include "util/clock.h"

/* Who asks again and again must not stop the thread for good. */
#define MAX_SERVED_PER_YIELD 16

int tables_lock_init(struct tables_lock *lock)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);

	if (r == 0)
		r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_mutex_init(&lock->mutex, NULL);
	if (r == 0)
		r = pthread_cond_init(&lock->was_served, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (r == 0 && sem_init(&lock->was_synced, 0, 0) < 0)
		r = errno;
	return -r;
}

void tables_lock_fini(struct tables_lock *lock)
{
	(void)sem_destroy(&lock->was_synced);
	(void)pthread_cond_destroy(&lock->was_served);
	(void)pthread_mutex_destroy(&lock->mutex);
}

void tables_lock_take(struct tables_lock *lock)
{
	atomic_fetch_add(&lock->n_waiting, 1);
	(void)pthread_mutex_lock(&lock->mutex);
	atomic_fetch_sub(&lock->n_waiting, 1);
}

void tables_lock_give(struct tables_lock *lock)
{
	(void)pthread_cond_signal(&lock->was_served);
	(void)pthread_mutex_unlock(&lock->mutex);
}

void tables_lock_yield(struct tables_lock *lock)
{
	/* Whoever is counted stands before the mutex, which the wait gives up, and signals. */
	for (unsigned n = 0; n < MAX_SERVED_PER_YIELD && atomic_load(&lock->n_waiting) > 0; n++)
		(void)pthread_cond_wait(&lock->was_served, &lock->mutex);
}

void tables_lock_tell_synced(struct tables_lock *lock)
{
	(void)sem_post(&lock->was_synced);
}

int tables_lock_wait_synced(struct tables_lock *lock, uint64_t deadline_ns)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int r;

	tables_lock_give(lock);
	do
		r = sem_clockwait(&lock->was_synced, CLOCK_MONOTONIC, &deadline) < 0 ? -errno : 0;
	while (r == -EINTR);
	/* Not by a condition of the mutex: that would stand before it again without being counted,
	 * and the thread that reads a large table gives it up to nobody else. */
	tables_lock_take(lock);
	return r;
}
