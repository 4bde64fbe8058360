/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that others chose, made fit for a log line, a terminal and JSON. Pure. Any thread. */
#pragma once

#include <stddef.h>

/* Room for a name of `n` bytes, however it is escaped, and the final NUL. */
#define TEXT_ESCAPED_BYTES(n) (4 * (n) + 1)

/*
 * `raw` with everything but printable ASCII as \xNN, backslashes too, so that no two names look
 * the same; cut between escapes where `size` is too small.
 */
void text_escape(const char *raw, char *buf, size_t size);
