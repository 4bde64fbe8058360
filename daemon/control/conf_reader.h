/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines of a configuration file, through inih, without inih's traps.
 *
 * libinih 55 gives its handler no line number, cuts long lines, takes an indented line for more
 * of the value above, puts the keys behind a broken section header into the section before, keeps
 * silent about sections without keys and about anything behind a NUL byte. So this reader hands
 * it one line at a time, knows the number, and hands over only lines that mean the same to inih
 * and to an operator; every other line is reported and left out.
 *
 * Grammar of a line, blanks around its parts free:
 *
 *   line    = [ section | key "=" value ] [ " ;" comment ]  |  ( ";" | "#" ) comment
 *   section = "[" kind [ name ] "]"
 *
 * A UTF-8 byte order mark, CRLF and a missing last newline are accepted. Outside comments a file
 * is printable ASCII.
 *
 * Borrows the text for the call. Thread: control. This file's .c is the only user of inih.
 */
#pragma once

#include <stddef.h>

/* Of a line that is not a comment; inih's buffer holds 200. */
#define CONF_LINE_MAX_BYTES 190

struct conf_reader_ops {
	/* The text between the brackets; NULL: the header is broken and was reported. */
	void (*section)(void *user, unsigned line, const char *name);
	/* Both without blanks around; the value may be empty, the key may not. */
	void (*pair)(void *user, unsigned line, const char *key, const char *value);
	/* A line that could not be understood; `what` is a string constant. */
	void (*wrong)(void *user, unsigned line, const char *what);
};

/* Reads it all. 0, or -ENOMEM; wrong lines are the callback's. */
int conf_reader_run(const char *text, size_t n_bytes, const struct conf_reader_ops *ops,
		    void *user);
