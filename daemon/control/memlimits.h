/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory this process may lock and this machine has. Thread: control. No capability. */
#pragma once

#include "control/plan.h"

/*
 * Reads them as they are now; `root` is "" or a test's tree with proc/ and sys/ in it. What cannot
 * be read is UINT64_MAX: it refuses nothing.
 */
void memlimits_read(const char *root, struct plan_limits *ret_limits);
