/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the sniffers have in common: names, which of the protocols it is, and what a client is told
 * that cannot be served; see sniff.h.
 */
#include "net/sniff.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/sniff_internal.h"
#include "util/macros.h"

#define LABEL_MAX_BYTES 63

_Static_assert(SNIFF_NAME_BYTES > INET6_ADDRSTRLEN, "an address is a name");

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool read_address(int family, const uint8_t *text, size_t len, char *ret_name)
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t octets[16];

	/* a NUL in it would hide the rest from inet_pton() */
	if (len >= sizeof(copy) || memchr(text, '\0', len))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(family, copy, octets) == 1 &&
	       inet_ntop(family, octets, ret_name, INET6_ADDRSTRLEN);
}

bool sniff_read_ip6(const uint8_t *text, size_t len, char *ret_name)
{
	return len && read_address(AF_INET6, text, len, ret_name);
}

static bool read_host(const uint8_t *text, size_t len, char *ret_name)
{
	char name[SNIFF_NAME_BYTES];
	size_t n_label = 0;

	if (len >= sizeof(name))
		return false;
	for (size_t i = 0; i < len; i++) {
		name[i] = to_lower((char)text[i]);
		if (name[i] != '.' && !is_name_char(name[i]))
			return false;
		if (name[i] == '.' && !n_label)
			return false;
		n_label = name[i] == '.' ? 0 : n_label + 1;
		if (n_label > LABEL_MAX_BYTES)
			return false;
	}
	if (!n_label)
		return false;
	memcpy(ret_name, name, len);
	ret_name[len] = '\0';
	return true;
}

enum name_kind sniff_read_name(const uint8_t *text, size_t len, char *ret_name)
{
	if (len && text[len - 1] == '.')
		len--;
	if (!len)
		return NAME_BAD;
	if (read_address(AF_INET, text, len, ret_name) ||
	    read_address(AF_INET6, text, len, ret_name))
		return NAME_ADDRESS;
	return read_host(text, len, ret_name) ? NAME_HOST : NAME_BAD;
}

void sniff_auto(const uint8_t *data, size_t len, struct sniff *ret_sniff)
{
	/* No request begins with the type of a record: while TLS is not certain, HTTP is not
	 * either, and both agree on nothing. */
	sniff_tls(data, len, ret_sniff);
	if (ret_sniff->status == SNIFF_OTHER)
		sniff_http(data, len, ret_sniff);
}

static bool is_same_name(const char *pattern, const char *name)
{
	while (*pattern && to_lower(*pattern) == *name) {
		pattern++;
		name++;
	}
	return *pattern == *name;
}

bool sniff_name_matches(const char *pattern, const char *name)
{
	size_t n_name = strlen(name), n_suffix;

	if (strncmp(pattern, "*.", 2) != 0)
		return is_same_name(pattern, name);
	pattern++;
	n_suffix = strlen(pattern);
	/* no name begins with a dot, so one that is longer has a label more */
	return n_name > n_suffix && is_same_name(pattern, name + n_name - n_suffix);
}

static size_t refuse_tls(uint8_t *buf, size_t size)
{
	/* record: alert, TLS 1.0 as in a first flight, 2 bytes; fatal, unrecognized_name */
	static const uint8_t alert[] = {21, 3, 1, 0, 2, 2, 112};

	if (size < sizeof(alert))
		return 0;
	memcpy(buf, alert, sizeof(alert));
	return sizeof(alert);
}

static size_t refuse_http(unsigned http_status, uint8_t *buf, size_t size)
{
	static const struct {
		unsigned status;
		const char *reason;
	} rows[] = {
		{400, "Bad Request"},
		{404, "Not Found"},
		{408, "Request Timeout"},
		{421, "Misdirected Request"},
		{431, "Request Header Fields Too Large"},
		{503, "Service Unavailable"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int n;

		if (rows[i].status != http_status)
			continue;
		/* the body is the status again, for a human before a browser */
		n = snprintf((char *)buf, size,
			     "HTTP/1.1 %u %s\r\n"
			     "Content-Type: text/plain\r\n"
			     "Content-Length: %zu\r\n"
			     "Connection: close\r\n\r\n"
			     "%u %s\n",
			     http_status, rows[i].reason, strlen("404 \n") + strlen(rows[i].reason),
			     http_status, rows[i].reason);
		return n > 0 && (size_t)n < size ? (size_t)n : 0;
	}
	return 0;
}

size_t sniff_refusal(enum sniff_protocol protocol, unsigned http_status, uint8_t *buf, size_t size)
{
	switch (protocol) {
	case SNIFF_NOTHING:
		return 0;
	case SNIFF_TLS:
		return refuse_tls(buf, size);
	case SNIFF_HTTP:
		return refuse_http(http_status, buf, size);
	}
	return 0;
}
