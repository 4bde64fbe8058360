/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where packets get lost, as one walk over a port: every place and reason, in the order of the
 * path, each with its count and what to do about it. The table is the operator's manual of drops.
 *
 * Thread: any; pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct report_port;

/* Where on the path, in its order. */
enum loss_place { LOSS_NIC, LOSS_XDP, LOSS_SOCKET, LOSS_WORKER, LOSS_TRANSMIT, LOSS_PLACE_N };

extern const char *const loss_place_names[LOSS_PLACE_N];

struct loss {
	enum loss_place place;
	const char *reason;
	const char *meaning;
	const char *remedy;
	uint64_t n_packets;
	/* Counted elsewhere in the walk too, or not a packet: shown, never summed. */
	bool is_symptom;
};

/* Calls fn for every place and reason, zero or not. */
void losses_of_port(const struct report_port *port, void (*fn)(const struct loss *loss, void *arg),
		    void *arg);
