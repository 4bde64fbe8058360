/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of the tables; see tables_thread.h. */
#include "control/tables_thread.h"

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
	if (r == 0)
		r = pthread_cond_init(&lock->was_synced, &attr);
	(void)pthread_condattr_destroy(&attr);
	return -r;
}

void tables_lock_fini(struct tables_lock *lock)
{
	(void)pthread_cond_destroy(&lock->was_synced);
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
