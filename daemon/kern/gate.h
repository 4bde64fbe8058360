/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XDP gate (design.md §4.8, §4.10): what redirect.bpf.c may send to a worker of a route port.
 * One per daemon, shared by the programs of all its ports. It errs towards "redirect": a wrong yes
 * costs a hand-back, a wrong no the slow path; neither loses a frame.
 *
 *   IPv4   two bits per /24 (4 MiB), written through mmap
 *   IPv6   a filter of prefixes by hash: three probes, of the first 16, 32 and 48 bits (512 KiB); a
 *          fourth, of 64, says whether this host has an address nearby
 *   local  addresses of this host, exact, each with the group of the port that carries it
 *
 * Thread: tables alone, after gate_new() (control). Capabilities: CAP_BPF, CAP_NET_ADMIN. Nothing
 * here logs. A program that outlives the daemon (on_failure = drop) keeps the maps alive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/sluice_abi.h"

struct gate;

int gate_new(struct gate **ret_gate);
void gate_free(struct gate *gate);

/* For port_prog_load(): the fds of the maps, borrowed. */
struct gate_fds {
	int gate4, gate6, local4, local6;
};
struct gate_fds gate_fds(const struct gate *gate);

/* The class of n consecutive /24s, from number first24 (address >> 8) on. No system call. */
void gate_set4(struct gate *gate, uint32_t first24, uint32_t n, enum sluice_gate_class class);
enum sluice_gate_class gate_get4(const struct gate *gate, uint32_t slot24);

/*
 * Counts a prefix in or out of the IPv6 filter; prefixes overlap freely, each that was added must
 * be deleted once with the same length. -ENOMEM. No system call.
 */
int gate_add6(struct gate *gate, const uint8_t addr[16], unsigned len);
void gate_delete6(struct gate *gate, const uint8_t addr[16], unsigned len);

/*
 * An address of this host. `group` is that of the bridge whose port carries it, or
 * SLUICE_NO_GROUP. Adding again replaces the group. That the /24 of an IPv4 address has to be
 * looked at ("mixed") the caller says by gate_set4(). -ENOSPC beyond SLUICE_MAX_LOCALS; -ENOENT:
 * deleting what is not there. One bpf(2), two where a group is replaced.
 */
int gate_add_local4(struct gate *gate, uint32_t addr_be, uint32_t group);
int gate_add_local6(struct gate *gate, const uint8_t addr[16], uint32_t group);
int gate_delete_local4(struct gate *gate, uint32_t addr_be);
int gate_delete_local6(struct gate *gate, const uint8_t addr[16]);

/* In all, kernel's and ours; of the counts behind the IPv6 filter what was ever touched. */
size_t gate_bytes(const struct gate *gate);
