/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port under test for test_redirect*.c: bpf/redirect.bpf.c loaded in a chosen state, the gate
 * beside it, and the counters that must move.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sluice_abi.h"
#include "kern/port_prog.h"

/* Queues of the port under test: 0 and 1 are owned, 2 is not, 3 is outside the plan. */
#define N_DEVICE_QUEUES 4
#define N_PLAN_QUEUES   3
#define N_WORKERS       2
extern const uint16_t queue_worker[N_PLAN_QUEUES];

#define PORT_MAC 0x02, 0, 0, 0, 0, 0x0a
#define PORT_MTU 1500
#define GROUP    7 /* of the bridge under test */

struct frame {
	uint32_t size_bytes;
	uint8_t head[96]; /* the rest is a pattern */
};

uint8_t *frame_bytes(const struct frame *frame, uint8_t bytes[4096]);

struct verdict_case {
	const char *name;
	const struct frame *frame;
	enum sluice_verdict verdict;
	uint32_t action;
	/* What differs from a forwarding port whose workers beat and whose sockets are bound. */
	uint32_t queue;
	bool is_pass_port, is_route, is_bridge; /* none of them: a wire */
	bool is_detached;
	bool has_pass_control;
	bool drops; /* on_failure = drop */
	bool never_beat;
	bool has_no_socket;
	uint64_t without;        /* route: SLUICE_ROUTES_* that the policy takes away */
	uint64_t max_packet_len; /* route: 0 = PORT_MTU */
	bool is_wide; /* received on an interface with more queues than SLUICE_MAX_QUEUES */
};

struct port {
	struct port_prog *prog;
	int xsk_fd; /* unbound: enough to fill a slot */
	uint64_t counts[SLUICE_V_N];
};

/* Namespaces, the interfaces "port" and "wide", and the gate. */
void redirect_env_enter(void);
uint32_t port_ifindex(void);
uint32_t wide_ifindex(void);
const struct gate *port_gate(void);

/* Of a wire that nothing is wrong with. */
struct port_prog_spec default_spec(void);

/* Loads the program and brings the port into the state of a case, which need have no frame. */
void port_init(struct port *port, const struct verdict_case *c);
void port_fini(struct port *port);

/* What was counted since the last look. */
void take_counts(struct port *port, uint64_t ret_counts[SLUICE_V_N]);

/* One frame under `verdict` since the last look, and none under any other. */
void assert_counted(struct port *port, enum sluice_verdict verdict);
