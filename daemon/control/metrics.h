/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Prometheus text (0.0.4) of a report. Families are rows of tables (control/metrics_family.h):
 * name, type, help, and the function that emits their samples. Every series exists from the first
 * scrape.
 */
#pragma once

#include <stdio.h>

struct report;

/* Renders all families. -errno of the stream. Thread: control. */
int metrics_render(const struct report *report, FILE *out);
