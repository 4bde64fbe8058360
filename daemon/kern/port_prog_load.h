/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading: an instance of bpf/redirect.bpf.c as a skeleton, attached to nothing, for port_prog.c,
 * which destroys it. Syscalls: bpf(2).
 */
#pragma once

#include "kern/port_prog.h" /* also for the skeleton, which has the types of sluice_abi.h */

struct redirect;

int redirect_load(const struct port_prog_spec *spec, struct redirect **ret_skel);

/* The one program of it that is loaded. */
int redirect_prog_fd(const struct redirect *skel);

/* A second instance that sees what `live` sees, worker by worker, but counts on its own. */
int redirect_load_twin(const struct redirect *live, struct redirect **ret_skel);
