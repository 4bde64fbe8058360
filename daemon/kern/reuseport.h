/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A group of listening sockets with one address, one per acceptor, and bpf/reuseport.bpf.c, which
 * chooses among them (design.md §5.8): the acceptor of the SYN's CPU while its live connections are
 * ≤ 1.5 × the mean + 8, else another of its NUMA node, else any that is open, else the kernel's
 * hash. SYNs from loopback are the hash's. A closing listener's queue migrates.
 *
 * Slots 0 … 2 × SPLICE_MAX_ACCEPTORS − 1: an acceptor's number is its slot in the first generation.
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

/* Stops new connections coming, before the socket is closed: its queue then migrates to the others,
 * and its slot clears itself. reuseport_group_open() takes it back. */
void reuseport_group_open(struct reuseport_group *group, uint32_t acceptor);
void reuseport_group_close(struct reuseport_group *group, uint32_t acceptor);

/* Acceptor a's line: it stores n_live, relaxed; cpu and node before reuseport_group_add(). Lives as
 * long as the group. */
struct splice_acceptor_load *reuseport_group_load(struct reuseport_group *group, uint32_t acceptor);

/* Which generation of acceptors gets new connections: slots first … + n_acceptors, which their
 * lines and sockets were put in before. For a later hand-over; -EINVAL. */
int reuseport_group_set_generation(struct reuseport_group *group, uint32_t generation,
				   uint32_t first, uint32_t n_acceptors);
