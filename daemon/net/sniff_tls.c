/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a TLS ClientHello asks for; see sniff.h.
 *
 * Theory of operation. The records are walked and their fragments gathered until the hello is
 * complete, then it is read as a whole. Nothing inside is answered before: a second server_name
 * could still come, and one server would take the first, another the last. What the record headers
 * and the handshake's own header say is judged as it arrives, each header once and in order, which
 * is what makes the answer independent of how the stream was cut.
 *
 *   record  type 22, version 3.x, length 1 … 2^14      RFC 8446 §5.1: the version means nothing,
 *     └ handshake  type 1, length                      empty fragments are forbidden, and no other
 *         └ ClientHello                                type may stand between two fragments
 *             └ extensions, no type twice              §4.2
 *
 * The hello ends with its record: it precedes a change of keys (§5.1), and no client sends more.
 */
#include <string.h>

#include "net/sniff_internal.h"
#include "util/macros.h"

#define RECORD_HEADER_BYTES    5
#define FRAGMENT_MAX_BYTES     (1U << 14)
#define HANDSHAKE_HEADER_BYTES 4
#define RANDOM_BYTES           32

/* Content types are 20 (change_cipher_spec) to 24 (heartbeat). */
#define CONTENT_FIRST     20
#define CONTENT_LAST      24
#define CONTENT_HANDSHAKE 22
#define CLIENT_HELLO      1

#define EXTENSION_SERVER_NAME 0
#define EXTENSION_ALPN        16
#define EXTENSION_ECH         0xfe0d
#define N_EXTENSION_TYPES     65536

struct slice {
	const uint8_t *pos;
	size_t len;
};

static bool take(struct slice *from, size_t len, struct slice *ret_slice)
{
	if (from->len < len)
		return false;
	*ret_slice = (struct slice){from->pos, len};
	from->pos += len;
	from->len -= len;
	return true;
}

static uint32_t number_of(const uint8_t *pos, unsigned n_bytes)
{
	uint32_t number = 0;

	for (unsigned i = 0; i < n_bytes; i++)
		number = number << 8 | pos[i];
	return number;
}

static bool take_number(struct slice *from, unsigned n_bytes, uint32_t *ret_number)
{
	struct slice bytes;

	if (!take(from, n_bytes, &bytes))
		return false;
	*ret_number = number_of(bytes.pos, n_bytes);
	return true;
}

/* "opaque name<min..max>" of RFC 8446 §3.4, its length in n_bytes. */
static bool take_vector(struct slice *from, unsigned n_bytes, size_t min, size_t max,
			struct slice *ret_slice)
{
	uint32_t len;

	return take_number(from, n_bytes, &len) && len >= min && len <= max &&
	       take(from, len, ret_slice);
}

/* RFC 6066 §3: a list of one host_name. Other types of name were never defined. */
static bool read_server_name(struct slice body, struct sniff *sniff)
{
	struct slice list, name;
	uint32_t type;

	if (!take_vector(&body, 2, 1, 0xffff, &list) || body.len)
		return false;
	if (!take_number(&list, 1, &type) || type != 0 ||
	    !take_vector(&list, 2, 1, 0xffff, &name) || list.len)
		return false;
	switch (sniff_read_name(name.pos, name.len, sniff->name)) {
	case NAME_BAD:
		return false;
	case NAME_ADDRESS:
		/* "Literal IPv4 and IPv6 addresses are not permitted": it names nobody */
		sniff->name[0] = '\0';
		return true;
	case NAME_HOST:
		return true;
	}
	return false;
}

static size_t escape(struct slice name, char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.pos[i];

		if (c > ' ' && c < 0x7f && c != ',' && c != '\\') {
			text[n++] = (char)c;
			continue;
		}
		text[n++] = '\\';
		text[n++] = 'x';
		text[n++] = digits[c >> 4];
		text[n++] = digits[c & 15];
	}
	return n;
}

/* Appends what fits; "..." stands for the rest, once. Returns whether more may come. */
static bool append_protocol(char *alpn, struct slice name)
{
	char text[4 * UINT8_MAX];
	size_t n = escape(name, text), n_alpn = strlen(alpn), n_comma = n_alpn ? 1 : 0;

	/* there is always room for the dots of the next one */
	if (n_alpn + n_comma + n + strlen(",...") >= SNIFF_ALPN_BYTES) {
		memcpy(alpn + n_alpn, &",..."[1 - n_comma], 4 + n_comma);
		return false;
	}
	if (n_comma)
		alpn[n_alpn++] = ',';
	memcpy(alpn + n_alpn, text, n);
	alpn[n_alpn + n] = '\0';
	return true;
}

/* RFC 7301 §3.1 */
static bool read_alpn(struct slice body, struct sniff *sniff)
{
	bool has_room = true;
	struct slice list, name;

	if (!take_vector(&body, 2, 2, 0xffff, &list) || body.len)
		return false;
	while (list.len) {
		if (!take_vector(&list, 1, 1, UINT8_MAX, &name))
			return false;
		has_room = has_room && append_protocol(sniff->alpn, name);
	}
	return true;
}

/* RFC 9849 §5. The inner form, a single byte, is what a client-facing server forwards: the name
 * beside it is the true one. */
static bool read_ech(struct slice body, struct sniff *sniff)
{
	struct slice suite, key, payload;
	uint32_t type, config_id;

	if (!take_number(&body, 1, &type))
		return false;
	if (type == 1)
		return !body.len;
	sniff->has_ech = true;
	return type == 0 && take(&body, 4, &suite) && take_number(&body, 1, &config_id) &&
	       take_vector(&body, 2, 0, 0xffff, &key) &&
	       take_vector(&body, 2, 1, 0xffff, &payload) && !body.len;
}

static bool read_extension(uint32_t type, struct slice body, struct sniff *sniff)
{
	static const struct {
		uint32_t type;
		bool (*read)(struct slice body, struct sniff *sniff);
	} readers[] = {
		{EXTENSION_SERVER_NAME, read_server_name},
		{EXTENSION_ALPN, read_alpn},
		{EXTENSION_ECH, read_ech},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		if (readers[i].type == type)
			return readers[i].read(body, sniff);
	return true;
}

static bool read_extensions(struct slice list, struct sniff *sniff)
{
	uint8_t is_seen[N_EXTENSION_TYPES / 8] = {0};
	struct slice body;
	uint32_t type;

	while (list.len) {
		if (!take_number(&list, 2, &type) || !take_vector(&list, 2, 0, 0xffff, &body))
			return false;
		if (is_seen[type / 8] & 1U << type % 8)
			return false;
		is_seen[type / 8] |= (uint8_t)(1U << type % 8);
		if (!read_extension(type, body, sniff))
			return false;
	}
	return true;
}

static bool read_hello(struct slice hello, struct sniff *sniff)
{
	struct slice random, session, suites, compressions, extensions;
	uint32_t version;

	if (!take_number(&hello, 2, &version) || version >> 8 != 3 ||
	    !take(&hello, RANDOM_BYTES, &random) || !take_vector(&hello, 1, 0, 32, &session))
		return false;
	if (!take_vector(&hello, 2, 2, 0xfffe, &suites) || suites.len % 2)
		return false;
	if (!take_vector(&hello, 1, 1, UINT8_MAX, &compressions) ||
	    !memchr(compressions.pos, 0, compressions.len))
		return false;
	/* before extensions were invented it ended here */
	if (!hello.len)
		return true;
	return take_vector(&hello, 2, 0, 0xffff, &extensions) && !hello.len &&
	       read_extensions(extensions, sniff);
}

static enum sniff_status read_record_header(struct slice bytes, uint32_t *ret_len)
{
	if (bytes.len >= 1 && bytes.pos[0] != CONTENT_HANDSHAKE)
		return SNIFF_BAD;
	if (bytes.len >= 2 && bytes.pos[1] != 3)
		return SNIFF_BAD;
	if (bytes.len < RECORD_HEADER_BYTES)
		return SNIFF_MORE;
	*ret_len = number_of(bytes.pos + 3, 2);
	return *ret_len && *ret_len <= FRAGMENT_MAX_BYTES ? SNIFF_FOUND : SNIFF_BAD;
}

/* Is this still a hello, and one that can come to its end? `n` bytes of it are there; when this
 * record is complete it will be `n_after`, out of `n_stream` bytes. */
static enum sniff_status judge(const uint8_t *hello, size_t n, size_t n_after, size_t n_stream)
{
	size_t n_whole;

	if (n >= 1 && hello[0] != CLIENT_HELLO)
		return SNIFF_BAD;
	if (n < HANDSHAKE_HEADER_BYTES)
		return SNIFF_MORE;
	n_whole = HANDSHAKE_HEADER_BYTES + number_of(hello + 1, 3);
	if (n_after > n_whole)
		return SNIFF_BAD;
	if (n_after < n_whole)
		n_stream += RECORD_HEADER_BYTES + n_whole - n_after;
	if (n_stream > SNIFF_MAX_BYTES)
		return SNIFF_TOO_LONG;
	return n == n_whole ? SNIFF_FOUND : SNIFF_MORE;
}

/* `buf` has room for the whole stream. FOUND: the hello is in it, all of it. */
static enum sniff_status gather(struct slice stream, uint8_t *buf, struct slice *ret_hello)
{
	size_t n = 0, n_stream = 0;
	enum sniff_status status;
	struct slice bytes;
	uint32_t n_record;

	for (;;) {
		status = read_record_header(stream, &n_record);
		if (status != SNIFF_FOUND)
			return status;
		(void)take(&stream, RECORD_HEADER_BYTES, &bytes);
		(void)take(&stream, MIN(n_record, stream.len), &bytes);
		memcpy(buf + n, bytes.pos, bytes.len);
		n += bytes.len;
		n_stream += RECORD_HEADER_BYTES + n_record;
		status = judge(buf, n, n + n_record - bytes.len, n_stream);
		if (status != SNIFF_MORE)
			break;
		if (bytes.len < n_record)
			return SNIFF_MORE;
	}
	*ret_hello = (struct slice){buf + HANDSHAKE_HEADER_BYTES, n - HANDSHAKE_HEADER_BYTES};
	return status;
}

/* Any 22 3 is TLS; so is another type of record, broken as a first one. SSLv2's hello is not. */
static enum sniff_status recognise(const uint8_t *data, size_t len)
{
	if (!len)
		return SNIFF_MORE;
	if (data[0] < CONTENT_FIRST || data[0] > CONTENT_LAST)
		return SNIFF_OTHER;
	if (len < 2)
		return SNIFF_MORE;
	return data[1] == 3 ? SNIFF_FOUND : SNIFF_OTHER;
}

void sniff_tls(const uint8_t *data, size_t len, struct sniff *ret_sniff)
{
	uint8_t buf[SNIFF_MAX_BYTES] UNINITIALIZED;
	struct slice stream = {data, MIN(len, sizeof(buf))}, hello;

	memset(ret_sniff, 0, sizeof(*ret_sniff));
	ret_sniff->status = recognise(data, len);
	if (ret_sniff->status != SNIFF_FOUND)
		return;
	ret_sniff->protocol = SNIFF_TLS;
	ret_sniff->status = gather(stream, buf, &hello);
	if (ret_sniff->status == SNIFF_MORE && stream.len == sizeof(buf))
		ret_sniff->status = SNIFF_TOO_LONG;
	if (ret_sniff->status != SNIFF_FOUND)
		return;
	if (!read_hello(hello, ret_sniff))
		*ret_sniff = (struct sniff){.status = SNIFF_BAD, .protocol = SNIFF_TLS};
	else if (!ret_sniff->name[0])
		ret_sniff->status = SNIFF_NO_NAME;
}
