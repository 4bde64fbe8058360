/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ways of sending.
 *
 *   send_paced  AF_XDP on exactly the queues asked for, in bursts that a clock lets go; each frame
 *               is followed to its completion
 *   send_flood  BPF_PROG_TEST_RUN with live frames in one long call: more than AF_XDP can, but what
 *               the device drops is not told
 *
 * Frame i of a run is number i div F of flow i mod F, and flow f has its place on lane f mod n: the
 * order of a flow is the order of its queue.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "tools/gen/endpoint.h"
#include "tools/gen/options.h"

/* What sendto(2) may answer and the sender goes on after. */
#define SEND_ANSWERS(X)   \
	X(ok, 0)          \
	X(again, EAGAIN)  \
	X(dropped, EBUSY) \
	X(no_buffers, ENOBUFS)

#define SEND_ANSWER_ID(name, code) SEND_ANSWER_##name,
enum send_answer { SEND_ANSWERS(SEND_ANSWER_ID) SEND_ANSWER_N };
#undef SEND_ANSWER_ID

struct send_result {
	uint64_t offered;   /* handed to the kernel */
	uint64_t completed; /* and given back by it */
	uint64_t dropped;   /* of those: refused by the device, which sendto() told (EBUSY) */
	uint64_t bytes;     /* offered */
	uint64_t start_ns, end_ns;
	uint64_t slipped; /* times the clock was more than a millisecond ahead and was let go */
	uint64_t answers[SEND_ANSWER_N];
	uint32_t n_queues;
	struct {
		uint32_t queue;
		uint64_t offered, completed;
	} queues[GEN_MAX_QUEUES];
	struct device_counters device; /* what the interface counted meanwhile */
};

/* Borrows all until it returns. Complains on stderr; *ret_result is written in any case. */
int send_paced(struct endpoint *ep, const struct gen_options *o, const atomic_bool *stop,
	       struct send_result *ret_result);

/* `stop` is set by a signal that interrupts the call. */
int send_flood(const struct gen_options *o, const atomic_bool *stop,
	       struct send_result *ret_result);

/* Flows of a run in effect: one per lane unless it was said. */
static inline uint32_t send_flows(const struct gen_options *o, uint32_t n_lanes)
{
	return o->flows ? o->flows : n_lanes;
}
