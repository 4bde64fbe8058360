/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of control/tables stand on: for each test a network namespace with two ports and a
 * peer behind each in a second namespace, the real tables thread over the real rtnetlink, and a
 * policy (control/policy.h) that allows everything.
 *
 *	p0 10.0.0.1/24 2001:db8:0::1/64 ── q0 10.0.0.2 2001:db8:0::2
 *	p1 10.0.1.1/24 2001:db8:1::1/64 ── q1 10.0.1.2 2001:db8:1::2
 */
#pragma once

#include "control/tables_thread.h"
#include "tests/unit/unit.h"

extern struct tables *tables;
extern struct sluice_heartbeat lines[2];
extern struct worker reader; /* a worker that the tables know; not reading */

/* Runs a shell command, which must succeed; in the namespace of the peers. */
void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void peer_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A file for ip -batch: n lines "VERB a.b.c.REST", where a.b.c is the i-th /24 from 11.0.0 on. */
void write_batch(const char *path, const char *verb, const char *rest, uint32_t n);

/* The same with IPv6 routes by p0: "2a00:HIGH:LOW::/48" of the i-th. */
void write_batch6(const char *path, uint32_t n);

/* Makes both ports, adds their addresses and neighbours that stay; starts the tables. */
int tables_env_enter(void **state);
int tables_env_leave(void **state);
void configure(void);

/* What a worker would find; NULL: no route (or one that passes for want of any). */
const struct nexthop *look_up(const char *addr);
/* Does a packet to it leave by this port (by a resolved adjacency)? */
bool leaves_by(const char *addr, uint16_t port);
bool passes(const char *addr);

/* Waits for the condition, five seconds at most, ten where many routes are concerned. */
#define wait_for(condition) wait_for_in(condition, 5)
#define wait_for_in(condition, seconds)                                                    \
	do {                                                                               \
		uint64_t _deadline = clock_now_ns() + (seconds)*NSEC_PER_SEC;              \
		while (!(condition)) {                                                     \
			if (clock_now_ns() > _deadline)                                    \
				fail_msg("%s:%d: not within %d s: %s", __FILE__, __LINE__, \
					 seconds, #condition);                             \
			tables_env_pause();                                                \
		}                                                                          \
	} while (0)
void tables_env_pause(void);

struct report_tables *report(void);
bool is_quiet(void); /* synced, nothing waits in the socket */

/* Fails unless the tables hold exactly what `ip route show table main` shows. */
void assert_same_as_kernel(void);

int tables_env_run(const struct CMUnitTest *tests, size_t n_tests);

#define tables_test(fn) cmocka_unit_test_setup_teardown(fn, tables_env_enter, tables_env_leave)
