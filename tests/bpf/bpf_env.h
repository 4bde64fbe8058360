/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Surroundings of the bpf tests: network and mount namespaces of the test process alone, with a
 * bpf file system on /sys/fs/bpf and interfaces that vanish with the process. Nothing here
 * touches the host's interfaces or pins.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* cmocka.h relies on these being included before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include "kern/port_prog.h"

#define ENV_PIN_DIR     "/sys/fs/bpf/sluice-test"
#define ENV_DEADLINE_MS 5000

/* Enters the namespaces; if that or bpf(2) is not permitted, says why and exits 77. */
void env_enter(void);

/* Runs a program found on PATH and fails the test if it fails. The list ends with NULL. */
void env_run(const char *program, ...) __attribute__((sentinel));

/* A veth pair, both ends up, each with n_queues receive and transmit queues. */
void env_make_veth(const char *name, const char *peer, unsigned n_queues);

uint32_t env_ifindex(const char *name);

/* Waits until done(arg) is true; false if it is not within ENV_DEADLINE_MS. Yields, never sleeps.
 */
bool env_wait(bool (*done)(void *arg), void *arg);

/* A program that is not ours: returns XDP_PASS. The caller closes the fd. */
int env_load_foreign(void);

/* Of the program on an interface; 0 = none. */
uint32_t env_prog_on(uint32_t ifindex);

uint32_t env_prog_id(int prog_fd);

/* The kernel's tick count now, by BPF. */
uint64_t env_jiffies(void);

/* A worker beats: its line says that it is alive at this tick. */
void env_beat(struct port_prog *prog, unsigned worker);

/*
 * One frame through the loaded program, as if received on a queue. Fails the test if the kernel
 * refuses, or if the program changes the frame. Returns the XDP action.
 */
uint32_t env_run_frame(const struct port_prog *prog, uint32_t ifindex, uint32_t queue,
		       const void *frame, uint32_t size_bytes);
