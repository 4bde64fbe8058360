/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off: a figure */
/*
 * The engine builds exactly the plan, and takes it down in reverse.
 *
 *   build    program → attach → offloads, promiscuity, TAP → mode → UMEM → sockets → tables →
 *            worker → XSKMAP slots
 *   removal  empty the slots → grace period → drain rx, await tx ≤ 200 ms → publish without the
 *            lanes → read XDP_STATISTICS → close → detach
 *
 * It is driven by plans alone: start, reload and every link event end in engine_apply() with the
 * plan that fits the new configuration or the new links, and the engine does what plan_diff()
 * says. A port that cannot be built leaves nothing attached and says why; the others go on.
 *
 * What may pass by itself is retried: a queue or a program that a dying predecessor still holds
 * (5 s), at run time anything (once a second). engine_next_retry_ns() tells the event loop when.
 *
 * Thread: control. Calls block for what the kernel needs: an RCU grace period per attach, close and
 * removal (8–30 ms each), 200 ms at most for draining. This room logs.
 */
/* clang-format on */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/plan.h"

struct engine;
struct report;
struct tables;

struct engine_options {
	const char *bpf_dir;     /* conf_daemon.bpf_dir */
	const char *runtime_dir; /* where the record of changed offloads is kept */
	struct links *links;     /* borrowed */
};

int engine_new(const struct engine_options *options, struct engine **ret_engine);

/*
 * Goes from the plan in force to `plan`, which the engine takes; `plan->conf` must live as long as
 * the plan does, so the caller frees the conf of the plan before only after this returns.
 * Ports that cannot be built now are left in a state that engine_report() shows and retries mend.
 * Returns 0, or the first port's -errno when one was refused for a reason that will not pass.
 */
int engine_apply(struct engine *engine, struct plan *plan);

const struct plan *engine_plan(const struct engine *engine);

/* Tries again what is due. The monotonic time of the next try; 0 = nothing to retry. */
void engine_retry(struct engine *engine);
uint64_t engine_next_retry_ns(const struct engine *engine);

/* Every port of the plan is built: READY=1 may be said. */
bool engine_is_complete(const struct engine *engine);

/* Every port of the plan is built or has no interface to be built on. */
bool engine_lacks_only_interfaces(const struct engine *engine);

/* Goes on trying, blocking, until nothing is left to try or a port has failed. False: time is up.
 */
bool engine_settle(struct engine *engine, uint64_t timeout_ns);

/* A port failed for good (start-up gives up then); the text is in the report. */
bool engine_has_failed(const struct engine *engine);

/* The panic switch: every frame of the port passes to the kernel, at once. -ENOENT. */
int engine_set_detached(struct engine *engine, const char *port, bool detached);

/*
 * Did every worker beat since the last call? Names the first that did not, for the log.
 * Call it less often than workers beat (25 ms). Thread: control.
 */
bool engine_all_beating(struct engine *engine, const char **ret_worker);

/* For what sluicectl asks of them; NULL until a port routes or bridges. */
struct tables *engine_tables(const struct engine *engine);

/*
 * What the program of a port (by its place in the plan) would do with a frame of queue 0: enum
 * sluice_verdict and enum xdp_action. -ENODEV: the port has no program now.
 */
int engine_explain(struct engine *engine, uint32_t port, const uint8_t *frame, uint32_t len,
		   uint32_t *ret_verdict, uint32_t *ret_action);

/* Fills ports, workers and tables of a report; what is not the engine's is left alone. */
int engine_report(struct engine *engine, struct report *ret_report);

/*
 * Takes everything down, gracefully; ports with on_failure = drop stay pinned, but after a start
 * that was given up (`gave_up`) only those that were before. Logs each port's totals. Then frees.
 * NULL is fine. A worker that hangs is left behind with its memory: the process is about to end.
 */
void engine_free(struct engine *engine, bool gave_up);
