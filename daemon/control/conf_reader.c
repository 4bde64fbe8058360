/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counting reader behind ini_parse_stream(): one physical line per call, checked first.
 *
 * A line that is wrong, a comment or a section header reaches inih as an empty line: inih would
 * ignore the header's trailing text and never mention a section without keys, so headers are read
 * here and inih only splits `key = value`.
 */
#include "control/conf_reader.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <string.h>

#include "util/macros.h"

static_assert(CONF_LINE_MAX_BYTES + 2 < INI_MAX_LINE, "a line does not fit inih's buffer");

struct conf_reader {
	const char *text;
	size_t n_bytes;
	size_t at;
	unsigned line; /* of the line handed over last, from 1 */
	const struct conf_reader_ops *ops;
	void *user;
};

static const char blanks[] = " \t";

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts the next physical line off, without its end. False at the end of the text. */
static bool next_line(struct conf_reader *reader, const char **ret_line, size_t *ret_n)
{
	const char *line = reader->text + reader->at;
	size_t left = reader->n_bytes - reader->at;
	const char *end;
	size_t n;

	if (left == 0)
		return false;
	end = memchr(line, '\n', left);
	n = end ? (size_t)(end - line) : left;
	reader->at += n + (end ? 1 : 0);
	reader->line++;
	if (n && line[n - 1] == '\r')
		n--;
	if (reader->line == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3;
		n -= 3;
	}
	while (n && is_blank(*line)) {
		line++;
		n--;
	}
	*ret_line = line;
	*ret_n = n;
	return true;
}

/* What is wrong with the bytes of a line, comments included; NULL if nothing. */
static const char *check_bytes(const char *line, size_t n)
{
	bool is_comment = n && strchr(";#", line[0]);

	if (memchr(line, '\0', n))
		return "NUL byte";
	if (is_comment)
		return NULL;
	if (n > CONF_LINE_MAX_BYTES)
		return "line longer than 190 bytes";
	for (size_t i = 0; i < n; i++) {
		if (i && line[i] == ';' && is_blank(line[i - 1]))
			return NULL; /* the rest is a comment */
		if ((line[i] < ' ' || line[i] >= 0x7f) && line[i] != '\t')
			return "a byte that is not printable ASCII";
	}
	return NULL;
}

/* Ends the line before an inline comment and the blanks around it, as inih does. */
static void cut_comment(char *line)
{
	size_t n;

	for (char *c = line; *c; c++) {
		if (c > line && *c == ';' && is_blank(c[-1])) {
			*c = '\0';
			break;
		}
	}
	for (n = strlen(line); n && is_blank(line[n - 1]); n--)
		line[n - 1] = '\0';
}

/* What is wrong with a header; NULL with the text between its brackets, in place. */
static const char *check_section(char *line, char **ret_name)
{
	char *end = strchr(line, ']');

	if (!end)
		return "section header without \"]\"";
	if (end[1])
		return "text after the \"]\" of a section header";
	*end = '\0';
	*ret_name = line + 1 + strspn(line + 1, blanks);
	if (**ret_name)
		cut_comment(*ret_name);
	if (!**ret_name)
		return "section header without a name";
	return NULL;
}

/* What is wrong with a `key = value` line; NULL if inih will split it as it is meant. */
static const char *check_pair(const char *line)
{
	const char *split = strpbrk(line, "=:");

	if (!split)
		return "expected \"key = value\" or \"[section]\"";
	if (*split == ':')
		return "':' in a key; a key and its value are separated by \"=\"";
	if (split == line)
		return "no key before \"=\"";
	return NULL;
}

/* Reports what is wrong with a line. True if it is left for inih. */
static bool accept_line(struct conf_reader *reader, char *line)
{
	const struct conf_reader_ops *ops = reader->ops;
	const char *wrong;
	char *name = NULL;

	if (!line[0])
		return false;
	if (line[0] == '[') {
		wrong = check_section(line, &name);
		if (wrong)
			ops->wrong(reader->user, reader->line, wrong);
		ops->section(reader->user, reader->line, wrong ? NULL : name);
		return false;
	}
	wrong = check_pair(line);
	if (wrong)
		ops->wrong(reader->user, reader->line, wrong);
	return !wrong;
}

/* An ini_reader: like fgets(), on struct conf_reader. */
static char *read_line(char *str, int num, void *stream)
{
	struct conf_reader *reader = stream;
	const char *line, *wrong;
	size_t n;

	if (!next_line(reader, &line, &n))
		return NULL;
	assert(num > CONF_LINE_MAX_BYTES + 1);
	str[0] = '\0';
	wrong = check_bytes(line, n);
	if (wrong) {
		reader->ops->wrong(reader->user, reader->line, wrong);
		/* What it was is unknown. If a header, the keys below are not the section's above.
		 */
		if (n && line[0] == '[')
			reader->ops->section(reader->user, reader->line, NULL);
	} else if (n && !strchr(";#", line[0])) {
		memcpy(str, line, n);
		str[n] = '\0';
		cut_comment(str);
		if (!accept_line(reader, str))
			str[0] = '\0';
	}
	return str;
}

/* inih's own section is not looked at: accept_line() knows better. */
static int take_pair(void *user, const char *section, const char *key, const char *value)
{
	struct conf_reader *reader = user;

	reader->ops->pair(reader->user, reader->line, key, value);
	return 1;
}

int conf_reader_run(const char *text, size_t n_bytes, const struct conf_reader_ops *ops, void *user)
{
	struct conf_reader reader = {
		.text = text,
		.n_bytes = n_bytes,
		.ops = ops,
		.user = user,
	};
	int r = ini_parse_stream(read_line, &reader, take_pair, &reader);

	if (r < 0)
		return -ENOMEM;
	/* A line that passed every check here and that inih refuses all the same: say so. */
	if (r > 0)
		ops->wrong(user, (unsigned)r, "not understood");
	return 0;
}
