/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a PROXY header, and the checksum of either end; see proxy_header.h. */
#include <stdio.h>
#include <string.h>

#include "net/proxy_header.h"
#include "net/proxy_internal.h"
#include "util/macros.h"

/* The longest of ours: two IPv6 addresses and ports, and a checksum. */
#define V2_WRITE_MAX_BYTES (PROXY_V2_FIXED_BYTES + 36 + PROXY_TLV_HEADER_BYTES + PROXY_CRC_BYTES)

/* Castagnoli's polynomial, reflected (RFC 3720 B.4), a nibble at a time: headers have 28 to 59
 * bytes, once per connection, and a table of a line stays in the cache. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *pos = data;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= pos[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static bool is_known(const struct ip_endpoint *src, const struct ip_endpoint *dst)
{
	return src->family == dst->family && (src->family == 4 || src->family == 6);
}

/* Spelt out group by group: §2.1 has no dotted tail, which inet_ntop() writes for some. */
static void format_address(const struct ip_endpoint *endpoint, char *text, size_t size)
{
	const uint8_t *octet = endpoint->addr.octet;
	size_t n = 0;

	if (endpoint->family == 4) {
		(void)snprintf(text, size, "%u.%u.%u.%u", octet[0], octet[1], octet[2], octet[3]);
		return;
	}
	for (unsigned i = 0; i < 16; i += 2)
		n += (size_t)snprintf(text + n, size - n, i ? ":%x" : "%x",
				      (unsigned)octet[i] << 8 | octet[i + 1]);
}

static size_t write_v1(const struct ip_endpoint *src, const struct ip_endpoint *dst, uint8_t *buf,
		       size_t size)
{
	char line[PROXY_V1_MAX_BYTES + 1] = "PROXY UNKNOWN\r\n", src_text[40], dst_text[40];
	size_t n;

	if (is_known(src, dst)) {
		format_address(src, src_text, sizeof(src_text));
		format_address(dst, dst_text, sizeof(dst_text));
		(void)snprintf(line, sizeof(line), "PROXY TCP%u %s %s %u %u\r\n", src->family,
			       src_text, dst_text, src->port, dst->port);
	}
	n = strlen(line);
	if (n > size)
		return 0;
	memcpy(buf, line, n);
	return n;
}

static uint8_t *put(uint8_t *pos, const void *bytes, size_t n)
{
	memcpy(pos, bytes, n);
	return pos + n;
}

static uint8_t *put_number(uint8_t *pos, uint32_t number, unsigned n_bytes)
{
	for (unsigned i = n_bytes; i--; number >>= 8)
		pos[i] = (uint8_t)number;
	return pos + n_bytes;
}

static uint8_t *put_endpoints(uint8_t *pos, const struct ip_endpoint *src,
			      const struct ip_endpoint *dst)
{
	size_t n = src->family == 4 ? 4 : 16;

	pos = put(pos, src->addr.octet, n);
	pos = put(pos, dst->addr.octet, n);
	pos = put_number(pos, src->port, 2);
	return put_number(pos, dst->port, 2);
}

static size_t write_v2(const struct ip_endpoint *src, const struct ip_endpoint *dst, bool with_crc,
		       uint8_t *buf, size_t size)
{
	uint8_t header[V2_WRITE_MAX_BYTES] = PROXY_V2_SIGNATURE, *pos = header + PROXY_V2_COMMAND;
	size_t n;

	/* UNSPEC is still PROXY: LOCAL would say that nobody is behind the connection */
	*pos++ = PROXY_V2_VERSION | PROXY_COMMAND_PROXY;
	*pos++ = is_known(src, dst) ? (src->family == 4 ? 0x10 : 0x20) | PROXY_TRANSPORT_STREAM : 0;
	pos += 2;
	if (is_known(src, dst))
		pos = put_endpoints(pos, src, dst);
	if (with_crc) {
		pos = put_number(pos, PROXY_TLV_CRC32C, 1);
		pos = put_number(pos, PROXY_CRC_BYTES, 2);
		pos = put_number(pos, 0, PROXY_CRC_BYTES);
	}
	n = (size_t)(pos - header);
	(void)put_number(header + PROXY_V2_LENGTH, (uint32_t)(n - PROXY_V2_FIXED_BYTES), 2);
	if (with_crc)
		(void)put_number(pos - PROXY_CRC_BYTES, crc32c(0, header, n), PROXY_CRC_BYTES);
	if (n > size)
		return 0;
	memcpy(buf, header, n);
	return n;
}

size_t proxy_write(enum proxy_version version, const struct ip_endpoint *src,
		   const struct ip_endpoint *dst, bool with_crc, uint8_t *buf, size_t size)
{
	switch (version) {
	case PROXY_V1:
		return write_v1(src, dst, buf, size);
	case PROXY_V2:
		return write_v2(src, dst, with_crc, buf, size);
	case PROXY_NONE:
	case PROXY_ANY:
		return 0;
	}
	return 0;
}
