/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ClientHellos of real clients, the same in other records, and every way to write one wrong. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/sniff_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define ECH 0xfe0d

static void assert_answer(const struct bytes *bytes, enum sniff_status status, const char *name)
{
	struct sniff sniff = sniff_all(sniff_tls, bytes->data, bytes->len);

	assert_int_equal(sniff.status, status);
	assert_string_equal(sniff.name, name);
}

static void test_real_hellos(void **state)
{
	static const struct {
		const char *file, *name, *alpn;
		bool has_ech;
	} rows[] = {
		{"curl", "www.example.org", "h2,http/1.1", false},
		{"gnutls-git", "www.example.org", "h2,http/1.1", false},
		{"node", "www.example.org", "h2,http/1.1", false},
		{"openssl-fragments", "www.example.org",
		 "protocol-0000,protocol-0001,protocol-0002,protocol-0003,...", false},
		{"openssl-no-middlebox", "www.example.org", "", false},
		{"openssl-tls12", "www.example.org", "", false},
		{"openssl-upper-case", "www.example.org", "h2", false},
		{"post-quantum", "www.example.org", "h2,http/1.1", true},
		{"post-quantum-16k", "www.example.org", "h2,http/1.1", true},
		{"post-quantum-records", "www.example.org", "h2,http/1.1", true},
		{"post-quantum-two-records", "www.example.org", "h2,http/1.1", true},
		{"python-address", "", "", false},
		{"python-no-name", "", "", false},
		{"python-tls12", "www.example.org", "", false},
		{"python-tls13", "www.example.org", "h2,http/1.1", false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		static struct bytes hello;
		struct sniff sniff;
		char path[64];

		hello.len = 0;
		(void)snprintf(path, sizeof(path), "hello/%s", rows[i].file);
		load(&hello, path);
		/* certain with the last byte, whatever follows */
		assert_int_equal(check_prefixes(sniff_tls, hello.data, hello.len), hello.len);
		put_string(&hello, "\x14\x03\x03\x00\x01\x01\x17\x03\x03 early data");
		sniff_tls(hello.data, hello.len, &sniff);
		assert_int_equal(sniff.status, rows[i].name[0] ? SNIFF_FOUND : SNIFF_NO_NAME);
		assert_int_equal(sniff.protocol, SNIFF_TLS);
		assert_string_equal(sniff.name, rows[i].name);
		assert_string_equal(sniff.alpn, rows[i].alpn);
		assert_int_equal(sniff.has_ech, rows[i].has_ech);
	}
}

static void test_records_of_any_size_say_the_same(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 9, 64, 100, 511, 1968, 16384};
	static const char *const files[] = {"hello/post-quantum", "hello/openssl-fragments"};

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		static struct bytes hello, split;
		struct sniff whole, other;

		hello.len = 0;
		load(&hello, files[i]);
		sniff_tls(hello.data, hello.len, &whole);
		assert_int_equal(whole.status, SNIFF_FOUND);
		for (unsigned j = 0; j < ARRAY_SIZE(sizes); j++) {
			split_records(hello.data, hello.len, sizes[j], &split);
			assert_int_equal(check_prefixes(sniff_tls, split.data, split.len),
					 split.len);
			sniff_tls(split.data, split.len, &other);
			assert_memory_equal(&other, &whole, sizeof(whole));
		}
	}
}

static void begin_named(struct bytes *hello)
{
	hello_begin(hello);
	put_server_name(hello, "example.org", strlen("example.org"));
}

/* With everything that has a length, and GREASE where there may be. */
static void make_full(struct bytes *hello)
{
	unsigned extension, length;

	hello_begin(hello);
	put_extension(hello, 0x2a2a, "", 0);
	put_server_name(hello, "example.org", strlen("example.org"));
	put(hello, 2, 16);
	extension = open_length(hello, 2, "alpn");
	length = open_length(hello, 2, "alpn list");
	put_bytes(hello, "\2\x8a\x8a", 3);
	(void)open_length(hello, 1, "alpn name");
	hello->data[hello->len - 1] = 8;
	put_string(hello, "http/1.1");
	close_length(hello, length);
	close_length(hello, extension);
	put(hello, 2, ECH);
	extension = open_length(hello, 2, "ech");
	put_bytes(hello, "\0\0\1\0\1\7", 6);
	length = open_length(hello, 2, "ech key");
	put_string(hello, "0123456789abcdef");
	close_length(hello, length);
	length = open_length(hello, 2, "ech payload");
	put_string(hello, "abcdefgh");
	close_length(hello, length);
	close_length(hello, extension);
	put_extension(hello, 0x3a3a, "\0", 1);
	hello_end(hello);
}

static void test_no_length_may_be_wrong(void **state)
{
	static struct bytes hello, broken;
	struct sniff sniff;

	make_full(&hello);
	sniff = sniff_all(sniff_tls, hello.data, hello.len);
	assert_int_equal(sniff.status, SNIFF_FOUND);
	assert_string_equal(sniff.name, "example.org");
	assert_string_equal(sniff.alpn, "\\x8a\\x8a,http/1.1");
	assert_true(sniff.has_ech);
	assert_int_equal(hello.n_lengths, 17);
	for (unsigned i = 0; i < hello.n_lengths; i++) {
		size_t last = hello.lengths[i].at + hello.lengths[i].n_bytes - 1;

		for (int step = -2; step <= 2; step++) {
			/* a longer handshake is one that goes on */
			bool goes_on = i == 1 && step > 0;

			if (!step)
				continue;
			broken = hello;
			broken.data[last] = (uint8_t)(broken.data[last] + step);
			sniff = sniff_all(sniff_tls, broken.data, broken.len);
			if (sniff.status != (goes_on ? SNIFF_MORE : SNIFF_BAD))
				fail_msg("%s %+d: %d", hello.lengths[i].name, step, sniff.status);
			assert_string_equal(sniff.name, "");
			assert_string_equal(sniff.alpn, "");
			assert_false(sniff.has_ech);
		}
	}
}

static void test_names(void **state)
{
#define LABEL63 "a23456789012345678901234567890123456789012345678901234567890123"
#define NAME253                         \
	LABEL63 "." LABEL63 "." LABEL63 \
		".b2345678901234567890123456789012345678901234567890123456789.d"
	static const struct {
		const char *name;
		size_t len;
		enum sniff_status status;
		const char *found;
	} rows[] = {
#define ROW(name, ...) {name, sizeof(name) - 1, __VA_ARGS__}
		ROW("example.org", SNIFF_FOUND, "example.org"),
		ROW("EXAMPLE.Org", SNIFF_FOUND, "example.org"),
		ROW("example.org.", SNIFF_FOUND, "example.org"),
		ROW("localhost", SNIFF_FOUND, "localhost"),
		ROW("_sip._tcp.xn--bcher-kva.example", SNIFF_FOUND,
		    "_sip._tcp.xn--bcher-kva.example"),
		ROW("a", SNIFF_FOUND, "a"),
		ROW("1.2.3", SNIFF_FOUND, "1.2.3"),
		ROW("192.0.2.01", SNIFF_FOUND, "192.0.2.01"),
		ROW(LABEL63 ".org", SNIFF_FOUND, LABEL63 ".org"),
		ROW(NAME253, SNIFF_FOUND, NAME253),
		ROW(NAME253 ".", SNIFF_FOUND, NAME253),
		ROW("192.0.2.1", SNIFF_NO_NAME, ""),
		ROW("192.0.2.1.", SNIFF_NO_NAME, ""),
		ROW("2001:db8::1", SNIFF_NO_NAME, ""),
		ROW("::ffff:192.0.2.1", SNIFF_NO_NAME, ""),
		ROW("", SNIFF_BAD, ""),
		ROW(".", SNIFF_BAD, ""),
		ROW("..", SNIFF_BAD, ""),
		ROW("example.org..", SNIFF_BAD, ""),
		ROW(".example.org", SNIFF_BAD, ""),
		ROW("example..org", SNIFF_BAD, ""),
		ROW("[2001:db8::1]", SNIFF_BAD, ""),
		ROW("2001:db8::1%eth0", SNIFF_BAD, ""),
		ROW("192.0.2.1\0", SNIFF_BAD, ""),
		ROW("example.org\0", SNIFF_BAD, ""),
		ROW("example.org\0.example.net", SNIFF_BAD, ""),
		ROW("b\xc3\xbc"
		    "cher.example",
		    SNIFF_BAD, ""),
		ROW("exam ple.org", SNIFF_BAD, ""),
		ROW("example.org\n", SNIFF_BAD, ""),
		ROW("*.example.org", SNIFF_BAD, ""),
		ROW("example.org:443", SNIFF_BAD, ""),
		ROW("user@example.org", SNIFF_BAD, ""),
		ROW("a%2eb", SNIFF_BAD, ""),
		ROW("x" LABEL63, SNIFF_BAD, ""),
		ROW(NAME253 "e", SNIFF_BAD, ""),
		ROW(NAME253 "e.", SNIFF_BAD, ""),
#undef ROW
	};
	static struct bytes hello;

	assert_int_equal(strlen(NAME253), 253);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		hello_begin(&hello);
		put_server_name(&hello, rows[i].name, rows[i].len);
		hello_end(&hello);
		assert_answer(&hello, rows[i].status, rows[i].found);
	}
}

static void test_extensions_that_a_name_is_read_from(void **state)
{
	static const struct {
		uint16_t type;
		const char *body;
		size_t len;
		enum sniff_status status;
		bool has_ech;
	} rows[] = {
#define ROW(type, body, status)                             \
	{                                                   \
		type, body, sizeof(body) - 1, status, false \
	}
#define ROW_ECH(type, body, status)                        \
	{                                                  \
		type, body, sizeof(body) - 1, status, true \
	}
		/* server_name, beside none that would be right */
		ROW(0, "\0\4\0\0\1a", SNIFF_FOUND),
		ROW(0, "", SNIFF_BAD),
		ROW(0, "\0\0", SNIFF_BAD),
		ROW(0, "\0\3\0\0\0", SNIFF_BAD),
		ROW(0, "\0\4\1\0\1a", SNIFF_BAD),
		ROW(0, "\0\x8\0\0\1a\0\0\1a", SNIFF_BAD),
		ROW(0, "\0\x8\0\0\1a\1\0\1b", SNIFF_BAD),
		ROW(0, "\0\4\0\0\1ax", SNIFF_BAD),
		ROW(0, "\0\4\0\0\2a", SNIFF_BAD),
		/* ALPN */
		ROW(16, "\0\3\2h2", SNIFF_NO_NAME),
		ROW(16, "", SNIFF_BAD),
		ROW(16, "\0\0", SNIFF_BAD),
		ROW(16, "\0\1\0", SNIFF_BAD),
		ROW(16, "\0\4\2h2\0", SNIFF_BAD),
		ROW(16, "\0\3\3h2", SNIFF_BAD),
		/* ECH: outer, inner, neither */
		ROW_ECH(ECH, "\0\0\1\0\1\7\0\0\0\1x", SNIFF_NO_NAME),
		ROW(ECH, "\1", SNIFF_NO_NAME),
		ROW(ECH, "\1x", SNIFF_BAD),
		ROW(ECH, "\2", SNIFF_BAD),
		ROW(ECH, "\2\0\1\0\1\7\0\0\0\1x", SNIFF_BAD),
		ROW(ECH, "", SNIFF_BAD),
		ROW(ECH, "\0\0\1\0\1\7\0\0\0\0", SNIFF_BAD),
#undef ROW
#undef ROW_ECH
	};
	static struct bytes hello;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sniff sniff;

		hello_begin(&hello);
		put_extension(&hello, rows[i].type, rows[i].body, rows[i].len);
		hello_end(&hello);
		sniff = sniff_all(sniff_tls, hello.data, hello.len);
		assert_int_equal(sniff.status, rows[i].status);
		assert_int_equal(sniff.has_ech, rows[i].has_ech);
	}
}

static void test_no_extension_comes_twice(void **state)
{
	static const uint16_t types[] = {0, 16, 43, 0x2a2a, 0xffff};
	static struct bytes hello;

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		begin_named(&hello);
		if (types[i] == 0) {
			put_server_name(&hello, "example.org", strlen("example.org"));
		} else {
			put_extension(&hello, types[i], "\0\3\2h2", 5);
			put_extension(&hello, types[i], "\0\3\2h2", 5);
		}
		hello_end(&hello);
		assert_answer(&hello, SNIFF_BAD, "");
	}
}

/* Offsets are those of hello_begin(). */
static void test_the_head_of_the_hello(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum sniff_status status;
	} rows[] = {
		{0, 0x14, SNIFF_BAD},
		{0, 0x15, SNIFF_BAD},
		{0, 0x17, SNIFF_BAD},
		{0, 0x18, SNIFF_BAD},
		{0, 0x13, SNIFF_OTHER},
		{0, 0x19, SNIFF_OTHER},
		{0, 0x80, SNIFF_OTHER},
		{0, 'G', SNIFF_OTHER},
		{1, 2, SNIFF_OTHER},
		{1, 4, SNIFF_OTHER},
		{2, 0, SNIFF_FOUND},
		{2, 3, SNIFF_FOUND},
		{2, 4, SNIFF_FOUND},
		{5, 0, SNIFF_BAD},
		{5, 2, SNIFF_BAD},
		{6, 1, SNIFF_TOO_LONG},
		{9, 2, SNIFF_BAD},
		{9, 4, SNIFF_BAD},
		{10, 0, SNIFF_FOUND},
		{10, 1, SNIFF_FOUND},
		{11, 0xff, SNIFF_FOUND},
		/* the one compression method: null must be there */
		{87, 1, SNIFF_BAD},
	};
	static struct bytes hello;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		begin_named(&hello);
		hello_end(&hello);
		hello.data[rows[i].at] = rows[i].value;
		assert_answer(&hello, rows[i].status,
			      rows[i].status == SNIFF_FOUND ? "example.org" : "");
	}
}

static void test_a_cipher_suite_has_two_bytes(void **state)
{
	static struct bytes hello;

	hello_begin(&hello);
	/* back behind the suites, for one byte more; compressions and extensions again */
	hello.len = 86;
	put(&hello, 1, 0x13);
	close_length(&hello, 3);
	put(&hello, 4, 0x01000000);
	close_length(&hello, 1);
	close_length(&hello, 0);
	assert_answer(&hello, SNIFF_BAD, "");
	/* with two it is right */
	hello.len = 87;
	put(&hello, 1, 0x03);
	close_length(&hello, 3);
	put(&hello, 4, 0x01000000);
	close_length(&hello, 1);
	close_length(&hello, 0);
	assert_answer(&hello, SNIFF_NO_NAME, "");
}

static void test_nothing_follows_the_extensions(void **state)
{
	static struct bytes hello;

	begin_named(&hello);
	close_length(&hello, 5);
	put(&hello, 1, 0);
	close_length(&hello, 1);
	close_length(&hello, 0);
	assert_answer(&hello, SNIFF_BAD, "");
}

static void test_alpn_is_shown_safely(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		const char *alpn;
	} rows[] = {
#define ROW(body, alpn) {body, sizeof(body) - 1, alpn}
		ROW("\0\x8\7a,b\\ \0\xff", "a\\x2cb\\x5c\\x20\\x00\\xff"),
		/* 59 fit, the dots behind them always do */
		ROW("\0\x3c\x3b"
		    "12345678901234567890123456789012345678901234567890123456789",
		    "12345678901234567890123456789012345678901234567890123456789"),
		ROW("\0\x3f\x3b"
		    "12345678901234567890123456789012345678901234567890123456789"
		    "\2h2",
		    "12345678901234567890123456789012345678901234567890123456789,..."),
		ROW("\0\x40\x3c"
		    "123456789012345678901234567890123456789012345678901234567890"
		    "\2h2",
		    "..."),
		/* two that do not fit leave one mark */
		ROW("\0\x43\2h2\x3c"
		    "123456789012345678901234567890123456789012345678901234567890"
		    "\2h3",
		    "h2,..."),
#undef ROW
	};
	static struct bytes hello;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sniff sniff;

		hello_begin(&hello);
		put_extension(&hello, 16, rows[i].body, rows[i].len);
		hello_end(&hello);
		sniff = sniff_all(sniff_tls, hello.data, hello.len);
		assert_int_equal(sniff.status, SNIFF_NO_NAME);
		assert_string_equal(sniff.alpn, rows[i].alpn);
	}
}

static void test_a_hello_without_extensions(void **state)
{
	static struct bytes hello;

	hello_begin(&hello);
	hello_end(&hello);
	assert_answer(&hello, SNIFF_NO_NAME, "");
	/* as before TLS 1.0's extensions: not even their length */
	hello_begin(&hello);
	hello.len -= 2;
	close_length(&hello, 1);
	close_length(&hello, 0);
	assert_answer(&hello, SNIFF_NO_NAME, "");
}

static void test_what_may_not_stand_between_fragments(void **state)
{
	static const struct {
		const char *record;
		size_t len;
	} rows[] = {
		{"\x15\x03\x03\x00\x02\x01\x00", 7}, {"\x14\x03\x03\x00\x01\x01", 6},
		{"\x17\x03\x03\x00\x01x", 6},        {"\x18\x03\x03\x00\x01x", 6},
		{"\x16\x03\x03\x00\x00", 5},         {"\x16\x02\x03\x00\x01x", 6},
	};
	static struct bytes hello, split, broken;

	begin_named(&hello);
	hello_end(&hello);
	split_records(hello.data, hello.len, 50, &split);
	assert_answer(&split, SNIFF_FOUND, "example.org");
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		broken.len = 0;
		put_bytes(&broken, split.data, 55);
		put_bytes(&broken, rows[i].record, rows[i].len);
		put_bytes(&broken, split.data + 55, split.len - 55);
		assert_answer(&broken, SNIFF_BAD, "");
	}
	/* a later record of another protocol, otherwise right */
	split.data[55 + 1] = 2;
	assert_answer(&split, SNIFF_BAD, "");
}

static void test_a_record_has_16384_bytes_at_most(void **state)
{
	static const uint8_t zeroes[16384];
	static struct bytes hello;

	for (size_t n = 16384; n <= 16385; n++) {
		begin_named(&hello);
		/* four bytes of it are the extension's own header */
		put_extension(&hello, 21, zeroes, n - (hello.len - 5) - 4);
		hello_end(&hello);
		assert_int_equal(hello.len, 5 + n);
		assert_answer(&hello, n == 16384 ? SNIFF_FOUND : SNIFF_BAD,
			      n == 16384 ? "example.org" : "");
	}
}

static void test_the_hello_ends_with_its_record(void **state)
{
	static struct bytes hello;

	begin_named(&hello);
	hello_end(&hello);
	put(&hello, 1, 0);
	close_length(&hello, 0);
	/* known from the two headers */
	assert_int_equal(check_prefixes(sniff_tls, hello.data, hello.len), 9);
	assert_answer(&hello, SNIFF_BAD, "");
}

/* n_padding bytes of padding; in records of 16384. */
static void make_long(struct bytes *hello, size_t n_padding)
{
	static const uint8_t zeroes[SNIFF_MAX_BYTES];
	static struct bytes one;

	begin_named(&one);
	put_extension(&one, 21, zeroes, n_padding);
	hello_end(&one);
	split_records(one.data, one.len, 16384, hello);
}

static void test_the_longest(void **state)
{
	static struct bytes hello, split;
	size_t n_more;

	make_long(&hello, 16384);
	n_more = SNIFF_MAX_BYTES - hello.len;
	make_long(&hello, 16384 + n_more);
	assert_int_equal(hello.len, SNIFF_MAX_BYTES);
	assert_answer(&hello, SNIFF_FOUND, "example.org");
	make_long(&hello, 16384 + n_more + 1);
	/* not waited for */
	assert_int_equal(check_prefixes(sniff_tls, hello.data, hello.len), 9);
	assert_answer(&hello, SNIFF_TOO_LONG, "");
	hello.len = 0;
	load(&hello, "hello/post-quantum-16k");
	split_records(hello.data, hello.len, 2, &split);
	/* five bytes of header for two of the hello: with the 866th record even one record could no
	 * longer bring the rest in time */
	assert_int_equal(check_prefixes(sniff_tls, split.data, split.len), 865 * 7 + 5);
	assert_answer(&split, SNIFF_TOO_LONG, "");
}

static void test_hostile_lengths(void **state)
{
	static const uint8_t hellos[][9] = {
		{0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff},
		{0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff},
		{0x16, 3, 1, 0, 4, 1, 0, 0x50, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(hellos); i++)
		assert_int_equal(sniff_all(sniff_tls, hellos[i], 9).status, SNIFF_TOO_LONG);
	assert_int_equal(sniff_all(sniff_tls, "\x16\3\1\0\4\1\0\0\0", 9).status, SNIFF_BAD);
	assert_int_equal(sniff_all(sniff_tls, "\x80\x2e\1\0\2\0\x15", 7).status, SNIFF_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_hellos),
		cmocka_unit_test(test_records_of_any_size_say_the_same),
		cmocka_unit_test(test_no_length_may_be_wrong),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_extensions_that_a_name_is_read_from),
		cmocka_unit_test(test_no_extension_comes_twice),
		cmocka_unit_test(test_the_head_of_the_hello),
		cmocka_unit_test(test_a_cipher_suite_has_two_bytes),
		cmocka_unit_test(test_nothing_follows_the_extensions),
		cmocka_unit_test(test_alpn_is_shown_safely),
		cmocka_unit_test(test_a_hello_without_extensions),
		cmocka_unit_test(test_a_record_has_16384_bytes_at_most),
		cmocka_unit_test(test_what_may_not_stand_between_fragments),
		cmocka_unit_test(test_the_hello_ends_with_its_record),
		cmocka_unit_test(test_the_longest),
		cmocka_unit_test(test_hostile_lengths),
	};

	return cmocka_run_group_tests_name("sniff_tls", tests, NULL, NULL);
}
