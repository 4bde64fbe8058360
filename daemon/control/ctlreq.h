/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request of the control socket as words: the parser alone, so that a fuzzer can have it.
 *
 *   request = word *(blank word) LF        blank = space or tab
 *
 * Words are printable ASCII; anything else in the line refuses it, so that no request can write
 * control characters to a log or a terminal. Thread: any; pure.
 */
#pragma once

#include <stddef.h>

#define CTLREQ_MAX_BYTES 4096 /* with the newline */
#define CTLREQ_MAX_WORDS 8

struct ctlreq {
	char text[CTLREQ_MAX_BYTES]; /* the words, NUL-separated */
	const char *words[CTLREQ_MAX_WORDS];
	unsigned n_words; /* at least 1 */
};

/*
 * `line` is what came before the newline. -EINVAL: not a request; *ret_error then says why, a
 * constant text.
 */
int ctlreq_parse(const char *line, size_t len, struct ctlreq *ret_request, const char **ret_error);
