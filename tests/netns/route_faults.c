/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Routers with one fault, for the test that the conformance suite sees it (tests/netns/meson.build
 * links each into a sluiced of its own, where this route_rewrite() comes before the library's). The
 * right one is included whole, so that the fault is the only difference. Thread: worker.
 */
#include "net/route.h"

void route_rewrite_right(const struct route_frame *frame);

#define route_rewrite route_rewrite_right
#include "net/route_rewrite.c"
#undef route_rewrite

#define FAULT_TTL      1
#define FAULT_CHECKSUM 2
#define FAULT_NEXTHOP  3

static void keep_ttl(const struct route_frame *frame)
{
	uint8_t *ip = frame->data + ETH_HLEN;

	if (ip[0] >> 4 == 4)
		ip[8]++; /* the checksum is as if it had been counted down */
	else
		ip[7]++;
}

static void keep_checksum(const struct route_frame *frame, const uint8_t before[2])
{
	uint8_t *ip = frame->data + ETH_HLEN;

	if (ip[0] >> 4 == 4)
		memcpy(ip + 10, before, 2);
}

/* Sends each packet to the next hop of the one before. */
static void take_other_nexthop(const struct route_frame *frame)
{
	static _Thread_local uint8_t previous[ETH_ALEN];
	uint8_t own[ETH_ALEN];

	memcpy(own, frame->data, ETH_ALEN);
	memcpy(frame->data, previous, ETH_ALEN);
	memcpy(previous, own, ETH_ALEN);
}

void route_rewrite(const struct route_frame *frame)
{
	uint8_t checksum[2];

	memcpy(checksum, frame->data + ETH_HLEN + 10, sizeof(checksum));
	route_rewrite_right(frame);
	switch (ROUTE_FAULT) {
	case FAULT_TTL:
		keep_ttl(frame);
		break;
	case FAULT_CHECKSUM:
		keep_checksum(frame, checksum);
		break;
	case FAULT_NEXTHOP:
		take_other_nexthop(frame);
		break;
	}
}
