/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of control/link stand on: for each test a network namespace of its own, which goes
 * with it, a sysfs that shows that namespace, and an open connection.
 */
#pragma once

#include "control/link_internal.h"
#include "tests/unit/unit.h"

extern const char *const link_env_sysfs;
extern struct links *links;

/* Runs a shell command, which must succeed. */
void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct link read_link(const char *name);

int link_env_enter(void **state);
int link_env_leave(void **state);

#define link_test(fn) cmocka_unit_test_setup_teardown(fn, link_env_enter, link_env_leave)

/* Runs the tests; 77 and the reason if namespaces cannot be made. */
int link_env_run(const struct CMUnitTest *tests, size_t n_tests);
