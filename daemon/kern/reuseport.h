/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A group of listening sockets with one address, one per acceptor, and bpf/reuseport.bpf.c, which
 * chooses among them (design.md §5.8): the acceptor of the SYN's CPU while its live connections are
 * ≤ 1.5 × the mean + 8, else another of its NUMA node, else any that is open, else the kernel's
 * hash. SYNs from loopback are the hash's. A closing listener's queue migrates.
 *
 * Thread: control; `load` lines are the acceptors'. Capabilities: CAP_BPF, CAP_NET_ADMIN.
 */
#pragma once

#include <stdint.h>

#include "bpf/splice_abi.h"

struct reuseport_group;

int reuseport_group_new(uint32_t n_acceptors, struct reuseport_group **ret_group);
void reuseport_group_free(struct reuseport_group *group);

/* The socket listens already; the program is attached with the first. -EBUSY: it is in a group. */
int reuseport_group_add(struct reuseport_group *group, uint32_t acceptor, int listen_fd);

/* Its slot clears itself when it is closed; this only stops new connections coming. */
void reuseport_group_close(struct reuseport_group *group, uint32_t acceptor);

/* Acceptor a's line: it stores n_live, relaxed. Lives as long as the group. */
struct splice_acceptor_load *reuseport_group_load(struct reuseport_group *group, uint32_t acceptor);

/* Which generation of acceptors gets new connections; for a later hand-over. */
void reuseport_group_set_generation(struct reuseport_group *group, uint32_t generation,
				    uint32_t first, uint32_t n_acceptors);
