/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiving side: takes frames off every lane of an endpoint, judges each, keeps the books per
 * flow, and decides when it is over.
 *
 * It ends when `expect` distinct frames have come and then nothing for `linger`; or when nothing
 * came for `idle_timeout` since the first frame (or since the sender of `run` was done); or at
 * `duration`; or when told to.
 *
 * Thread: one, the sink's; sink_expect() is for the sender's.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "tools/gen/endpoint.h"
#include "tools/gen/frame.h"
#include "tools/gen/histogram.h"
#include "tools/gen/options.h"
#include "tools/gen/sequence.h"

#define SINK_MAX_FLOWS (1u << 20)

struct sink {
	struct endpoint *ep;
	const struct gen_options *o;
	const atomic_bool *stop;
	_Atomic uint64_t expect;    /* w: main, sender; 0 = unknown */
	_Atomic uint64_t sender_ns; /* w: sender, when it was done; 0 = not yet or not ours */

	struct sequence *flows; /* by flow number; bits == NULL: not seen */
	uint32_t n_flows;
	uint64_t fates[FRAME_FATE_N];
	uint64_t other_run;                /* intact, but not of --only-run */
	uint64_t n_unique;                 /* distinct frames, over all flows */
	uint64_t bytes;                    /* of intact frames */
	uint64_t first_ns, last_ns;        /* of frames of ours, whatever their fate */
	uint64_t received[GEN_MAX_QUEUES]; /* frames by lane */
	struct histogram latency;
};

/* What the books of all flows come to. */
struct sink_totals {
	uint64_t received, unique, lost, duplicated, reordered, stale;
	bool is_intact; /* nothing lost, doubled, overtaken or damaged */
};

void sink_init(struct sink *s, struct endpoint *ep, const struct gen_options *o,
	       const atomic_bool *stop);
void sink_fini(struct sink *s);

/* Receives until the end. -ENOMEM, or -errno of poll(2). */
int sink_run(struct sink *s);

/* The sender is done and offered `n` frames. Thread: sender. */
void sink_expect(struct sink *s, uint64_t n);

void sink_sum_up(const struct sink *s, struct sink_totals *ret_totals);
