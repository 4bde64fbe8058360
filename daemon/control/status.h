/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon in one line, for STATUS=, /readyz and sluicectl: how many ports forward, each with
 * its mode and queues, and what is not as configured. Pure. Thread: control.
 */
#pragma once

struct report;

/*
 * Fills is_degraded and status_line from ports and workers. `problems` is text about the whole
 * that no port carries ("" = none): a reload that was refused, CPUs that went.
 */
void status_summarise(struct report *report, const char *problems);
