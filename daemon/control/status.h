/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon in one line, for STATUS=, /readyz and sluicectl: how many ports are up, what is not
 * as configured, then each port with its mode and queues, as many as there is room for. Pure.
 * Thread: control.
 */
#pragma once

struct report;

/*
 * Fills is_degraded and status_line from ports and workers. `problems` are lines of their own
 * ("" = none): CPUs that went, what the plan has against a port that goes on.
 */
void status_summarise(struct report *report, const char *problems);
