/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel knows about each spliced socket: conn_meta (SK_STORAGE), filled by
 * bpf/sockops.bpf.c, attached only to a cgroup2 of our own that holds no other process (design.md
 * §5.9). Without such a cgroup nothing fills it: sockops_is_attached() says whether setting it is
 * worth an allocation for each socket, and TCP_INFO at close replaces sock_ops.
 *
 * Thread: control for new and free; any for the rest. Capabilities: CAP_BPF, CAP_NET_ADMIN.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/splice_abi.h"

struct sockops;

/*
 * `cgroup` NULL: the process's own. *ret_attached tells whether sock_ops runs; why it does not is
 * -EXDEV (the root, or other processes in it), -ENOENT (no cgroup2) or the -errno of attaching.
 */
int sockops_new(const char *cgroup, struct sockops **ret_sockops, int *ret_attach_error);
void sockops_free(struct sockops *sockops);
bool sockops_is_attached(const struct sockops *sockops);

/* On a listener (its children get a copy), or a backend socket before connect(). BPF_ANY. */
int sockops_set(struct sockops *sockops, int fd, const struct splice_conn_meta *meta);
int sockops_get(struct sockops *sockops, int fd, struct splice_conn_meta *ret_meta);

/* Records of closed sockets; -1 / 0 while not attached. */
int sockops_events_fd(const struct sockops *sockops);
int sockops_events_drain(struct sockops *sockops,
			 void (*fn)(const struct splice_event *event, void *arg), void *arg);
/* Records that found the ring full. */
uint64_t sockops_n_lost(const struct sockops *sockops);
