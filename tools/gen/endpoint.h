/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One interface as the generator holds it: an AF_XDP socket per queue over one packet memory, and
 * for a sink the XDP program that feeds them.
 *
 * The frames of a lane are cut in two at the start and stay so: the first part circulates between
 * fill and rx ring and belongs to the sink's thread, the second between tx and completion ring and
 * belongs to the sender's. So both can use one socket with no lock between them.
 *
 * Thread: opened and closed by main; in between see above.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/umem.h"
#include "kern/xsk.h"
#include "tools/gen/options.h"

#define LANE_TX_FRAMES 1024 /* the greatest burst */

struct lane {
	struct xsk xsk;
	uint32_t queue;
	/* sender */
	uint32_t tx_free[LANE_TX_FRAMES]; /* frame numbers */
	uint32_t n_tx_free;
};

struct endpoint {
	const char *ifname;
	unsigned ifindex;
	struct umem umem;
	struct lane *lanes;
	uint32_t n_lanes;
	struct gen_bpf *skeleton; /* of a sink */
	int link_fd;
	int dev_fd; /* /proc/net/dev of the interface's namespace */
};

struct endpoint_spec {
	const char *ifname;
	const char *netns; /* name under /run/netns; NULL = the caller's */
	const struct gen_queues *queues;
	uint32_t rx_frames; /* per lane, a power of two; 0 = sends only */
	bool sends;
	bool generic;
	uint16_t ethertype;
	uint32_t frame_size_bytes; /* at least; more if the MTU wants it */
};

/* The interface's own view of what it could not send, from /proc/net/dev. */
struct device_counters {
	uint64_t tx_packets, tx_dropped, rx_packets, rx_dropped;
};

/* Complains on stderr with object and reason. A busy queue is tried for 5 s: see kern/xsk.h. */
int endpoint_open(struct endpoint *ep, const struct endpoint_spec *spec);
void endpoint_close(struct endpoint *ep);

int endpoint_counters(const struct endpoint *ep, struct device_counters *ret_counters);

/* The kernel's AF_XDP counters, summed over the lanes. */
void endpoint_statistics(const struct endpoint *ep, struct xdp_statistics *ret_stats);

/* Runs the calling thread in a named namespace; *ret_old_fd leads back. name NULL: no change. */
int netns_enter(const char *name, int *ret_old_fd);
void netns_return(int old_fd);
