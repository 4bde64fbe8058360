/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which capabilities the configuration needs, and which of them the process lacks. Checked before
 * anything is touched, so that a start with too few says which one, for what, and the way round.
 */
#pragma once

#include "control/conf.h"

/*
 * Logs a line per missing capability; returns how many are missing. Also notes the absence of
 * CAP_PERFMON, which only costs speed. Thread: control. Reads the effective set by libcap-ng.
 */
unsigned caps_check(const struct conf *conf);
