/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's voice. Only control/ and main.c speak; the rooms below return -errno.
 *
 * A message names object, operation, value and reason: "port wan: cannot bind queue 3: …".
 * Under systemd (JOURNAL_STREAM set) lines carry the sd-daemon "<N>" priority prefix; on a
 * terminal they are plain. Control characters in arguments from outside are the caller's to
 * quote ('%s' of a checked name); newlines inside a message are flattened.
 */
#pragma once

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* Thread: main, before any other; chooses the prefix form and the least important level shown. */
void log_init(enum log_level max_level);

/* Messages written so far at a level, for sluice_log_messages_total. Thread: any. */
uint64_t log_count(enum log_level level);

/* Messages withheld by the rate limit, for sluice_log_messages_suppressed_total. Thread: any. */
uint64_t log_n_suppressed(void);

/*
 * The memory of one call site: LOG_SITE_BURST messages in LOG_SITE_WINDOW_NS are written, then the
 * rest is counted, and the first one of a later window says how many. What repeats for ever, such
 * as a peer that keeps doing something wrong, must not drown what happens once.
 */
struct log_site {
	_Atomic uint64_t window_ns;
	_Atomic uint32_t n_in_window;
};

#define LOG_SITE_BURST     20
#define LOG_SITE_WINDOW_NS (10ULL * 1000 * 1000 * 1000)

/*
 * Writes one line. `domain` is the file's LOG_DOMAIN, a lower-case noun; `site` NULL means no rate
 * limit, for messages whose number is bounded by something else. errno is preserved.
 * Thread: any, but workers never call it (data/hot.h poisons the name).
 */
void log_write_at(struct log_site *site, enum log_level level, const char *domain, const char *fmt,
		  ...) __attribute__((format(printf, 4, 5)));

#define log_write(level, domain, ...) log_write_at(NULL, level, domain, __VA_ARGS__)

#define log_here(level, ...)                                              \
	do {                                                              \
		static struct log_site _log_site;                         \
		log_write_at(&_log_site, level, LOG_DOMAIN, __VA_ARGS__); \
	} while (0)

#define log_err(...)     log_here(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_here(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_here(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_here(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_here(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Logs at err with `r`'s text reachable as %m, and returns r: `return log_err_errno(r, …)`. */
#define log_err_errno(r, ...)                          \
	({                                             \
		int _log_r = (r);                      \
		errno = _log_r < 0 ? -_log_r : _log_r; \
		log_err(__VA_ARGS__);                  \
		_log_r;                                \
	})
