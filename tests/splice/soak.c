/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "soak.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "util/clock.h"
#include "util/macros.h"

#define CALIBRATE_NS (25 * NSEC_PER_MSEC)
#define CALIBRATIONS 8
#define STEP         512

struct soak {
	pthread_t thread;
	unsigned cpu;
	_Atomic uint64_t n;
	_Atomic bool is_stopping;
	double per_ns; /* alone */
	uint64_t begun_n, begun_ns;
};

static void *count(void *arg)
{
	struct soak *soak = arg;
	struct sched_param param = {0};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(soak->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0 ||
	    pthread_setschedparam(pthread_self(), SCHED_IDLE, &param) != 0)
		abort();
	while (!atomic_load_explicit(&soak->is_stopping, memory_order_relaxed)) {
		for (unsigned i = 0; i < STEP; i++)
			__asm__ volatile("" ::: "memory");
		atomic_fetch_add_explicit(&soak->n, 1, memory_order_relaxed);
	}
	return NULL;
}

/* The best of several short times: what disturbs makes it only slower. */
static void calibrate(struct soak *soak)
{
	struct timespec wait = {.tv_nsec = CALIBRATE_NS};

	for (unsigned i = 0; i < CALIBRATIONS; i++) {
		uint64_t start_n = atomic_load(&soak->n), start_ns = clock_now_ns();
		double per_ns;

		(void)nanosleep(&wait, NULL);
		per_ns = (double)(atomic_load(&soak->n) - start_n) /
			 (double)(clock_now_ns() - start_ns);
		soak->per_ns = MAX(soak->per_ns, per_ns);
	}
}

struct soak *soak_start(unsigned cpu)
{
	struct soak *soak = calloc(1, sizeof(*soak));

	if (!soak)
		return NULL;
	soak->cpu = cpu;
	if (pthread_create(&soak->thread, NULL, count, soak) != 0) {
		free(soak);
		return NULL;
	}
	calibrate(soak);
	return soak;
}

void soak_begin(struct soak *soak)
{
	soak->begun_n = atomic_load(&soak->n);
	soak->begun_ns = clock_now_ns();
}

double soak_busy(struct soak *soak)
{
	double n = (double)(atomic_load(&soak->n) - soak->begun_n);
	double ns = (double)(clock_now_ns() - soak->begun_ns);

	return MAX(0, 1 - n / (ns * soak->per_ns));
}

void soak_stop(struct soak *soak)
{
	if (!soak)
		return;
	atomic_store(&soak->is_stopping, true);
	(void)pthread_join(soak->thread, NULL);
	free(soak);
}
