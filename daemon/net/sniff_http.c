/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom an HTTP/1.x request asks for; see sniff.h.
 *
 * Theory of operation. Up to the first line end only the method is looked at: what does not begin
 * with one is not HTTP, nor is a line without " HTTP/", nor HTTP/2's preface (RFC 9113 §3.4). From
 * there on it is HTTP, line by line, and it is answered at the empty line: until then a second Host
 * could come, and one server would take the first, another the last.
 *
 * Strict where servers differ (RFC 9112): every line ends with CRLF, no control characters, one
 * space between the three words, no blank before the colon, no folded line, one valid Host (none at
 * all in HTTP/1.0 only). Lenient where it costs nothing: one empty line before the request (§2.2),
 * any token as the method, any visible character but '#' in the target.
 *
 * An absolute-form target and CONNECT's say whom it is for, and Host is then only checked (§3.2.2).
 */
#include <string.h>

#include "net/sniff_internal.h"
#include "util/macros.h"

/* The longest that is registered has 17. */
#define METHOD_MAX_BYTES 32
#define PORT_MAX_DIGITS  5

struct text {
	const uint8_t *pos;
	size_t len;
};

struct head {
	struct text method, target;
	unsigned minor;
	bool has_host, has_authority;
	char host[SNIFF_NAME_BYTES];      /* "" if the field is empty */
	char authority[SNIFF_NAME_BYTES]; /* of the target */
};

static bool is_alpha(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* tchar of RFC 9110 §5.6.2 */
static bool is_token_char(uint8_t c)
{
	return is_alpha(c) || is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_text(struct text text, const char *wanted)
{
	return text.len == strlen(wanted) && memcmp(text.pos, wanted, text.len) == 0;
}

/* `wanted` is in lower case; only letters have one. */
static bool is_text_anycase(const uint8_t *pos, const char *wanted)
{
	for (; *wanted; pos++, wanted++)
		if ((is_alpha(*pos) ? *pos | 0x20 : *pos) != *wanted)
			return false;
	return true;
}

static struct text skip(struct text text, size_t n)
{
	return (struct text){text.pos + n, text.len - n};
}

static size_t count_token(struct text text)
{
	size_t n = 0;

	while (n < text.len && is_token_char(text.pos[n]))
		n++;
	return n;
}

static struct text trim(struct text text)
{
	while (text.len && is_blank(text.pos[0]))
		text = skip(text, 1);
	while (text.len && is_blank(text.pos[text.len - 1]))
		text.len--;
	return text;
}

/* MORE, BAD, or FOUND: the line up to its CRLF. */
static enum sniff_status take_line(struct text *from, struct text *ret_line)
{
	const uint8_t *end = from->len ? memchr(from->pos, '\n', from->len) : NULL;
	size_t n;

	if (!end)
		return SNIFF_MORE;
	n = (size_t)(end - from->pos);
	if (!n || from->pos[n - 1] != '\r')
		return SNIFF_BAD;
	*ret_line = (struct text){from->pos, n - 1};
	*from = skip(*from, n + 1);
	return SNIFF_FOUND;
}

static bool is_port(struct text digits, size_t min_digits)
{
	uint32_t port = 0;

	if (digits.len < min_digits || digits.len > PORT_MAX_DIGITS)
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		if (!is_digit(digits.pos[i]))
			return false;
		port = port * 10 + (uint32_t)(digits.pos[i] - '0');
	}
	return port <= UINT16_MAX;
}

/* uri-host [ ":" port ], the port perhaps empty. */
static bool read_authority(struct text text, size_t min_digits, char *ret_name)
{
	bool has_bracket = text.len && text.pos[0] == '[';
	struct text host = has_bracket ? skip(text, 1) : text, rest;
	const uint8_t *end = host.len ? memchr(host.pos, has_bracket ? ']' : ':', host.len) : NULL;

	if (end)
		host.len = (size_t)(end - host.pos);
	else if (has_bracket)
		return false;
	if (has_bracket && !sniff_read_ip6(host.pos, host.len, ret_name))
		return false;
	if (!has_bracket && sniff_read_name(host.pos, host.len, ret_name) == NAME_BAD)
		return false;
	rest = skip(text, host.len + (has_bracket ? 2 : 0));
	if (!rest.len)
		return !min_digits;
	return rest.pos[0] == ':' && is_port(skip(rest, 1), min_digits);
}

/* scheme "://" authority, then a path or a query (RFC 3986 §4.3, RFC 9110 §4.2). */
static bool read_absolute(struct text target, char *ret_name)
{
	size_t n = 0;

	while (n < target.len &&
	       (is_alpha(target.pos[n]) || (n && (is_digit(target.pos[n]) || target.pos[n] == '+' ||
						  target.pos[n] == '-' || target.pos[n] == '.'))))
		n++;
	if (!n || target.len - n < 3 || memcmp(target.pos + n, "://", 3) != 0)
		return false;
	target = skip(target, n + 3);
	for (n = 0; n < target.len && target.pos[n] != '/' && target.pos[n] != '?';)
		n++;
	target.len = n;
	return read_authority(target, 0, ret_name);
}

/* The four forms of RFC 9112 §3.2. */
static bool read_target(struct head *head)
{
	struct text target = head->target;

	for (size_t i = 0; i < target.len; i++)
		if (target.pos[i] <= ' ' || target.pos[i] >= 0x7f || target.pos[i] == '#')
			return false;
	if (!target.len)
		return false;
	head->has_authority = true;
	if (is_text(head->method, "CONNECT"))
		return read_authority(target, 1, head->authority);
	head->has_authority = target.pos[0] != '/' && !is_text(target, "*");
	if (head->has_authority)
		return read_absolute(target, head->authority);
	return target.pos[0] == '/' || is_text(head->method, "OPTIONS");
}

/* method SP target SP "HTTP/1." ( "0" / "1" ) */
static bool read_request_line(struct text line, struct head *head)
{
	static const char version[] = " HTTP/1.";
	size_t n_version = strlen(version) + 1, n_method = count_token(line);
	const uint8_t *end;

	if (line.len < n_method + 1 + n_version)
		return false;
	end = line.pos + line.len - n_version;
	if (memcmp(end, version, n_version - 1) != 0 || end[n_version - 1] < '0' ||
	    end[n_version - 1] > '1')
		return false;
	head->minor = end[n_version - 1] - '0';
	head->method = (struct text){line.pos, n_method};
	head->target = (struct text){line.pos + n_method + 1, line.len - n_method - 1 - n_version};
	return read_target(head);
}

/* field-name ":" OWS field-value OWS, of which Host is kept. */
static bool read_field(struct text line, struct head *head)
{
	size_t n_name = count_token(line);
	struct text value;

	if (!n_name || n_name == line.len || line.pos[n_name] != ':')
		return false;
	value = trim(skip(line, n_name + 1));
	for (size_t i = 0; i < value.len; i++)
		if ((value.pos[i] < ' ' && value.pos[i] != '\t') || value.pos[i] == 0x7f)
			return false;
	if (n_name != strlen("host") || !is_text_anycase(line.pos, "host"))
		return true;
	if (head->has_host)
		return false;
	head->has_host = true;
	return !value.len || read_authority(value, 0, head->host);
}

/* Is there a word that begins with "HTTP/"? However it is spelt, a server may take it for one. */
static bool mentions_http(struct text line)
{
	for (; line.len >= strlen(" http/"); line = skip(line, 1))
		if (is_blank(line.pos[0]) && is_text_anycase(line.pos + 1, "http/"))
			return true;
	return false;
}

/* FOUND: a line that says HTTP begins at `text`, complete. */
static enum sniff_status recognise(struct text *text)
{
	const uint8_t *end;
	struct text line;
	size_t n_method;

	if (text->len && text->pos[0] == '\r') {
		if (text->len >= 2 && text->pos[1] != '\n')
			return SNIFF_OTHER;
		*text = skip(*text, MIN(text->len, 2));
	}
	n_method = count_token(*text);
	if (n_method > METHOD_MAX_BYTES)
		return SNIFF_OTHER;
	if (n_method == text->len)
		return SNIFF_MORE;
	if (!n_method || text->pos[n_method] != ' ')
		return SNIFF_OTHER;
	end = memchr(text->pos, '\n', text->len);
	if (!end)
		return SNIFF_MORE;
	line = (struct text){text->pos, (size_t)(end - text->pos)};
	if (!mentions_http(line) || is_text(line, "PRI * HTTP/2.0\r"))
		return SNIFF_OTHER;
	return SNIFF_FOUND;
}

static enum sniff_status read_head(struct text text, struct head *head)
{
	struct text line;
	enum sniff_status status = take_line(&text, &line);

	if (status != SNIFF_FOUND)
		return status;
	if (!read_request_line(line, head))
		return SNIFF_BAD;
	while ((status = take_line(&text, &line)) == SNIFF_FOUND && line.len)
		if (!read_field(line, head))
			return SNIFF_BAD;
	if (status == SNIFF_FOUND && !head->has_host && head->minor >= 1)
		return SNIFF_BAD;
	return status;
}

void sniff_http(const uint8_t *data, size_t len, struct sniff *ret_sniff)
{
	struct text text = {data, MIN(len, SNIFF_MAX_BYTES)};
	struct head head = {};
	const char *name;

	memset(ret_sniff, 0, sizeof(*ret_sniff));
	ret_sniff->status = recognise(&text);
	if (ret_sniff->status == SNIFF_FOUND) {
		ret_sniff->protocol = SNIFF_HTTP;
		ret_sniff->status = read_head(text, &head);
	}
	if (ret_sniff->status == SNIFF_MORE && len >= SNIFF_MAX_BYTES)
		ret_sniff->status = SNIFF_TOO_LONG;
	if (ret_sniff->status != SNIFF_FOUND)
		return;
	name = head.has_authority ? head.authority : head.host;
	memcpy(ret_sniff->name, name, strlen(name) + 1);
	if (!name[0])
		ret_sniff->status = SNIFF_NO_NAME;
}
