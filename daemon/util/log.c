/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line per message on standard error, in one write(2), so that threads never interleave. */
#include "util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer messages are cut; an operator's terminal does not need more. */
#define LINE_BYTES 2048

static enum log_level max_level = LOG_LEVEL_INFO;
static bool with_prefix;
static _Atomic uint64_t counts[LOG_LEVEL_DEBUG + 1];

void log_init(enum log_level level)
{
	max_level = level;
	with_prefix = getenv("JOURNAL_STREAM") != NULL;
}

uint64_t log_count(enum log_level level)
{
	return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

static void flatten(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
	}
}

void log_write(enum log_level level, const char *domain, const char *fmt, ...)
{
	char line[LINE_BYTES];
	int saved_errno = errno;
	size_t len;
	va_list ap;
	int n;

	atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
	if (level > max_level)
		return;

	n = snprintf(line, sizeof(line),
		     with_prefix ? "<%d>%s: " : "%.0d%s: ", with_prefix ? (int)level : 0, domain);
	errno = saved_errno;
	va_start(ap, fmt);
	(void)vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);

	flatten(line);
	len = strlen(line);
	line[len++] = '\n';
	/* Nothing sensible can be done about a closed standard error. */
	if (write(STDERR_FILENO, line, len) < 0)
		(void)0;
	errno = saved_errno;
}
