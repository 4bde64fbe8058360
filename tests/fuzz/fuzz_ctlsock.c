/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes are a request or a refusal with a reason, and a request is what it was read from: its
 * words are printable, none is empty, and put together with single blanks they are read again as
 * the same words. What follows a newline in the input is not the parser's.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctlreq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() this stays in a release build, and it names what broke. */
static void require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fuzz_ctlsock: %s\n", what);
	abort();
}

static void require_sound_words(const struct ctlreq *request)
{
	require(request->n_words > 0 && request->n_words <= CTLREQ_MAX_WORDS, "number of words");
	for (unsigned i = 0; i < request->n_words; i++) {
		require(request->words[i][0] != '\0', "an empty word");
		for (const char *c = request->words[i]; *c; c++)
			require(*c > ' ' && *c <= '~', "a byte that is no part of a word");
	}
}

static void require_same_again(const struct ctlreq *request)
{
	char line[CTLREQ_MAX_BYTES];
	struct ctlreq again;
	const char *why;
	size_t len = 0;

	for (unsigned i = 0; i < request->n_words; i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", i ? " " : "",
					request->words[i]);
	require(len < sizeof(line), "words longer than the request");
	require(ctlreq_parse(line, len, &again, &why) == 0, "not read again");
	require(again.n_words == request->n_words, "another number of words");
	for (unsigned i = 0; i < request->n_words; i++)
		require(strcmp(again.words[i], request->words[i]) == 0, "another word");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *why = NULL;
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t len = newline ? (size_t)(newline - data) : size;
	struct ctlreq request;
	int r = ctlreq_parse(line, len, &request, &why);

	require(r == 0 || r == -EINVAL, "neither a request nor refused");
	if (r < 0) {
		require(why && why[0], "refused without a reason");
		return 0;
	}
	require_sound_words(&request);
	require_same_again(&request);
	return 0;
}
