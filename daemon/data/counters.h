/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What workers count: the only place where a counter or a drop reason is declared. The metrics
 * page, `sluicectl drops` and the tests walk these lists.
 *
 * Each counter has one writer, the worker that owns the lane; it stores relaxed, control loads
 * relaxed, nothing is ever read-modify-written across threads (rule T3b of style.md).
 *
 * The identities (design.md §4.5), exact whenever the worker is between two turns:
 *   ingress lane:  rx_packets = forwarded + Σ handed_back{reason} + Σ drops{reason}
 *   egress lane:   tx_packets = forwarded to it + replicated = tx_completed + in tx
 *
 * A frame has one fate. One that a bridge floods is forwarded if any copy was put on a tx ring,
 * and its further copies count as `replicated` where they leave; the copy for this host counts in
 * handback_copies, which is in neither identity.
 */
#pragma once

#include <stdint.h>

#include "net/route.h"
#include "util/macros.h"

/* X(ID, label, help): the values of `reason` in sluice_queue_drops_total. */
#define DROP_REASONS(X)                                                                         \
	X(MALFORMED, malformed, "shorter than an Ethernet header")                              \
	X(MTU, mtu, "longer than the MTU of the out port allows")                               \
	X(LINK_DOWN, link_down, "the out port is missing, down or being rebuilt")               \
	X(TX_RING_FULL, tx_ring_full, "the tx ring of the out port had no room")                \
	X(UMEM_EXHAUSTED, umem_exhausted, "no free frame to copy into (ports of unlike modes)") \
	X(IP_HEADER, ip_header,                                                                 \
	  "route: broken IP header (version, length, checksum), or not to our MAC")             \
	X(HANDBACK_LIMIT, handback_limit, "the kernel's, beyond the limit of its reason")       \
	X(HANDBACK_FAILED, handback_failed, "the kernel's, but it did not take it")             \
	X(SAME_PORT, same_port, "bridge: its destination is behind the port it came from")      \
	X(NO_PORT, no_port, "bridge: no other port of the bridge can send it")                  \
	X(SOURCE, source, "bridge: its source is no unicast address")                           \
	X(FLOOD_LIMIT, flood_limit, "bridge: beyond flood_limit of the port")                   \
	X(INTERNAL, internal, "descriptor from the kernel out of range or not of this lane")

#define DROP_REASON_ID(id, label, help) DROP_##id,
enum drop_reason { DROP_REASONS(DROP_REASON_ID) DROP_N };
#undef DROP_REASON_ID

/* X(name, help): per lane, in addition to the drops. */
#define LANE_COUNTERS(X)                                                                      \
	X(rx_packets, "packets taken from the rx ring")                                       \
	X(rx_bytes, "bytes of them, Ethernet header included, no FCS")                        \
	X(forwarded, "packets of them put on a tx ring")                                      \
	X(tx_packets, "packets put on this lane's tx ring")                                   \
	X(tx_bytes, "bytes of them")                                                          \
	X(tx_completed, "packets of them that the kernel gave back")                          \
	X(replicated, "packets of them that are further copies of a flooded frame")           \
	X(copies_dropped, "further copies that could not be sent: no frame, or no room here") \
	X(handback_copies, "copies of flooded frames that this host was given")               \
	X(copied, "packets copied between the two UMEMs of a mixed group")                    \
	X(fill_posted, "frames given to the fill ring")                                       \
	X(fill_taken, "frames the kernel gave back through the rx ring")                      \
	X(wakeups_tx, "system calls to wake the transmit side")                               \
	X(wakeups_rx, "system calls to wake the receive side")                                \
	X(wakeup_again, "tx wakeups that left packets in the ring (EAGAIN, ENOBUFS, EBUSY)")  \
	X(wakeup_errors, "wakeups that failed otherwise (ENETDOWN, …)")                       \
	X(bad_completions, "completions out of range or not of this lane")

struct lane_counters {
#define LANE_COUNTER_FIELD(name, help) uint64_t name;
	LANE_COUNTERS(LANE_COUNTER_FIELD)
#undef LANE_COUNTER_FIELD
	uint64_t handed_back[HANDBACK_N];
	uint64_t drops[DROP_N];
} CACHE_ALIGNED;

/* Packets per non-empty poll: bucket i counts bursts of ≤ 2^i packets; the last is the burst. */
#define BATCH_BUCKETS 7
/* Rx ring to tx ring, one burst in RESIDENCE_SAMPLE: bucket i counts ≤ 2^i µs, the last the rest.
 */
#define RESIDENCE_BUCKETS 12
#define RESIDENCE_SAMPLE  1024

/* X(name, help): per worker. */
#define WORKER_COUNTERS(X)                                          \
	X(turns, "turns of the loop")                               \
	X(busy_ns, "time of turns that moved something")            \
	X(idle_ns, "time of turns that did not, sleeping included") \
	X(sleeps, "times it slept in poll(2)")

struct worker_counters {
#define WORKER_COUNTER_FIELD(name, help) uint64_t name;
	WORKER_COUNTERS(WORKER_COUNTER_FIELD)
#undef WORKER_COUNTER_FIELD
	uint64_t batch[BATCH_BUCKETS];
	uint64_t batch_packets; /* sum of the histogram */
	uint64_t residence[RESIDENCE_BUCKETS];
	uint64_t residence_sum_ns;
} CACHE_ALIGNED;

/* Frames of one UMEM by owner, published by the worker as one consistent cut; worker_frames()
 * reads. */
struct frame_states {
	uint32_t free;
	uint32_t fill;
	uint32_t worker;
	uint32_t tx;
	uint32_t quarantine;
	uint32_t min_free; /* low-water mark since start */
	int64_t lost;      /* n_frames − the sum: anything but 0 is a bug */
};

#define FRAME_STATES_WORDS (sizeof(struct frame_states) / sizeof(uint64_t))
_Static_assert(sizeof(struct frame_states) % sizeof(uint64_t) == 0, "published word by word");

static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Adds a lane's counters, which its worker may be writing, to a sum of control's own. */
static inline void lane_counters_add(struct lane_counters *sum, const struct lane_counters *lane)
{
#define LANE_COUNTER_ADD(name, help) sum->name += counter_read(&lane->name);
	LANE_COUNTERS(LANE_COUNTER_ADD)
#undef LANE_COUNTER_ADD
	for (unsigned i = 0; i < HANDBACK_N; i++)
		sum->handed_back[i] += counter_read(&lane->handed_back[i]);
	for (unsigned i = 0; i < DROP_N; i++)
		sum->drops[i] += counter_read(&lane->drops[i]);
}
