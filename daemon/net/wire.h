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
