/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way from the first SIGTERM to the end of the loop: new connections are refused, those that
 * are there may end by themselves until drain_timeout, then what is left is reset. Ports go on
 * forwarding meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "control/life_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "life"

/* Connections end within 20 ms of their deadline; an acceptor that hangs is not waited for. */
#define LOOK_NS  (20 * NSEC_PER_MSEC)
#define GRACE_NS NSEC_PER_SEC
#define TELL_NS  NSEC_PER_SEC

/* Once a second, whether or not it is news: what systemd shows, and how long it waits from now. */
static void tell_what_is_left(struct life *life, uint32_t n_left, uint64_t now_ns)
{
	if (life->told_left_ns && now_ns - life->told_left_ns < TELL_NS)
		return;
	life->told_left_ns = now_ns;
	(void)sd_notifyf(0, "STATUS=stopping, %u connection%s left\nEXTEND_TIMEOUT_USEC=%llu",
			 n_left, n_left == 1 ? "" : "s",
			 (unsigned long long)((GRACE_NS + 10 * NSEC_PER_SEC) / NSEC_PER_USEC));
}

static int end_drained(struct life *life)
{
	uint64_t n = splicer_n_killed(life->splicer) - life->n_killed_before_drain;

	if (n > 0)
		log_notice("%llu connection%s reset", (unsigned long long)n,
			   n == 1 ? " was" : "s were");
	return sd_event_exit(life->event, EXIT_SUCCESS);
}

static int on_drain(sd_event_source *source, uint64_t usec, void *arg)
{
	struct life *life = arg;
	uint64_t now_ns = clock_now_ns();

	if (splicer_is_drained(life->splicer))
		return end_drained(life);
	if (now_ns > life->drain_until_ns + GRACE_NS) {
		log_warning("connections that did not end when they were reset are left behind");
		return sd_event_exit(life->event, EXIT_SUCCESS);
	}
	tell_what_is_left(life, splicer_n_conns(life->splicer), now_ns);
	return sd_event_source_set_time_relative(source, LOOK_NS / NSEC_PER_USEC);
}

static int begin_drain(struct life *life)
{
	uint32_t n_left = splicer_n_conns(life->splicer);
	int r;

	life->is_draining = true;
	life->n_killed_before_drain = splicer_n_killed(life->splicer);
	life->drain_until_ns = clock_now_ns() + life->conf->daemon.drain_timeout_ns;
	splicer_drain(life->splicer, life->drain_until_ns);
	if (n_left > 0)
		log_notice(
			"%u connection%s %llu ms to end", n_left, n_left == 1 ? " has" : "s have",
			(unsigned long long)(life->conf->daemon.drain_timeout_ns / NSEC_PER_MSEC));
	(void)sd_notify(0, "STOPPING=1");
	r = sd_event_add_time_relative(life->event, &life->drain_timer, CLOCK_MONOTONIC, 0,
				       NSEC_PER_MSEC / NSEC_PER_USEC, on_drain, life);
	return r < 0 ? r : sd_event_source_set_enabled(life->drain_timer, SD_EVENT_ON);
}

/* The deadline is now: connections are reset, counted and logged as they would be then. */
static int hurry(struct life *life, unsigned signal)
{
	uint64_t now_ns = clock_now_ns();

	if (now_ns >= life->drain_until_ns)
		return sd_event_exit(life->event, EXIT_SUCCESS);
	log_notice("signal %u again: not waiting for connections", signal);
	life->drain_until_ns = now_ns;
	splicer_drain(life->splicer, now_ns);
	return 0;
}

int life_on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct life *life = arg;

	if (life->is_draining)
		return hurry(life, info->ssi_signo);
	log_notice("stopping on signal %u", info->ssi_signo);
	if (begin_drain(life) < 0)
		return sd_event_exit(life->event, EXIT_SUCCESS);
	return 0;
}
