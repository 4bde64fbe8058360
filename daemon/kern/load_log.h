/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where libbpf's messages go, the verifier's log among them: not to standard error, whose reader
 * has not asked for a hundred lines of registers. Whoever loads a program begins; whoever says that
 * it failed may say this, too. Thread: control.
 */
#pragma once

void load_log_begin(void);

/* The tail of what libbpf said since; "" if nothing. Its text about EPERM blames RLIMIT_MEMLOCK: do
 * not repeat that. Valid until the next load_log_begin(). */
const char *load_log_text(void);
