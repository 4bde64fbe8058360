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

/*
 * Writes one line. `domain` is the file's LOG_DOMAIN, a lower-case noun. errno is preserved.
 * Thread: any, but workers never call it (data/hot.h poisons the name).
 */
void log_write(enum log_level level, const char *domain, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_err(...)     log_write(LOG_LEVEL_ERR, LOG_DOMAIN, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, LOG_DOMAIN, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, LOG_DOMAIN, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, LOG_DOMAIN, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, LOG_DOMAIN, __VA_ARGS__)

/* Logs at err with `r`'s text reachable as %m, and returns r: `return log_err_errno(r, …)`. */
#define log_err_errno(r, ...)                          \
	({                                             \
		int _log_r = (r);                      \
		errno = _log_r < 0 ? -_log_r : _log_r; \
		log_err(__VA_ARGS__);                  \
		_log_r;                                \
	})
