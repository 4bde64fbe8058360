/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which capabilities the configuration needs, and which of them the process lacks. Checked before
 * anything is touched, so that a start with too few says which one, for what, and the way round.
 */
#pragma once

#include <stddef.h>

#include "control/conf.h"

/* Room for all that can be missing. */
#define CAPS_TEXT_BYTES 1536

/*
 * Returns how many are missing, with a line for each in `text` (need, feature, way round). Reads
 * the effective set by libcap-ng. Thread: control.
 */
unsigned caps_check(const struct conf *conf, char *text, size_t size);

/* The splice plane's programs that a listener can do without. */
enum caps_program { CAPS_SOCKMAP, CAPS_SOCKOPS };

/* Room for the names of all that one of them takes. */
#define CAPS_NAMES_BYTES 64

/*
 * How many of the capabilities that a program takes are missing, with their names in `text`:
 * "CAP_BPF and CAP_PERFMON". The kernel's own answer to their absence is a verifier log and EINVAL.
 */
unsigned caps_missing_for(enum caps_program program, char *text, size_t size);

/* Logs the absence of CAP_PERFMON, which only costs speed. */
void caps_note_slowness(const struct conf *conf);
