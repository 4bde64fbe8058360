/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building and judging generated frames: bytes in, bytes out, no kernel. The format is in
 * gen_abi.h. The pattern behind the header is made from run, flow and sequence number, so that no
 * two frames have the same bytes and a piece of another frame shows in the crc.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/gen/gen_abi.h"

#define FRAME_MIN_BYTES   14   /* an Ethernet header; the kernel sends nothing shorter */
#define FRAME_MAX_BYTES   4096 /* the largest frame of packet memory */
#define FRAME_NO_VLAN     (-1)
#define FRAME_MAX_HEADERS 96 /* Ethernet, a tag, IPv6, UDP: 66 */

struct frame_spec {
	uint8_t dst_mac[6], src_mac[6];
	int vlan; /* tag control information, or FRAME_NO_VLAN */
	uint16_t ethertype;
	int family; /* AF_UNSPEC: right behind Ethernet; AF_INET, AF_INET6: in UDP */
	struct in_addr src4, dst4;
	struct in6_addr src6, dst6;
	bool no_udp_sum; /* IPv4 only: flood mode cannot keep it right */
	uint32_t run;
};

/* A spec made ready: everything that is the same in each frame. */
struct frame_builder {
	struct frame_spec spec;
	uint8_t headers[FRAME_MAX_HEADERS];
	size_t l3_offset;     /* behind Ethernet and tag */
	size_t header_offset; /* of struct gen_header */
	uint32_t l2_crc;
};

void frame_builder_init(struct frame_builder *b, const struct frame_spec *spec);

/* The smallest frame that holds the whole header. Shorter ones can be built but not judged. */
static inline size_t frame_min_size(const struct frame_builder *b)
{
	return b->header_offset + sizeof(struct gen_header);
}

/* Writes a frame of `size` bytes (FRAME_MIN_BYTES … FRAME_MAX_BYTES) to buf. Cut if too short. */
void frame_build(const struct frame_builder *b, uint8_t *buf, size_t size, uint32_t flow,
		 uint64_t seq, uint64_t sent_ns);

/*
 * For flood mode: what each value of each stamped byte changes in the crc of a frame whose
 * covered part is `covered` bytes long, and the crc of the frame in buf with a stamp of zeros.
 */
void frame_flood_tables(const struct frame_builder *b, const uint8_t *buf, size_t size,
			uint32_t ret_delta[GEN_STAMP_BYTES][256], uint32_t *ret_crc);

enum frame_fate {
	FRAME_INTACT,
	FRAME_FOREIGN,      /* not ours at all: neither the EtherType nor the port */
	FRAME_CORRUPTED,    /* ours, and some byte is not what was sent */
	FRAME_WRONG_LENGTH, /* ours, cut or grown, or too short to be judged */
	FRAME_ALTERED_L2,   /* intact, but addresses, tag or EtherType changed on the way */
	FRAME_FATE_N
};

struct frame_info {
	uint32_t run, flow;
	uint64_t seq, sent_ns;
};

/* *ret_info is written for FRAME_INTACT and FRAME_ALTERED_L2 only. */
enum frame_fate frame_verify(const uint8_t *buf, size_t size, uint16_t ethertype,
			     struct frame_info *ret_info);
