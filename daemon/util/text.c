/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See text.h. */
#include "util/text.h"

#include <stdbool.h>

static bool is_plain(unsigned char c)
{
	return c >= ' ' && c < 0x7f && c != '\\';
}

void text_escape(const char *raw, char *buf, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;

	if (size == 0)
		return;
	for (; *raw; raw++) {
		unsigned char c = (unsigned char)*raw;
		size_t n = is_plain(c) ? 1 : 4;

		if (used + n >= size)
			break;
		if (n == 1) {
			buf[used++] = *raw;
			continue;
		}
		buf[used++] = '\\';
		buf[used++] = 'x';
		buf[used++] = digits[c >> 4];
		buf[used++] = digits[c & 15];
	}
	buf[used] = '\0';
}
