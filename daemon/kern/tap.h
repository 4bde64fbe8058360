/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way back to the kernel (design.md §4.11): one TAP per port, with a clsact program
 * (bpf/handback.bpf.c) that redirects whatever is written to it to the *ingress* of the port, so
 * that Linux sees the frame as if the port had received it: rp_filter, iif rules, ICMP sources and
 * redirects are the port's (spikes.md §7b).
 *
 * The TAP carries no address, no IPv6, and a name of the kernel's choice ("sluice%d"). One queue,
 * so one fd, per worker; write(2) of one whole Ethernet frame never blocks. Everything is gone with
 * the last fd, however the process ends.
 *
 * Thread: control opens and closes; a worker writes to its own fd. Capabilities: CAP_NET_ADMIN,
 * CAP_BPF, and /dev/net/tun. Nothing here logs.
 */
#pragma once

#include <stdint.h>

struct tap;

/* Frames of any length that a port can receive may be written. -ENOENT: no /dev/net/tun. */
int tap_open(uint32_t port_ifindex, unsigned n_queues, struct tap **ret_tap);
void tap_close(struct tap *tap);

/* Non-blocking. Borrowed. */
int tap_fd(const struct tap *tap, unsigned queue);
const char *tap_name(const struct tap *tap);
uint32_t tap_ifindex(const struct tap *tap);
