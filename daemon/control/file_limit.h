/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many files may be open (RLIMIT_NOFILE) and how many a plan needs: every socket, map, program
 * and memory of a UMEM is one. Thread: control.
 */
#pragma once

#include <stdint.h>

struct conf;
struct plan;

/* As many as the hard limit allows: the soft one is for programs that use select(2). */
void file_limit_raise(void);

/* What the plan takes, and a reserve for connections and for replacing a port's program. */
uint64_t file_limit_needed(const struct plan *plan);

/* Warns if the limit is below that. */
void file_limit_check(const struct plan *plan);

/*
 * How many connections all listeners together may have, by their max_connections and by the limit:
 * two files each, and pipes for those whose bytes are being spliced. Warns where the limit is less
 * than they may want. At least one per acceptor.
 */
uint32_t file_limit_conns(const struct conf *conf, const struct plan *plan, uint32_t n_acceptors);
