/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first bytes of a connection: whom does the client want? Pure; nothing is changed or consumed,
 * the bytes are forwarded verbatim. Every function is a function of the bytes alone: a stream cut
 * differently gives the same answer, MORE until it is certain (tests/fuzz holds them to it).
 * Certain of a name means the whole hello, or the whole head: until its end a second name could
 * come. Broken or foreign is certain as soon as a header or a line says so.
 *
 * Decides on strictly valid input only: what a server might read differently (two Host fields,
 * obs-fold, a length that does not fit) is BAD.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A name as looked up: lower case, no trailing dot, no port. RFC 1035: 253 octets. HTTP's may be an
 * address, IPv6 without brackets in the form of RFC 5952. */
#define SNIFF_NAME_BYTES 254
#define SNIFF_ALPN_BYTES 64

/* A hello of 16 KiB (post-quantum key shares) in records of any size, headers included. */
#define SNIFF_MAX_BYTES 20480

enum sniff_status {
	SNIFF_MORE,    /* not certain yet */
	SNIFF_FOUND,   /* `name` */
	SNIFF_NO_NAME, /* the protocol, but it names nobody (no SNI or an address in it, no Host) */
	SNIFF_OTHER,   /* not this protocol: also SSLv2, HTTP/2's preface, a PROXY header */
	SNIFF_BAD,     /* this protocol, broken */
	SNIFF_TOO_LONG /* SNIFF_MAX_BYTES will not make it certain */
};

enum sniff_protocol { SNIFF_NOTHING, SNIFF_TLS, SNIFF_HTTP };

struct sniff {
	enum sniff_status status;
	enum sniff_protocol protocol;
	char name[SNIFF_NAME_BYTES];
	char alpn[SNIFF_ALPN_BYTES]; /* as offered, comma-separated, for display; "" = none */
	bool has_ech; /* or GREASE that looks like it: `name` is then the outer one */
};

/* TLS 1.0–1.3 ClientHello over any number of records (RFC 8446 §5.1, RFC 6066 §3). */
void sniff_tls(const uint8_t *data, size_t len, struct sniff *ret_sniff);

/* HTTP/1.x request line and Host (RFC 9112 §3.2; absolute-form counts before Host). */
void sniff_http(const uint8_t *data, size_t len, struct sniff *ret_sniff);

/* Whichever of the two it is. */
void sniff_auto(const uint8_t *data, size_t len, struct sniff *ret_sniff);

/* Does a name match a route pattern: "www.example.org", "*.example.org" (one or more labels)? */
bool sniff_name_matches(const char *pattern, const char *name);

/* --- What a client is told that no backend serves -----------------------------------------------
 */

/* A fatal TLS alert unrecognized_name (RFC 6066 §3), 7 bytes; HTTP/1.1 400, 404, 408, 421, 431 or
 * 503, short. Returns its length, 0 if `size` (256 serves) is too small or there is none. */
size_t sniff_refusal(enum sniff_protocol protocol, unsigned http_status, uint8_t *buf, size_t size);
