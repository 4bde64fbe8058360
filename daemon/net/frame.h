/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ethernet frames as bytes: the lengths that a wire allows. Pure.
 */
#pragma once

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>

#define FRAME_VLAN_BYTES 4

static inline bool frame_is_tagged(const uint8_t *frame)
{
	uint16_t type = (uint16_t)(frame[12] << 8 | frame[13]);

	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

/*
 * May a frame leave by a port? `max_len` is its MTU plus the Ethernet header (14, no FCS); one tag
 * comes on top of that, as the kernel's own rule has it (is_skb_forwardable, net/core/dev.c). Only
 * a frame longer than max_len is looked at, so the common case touches no packet byte.
 */
static inline bool frame_fits(const uint8_t *frame, uint32_t len, uint32_t max_len)
{
	if (len <= max_len)
		return true;
	return len <= max_len + FRAME_VLAN_BYTES && frame_is_tagged(frame);
}
