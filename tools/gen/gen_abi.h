/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a generated frame carries, as user space and gen.bpf.c both see it.
 *
 *   Ethernet [802.1Q] [IPv4|IPv6 UDP]  struct gen_header  pattern …
 *                                      └──────────── crc ───────────┘
 *   └──── l2_crc, unless IP ────┘
 *
 * Everything is in network byte order. 40 bytes, so that a tagged frame of 60 bytes holds it
 * (18 + 40); with UDP the smallest frame is 82 (IPv4) or 102 (IPv6).
 *
 * `crc` is CRC-32 from the header to the end of the frame, counted with crc itself as 0. It knows
 * nothing of the headers in front, which a router rewrites. What a wire must not rewrite — MAC
 * addresses, tag, EtherType — is under l2_crc, checked where GEN_FLAG_L2 is set; IP and UDP
 * headers are under their own checksums.
 *
 * flow, seq and sent_ns lie side by side: the 20 bytes that flood mode stamps into each frame. CRC
 * is linear over GF(2), so a stamped frame's crc is that of the unstamped one xor one table entry
 * per stamped byte; no part of the frame is exempt from the check.
 */
#pragma once

#include <linux/types.h>

#define GEN_MAGIC     0x536c4731 /* "SlG1" */
#define GEN_ETHERTYPE 0x88b5     /* IEEE 802 local experimental 1 */
#define GEN_UDP_PORT  34997      /* 0x88b5 again; source and destination */

#define GEN_FLAG_L2 0x0001 /* l2_crc is to be checked: nothing rewrites the Ethernet header */

#define GEN_STAMP_OFFSET 8 /* flow, seq, sent_ns */
#define GEN_STAMP_BYTES  20

struct gen_header {
	__be32 magic;
	__be32 run;     /* one per start of the generator, so that old frames are told apart */
	__be32 flow;    /* within the run */
	__be64 seq;     /* within the flow, from 0, no gaps */
	__be64 sent_ns; /* CLOCK_MONOTONIC of the sender: same host only */
	__be16 length;  /* of the whole frame as sent */
	__be16 flags;
	__be32 l2_crc;
	__be32 crc;
} __attribute__((packed)); /* wire overlay */

_Static_assert(sizeof(struct gen_header) == 40, "fits a tagged frame of 60 bytes");
_Static_assert(__builtin_offsetof(struct gen_header, flow) == GEN_STAMP_OFFSET, "stamp");
_Static_assert(__builtin_offsetof(struct gen_header, length) == GEN_STAMP_OFFSET + GEN_STAMP_BYTES,
	       "stamp");
