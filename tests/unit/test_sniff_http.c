/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests as they are and as they must not be, names, and what is neither TLS nor HTTP. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/sniff_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

struct row {
	const char *text;
	size_t len;
	enum sniff_status status;
	const char *name;
};

#define ROW(text, status, name)                      \
	{                                            \
		text, sizeof(text) - 1, status, name \
	}
#define FOUND(text, name) ROW(text, SNIFF_FOUND, name)
#define NO_NAME(text)     ROW(text, SNIFF_NO_NAME, "")
#define BAD(text)         ROW(text, SNIFF_BAD, "")
#define OTHER(text)       ROW(text, SNIFF_OTHER, "")
#define MORE(text)        ROW(text, SNIFF_MORE, "")

/* As the value of Host; as the whole of the lines before the empty one. */
#define HOST(value) "GET / HTTP/1.1\r\nHost:" value "\r\n\r\n"
#define HEAD(lines) lines "\r\nHost: h.example\r\n\r\n"

static void check_rows(sniff_fn sniff, const struct row *rows, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sniff result = sniff_all(sniff, rows[i].text, rows[i].len);

		if (result.status != rows[i].status || strcmp(result.name, rows[i].name) != 0)
			fail_msg("row %u (%s): %d '%s'", i, rows[i].text, result.status,
				 result.name);
		if (result.status == SNIFF_OTHER)
			assert_int_equal(result.protocol, SNIFF_NOTHING);
		else if (result.status != SNIFF_MORE)
			assert_int_equal(result.protocol, SNIFF_HTTP);
	}
}

static void test_request_lines(void **state)
{
	static const struct row rows[] = {
		FOUND(HEAD("GET / HTTP/1.1"), "h.example"),
		FOUND(HEAD("GET / HTTP/1.0"), "h.example"),
		FOUND(HEAD("GET /a?b=|{}\"%zz HTTP/1.1"), "h.example"),
		FOUND(HEAD("M-SEARCH / HTTP/1.1"), "h.example"),
		FOUND(HEAD("\r\nGET / HTTP/1.1"), "h.example"),
		FOUND(HEAD("OPTIONS * HTTP/1.1"), "h.example"),
		FOUND(HEAD("GET http://a.example/x HTTP/1.1"), "a.example"),
		FOUND(HEAD("GET HTTPS://A.Example:443?q HTTP/1.1"), "a.example"),
		FOUND(HEAD("GET http://[2001:DB8:0::1]:80 HTTP/1.1"), "2001:db8::1"),
		FOUND("GET http://a.example HTTP/1.0\r\n\r\n", "a.example"),
		FOUND("GET http://a.example HTTP/1.1\r\nHost:\r\n\r\n", "a.example"),
		FOUND(HEAD("CONNECT a.example:443 HTTP/1.1"), "a.example"),
		FOUND(HEAD("CONNECT [::1]:443 HTTP/1.1"), "::1"),
		/* what follows the head is not looked at */
		FOUND(HEAD("POST / HTTP/1.1") "\0\n\r\nHost: x", "h.example"),
		BAD(HEAD("GET  / HTTP/1.1")),
		BAD(HEAD("GET /  HTTP/1.1")),
		BAD(HEAD("GET / HTTP/1.1 ")),
		BAD(HEAD("GET /\tHTTP/1.1")),
		BAD(HEAD("GET / x HTTP/1.1")),
		BAD(HEAD("GET HTTP/1.1")),
		BAD(HEAD("GET  HTTP/1.1")),
		BAD(HEAD("GET / HTTP/1.2")),
		BAD(HEAD("GET / HTTP/2.0")),
		BAD(HEAD("GET / HTTP/0.9")),
		BAD(HEAD("GET / HTTP/1.10")),
		BAD(HEAD("GET / HTTP/1.")),
		BAD(HEAD("GET / HTTP/11")),
		BAD(HEAD("GET / http/1.1")),
		BAD(HEAD("GET /a#b HTTP/1.1")),
		BAD(HEAD("GET /\0 HTTP/1.1")),
		BAD(HEAD("GET /\x7f HTTP/1.1")),
		BAD(HEAD("GET /\xc3\xbc HTTP/1.1")),
		BAD(HEAD("GET * HTTP/1.1")),
		BAD(HEAD("GET example.org HTTP/1.1")),
		BAD(HEAD("GET example.org:80 HTTP/1.1")),
		BAD(HEAD("GET urn:x HTTP/1.1")),
		BAD(HEAD("GET 1http://a/ HTTP/1.1")),
		BAD(HEAD("GET http:///x HTTP/1.1")),
		BAD(HEAD("GET http:/x HTTP/1.1")),
		BAD(HEAD("GET http://u@a.example/ HTTP/1.1")),
		BAD(HEAD("GET http://a.example\\@b/ HTTP/1.1")),
		BAD(HEAD("GET http://a.example:x/ HTTP/1.1")),
		BAD(HEAD("CONNECT a.example HTTP/1.1")),
		BAD(HEAD("CONNECT a.example: HTTP/1.1")),
		BAD(HEAD("CONNECT /x HTTP/1.1")),
		BAD(HEAD("CONNECT http://a.example:80 HTTP/1.1")),
		BAD("GET / HTTP/1.1\nHost: h.example\n\n"),
		BAD("GET / HTTP/1.1\r\r\nHost: h.example\r\n\r\n"),
		BAD("GET /\r HTTP/1.1\r\nHost: h.example\r\n\r\n"),
		BAD("GET / HTTP/1.1\r\n\r\n"),
		BAD("GET http://a.example/ HTTP/1.1\r\n\r\n"),
		NO_NAME("GET / HTTP/1.0\r\n\r\n"),
		NO_NAME("GET / HTTP/1.0\r\nAccept: */*\r\n\r\n"),
	};

	check_rows(sniff_http, rows, ARRAY_SIZE(rows));
}

static void test_hosts(void **state)
{
	static const struct row rows[] = {
		FOUND(HOST("h.example"), "h.example"),
		FOUND(HOST(" \t h.example \t "), "h.example"),
		FOUND(HOST("H.EXAMPLE.:8080"), "h.example"),
		FOUND(HOST("h.example:"), "h.example"),
		FOUND(HOST("h.example:0"), "h.example"),
		FOUND(HOST("h.example:65535"), "h.example"),
		FOUND(HOST("192.0.2.1:80"), "192.0.2.1"),
		FOUND(HOST("[2001:DB8::0:1]:80"), "2001:db8::1"),
		FOUND(HOST("[::ffff:192.0.2.1]"), "::ffff:192.0.2.1"),
		NO_NAME(HOST("")),
		NO_NAME(HOST("  ")),
		BAD(HOST(":80")),
		BAD(HOST("h.example:65536")),
		BAD(HOST("h.example:000080")),
		BAD(HOST("h.example:80a")),
		BAD(HOST("h.example:-1")),
		BAD(HOST("h.example:80:80")),
		BAD(HOST("h.example, x")),
		BAD(HOST("h.example x")),
		BAD(HOST("h.example/x")),
		BAD(HOST("u@h.example")),
		BAD(HOST("h%2eexample")),
		BAD(HOST("h..example")),
		BAD(HOST("h.example\0")),
		BAD(HOST("h.\xc3\xbc")),
		BAD(HOST("2001:db8::1")),
		BAD(HOST("[2001:db8::1")),
		BAD(HOST("2001:db8::1]")),
		BAD(HOST("[]")),
		BAD(HOST("[192.0.2.1]")),
		BAD(HOST("[h.example]")),
		BAD(HOST("[::1]x")),
		BAD(HOST("[::1]80")),
		BAD(HOST("[fe80::1%25eth0]")),
		BAD(HOST("[v1.x]")),
	};

	check_rows(sniff_http, rows, ARRAY_SIZE(rows));
}

static void test_fields(void **state)
{
#define FIELDS(lines) "GET / HTTP/1.1\r\n" lines "\r\n\r\n"
	static const struct row rows[] = {
		FOUND(FIELDS("hOsT: h.example"), "h.example"),
		FOUND(FIELDS("A: b\r\nHost: h.example\r\nC:"), "h.example"),
		FOUND(FIELDS("A: \xff\xfe\tb c\r\nHost: h.example"), "h.example"),
		FOUND(FIELDS("Hosts: x\r\nHost: h.example\r\nX-Host: y"), "h.example"),
		BAD(FIELDS("Host: h.example\r\nHost: h.example")),
		BAD(FIELDS("Host: h.example\r\nhost: i.example")),
		BAD(FIELDS("Host:\r\nHost: h.example")),
		BAD(FIELDS("Host : h.example")),
		BAD(FIELDS("Host\t: h.example")),
		BAD(FIELDS(" Host: h.example")),
		BAD(FIELDS("\tHost: h.example")),
		BAD(FIELDS("Host: h.example\r\n .org")),
		BAD(FIELDS("Host:\r\n h.example")),
		BAD(FIELDS("A: b\r\n\tc\r\nHost: h.example")),
		BAD(FIELDS("Host: h.example\r\nA b")),
		BAD(FIELDS("Host: h.example\r\n: b")),
		BAD(FIELDS("Host: h.example\r\nA(: b")),
		BAD(FIELDS("Host: h.example\r\nA\0: b")),
		BAD(FIELDS("Host: h.example\r\nA: \0")),
		BAD(FIELDS("Host: h.example\r\nA: \x1b")),
		BAD(FIELDS("Host: h.example\r\nA: \x7f")),
		BAD(FIELDS("Host: h.example\r\nA: b\nC: d")),
		BAD(FIELDS("Host: h.example\r\nA: b\rC: d")),
		BAD(FIELDS("Host: h.example\r\r\n")),
		BAD("GET / HTTP/1.1\r\nHost: h.example\r\n\n"),
		BAD("GET / HTTP/1.1\r\nHost: h.example\n\r\n"),
		MORE("GET / HTTP/1.1\r\nHost: h.example\r\n\r"),
		MORE("GET / HTTP/1.1\r\nHost: h.example\r\n"),
	};

	check_rows(sniff_http, rows, ARRAY_SIZE(rows));
}

static void test_other_protocols(void **state)
{
	static const struct row rows[] = {
		OTHER("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		OTHER("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n"),
		OTHER("\r\n\r\n\0\r\nQUIT\n\x21\x11"),
		OTHER("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		OTHER("\rGET / HTTP/1.1\r\n"),
		OTHER("\nGET / HTTP/1.1\r\n"),
		OTHER(" GET / HTTP/1.1\r\n"),
		OTHER("SSH-2.0-OpenSSH_9.2p1\r\n"),
		OTHER("EHLO mail.example.org\r\n"),
		OTHER("NICK me\n"),
		OTHER("GET /\r\n"),
		OTHER("*1\r\n$4\r\nPING\r\n"),
		OTHER("\x03\0\0\x13"),
		OTHER("\0\0\0\x08\x04\xd2\x16\x2f"),
		OTHER("GET\t/ HTTP/1.1\r\n"),
		OTHER("abcdefghijklmnopqrstuvwxyz0123456"),
		MORE("abcdefghijklmnopqrstuvwxyz012345"),
		MORE(""),
		MORE("\r"),
		MORE("\r\n"),
		MORE("GET"),
		MORE("GET "),
		MORE("GET / HTTP/1.1"),
		MORE("GET / HTTP/1.1\r"),
	};

	check_rows(sniff_http, rows, ARRAY_SIZE(rows));
	check_rows(sniff_auto, rows, ARRAY_SIZE(rows));
}

static void fill_head(struct bytes *request, size_t len)
{
	static const char last[] = "\r\n\r\n";

	request->len = 0;
	put_string(request, "GET / HTTP/1.1\r\nHost: h.example\r\nCookie: ");
	while (request->len < len - strlen(last))
		put_string(request, "c");
	put_string(request, last);
}

static void test_the_longest(void **state)
{
	static struct bytes request;

	fill_head(&request, SNIFF_MAX_BYTES);
	assert_int_equal(check_prefixes(sniff_http, request.data, request.len), SNIFF_MAX_BYTES);
	assert_int_equal(sniff_all(sniff_http, request.data, request.len).status, SNIFF_FOUND);
	fill_head(&request, SNIFF_MAX_BYTES + 1);
	assert_int_equal(check_prefixes(sniff_http, request.data, request.len), SNIFF_MAX_BYTES);
	assert_int_equal(sniff_all(sniff_http, request.data, request.len).status, SNIFF_TOO_LONG);
}

static void test_auto_is_whichever_it_is(void **state)
{
	static struct bytes hello;
	struct sniff sniff;

	hello_begin(&hello);
	put_server_name(&hello, "example.org", strlen("example.org"));
	hello_end(&hello);
	sniff = sniff_all(sniff_auto, hello.data, hello.len);
	assert_int_equal(sniff.status, SNIFF_FOUND);
	assert_int_equal(sniff.protocol, SNIFF_TLS);
	assert_string_equal(sniff.name, "example.org");
	sniff = sniff_all(sniff_auto, HOST("h.example"), strlen(HOST("h.example")));
	assert_int_equal(sniff.status, SNIFF_FOUND);
	assert_int_equal(sniff.protocol, SNIFF_HTTP);
	assert_string_equal(sniff.name, "h.example");
	assert_int_equal(sniff_all(sniff_auto, "\x16\x03\x01\0\0", 5).status, SNIFF_BAD);
	assert_int_equal(sniff_all(sniff_auto, "\x16\x02", 2).status, SNIFF_OTHER);
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} rows[] = {
		{"www.example.org", "www.example.org", true},
		{"WWW.Example.org", "www.example.org", true},
		{"www.example.org", "www.example.or", false},
		{"www.example.org", "www.example.orgs", false},
		{"www.example.org", "", false},
		{"*.example.org", "www.example.org", true},
		{"*.Example.ORG", "a.b.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "wwwexample.org", false},
		{"*.example.org", "www.example.org.net", false},
		{"*.example.org", "", false},
		{"2001:db8::1", "2001:db8::1", true},
		{"*", "www.example.org", false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(sniff_name_matches(rows[i].pattern, rows[i].name),
				 rows[i].matches);
}

static void test_refusals(void **state)
{
	static const char not_found[] = "HTTP/1.1 404 Not Found\r\n"
					"Content-Type: text/plain\r\n"
					"Content-Length: 14\r\n"
					"Connection: close\r\n\r\n"
					"404 Not Found\n";
	static const unsigned others[] = {400, 408, 421, 431, 503};
	uint8_t buf[256];
	size_t n;

	assert_int_equal(sniff_refusal(SNIFF_TLS, 404, buf, 6), 0);
	assert_int_equal(sniff_refusal(SNIFF_TLS, 404, buf, 7), 7);
	assert_memory_equal(buf, "\x15\x03\x01\x00\x02\x02\x70", 7);
	n = sniff_refusal(SNIFF_HTTP, 404, buf, sizeof(buf));
	assert_int_equal(n, strlen(not_found));
	assert_memory_equal(buf, not_found, n);
	assert_int_equal(sniff_refusal(SNIFF_HTTP, 404, buf, n), 0);
	assert_int_equal(sniff_refusal(SNIFF_HTTP, 404, buf, n + 1), n);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		const char *body;
		unsigned status, n_body;

		n = sniff_refusal(SNIFF_HTTP, others[i], buf, sizeof(buf) - 1);
		assert_true(n > 0);
		buf[n] = '\0';
		assert_int_equal(sscanf((char *)buf, "HTTP/1.1 %u ", &status), 1);
		assert_int_equal(status, others[i]);
		body = strstr((char *)buf, "Content-Length: ");
		assert_non_null(body);
		assert_int_equal(sscanf(body, "Content-Length: %u", &n_body), 1);
		body = strstr((char *)buf, "\r\n\r\n");
		assert_non_null(body);
		assert_int_equal(strlen(body + 4), n_body);
	}
	assert_int_equal(sniff_refusal(SNIFF_HTTP, 200, buf, sizeof(buf)), 0);
	assert_int_equal(sniff_refusal(SNIFF_NOTHING, 404, buf, sizeof(buf)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_lines),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_the_longest),
		cmocka_unit_test(test_auto_is_whichever_it_is),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests_name("sniff_http", tests, NULL, NULL);
}
