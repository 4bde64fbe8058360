// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeps the tail of what libbpf says: see load_log.h. libbpf has one print function for the
 * process, hence one global buffer. Thread: control.
 */
#include "kern/load_log.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

/* The verifier says what is wrong at the end of a long log. */
static char load_log[4096];
static size_t load_log_length;

static void append(const char *text, size_t length)
{
	const size_t room = sizeof(load_log) - 1;
	size_t excess;

	if (length > room) {
		text += length - room;
		length = room;
	}
	if (load_log_length + length > room) {
		excess = load_log_length + length - room;
		memmove(load_log, load_log + excess, load_log_length - excess);
		load_log_length -= excess;
	}
	memcpy(load_log + load_log_length, text, length);
	load_log_length += length;
	load_log[load_log_length] = '\0';
}

static int keep_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;
	int length;

	if (level != LIBBPF_WARN)
		return 0;
	length = vasprintf(&text, format, args);
	if (length < 0) {
		text = NULL;
		return 0;
	}
	append(text, (size_t)length);
	return length;
}

void load_log_begin(void)
{
	load_log_length = 0;
	load_log[0] = '\0';
	(void)libbpf_set_print(keep_warnings);
}

const char *load_log_text(void)
{
	return load_log;
}
