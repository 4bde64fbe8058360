/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One pass over the line; words are cut in place in a copy. */
#include "control/ctlreq.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int refuse(const char *why, const char **ret_error)
{
	*ret_error = why;
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

int ctlreq_parse(const char *line, size_t len, struct ctlreq *ret_request, const char **ret_error)
{
	struct ctlreq *request = ret_request;
	bool in_word = false;

	request->n_words = 0;
	if (len >= sizeof(request->text))
		return refuse("the request is longer than 4096 bytes", ret_error);
	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (is_blank(c)) {
			request->text[i] = '\0';
			in_word = false;
			continue;
		}
		if (c < ' ' || c > '~')
			return refuse("the request has a character that is not printable ASCII",
				      ret_error);
		if (!in_word) {
			if (request->n_words == CTLREQ_MAX_WORDS)
				return refuse("the request has more than 8 words", ret_error);
			request->words[request->n_words++] = &request->text[i];
			in_word = true;
		}
		request->text[i] = c;
	}
	request->text[len] = '\0';
	if (request->n_words == 0)
		return refuse("the request is empty", ret_error);
	return 0;
}
