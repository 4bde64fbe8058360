/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a PROXY header; see proxy_header.h. Writing one is proxy_write.c.
 *
 * Theory of operation. The first bytes tell the version (§2.2: five letters are version 1, a block
 * of twelve is version 2); a stream that leaves both has none. After that the answer falls with the
 * byte that makes it certain: version 1 with its CRLF, version 2 with its 16th byte if that is
 * wrong, else with its last. What it says is read only when it is complete.
 *
 * What we do not forward by falls back to the connection's own addresses, as §2.2 wants: LOCAL,
 * UNSPEC in either half of the family, datagrams, AF_UNIX. Of LOCAL and UNSPEC the whole block is
 * skipped unread, for where its addresses end is not known.
 */
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/proxy_internal.h"
#include "util/macros.h"

/* Family and transport of §2.2, by nibble. */
#define N_FAMILIES   4
#define N_TRANSPORTS 3

#define SSL_FIXED_BYTES 5

struct text {
	const uint8_t *pos;
	size_t len;
};

struct tlvs {
	unsigned n;
	const uint8_t *crc; /* the value of PP2_TYPE_CRC32C, or NULL */
};

static uint32_t be_number(const uint8_t *pos, unsigned n_bytes)
{
	uint32_t number = 0;

	for (unsigned i = 0; i < n_bytes; i++)
		number = number << 8 | pos[i];
	return number;
}

/* --- Version 1 ---------------------------------------------------------------------------------
 */

/* The word up to the next blank or the end; the blank is gone with it. */
static struct text take_word(struct text *from)
{
	const uint8_t *end = from->len ? memchr(from->pos, ' ', from->len) : NULL;
	struct text word = {from->pos, end ? (size_t)(end - from->pos) : from->len};
	size_t n = word.len + (end ? 1 : 0);

	*from = (struct text){from->pos + n, from->len - n};
	return word;
}

static bool is_word(struct text word, const char *wanted)
{
	return word.len == strlen(wanted) && memcmp(word.pos, wanted, word.len) == 0;
}

static bool read_address(struct text word, uint8_t family, struct ip_endpoint *endpoint)
{
	char copy[INET6_ADDRSTRLEN];

	if (word.len >= sizeof(copy) || memchr(word.pos, '\0', word.len))
		return false;
	memcpy(copy, word.pos, word.len);
	copy[word.len] = '\0';
	*endpoint = (struct ip_endpoint){.family = family};
	return inet_pton(family == 4 ? AF_INET : AF_INET6, copy, endpoint->addr.octet) == 1;
}

/* "Heading zeroes are not permitted" */
static bool read_port(struct text word, struct ip_endpoint *endpoint)
{
	uint32_t port = 0;

	if (!word.len || word.len > 5 || (word.pos[0] == '0' && word.len > 1))
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (word.pos[i] < '0' || word.pos[i] > '9')
			return false;
		port = port * 10 + (uint32_t)(word.pos[i] - '0');
	}
	if (port > UINT16_MAX)
		return false;
	endpoint->port = (uint16_t)port;
	return true;
}

/* `line` without its CRLF. A blank too many makes a word empty, one at the end leaves something. */
static bool read_v1(struct text line, struct proxy_header *header)
{
	struct text protocol;
	uint8_t family;

	if (!is_word(take_word(&line), "PROXY"))
		return false;
	protocol = take_word(&line);
	header->is_local = is_word(protocol, "UNKNOWN");
	/* "the receiver must ignore anything presented before the CRLF" */
	if (header->is_local)
		return true;
	if (!is_word(protocol, "TCP4") && !is_word(protocol, "TCP6"))
		return false;
	family = protocol.pos[3] - '0';
	if (!read_address(take_word(&line), family, &header->src) ||
	    !read_address(take_word(&line), family, &header->dst) ||
	    !read_port(take_word(&line), &header->src))
		return false;
	/* the last word takes everything, so that a blank behind it is no digit */
	return read_port(line, &header->dst);
}

static enum proxy_status parse_v1(const uint8_t *data, size_t len, struct proxy_header *header)
{
	size_t n = MIN(len, PROXY_V1_MAX_BYTES);
	const uint8_t *end = memmem(data, n, "\r\n", 2);

	if (!end)
		return n < PROXY_V1_MAX_BYTES ? PROXY_MORE : PROXY_BAD;
	header->n_bytes = (size_t)(end - data) + 2;
	return read_v1((struct text){data, (size_t)(end - data)}, header) ? PROXY_FOUND : PROXY_BAD;
}

/* --- Version 2 ---------------------------------------------------------------------------------
 */

/* Takes one off `from`; what it holds goes to `ret_value`. */
static bool take_tlv(struct text *from, uint8_t *ret_type, struct text *ret_value)
{
	size_t n;

	if (from->len < PROXY_TLV_HEADER_BYTES)
		return false;
	n = be_number(from->pos + 1, 2);
	if (from->len - PROXY_TLV_HEADER_BYTES < n)
		return false;
	*ret_type = from->pos[0];
	*ret_value = (struct text){from->pos + PROXY_TLV_HEADER_BYTES, n};
	*from = (struct text){ret_value->pos + n, from->len - PROXY_TLV_HEADER_BYTES - n};
	return true;
}

/* The flags and the result of the check, then TLVs of their own, of which only the lengths matter.
 */
static bool skip_ssl(struct text ssl, struct tlvs *tlvs)
{
	struct text value;
	uint8_t type;

	if (ssl.len < SSL_FIXED_BYTES)
		return false;
	ssl = (struct text){ssl.pos + SSL_FIXED_BYTES, ssl.len - SSL_FIXED_BYTES};
	while (ssl.len)
		if (++tlvs->n > PROXY_MAX_TLVS || !take_tlv(&ssl, &type, &value))
			return false;
	return true;
}

static bool read_tlvs(struct text list, struct tlvs *tlvs)
{
	struct text value;
	uint8_t type;

	while (list.len) {
		if (++tlvs->n > PROXY_MAX_TLVS || !take_tlv(&list, &type, &value))
			return false;
		if (type == PROXY_TLV_SSL && !skip_ssl(value, tlvs))
			return false;
		if (type != PROXY_TLV_CRC32C)
			continue;
		if (value.len != PROXY_CRC_BYTES || tlvs->crc)
			return false;
		tlvs->crc = value.pos;
	}
	return true;
}

/* §2.2.3: of the whole header, with zeroes in its own place. */
static bool is_crc_right(const uint8_t *data, size_t n_bytes, const uint8_t *crc)
{
	static const uint8_t zeroes[PROXY_CRC_BYTES];
	const uint8_t *behind = crc + PROXY_CRC_BYTES;
	uint32_t sum = crc32c(0, data, (size_t)(crc - data));

	sum = crc32c(sum, zeroes, sizeof(zeroes));
	sum = crc32c(sum, behind, (size_t)(data + n_bytes - behind));
	return sum == be_number(crc, PROXY_CRC_BYTES);
}

/* Both addresses, then both ports. */
static void read_endpoints(const uint8_t *block, uint8_t family, struct proxy_header *header)
{
	size_t n = family == 4 ? 4 : 16;

	header->src = (struct ip_endpoint){.family = family};
	header->dst = (struct ip_endpoint){.family = family};
	memcpy(header->src.addr.octet, block, n);
	memcpy(header->dst.addr.octet, block + n, n);
	header->src.port = (uint16_t)be_number(block + 2 * n, 2);
	header->dst.port = (uint16_t)be_number(block + 2 * n + 2, 2);
}

/* `data` holds the whole header. */
static bool read_v2(const uint8_t *data, struct proxy_header *header)
{
	static const size_t block_bytes[N_FAMILIES] = {0, 12, 36, 216};
	uint8_t command = data[PROXY_V2_COMMAND] & 15, family = data[PROXY_V2_FAMILY] >> 4,
		transport = data[PROXY_V2_FAMILY] & 15;
	struct text rest = {data + PROXY_V2_FIXED_BYTES, header->n_bytes - PROXY_V2_FIXED_BYTES};
	struct tlvs tlvs = {};

	header->is_local = command == PROXY_COMMAND_LOCAL || family == 0 || family == 3 ||
			   transport != PROXY_TRANSPORT_STREAM;
	if (command == PROXY_COMMAND_LOCAL || family == 0 || transport == 0)
		return true;
	if (rest.len < block_bytes[family])
		return false;
	if (!header->is_local)
		read_endpoints(rest.pos, family == 1 ? 4 : 6, header);
	rest = (struct text){rest.pos + block_bytes[family], rest.len - block_bytes[family]};
	if (!read_tlvs(rest, &tlvs))
		return false;
	header->has_crc = tlvs.crc != NULL;
	return !tlvs.crc || is_crc_right(data, header->n_bytes, tlvs.crc);
}

/* Are the bytes behind the signature possible? Each is judged alone, as soon as it is there. */
static bool is_v2_plausible(const uint8_t *data, size_t len)
{
	uint8_t command, family;

	if (len <= PROXY_V2_COMMAND)
		return true;
	command = data[PROXY_V2_COMMAND];
	if (command >> 4 != 2 || (command & 15) > PROXY_COMMAND_PROXY)
		return false;
	if (len <= PROXY_V2_FAMILY)
		return true;
	/* of LOCAL the family is ignored */
	family = data[PROXY_V2_FAMILY];
	return (command & 15) == PROXY_COMMAND_LOCAL ||
	       (family >> 4 < N_FAMILIES && (family & 15) < N_TRANSPORTS);
}

static enum proxy_status parse_v2(const uint8_t *data, size_t len, struct proxy_header *header)
{
	if (!is_v2_plausible(data, len))
		return PROXY_BAD;
	if (len < PROXY_V2_FIXED_BYTES)
		return PROXY_MORE;
	header->n_bytes = PROXY_V2_FIXED_BYTES + be_number(data + PROXY_V2_LENGTH, 2);
	if (header->n_bytes > PROXY_V2_MAX_BYTES)
		return PROXY_BAD;
	if (len < header->n_bytes)
		return PROXY_MORE;
	return read_v2(data, header) ? PROXY_FOUND : PROXY_BAD;
}

/* --- Either ------------------------------------------------------------------------------------
 */

/* FOUND: all of `signature` is there; MORE: so far it is. */
static enum proxy_status recognise(const uint8_t *data, size_t len, const char *signature,
				   size_t n_signature)
{
	if (len && memcmp(data, signature, MIN(len, n_signature)) != 0)
		return PROXY_ABSENT;
	return len < n_signature ? PROXY_MORE : PROXY_FOUND;
}

enum proxy_status proxy_parse(const uint8_t *data, size_t len, enum proxy_version accepted,
			      struct proxy_header *ret_header)
{
	static const struct {
		const char *signature;
		size_t n_signature;
		enum proxy_version version;
		enum proxy_status (*parse)(const uint8_t *data, size_t len,
					   struct proxy_header *header);
	} rows[] = {
		{"PROXY", 5, PROXY_V1, parse_v1},
		{PROXY_V2_SIGNATURE, PROXY_V2_SIGNATURE_BYTES, PROXY_V2, parse_v2},
	};
	enum proxy_status status = PROXY_ABSENT;

	if (accepted == PROXY_NONE)
		return PROXY_ABSENT;
	for (unsigned i = 0; i < ARRAY_SIZE(rows) && status == PROXY_ABSENT; i++) {
		struct proxy_header header = {.version = rows[i].version};

		status = recognise(data, len, rows[i].signature, rows[i].n_signature);
		if (status != PROXY_FOUND)
			continue;
		if (accepted != PROXY_ANY && accepted != rows[i].version)
			return PROXY_BAD;
		status = rows[i].parse(data, len, &header);
		if (status == PROXY_FOUND)
			*ret_header = header;
	}
	return status;
}
