/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fixtures of test_redirect.c for a wire, and for what all ports have in common: frames, and
 * for each the state of the port and the verdict it must get.
 */
#pragma once

#include <linux/bpf.h>

#include "bpf/sluice_abi.h"
#include "redirect_env.h"

/* --- Frames ---------------------------------------------------------------------------------- */

#define UNICAST PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b
#define TO(...) __VA_ARGS__, 0x02, 0, 0, 0, 0, 0x0b

static const struct frame untagged = {60, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame full_size = {1514, {UNICAST, 0x86, 0xdd, 0x60}};
static const struct frame jumbo = {3000, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame dot1q = {64, {UNICAST, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45}};
static const struct frame qinq = {
	68, {UNICAST, 0x88, 0xa8, 0x00, 0x0a, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45}};
static const struct frame only_ethernet = {14, {UNICAST, 0x08, 0x00}};
static const struct frame cut_in_vlan = {16, {UNICAST, 0x81, 0x00, 0x00, 0x64}};
static const struct frame cut_after_type = {14, {UNICAST, 0x81, 0x00}};
static const struct frame cut_in_qinq = {20,
					 {UNICAST, 0x88, 0xa8, 0x00, 0x0a, 0x81, 0x00, 0, 0x64}};
static const struct frame cut_in_ipv4 = {15, {UNICAST, 0x08, 0x00, 0x45}};
static const struct frame length_field = {60, {UNICAST, 0x00, 0x2e, 0x42, 0x42, 0x03}};
static const struct frame broadcast = {60, {TO(0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0x08, 0x06}};
static const struct frame multicast = {60, {TO(0x01, 0x00, 0x5e, 0, 0, 1), 0x08, 0x00, 0x45}};
static const struct frame zeroes = {60, {0}};
static const struct frame stp = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x00), 0x00, 0x26, 0x42, 0x42}};
static const struct frame mac_pause = {60,
				       {TO(0x01, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08, 0x00, 0x01}};
static const struct frame slow = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x02), 0x88, 0x09, 0x01}};
static const struct frame lldp = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x0e), 0x88, 0xcc, 0x02}};
static const struct frame tagged_lldp = {
	64, {TO(0x01, 0x80, 0xc2, 0, 0, 0x0e), 0x81, 0x00, 0x00, 0x01, 0x88, 0xcc, 0x02}};
static const struct frame short_pause = {14, {TO(0x01, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08}};
/* One address past the range, and those that differ in each of its other bytes. */
static const struct frame near_10 = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x10), 0x88, 0xcc}};
static const struct frame near_81 = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x81), 0x88, 0x08}};
static const struct frame near_byte4 = {60, {TO(0x01, 0x80, 0xc2, 0, 1, 0x01), 0x88, 0x08}};
static const struct frame near_byte3 = {60, {TO(0x01, 0x80, 0xc2, 1, 0, 0x01), 0x88, 0x08}};
static const struct frame near_byte0 = {60, {TO(0x00, 0x80, 0xc2, 0, 0, 0x01), 0x88, 0x08}};
/* MAC control by type, but to a station: a frame like any other. */
static const struct frame unicast_8808 = {60, {UNICAST, 0x88, 0x08, 0x00, 0x01}};

/* --- Cases ----------------------------------------------------------------------------------- */

/* clang-format off */
#define VERDICT_CASES(X)                                                                           \
	X(untagged, &untagged, REDIRECT, XDP_REDIRECT)                                             \
	X(second_queue, &untagged, REDIRECT, XDP_REDIRECT, .queue = 1)                             \
	X(on_failure_drop_is_for_failures, &untagged, REDIRECT, XDP_REDIRECT, .drops = true)       \
	X(full_size, &full_size, REDIRECT, XDP_REDIRECT)                                           \
	X(jumbo, &jumbo, REDIRECT, XDP_REDIRECT)                                                   \
	X(dot1q, &dot1q, REDIRECT, XDP_REDIRECT)                                                   \
	X(qinq, &qinq, REDIRECT, XDP_REDIRECT)                                                     \
	X(only_ethernet, &only_ethernet, REDIRECT, XDP_REDIRECT)                                   \
	X(cut_after_vlan_type, &cut_after_type, REDIRECT, XDP_REDIRECT)                            \
	X(cut_in_vlan, &cut_in_vlan, REDIRECT, XDP_REDIRECT)                                       \
	X(cut_in_qinq, &cut_in_qinq, REDIRECT, XDP_REDIRECT)                                       \
	X(cut_in_ipv4, &cut_in_ipv4, REDIRECT, XDP_REDIRECT)                                       \
	X(length_instead_of_type, &length_field, REDIRECT, XDP_REDIRECT)                           \
	X(broadcast, &broadcast, REDIRECT, XDP_REDIRECT)                                           \
	X(multicast, &multicast, REDIRECT, XDP_REDIRECT)                                           \
	X(zero_addresses, &zeroes, REDIRECT, XDP_REDIRECT)                                         \
	X(stp_on_a_wire, &stp, REDIRECT, XDP_REDIRECT)                                             \
	X(slow_protocol_on_a_wire, &slow, REDIRECT, XDP_REDIRECT)                                  \
	X(lldp_on_a_wire, &lldp, REDIRECT, XDP_REDIRECT)                                           \
	X(past_control_range, &near_10, REDIRECT, XDP_REDIRECT, .has_pass_control = true)          \
	X(like_pause_byte_5, &near_81, REDIRECT, XDP_REDIRECT, .has_pass_control = true)           \
	X(like_pause_byte_4, &near_byte4, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(like_pause_byte_3, &near_byte3, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(like_pause_byte_0, &near_byte0, REDIRECT, XDP_REDIRECT, .has_pass_control = true)        \
	X(mac_control_to_a_station, &unicast_8808, REDIRECT, XDP_REDIRECT)                         \
                                                                                                   \
	X(pass_port, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true)                         \
	X(pass_port_has_no_control, &mac_pause, PASS_PORT, XDP_PASS, .is_pass_port = true)         \
	X(pass_port_never_fails, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true,             \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
	X(pass_port_unowned_queue, &untagged, PASS_PORT, XDP_PASS, .is_pass_port = true,           \
	  .queue = 2)                                                                              \
                                                                                                   \
	X(detached, &untagged, DETACHED, XDP_PASS, .is_detached = true)                            \
	X(detached_passes_pause, &mac_pause, DETACHED, XDP_PASS, .is_detached = true)              \
	X(detached_beats_pass_port, &untagged, DETACHED, XDP_PASS, .is_detached = true,            \
	  .is_pass_port = true)                                                                    \
	X(detached_beats_drop, &untagged, DETACHED, XDP_PASS, .is_detached = true,                 \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
                                                                                                   \
	X(queue_without_worker, &untagged, NO_WORKER, XDP_PASS, .queue = 2)                        \
	X(queue_outside_plan, &untagged, NO_WORKER, XDP_PASS, .queue = 3)                          \
	X(last_queue_of_the_table, &untagged, NO_WORKER, XDP_PASS, .queue = 255, .is_wide = true)  \
	X(queue_beyond_the_table, &untagged, NO_WORKER, XDP_PASS, .queue = 256, .is_wide = true)   \
	X(queue_far_beyond, &untagged, NO_WORKER, XDP_PASS, .queue = 299, .is_wide = true)         \
	X(drop_is_for_owned_queues, &untagged, NO_WORKER, XDP_PASS, .queue = 2, .drops = true)     \
	X(drop_is_for_planned_queues, &untagged, NO_WORKER, XDP_PASS, .queue = 3, .drops = true)   \
	X(unowned_queue_passes_pause, &mac_pause, NO_WORKER, XDP_PASS, .queue = 2)                 \
                                                                                                   \
	X(stp, &stp, CONTROL, XDP_PASS, .has_pass_control = true)                                  \
	X(slow_protocol, &slow, CONTROL, XDP_PASS, .has_pass_control = true)                       \
	X(lldp, &lldp, CONTROL, XDP_PASS, .has_pass_control = true)                                \
	X(tagged_lldp, &tagged_lldp, CONTROL, XDP_PASS, .has_pass_control = true)                  \
	X(control_needs_no_worker_alive, &lldp, CONTROL, XDP_PASS, .has_pass_control = true,       \
	  .drops = true, .never_beat = true, .has_no_socket = true)                                \
                                                                                                   \
	X(pause, &mac_pause, PAUSE, XDP_DROP)                                                      \
	X(short_pause, &short_pause, PAUSE, XDP_DROP)                                              \
	X(pause_is_not_control, &mac_pause, PAUSE, XDP_DROP, .has_pass_control = true)             \
	X(pause_without_worker_alive, &mac_pause, PAUSE, XDP_DROP, .never_beat = true)             \
                                                                                                   \
	X(never_beat, &untagged, STALE, XDP_PASS, .never_beat = true)                              \
	X(never_beat_drop, &untagged, STALE, XDP_DROP, .never_beat = true, .drops = true)          \
	X(stale_before_socket, &untagged, STALE, XDP_PASS, .never_beat = true,                     \
	  .has_no_socket = true)                                                                   \
	X(stale_control_on_a_wire, &lldp, STALE, XDP_DROP, .never_beat = true, .drops = true)      \
                                                                                                   \
	X(empty_slot, &untagged, NO_SOCKET, XDP_PASS, .has_no_socket = true)                       \
	X(empty_slot_drop, &untagged, NO_SOCKET, XDP_DROP, .has_no_socket = true, .drops = true)   \
	X(empty_slot_second_queue, &untagged, NO_SOCKET, XDP_DROP, .queue = 1,                     \
	  .has_no_socket = true, .drops = true)
/* clang-format on */
