/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What became of each stream: clients and servers are paired by the numbers that arrived, and what
 * each end received is held against what the other sent. Per direction:
 *
 *   identical   all bytes and the FIN
 *   aborted     the end of a reset by one end, and seen as an error by the other
 *   own         the receiver itself had reset, and did not look any more
 *   DISGUISED   a clean EOF, but not where the sender's FIN was
 *   CORRUPT     a byte that is not the right one for its place, or of another stream
 *   UNCAUSED    an error that no end has caused
 *   HANG        no progress for 12 s
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "side.h"

enum verdict {
	VERDICT_IDENTICAL,
	VERDICT_ABORTED,
	VERDICT_OWN,
	VERDICT_DISGUISED,
	VERDICT_CORRUPT,
	VERDICT_UNCAUSED,
	VERDICT_HANG,
	VERDICT_N
};

struct judgement {
	uint64_t n[VERDICT_N]; /* directions */
	uint64_t n_bytes;      /* received and right, both ways */
	uint32_t n_unpaired;   /* ends whose other end is not known: tiny or reset at once */
};

/* Prints the failures, at most max_shown of them, as elements of a JSON list. */
void judge(const struct side *clients, const struct side *servers, FILE *out, unsigned max_shown,
	   struct judgement *ret_judgement);
const char *verdict_name(enum verdict verdict);
