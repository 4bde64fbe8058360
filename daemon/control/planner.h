/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a configuration and the machine as it is now to a plan: reads links and CPUs, calls the
 * pure plan_make_next(), and decides what an error note means.
 *
 *   at start and reload   an error refuses the whole
 *   after a link event    an error of one port (an address appeared, the MTU grew) must not stop
 *                         the others from being served: that port keeps the link it was planned
 *                         with, goes on forwarding, and is reported
 *
 * Thread: control. Reading needs no capability.
 */
#pragma once

#include <stdbool.h>

#include "control/plan.h"

struct links;

/* Reads links and topology and plans; the outputs of plan_make_next(), whose return it passes on.
 */
int planner_make(struct links *links, const struct plan *previous, const struct conf *conf,
		 struct plan **ret_plan, struct plan_notes *ret_notes);

/*
 * The same for the configuration in force after an event. Errors are kept in *ret_notes, but the
 * plan is made with what `previous` knew of their subject: the port's link, or the allowed CPUs.
 * Memory is not judged: what is short of it says so when it is built, and is tried again.
 * A new device under an old name that is refused counts as absent. plan_port.problem says why.
 */
int planner_remake(struct links *links, const struct plan *previous, struct plan **ret_plan,
		   struct plan_notes *ret_notes);

/* Has anything about the machine changed that the plan in force was made of? */
bool planner_differs(const struct plan *a, const struct plan *b);

/* Logs what happened to interfaces between two plans of one configuration. */
void planner_log_changes(const struct plan *was, const struct plan *is);

/* Logs the notes: errors, warnings, and (with `infos`) the rest. */
void planner_log_notes(const struct plan_notes *notes, bool infos);

/* One line per error note into `buf`. Returns the number of errors. */
unsigned planner_error_text(const struct plan_notes *notes, char *buf, size_t size);
