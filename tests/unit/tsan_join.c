/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gcc 12's ThreadSanitizer does not know pthread_clockjoin_np(3) (gcc 13's does): to it such a
 * thread was never joined, and the next one with the same pthread_t is a fatal error ("dup thread
 * with used id"). In a TSan build this replaces it with a join that it knows. The clock of that one
 * can be set while we wait; in a test that matters to nobody.
 */
#if defined(__SANITIZE_THREAD__)
#include <pthread.h>
#include <time.h>

#include "util/clock.h"

int pthread_clockjoin_np(pthread_t thread, void **ret_value, clockid_t clock,
			 const struct timespec *deadline)
{
	struct timespec now, real;
	uint64_t ns;

	(void)clock_gettime(clock, &now);
	(void)clock_gettime(CLOCK_REALTIME, &real);
	ns = (uint64_t)(real.tv_sec + deadline->tv_sec - now.tv_sec) * NSEC_PER_SEC +
	     (uint64_t)(real.tv_nsec + deadline->tv_nsec - now.tv_nsec);
	real.tv_sec = (time_t)(ns / NSEC_PER_SEC);
	real.tv_nsec = (long)(ns % NSEC_PER_SEC);
	return pthread_timedjoin_np(thread, ret_value, &real);
}
#endif
