/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line per message on standard error, in one write(2), so that threads never interleave. */
#include "util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/macros.h"

/* Longer messages are cut; an operator's terminal does not need more. */
#define LINE_BYTES 2048

static enum log_level max_level = LOG_LEVEL_INFO;
static bool with_prefix;
static _Atomic uint64_t counts[LOG_LEVEL_DEBUG + 1];
static _Atomic uint64_t n_suppressed;

void log_init(enum log_level level)
{
	max_level = level;
	with_prefix = getenv("JOURNAL_STREAM") != NULL;
}

uint64_t log_n_suppressed(void)
{
	return atomic_load_explicit(&n_suppressed, memory_order_relaxed);
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

/* Two threads at one site may let one message too many through; nothing depends on it. */
static bool site_lets_through(struct log_site *site, uint32_t *ret_n_withheld)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t window_ns = atomic_load_explicit(&site->window_ns, memory_order_relaxed);

	*ret_n_withheld = 0;
	if (window_ns == 0 || now_ns - window_ns > LOG_SITE_WINDOW_NS) {
		uint32_t n = atomic_exchange_explicit(&site->n_in_window, 1, memory_order_relaxed);

		atomic_store_explicit(&site->window_ns, now_ns, memory_order_relaxed);
		*ret_n_withheld = n > LOG_SITE_BURST ? n - LOG_SITE_BURST : 0;
		return true;
	}
	if (atomic_fetch_add_explicit(&site->n_in_window, 1, memory_order_relaxed) < LOG_SITE_BURST)
		return true;
	atomic_fetch_add_explicit(&n_suppressed, 1, memory_order_relaxed);
	return false;
}

static void write_line(enum log_level level, const char *domain, uint32_t n_withheld,
		       const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	int saved_errno = errno;
	size_t len;
	int n;

	if (with_prefix)
		n = snprintf(line, sizeof(line), "<%d>%s: ", (int)level, domain);
	else
		n = snprintf(line, sizeof(line), "%s: ", domain);
	errno = saved_errno;
	(void)vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	flatten(line);
	len = strlen(line);
	if (n_withheld > 0 && len < sizeof(line) - 2)
		len += (size_t)snprintf(line + len, sizeof(line) - len - 1,
					" (and %u more like it before)", n_withheld);
	len = MIN(len, sizeof(line) - 2);
	line[len++] = '\n';
	/* Nothing sensible can be done about a closed standard error. */
	if (write(STDERR_FILENO, line, len) < 0)
		(void)0;
	errno = saved_errno;
}

void log_write_at(struct log_site *site, enum log_level level, const char *domain, const char *fmt,
		  ...)
{
	uint32_t n_withheld = 0;
	va_list ap;

	if (level <= max_level && site && !site_lets_through(site, &n_withheld))
		return;
	atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
	if (level > max_level)
		return;
	va_start(ap, fmt);
	write_line(level, domain, n_withheld, fmt, ap);
	va_end(ap);
}
