/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of gen_abi.h; see frame.h. */
#include "tools/gen/frame.h"

#include <endian.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#include "tools/gen/crc32.h"
#include "util/macros.h"

#define TTL       64
#define TAG_BYTES 4
#define MAX_TAGS  2

static uint32_t sum16(const void *data, size_t size, uint32_t sum)
{
	const uint8_t *p = data;

	for (; size > 1; size -= 2, p += 2)
		sum += (uint32_t)p[0] << 8 | p[1];
	return size ? sum + ((uint32_t)p[0] << 8) : sum;
}

/* The ones' complement of a sum: what a checksum field holds; 0 if one was summed along and is
 * right. */
static uint16_t fold16(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* --- building -----------------------------------------------------------------------------------
 */

static size_t put_ethernet(uint8_t *p, const struct frame_spec *spec)
{
	uint16_t proto = spec->family == AF_INET  ? ETH_P_IP :
			 spec->family == AF_INET6 ? ETH_P_IPV6 :
						    spec->ethertype;
	size_t n = 12;

	memcpy(p, spec->dst_mac, 6);
	memcpy(p + 6, spec->src_mac, 6);
	if (spec->vlan != FRAME_NO_VLAN) {
		put16(p + n, ETH_P_8021Q);
		put16(p + n + 2, (uint16_t)spec->vlan);
		n += TAG_BYTES;
	}
	put16(p + n, proto);
	return n + 2;
}

/* Addresses and constants; lengths and checksums are put in per frame. */
static size_t put_ip(uint8_t *p, const struct frame_spec *spec)
{
	struct ip ip4 = {.ip_v = 4,
			 .ip_hl = 5,
			 .ip_ttl = TTL,
			 .ip_p = IPPROTO_UDP,
			 .ip_src = spec->src4,
			 .ip_dst = spec->dst4};
	struct ip6_hdr ip6 = {.ip6_flow = htobe32(6u << 28),
			      .ip6_nxt = IPPROTO_UDP,
			      .ip6_hlim = TTL,
			      .ip6_src = spec->src6,
			      .ip6_dst = spec->dst6};
	struct udphdr udp = {.source = htobe16(GEN_UDP_PORT), .dest = htobe16(GEN_UDP_PORT)};
	size_t n = 0;

	if (spec->family == AF_UNSPEC)
		return 0;
	if (spec->family == AF_INET) {
		memcpy(p, &ip4, sizeof(ip4));
		n = sizeof(ip4);
	} else {
		memcpy(p, &ip6, sizeof(ip6));
		n = sizeof(ip6);
	}
	memcpy(p + n, &udp, sizeof(udp));
	return n + sizeof(udp);
}

void frame_builder_init(struct frame_builder *b, const struct frame_spec *spec)
{
	*b = (struct frame_builder){.spec = *spec};
	b->l3_offset = put_ethernet(b->headers, spec);
	b->header_offset = b->l3_offset + put_ip(b->headers + b->l3_offset, spec);
	b->l2_crc = crc32_update(0, b->headers, b->l3_offset);
}

/* splitmix64: neighbouring seeds give unrelated bytes. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static void put_pattern(uint8_t *p, size_t size, uint64_t seed)
{
	uint64_t word = mix(seed);

	for (; size >= sizeof(word); size -= sizeof(word), p += sizeof(word)) {
		memcpy(p, &word, sizeof(word));
		word = word * 6364136223846793005ULL + 1442695040888963407ULL;
	}
	memcpy(p, &word, size);
}

/* The pseudo header of UDP over either IP, all but the length and the datagram itself. */
static uint32_t pseudo_sum(const uint8_t *ip, int family)
{
	if (family == AF_INET)
		return sum16(ip + offsetof(struct ip, ip_src), 8, IPPROTO_UDP);
	return sum16(ip + offsetof(struct ip6_hdr, ip6_src), 32, IPPROTO_UDP);
}

static void finish_ip(const struct frame_builder *b, uint8_t *buf, size_t size)
{
	uint8_t *ip = buf + b->l3_offset;
	uint8_t *udp = buf + b->header_offset - sizeof(struct udphdr);
	size_t udp_size = size - (size_t)(udp - buf);
	uint16_t sum;

	if (b->spec.family == AF_INET) {
		put16(ip + 2, (uint16_t)(size - b->l3_offset));
		put16(ip + 10, fold16(sum16(ip, sizeof(struct ip), 0)));
	} else {
		put16(ip + 4, (uint16_t)udp_size);
	}
	put16(udp + 4, (uint16_t)udp_size);
	if (b->spec.family == AF_INET && b->spec.no_udp_sum)
		return;
	sum = fold16(sum16(udp, udp_size, pseudo_sum(ip, b->spec.family) + (uint32_t)udp_size));
	put16(udp + 6, sum ? sum : 0xffff);
}

static void put_header(const struct frame_builder *b, uint8_t *at, size_t size, uint32_t flow,
		       uint64_t seq, uint64_t sent_ns)
{
	struct gen_header header = {
		.magic = htobe32(GEN_MAGIC),
		.run = htobe32(b->spec.run),
		.flow = htobe32(flow),
		.seq = htobe64(seq),
		.sent_ns = htobe64(sent_ns),
		.length = htobe16((uint16_t)size),
		.flags = htobe16(b->spec.family == AF_UNSPEC ? GEN_FLAG_L2 : 0),
		.l2_crc = htobe32(b->l2_crc),
	};

	memcpy(at, &header, sizeof(header));
}

static uint32_t crc_of(const uint8_t *header, size_t size)
{
	static const uint8_t zeros[4];
	size_t crc_offset = offsetof(struct gen_header, crc);
	uint32_t crc = crc32_update(0, header, crc_offset);

	crc = crc32_update(crc, zeros, sizeof(zeros));
	return crc32_update(crc, header + sizeof(struct gen_header),
			    size - sizeof(struct gen_header));
}

/* A frame too short for its headers is the beginning of the shortest whole one. */
static void build_cut(const struct frame_builder *b, uint8_t *buf, size_t size, uint32_t flow,
		      uint64_t seq, uint64_t sent_ns)
{
	uint8_t whole[FRAME_MAX_HEADERS + sizeof(struct gen_header)];

	frame_build(b, whole, frame_min_size(b), flow, seq, sent_ns);
	memcpy(buf, whole, size);
}

void frame_build(const struct frame_builder *b, uint8_t *buf, size_t size, uint32_t flow,
		 uint64_t seq, uint64_t sent_ns)
{
	size_t offset = b->header_offset;
	uint8_t *header = buf + offset;
	uint32_t crc;

	if (size < frame_min_size(b)) {
		build_cut(b, buf, size, flow, seq, sent_ns);
		return;
	}
	memcpy(buf, b->headers, offset);
	put_header(b, header, size, flow, seq, sent_ns);
	put_pattern(header + sizeof(struct gen_header), size - frame_min_size(b),
		    ((uint64_t)b->spec.run << 32 ^ (uint64_t)flow << 40) + seq);
	crc = htobe32(crc_of(header, size - offset));
	memcpy(header + offsetof(struct gen_header, crc), &crc, sizeof(crc));
	if (b->spec.family != AF_UNSPEC)
		finish_ip(b, buf, size);
}

void frame_flood_tables(const struct frame_builder *b, const uint8_t *buf, size_t size,
			uint32_t ret_delta[GEN_STAMP_BYTES][256], uint32_t *ret_crc)
{
	uint8_t work[FRAME_MAX_BYTES] = {0};
	size_t covered = size - b->header_offset;
	uint32_t crc_of_zeros = crc_of(work, covered);

	for (size_t i = 0; i < GEN_STAMP_BYTES; i++) {
		for (unsigned value = 0; value < 256; value++) {
			work[GEN_STAMP_OFFSET + i] = (uint8_t)value;
			ret_delta[i][value] = crc_of(work, covered) ^ crc_of_zeros;
		}
		work[GEN_STAMP_OFFSET + i] = 0;
	}
	memcpy(work, buf + b->header_offset, covered);
	memset(work + GEN_STAMP_OFFSET, 0, GEN_STAMP_BYTES);
	*ret_crc = crc_of(work, covered);
}

/* --- judging ------------------------------------------------------------------------------------
 */

/* Where the parts of a received frame are. */
struct layout {
	size_t l3_offset;
	size_t header_offset;
	int family;
};

static bool udp_is_ours(const uint8_t *ip, size_t size, int family)
{
	size_t n = family == AF_INET ? sizeof(struct ip) : sizeof(struct ip6_hdr);
	uint8_t proto;

	if (size < n + sizeof(struct udphdr))
		return false;
	proto = family == AF_INET ? ip[9] : ip[6];
	return proto == IPPROTO_UDP && get16(ip + n + 2) == GEN_UDP_PORT;
}

static bool find_layout(const uint8_t *buf, size_t size, uint16_t ethertype,
			struct layout *ret_layout)
{
	struct layout l = {.l3_offset = ETH_HLEN, .family = AF_UNSPEC};
	uint16_t proto;

	if (size < ETH_HLEN)
		return false;
	proto = get16(buf + 12);
	for (int i = 0; i < MAX_TAGS && (proto == ETH_P_8021Q || proto == ETH_P_8021AD); i++) {
		if (size < l.l3_offset + TAG_BYTES)
			return false;
		proto = get16(buf + l.l3_offset + 2);
		l.l3_offset += TAG_BYTES;
	}
	l.header_offset = l.l3_offset;
	if (proto != ethertype) {
		l.family = proto == ETH_P_IP ? AF_INET : proto == ETH_P_IPV6 ? AF_INET6 : -1;
		if (l.family < 0 || !udp_is_ours(buf + l.l3_offset, size - l.l3_offset, l.family))
			return false;
		l.header_offset +=
			sizeof(struct udphdr) +
			(l.family == AF_INET ? sizeof(struct ip) : sizeof(struct ip6_hdr));
	}
	*ret_layout = l;
	return true;
}

/* IP and UDP headers are outside the crc, but not outside every checksum. */
static bool ip_is_right(const uint8_t *buf, size_t size, const struct layout *l)
{
	const uint8_t *ip = buf + l->l3_offset;
	const uint8_t *udp = buf + l->header_offset - sizeof(struct udphdr);
	size_t udp_size = size - (size_t)(udp - buf);

	if (l->family == AF_INET) {
		if (ip[0] != 0x45 || get16(ip + 2) != size - l->l3_offset ||
		    fold16(sum16(ip, sizeof(struct ip), 0)) != 0)
			return false;
	} else if (ip[0] >> 4 != 6 || get16(ip + 4) != udp_size) {
		return false;
	}
	if (get16(udp + 4) != udp_size)
		return false;
	if (get16(udp + 6) == 0)
		return l->family == AF_INET;
	return fold16(sum16(udp, udp_size, pseudo_sum(ip, l->family) + (uint32_t)udp_size)) == 0;
}

enum frame_fate frame_verify(const uint8_t *buf, size_t size, uint16_t ethertype,
			     struct frame_info *ret_info)
{
	struct gen_header header;
	struct layout l;

	if (!find_layout(buf, size, ethertype, &l))
		return FRAME_FOREIGN;
	if (size < l.header_offset + sizeof(header))
		return FRAME_WRONG_LENGTH;
	memcpy(&header, buf + l.header_offset, sizeof(header));
	if (be32toh(header.crc) != crc_of(buf + l.header_offset, size - l.header_offset))
		return be32toh(header.magic) == GEN_MAGIC && be16toh(header.length) != size ?
			       FRAME_WRONG_LENGTH :
			       FRAME_CORRUPTED;
	if (be32toh(header.magic) != GEN_MAGIC)
		return FRAME_CORRUPTED;
	if (be16toh(header.length) != size)
		return FRAME_WRONG_LENGTH;
	if (l.family != AF_UNSPEC && !ip_is_right(buf, size, &l))
		return FRAME_CORRUPTED;
	*ret_info = (struct frame_info){
		.run = be32toh(header.run),
		.flow = be32toh(header.flow),
		.seq = be64toh(header.seq),
		.sent_ns = be64toh(header.sent_ns),
	};
	if (be16toh(header.flags) & GEN_FLAG_L2 &&
	    be32toh(header.l2_crc) != crc32_update(0, buf, l.l3_offset))
		return FRAME_ALTERED_L2;
	return FRAME_INTACT;
}
