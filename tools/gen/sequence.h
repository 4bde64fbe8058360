/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One flow's sequence numbers as they arrive: new, duplicate, overtaken.
 *
 * A bitmap remembers the last `window` numbers up to the highest one seen, so a duplicate within
 * it is known for certain. What lies further back can be either: it is counted as stale, never
 * guessed. Numbers start at 0; what never came is what is lost.
 *
 *        ◄────────── window ──────────►
 *   stale│ 1 1 0 1 1 1 1 0 1 1 1 1 1 1 │ not yet
 *                                     ▲ highest
 */
#pragma once

#include <stdint.h>

/* Numbers are remembered in words of 64; a power of two. */
#define SEQUENCE_MIN_WINDOW 64

enum sequence_fate { SEQUENCE_IN_ORDER, SEQUENCE_REORDERED, SEQUENCE_DUPLICATE, SEQUENCE_STALE };

struct sequence {
	uint64_t next;     /* highest seen + 1; 0 = nothing yet */
	uint64_t n_unique; /* in order or reordered */
	uint64_t n_reordered, n_duplicate, n_stale;
	uint64_t window; /* in numbers */
	uint64_t *bits;  /* window / 64 words */
};

/* -EINVAL: the window is no power of two of at least SEQUENCE_MIN_WINDOW. -ENOMEM. */
int sequence_init(struct sequence *s, uint64_t window);

void sequence_fini(struct sequence *s);

/* Accounts for one arrival. A gap in front of it is not counted here: see sequence_missing(). */
enum sequence_fate sequence_note(struct sequence *s, uint64_t seq);

/*
 * How many of the first `expected` numbers never came; expected = 0 means: up to the highest one
 * seen. A stale number is taken as one of the missing, come late.
 */
uint64_t sequence_missing(const struct sequence *s, uint64_t expected);
