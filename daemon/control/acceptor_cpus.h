/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where acceptors run: on CPUs that are no packet worker's, since what they splice is moved by
 * kworkers of the receiving CPU (design.md §3). Pure. Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/listeners.h"

struct conf;
struct plan;
struct topo;

/*
 * As many as [daemon] acceptors wants (auto: one for each free CPU, at least one), on the CPUs that
 * [daemon] cpus lists (auto: all that are allowed). Returns how many, ≤
 * CONF_MAX_ACCEPTORS; *ret_is_shared: some share a CPU with a worker or with each other.
 */
uint32_t acceptor_cpus(const struct plan *plan, const struct topo *topo, const struct conf *conf,
		       struct listeners_acceptor *ret_acceptors, bool *ret_is_shared);
