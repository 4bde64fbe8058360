/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading and attaching a port's program as the daemon does, in this process or in one that dies,
 * and looking at what is pinned. Needs the namespaces of bpf_env.h. Every function fails the test
 * if what it is for does not succeed.
 */
#pragma once

#include "bpf_env.h"

#define ENV_PORT      "lan.0" /* a dot, which a bpf file system refuses in names */
#define ENV_PORT_PATH ENV_PIN_DIR "/lan%2e0"

/* A unicast frame. */
extern const uint8_t env_frame[60];

void env_port_prog_freep(struct port_prog **prog);

/* A forwarding port of one queue with on_failure = drop, not attached. */
struct port_prog *env_load_port(const char *ifname, bool generic);

/* port_prog_attach() for callers who expect no conflict. */
int env_attach(struct port_prog *prog, const char *pin_dir, bool *ret_adopted);

/* Frames that count as NO_WORKER: on a queue outside the plan. */
void env_count_frames(const struct port_prog *prog, unsigned n);
void env_count_five(struct port_prog *prog);

/* The adopted total of NO_WORKER; all others must be zero. */
uint64_t env_adopted_no_worker(const struct port_prog *prog);

/* For env_wait(): no program on the interface named `arg`. */
bool env_is_bare(void *arg);

bool env_exists(const char *path);

/* The pins are those of this program, living, finished, private, and nothing else is there. */
void env_assert_pins_of(const struct port_prog *prog);

/* Runs fn(prog) in another process that has attached to "lan", and ends without cleaning up. */
void env_in_another_process(const char *pin_dir, void (*fn)(struct port_prog *prog));
