/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Types of what stands on the wire: big-endian. Converted once, where a packet or a message is
 * parsed, by be16toh() and its like.
 */
#pragma once

#include <stdint.h>

typedef uint16_t be16;
typedef uint32_t be32;

struct ip6_addr {
	uint8_t octet[16];
};

/* An address and port of TCP; IPv4 takes the first four octets, the rest is 0. */
struct ip_endpoint {
	uint8_t family; /* 4, 6, or 0: none */
	uint16_t port;  /* host byte order */
	struct ip6_addr addr;
};
