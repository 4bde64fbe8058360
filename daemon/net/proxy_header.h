/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/wire.h"

/* v1: 107 bytes (§2.1). v2: what we accept; TLVs beyond it are refused. */
#define PROXY_V1_MAX_BYTES 107
#define PROXY_V2_MAX_BYTES 4096
#define PROXY_MAX_TLVS     64

enum proxy_version { PROXY_NONE, PROXY_V1, PROXY_V2, PROXY_ANY };

enum proxy_status { PROXY_MORE, PROXY_FOUND, PROXY_ABSENT, PROXY_BAD };

struct proxy_header {
	enum proxy_version version;
	size_t n_bytes; /* of the header: what follows is the client's */
	bool is_local;  /* LOCAL, UNKNOWN and the like: the connection's own addresses count */
	bool has_crc;   /* PP2_TYPE_CRC32C was there, and right */
	struct ip_endpoint src, dst; /* family 0 with is_local */
};

/* `accepted` is what may come (PROXY_V1, PROXY_V2, PROXY_ANY). PROXY_ABSENT: no PROXY header; one
 * of the other version is BAD. Datagrams and AF_UNIX are local, too. A function of the bytes alone,
 * as net/sniff.h says; `ret_header` is written with PROXY_FOUND. */
enum proxy_status proxy_parse(const uint8_t *data, size_t len, enum proxy_version accepted,
			      struct proxy_header *ret_header);

/* Writes a header; families that are unlike, or 0, become UNKNOWN (v1) or UNSPEC (v2). Returns its
 * length, 0 if `size` is too small. `with_crc`: v2 only. */
size_t proxy_write(enum proxy_version version, const struct ip_endpoint *src,
		   const struct ip_endpoint *dst, bool with_crc, uint8_t *buf, size_t size);

/* Continues `crc`, at first 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
