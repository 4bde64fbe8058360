/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PROXY headers of HAProxy and nginx, the specification's grammar, and ours read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_header.h"
#include "tests/unit/sniff_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define ADDRESSES "\x7f\0\0\1\xc0\0\2\1\x9c\x40\x01\xbb" /* 127.0.0.1:40000 192.0.2.1:443 */

static const struct ip_endpoint client4 = {4, 40000, {{127, 0, 0, 1}}};
static const struct ip_endpoint client6 = {6, 40000, {{[15] = 1}}};

/* MORE until it is certain, then the same for ever, whatever the prefix; how many bytes it took. */
static size_t check_prefixes_of(const uint8_t *data, size_t len, enum proxy_version accepted,
				enum proxy_status *ret_status, struct proxy_header *ret_header)
{
	size_t n_needed = len + 1;

	memset(ret_header, 0xee, sizeof(*ret_header));
	*ret_status = proxy_parse(data, len, accepted, ret_header);
	for (size_t n = 0; n <= len; n++) {
		_cleanup_free_ uint8_t *copy = malloc(n ? n : 1);
		struct proxy_header header;
		enum proxy_status status;

		assert_non_null(copy);
		memcpy(copy, data, n);
		memset(&header, 0xee, sizeof(header));
		status = proxy_parse(copy, n, accepted, &header);
		if (status == PROXY_MORE && n_needed > len)
			continue;
		if (n_needed > len)
			n_needed = n;
		assert_int_equal(status, *ret_status);
		assert_memory_equal(&header, ret_header, sizeof(header));
	}
	return n_needed;
}

static enum proxy_status parse(const void *data, size_t len, struct proxy_header *ret_header)
{
	enum proxy_status status;

	(void)check_prefixes_of(data, len, PROXY_ANY, &status, ret_header);
	return status;
}

static void assert_endpoint(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	assert_int_equal(a->family, b->family);
	assert_int_equal(a->port, b->port);
	assert_memory_equal(&a->addr, &b->addr, sizeof(a->addr));
}

static void test_headers_of_haproxy_and_nginx(void **state)
{
	static const struct {
		const char *file;
		enum proxy_version version;
		uint8_t family;
		uint16_t dst_port;
		bool has_crc;
	} rows[] = {
		{"haproxy-v1-ip4", PROXY_V1, 4, 10000, false},
		{"haproxy-v1-ip6", PROXY_V1, 6, 10001, false},
		{"haproxy-v2-ip4", PROXY_V2, 4, 10002, false},
		{"haproxy-v2-ip6", PROXY_V2, 6, 10003, false},
		{"haproxy-v2-crc-ip4", PROXY_V2, 4, 10004, true},
		{"haproxy-v2-crc-ip6", PROXY_V2, 6, 10005, true},
		{"haproxy-v2-crc-unique-id", PROXY_V2, 4, 10006, true},
		{"haproxy-v2-crc-ssl", PROXY_V2, 4, 10007, true},
		{"haproxy-v2-local", PROXY_V2, 0, 0, false},
		{"nginx-v1-ip4", PROXY_V1, 4, 11000, false},
		{"nginx-v1-ip6", PROXY_V1, 6, 11001, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		static struct bytes bytes;
		struct proxy_header header;
		enum proxy_status status;
		char path[64];
		size_t n_hello = rows[i].family ? strlen("hello\r\n") : 0;

		bytes.len = 0;
		(void)snprintf(path, sizeof(path), "proxy/%s", rows[i].file);
		load(&bytes, path);
		assert_int_equal(
			check_prefixes_of(bytes.data, bytes.len, PROXY_ANY, &status, &header),
			bytes.len - n_hello);
		assert_int_equal(status, PROXY_FOUND);
		assert_int_equal(header.version, rows[i].version);
		assert_int_equal(header.n_bytes, bytes.len - n_hello);
		assert_int_equal(header.is_local, rows[i].family == 0);
		assert_int_equal(header.has_crc, rows[i].has_crc);
		assert_int_equal(header.src.family, rows[i].family);
		assert_int_equal(header.dst.port, rows[i].dst_port);
		if (!rows[i].family)
			continue;
		assert_endpoint(&header.src, rows[i].family == 4 ? &client4 : &client6);
	}
}

/* The very bytes of theirs. */
static void test_ours_are_haproxys(void **state)
{
	static const struct {
		const char *file;
		enum proxy_version version;
		bool with_crc;
	} rows[] = {
		{"haproxy-v1-ip4", PROXY_V1, false},    {"haproxy-v1-ip4", PROXY_V1, true},
		{"haproxy-v2-ip4", PROXY_V2, false},    {"haproxy-v2-ip6", PROXY_V2, false},
		{"haproxy-v2-crc-ip4", PROXY_V2, true}, {"haproxy-v2-crc-ip6", PROXY_V2, true},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		static struct bytes bytes;
		struct proxy_header header;
		uint8_t buf[128];
		char path[64];
		size_t n;

		bytes.len = 0;
		(void)snprintf(path, sizeof(path), "proxy/%s", rows[i].file);
		load(&bytes, path);
		assert_int_equal(parse(bytes.data, bytes.len, &header), PROXY_FOUND);
		n = proxy_write(rows[i].version, &header.src, &header.dst, rows[i].with_crc, buf,
				sizeof(buf));
		assert_int_equal(n, header.n_bytes);
		assert_memory_equal(buf, bytes.data, n);
		assert_int_equal(proxy_write(rows[i].version, &header.src, &header.dst,
					     rows[i].with_crc, buf, n),
				 n);
		assert_int_equal(proxy_write(rows[i].version, &header.src, &header.dst,
					     rows[i].with_crc, buf, n - 1),
				 0);
	}
}

static void test_what_we_write_we_read(void **state)
{
	static const struct ip_endpoint none = {},
					longest = {6,
						   65535,
						   {{255, 255, 255, 255, 255, 255, 255, 255, 255,
						     255, 255, 255, 255, 255, 255, 255}}},
					mapped = {6, 0, {{[10] = 255, 255, 192, 0, 2, 1}}};
	static const struct {
		const struct ip_endpoint *src, *dst;
	} rows[] = {
		{&client4, &client4}, {&client6, &longest}, {&longest, &longest},
		{&mapped, &client6},  {&client4, &client6}, {&none, &none},
		{&none, &client4},
	};
	uint8_t buf[PROXY_V1_MAX_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_local = rows[i].src->family != rows[i].dst->family || !rows[i].src->family;

		for (unsigned j = 0; j < 3; j++) {
			enum proxy_version version = j ? PROXY_V2 : PROXY_V1;
			size_t n = proxy_write(version, rows[i].src, rows[i].dst, j == 2, buf,
					       sizeof(buf));
			struct proxy_header header;

			assert_true(n > 0);
			assert_int_equal(parse(buf, n, &header), PROXY_FOUND);
			assert_int_equal(header.version, version);
			assert_int_equal(header.n_bytes, n);
			assert_int_equal(header.is_local, is_local);
			assert_endpoint(&header.src, is_local ? &none : rows[i].src);
			assert_endpoint(&header.dst, is_local ? &none : rows[i].dst);
			/* of an UNSPEC block nothing is read, so not its checksum */
			assert_int_equal(header.has_crc, j == 2 && !is_local);
		}
	}
	assert_int_equal(proxy_write(PROXY_NONE, &client4, &client4, false, buf, sizeof(buf)), 0);
	assert_int_equal(proxy_write(PROXY_ANY, &client4, &client4, false, buf, sizeof(buf)), 0);
}

#define ROW(line, status, is_local)                      \
	{                                                \
		line, sizeof(line) - 1, status, is_local \
	}
#define FOUND(line) ROW(line "\r\n", PROXY_FOUND, false)
#define LOCAL(line) ROW(line "\r\n", PROXY_FOUND, true)
#define BAD(line)   ROW(line "\r\n", PROXY_BAD, false)
#define X16         "xxxxxxxxxxxxxxxx"
#define X88         X16 X16 X16 X16 X16 "xxxxxxxx"
static const struct {
	const char *line;
	size_t len;
	enum proxy_status status;
	bool is_local;
} v1_rows[] = {
	FOUND("PROXY TCP4 192.0.2.1 198.51.100.1 1 65535"),
	FOUND("PROXY TCP4 255.255.255.255 0.0.0.0 0 0"),
	FOUND("PROXY TCP6 2001:db8::1 FFFF:f:f:f:f:f:f:ffff 1 2"),
	FOUND("PROXY TCP6 :: ::ffff:192.0.2.1 1 2"),
	LOCAL("PROXY UNKNOWN"),
	LOCAL("PROXY UNKNOWN "),
	LOCAL("PROXY UNKNOWN what\rever\n 1 2 3"),
	LOCAL("PROXY UNKNOWN ffff:f:f:f:f:f:f:ffff ffff:f:f:f:f:f:f:ffff 65535 65535"),
	LOCAL("PROXY UNKNOWN    " X88),
	BAD("PROXY"),
	BAD("PROXY "),
	BAD("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2"),
	BAD("PROXYTCP4 192.0.2.1 192.0.2.2 1 2"),
	BAD("PROXY UNKNOWNS"),
	BAD("PROXY unknown"),
	BAD("PROXY TCP 192.0.2.1 192.0.2.2 1 2"),
	BAD("PROXY TCP5 192.0.2.1 192.0.2.2 1 2"),
	BAD("PROXY UDP4 192.0.2.1 192.0.2.2 1 2"),
	BAD("PROXY TCP4"),
	BAD("PROXY TCP4 192.0.2.1"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 "),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 "),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3"),
	BAD("PROXY TCP4 192.0.2.1  192.0.2.2 1 2"),
	BAD("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 01 2"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 00"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 99999"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 4294967297"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
	BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0"),
	BAD("PROXY TCP4 192.0.2.01 192.0.2.2 1 2"),
	BAD("PROXY TCP4 192.0.2 192.0.2.2 1 2"),
	BAD("PROXY TCP4 192.0.2.256 192.0.2.2 1 2"),
	BAD("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2"),
	BAD("PROXY TCP4 2001:db8::1 192.0.2.2 1 2"),
	BAD("PROXY TCP6 192.0.2.1 2001:db8::1 1 2"),
	BAD("PROXY TCP6 2001:db8::1::2 2001:db8::1 1 2"),
	BAD("PROXY TCP6 2001:db8::1%1 2001:db8::1 1 2"),
	BAD("PROXY TCP6 [2001:db8::1] 2001:db8::1 1 2"),
	/* 107 bytes with the CRLF above, 108 here */
	ROW("PROXY UNKNOWN     " X88 "\r\n", PROXY_BAD, false),
	ROW("PROXY UNKNOWN" X88 X16, PROXY_BAD, false),
	ROW("PROXY UNKNOWN\n", PROXY_MORE, false),
	ROW("PROXY UNKNOWN\r", PROXY_MORE, false),
	ROW("PROX", PROXY_MORE, false),
	ROW("", PROXY_MORE, false),
	ROW("PROXI", PROXY_ABSENT, false),
	ROW("proxy ", PROXY_ABSENT, false),
	ROW("GET / HTTP/1.1\r\n", PROXY_ABSENT, false),
	ROW("\x16\x03\x01", PROXY_ABSENT, false),
#undef ROW
};

static void test_lines_of_version_1(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(v1_rows); i++) {
		struct proxy_header header;
		enum proxy_status status = parse(v1_rows[i].line, v1_rows[i].len, &header);

		if (status != v1_rows[i].status)
			fail_msg("'%s' is %d", v1_rows[i].line, status);
		if (status != PROXY_FOUND)
			continue;
		assert_int_equal(header.version, PROXY_V1);
		assert_int_equal(header.n_bytes, v1_rows[i].len);
		assert_int_equal(header.is_local, v1_rows[i].is_local);
		assert_int_equal(header.src.family == 0, v1_rows[i].is_local);
	}
}

static void test_version_1_says_what_it_says(void **state)
{
	static const char line[] = "PROXY TCP6 2001:DB8::1 ::2 123 65535\r\nmore";
	static const struct ip_endpoint src = {6, 123, {{0x20, 1, 0xd, 0xb8, [15] = 1}}},
					dst = {6, 65535, {{[15] = 2}}};
	struct proxy_header header;

	assert_int_equal(parse(line, strlen(line), &header), PROXY_FOUND);
	assert_int_equal(header.n_bytes, strlen(line) - 4);
	assert_endpoint(&header.src, &src);
	assert_endpoint(&header.dst, &dst);
}

/* version and command, family, the rest of the header; its length is written. */
static enum proxy_status parse_v2(uint8_t command, uint8_t family, const void *rest, size_t n_rest,
				  struct proxy_header *ret_header)
{
	static struct bytes bytes;

	bytes.len = 0;
	put_bytes(&bytes, SIGNATURE, 12);
	put(&bytes, 1, command);
	put(&bytes, 1, family);
	put(&bytes, 2, (uint32_t)n_rest);
	put_bytes(&bytes, rest, n_rest);
	return parse(bytes.data, bytes.len, ret_header);
}

static void test_headers_of_version_2(void **state)
{
	static const struct {
		uint8_t command, family;
		size_t n_rest;
		enum proxy_status status;
		bool is_local;
	} rows[] = {
		{0x21, 0x11, 12, PROXY_FOUND, false},
		{0x21, 0x21, 36, PROXY_FOUND, false},
		{0x21, 0x11, 11, PROXY_BAD, false},
		{0x21, 0x21, 35, PROXY_BAD, false},
		{0x21, 0x11, 0, PROXY_BAD, false},
		/* its addresses are not ours to use, its lengths count */
		{0x21, 0x12, 12, PROXY_FOUND, true},
		{0x21, 0x22, 36, PROXY_FOUND, true},
		{0x21, 0x31, 216, PROXY_FOUND, true},
		{0x21, 0x32, 216, PROXY_FOUND, true},
		{0x21, 0x12, 11, PROXY_BAD, false},
		{0x21, 0x31, 215, PROXY_BAD, false},
		/* unread, whatever its length */
		{0x21, 0x00, 0, PROXY_FOUND, true},
		{0x21, 0x00, 7, PROXY_FOUND, true},
		{0x21, 0x01, 7, PROXY_FOUND, true},
		{0x21, 0x10, 7, PROXY_FOUND, true},
		{0x20, 0x00, 0, PROXY_FOUND, true},
		{0x20, 0x11, 3, PROXY_FOUND, true},
		{0x20, 0xff, 12, PROXY_FOUND, true},
		/* neither version, command, family nor transport */
		{0x11, 0x11, 12, PROXY_BAD, false},
		{0x31, 0x11, 12, PROXY_BAD, false},
		{0x22, 0x11, 12, PROXY_BAD, false},
		{0x2f, 0x11, 12, PROXY_BAD, false},
		{0x21, 0x41, 216, PROXY_BAD, false},
		{0x21, 0x13, 12, PROXY_BAD, false},
		{0x21, 0xf0, 12, PROXY_BAD, false},
		/* the longest: of NOOPs */
		{0x20, 0x00, PROXY_V2_MAX_BYTES - 16, PROXY_FOUND, true},
		{0x20, 0x00, PROXY_V2_MAX_BYTES - 15, PROXY_BAD, false},
		{0x21, 0x11, 0xffff, PROXY_BAD, false},
	};
	static const uint8_t zeroes[0xffff];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct proxy_header header;
		enum proxy_status status =
			parse_v2(rows[i].command, rows[i].family, zeroes, rows[i].n_rest, &header);

		if (status != rows[i].status)
			fail_msg("row %u: %d", i, status);
		if (status != PROXY_FOUND)
			continue;
		assert_int_equal(header.version, PROXY_V2);
		assert_int_equal(header.n_bytes, 16 + rows[i].n_rest);
		assert_int_equal(header.is_local, rows[i].is_local);
		assert_int_equal(header.src.family == 0, rows[i].is_local);
		assert_int_equal(header.dst.family == 0, rows[i].is_local);
	}
}

static void test_tlvs(void **state)
{
	static const struct {
		const char *tlvs;
		size_t len;
		enum proxy_status status;
	} rows[] = {
#define ROW(tlvs, status) {tlvs, sizeof(tlvs) - 1, status}
		ROW("\4\0\0", PROXY_FOUND),
		ROW("\4\0\2xx\1\0\2h2\xee\0\1x", PROXY_FOUND),
		ROW("\4", PROXY_BAD),
		ROW("\4\0", PROXY_BAD),
		ROW("\4\0\1", PROXY_BAD),
		ROW("\4\0\0\4", PROXY_BAD),
		ROW("\4\xff\xffx", PROXY_BAD),
		/* SSL: flags and result, then TLVs inside */
		ROW("\x20\0\5\1\0\0\0\0", PROXY_FOUND),
		ROW("\x20\0\x9\1\0\0\0\0\x21\0\1x", PROXY_FOUND),
		ROW("\x20\0\4\1\0\0\0", PROXY_BAD),
		ROW("\x20\0\0", PROXY_BAD),
		ROW("\x20\0\x8\1\0\0\0\0\x21\0\1", PROXY_BAD),
		ROW("\x20\0\x8\1\0\0\0\0\x21\0\1\4\0\1x", PROXY_BAD),
		ROW("\x20\0\6\1\0\0\0\0\x21", PROXY_BAD),
		/* CRC32c: wrong, of a wrong length */
		ROW("\3\0\4\0\0\0\0", PROXY_BAD),
		ROW("\3\0\3\0\0\0", PROXY_BAD),
		ROW("\3\0\5\0\0\0\0\0", PROXY_BAD),
		ROW("\3\0\0", PROXY_BAD),
#undef ROW
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t rest[64] = ADDRESSES;
		struct proxy_header header;
		enum proxy_status status;

		memcpy(rest + 12, rows[i].tlvs, rows[i].len);
		status = parse_v2(0x21, 0x11, rest, 12 + rows[i].len, &header);
		if (status != rows[i].status)
			fail_msg("row %u: %d", i, status);
	}
}

static void test_tlvs_are_bounded(void **state)
{
	uint8_t rest[12 + 3 * (PROXY_MAX_TLVS + 1)] = ADDRESSES;
	struct proxy_header header;

	for (unsigned i = 0; i <= PROXY_MAX_TLVS; i++)
		rest[12 + 3 * i] = 4;
	assert_int_equal(parse_v2(0x21, 0x11, rest, sizeof(rest) - 3, &header), PROXY_FOUND);
	assert_int_equal(parse_v2(0x21, 0x11, rest, sizeof(rest), &header), PROXY_BAD);
}

static void test_a_checksum_guards_every_bit(void **state)
{
	static struct bytes bytes;
	struct proxy_header header;
	size_t n_header;

	load(&bytes, "proxy/haproxy-v2-crc-unique-id");
	assert_int_equal(parse(bytes.data, bytes.len, &header), PROXY_FOUND);
	n_header = header.n_bytes;
	for (size_t i = 16; i < n_header; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes.data[i] ^= (uint8_t)(1 << bit);
			/* a type that is no longer CRC32C leaves it unguarded */
			if (parse(bytes.data, bytes.len, &header) == PROXY_FOUND && header.has_crc)
				fail_msg("byte %zu, bit %u", i, bit);
			bytes.data[i] ^= (uint8_t)(1 << bit);
		}
	}
}

/* TLVs whose last checksum, its place `at` from the end, is made right: `status` all the same. */
static void check_sealed(const char *tlvs, size_t n_tlvs, size_t at, enum proxy_status status)
{
	static struct bytes bytes;
	struct proxy_header header;
	uint32_t sum;
	size_t end;

	bytes.len = 0;
	put_bytes(&bytes, SIGNATURE "\x21\x11\0", 15);
	put(&bytes, 1, (uint32_t)(12 + n_tlvs));
	put_bytes(&bytes, ADDRESSES, 12);
	put_bytes(&bytes, tlvs, n_tlvs);
	end = bytes.len;
	sum = crc32c(0, bytes.data, end);
	bytes.len = end - at;
	put(&bytes, 4, sum);
	bytes.len = end;
	assert_int_equal(parse(bytes.data, bytes.len, &header), status);
}

static void test_one_checksum_of_four_bytes(void **state)
{
	check_sealed("\3\0\4\0\0\0\0", 7, 4, PROXY_FOUND);
	check_sealed("\4\0\1x\3\0\4\0\0\0\0", 11, 4, PROXY_FOUND);
	check_sealed("\3\0\4\0\0\0\0\4\0\1x", 11, 8, PROXY_FOUND);
	check_sealed("\3\0\4abcd\3\0\4\0\0\0\0", 14, 4, PROXY_BAD);
	check_sealed("\3\0\5\0\0\0\0x", 8, 5, PROXY_BAD);
}

static void test_only_what_is_accepted(void **state)
{
	static const char v1[] = "PROXY UNKNOWN\r\n", v2[] = SIGNATURE "\x20\0\0";
	static const struct {
		enum proxy_version accepted;
		enum proxy_status v1, v2, none;
	} rows[] = {
		{PROXY_NONE, PROXY_ABSENT, PROXY_ABSENT, PROXY_ABSENT},
		{PROXY_V1, PROXY_FOUND, PROXY_BAD, PROXY_ABSENT},
		{PROXY_V2, PROXY_BAD, PROXY_FOUND, PROXY_ABSENT},
		{PROXY_ANY, PROXY_FOUND, PROXY_FOUND, PROXY_ABSENT},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct proxy_header header;
		enum proxy_status status;

		(void)check_prefixes_of((const uint8_t *)v1, 15, rows[i].accepted, &status,
					&header);
		assert_int_equal(status, rows[i].v1);
		(void)check_prefixes_of((const uint8_t *)v2, 16, rows[i].accepted, &status,
					&header);
		assert_int_equal(status, rows[i].v2);
		(void)check_prefixes_of((const uint8_t *)"POST", 4, rows[i].accepted, &status,
					&header);
		assert_int_equal(status, rows[i].none);
	}
}

/* RFC 3720 B.4, and what every table of CRCs has for "123456789". */
static void test_crc32c_of_the_books(void **state)
{
	uint8_t bytes[32] = {0};

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, 32);
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers_of_haproxy_and_nginx),
		cmocka_unit_test(test_ours_are_haproxys),
		cmocka_unit_test(test_what_we_write_we_read),
		cmocka_unit_test(test_lines_of_version_1),
		cmocka_unit_test(test_version_1_says_what_it_says),
		cmocka_unit_test(test_headers_of_version_2),
		cmocka_unit_test(test_tlvs),
		cmocka_unit_test(test_tlvs_are_bounded),
		cmocka_unit_test(test_a_checksum_guards_every_bit),
		cmocka_unit_test(test_one_checksum_of_four_bytes),
		cmocka_unit_test(test_only_what_is_accepted),
		cmocka_unit_test(test_crc32c_of_the_books),
	};

	return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
