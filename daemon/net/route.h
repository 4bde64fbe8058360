/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The router's decision about a packet: what the kernel would do with it, as far as that is "send
 * it on unchanged", and otherwise why it is the kernel's. Pure: the worker (data/route.c), the
 * benchmark and `sluicectl explain packet` call the same functions.
 *
 *	dst ── fib4 | fib6 ──► number ── nexthops[] ──► struct nexthop:
 *
 *	NEXTHOP_VIA        its adjacency
 *	NEXTHOP_CONNECTED  the adjacency of dst itself
 *	NEXTHOP_GROUP      a number by flow, once more through nexthops[]
 *	NEXTHOP_PASS       the kernel's, with a reason
 *
 * Publication. A struct route_view lives as long as the daemon routes. Every pointer in it leads to
 * an object that is constant from the moment the pointer is stored (release; workers acquire); a
 * change stores a pointer to a new object, and the old one is freed when every worker has been seen
 * in a later generation, as net/fib.h tells. The only words that workers write are `used`.
 *
 * Threads: tables (control/tables.h) writes, workers read. No lock, no system call.
 */
#pragma once

#include <linux/if_ether.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/fib.h"
#include "net/wire.h"
#include "util/macros.h"

struct fib4;
struct fib6;

/* Ports by place in the plan: what nexthops and worker sets call "out port". */
#define ROUTE_MAX_PORTS 64

/*
 * Why a frame goes back to the kernel as if the port had just received it (design.md §4.11).
 * X(ID, label, per_second, help): per_second is the limit of one worker; what exceeds it is dropped
 * and counted as drop{handback_limit}. Reasons that are answered with ICMP or ARP need few frames;
 * the others may be the operator's normal traffic.
 */
#define HANDBACK_REASONS(X)                                                                    \
	X(NO_ROUTE, no_route, 10000, "no route that a port could take")                        \
	X(LOCAL, local, 50000, "to an address of this host, or a broadcast")                   \
	X(POLICY, policy, 50000, "the route is blackhole, encapsulated, or leaves elsewhere")  \
	X(NEIGHBOUR, neighbour, 10000, "the next hop's address is not resolved")               \
	X(MTU, mtu, 50000, "longer than the route or the out port allows")                     \
	X(REDIRECT, redirect, 50000, "leaves by the port it came from")                        \
	X(SOURCE, source, 10000, "a source that rp_filter or the kernel's rules refuse")       \
	X(HEADER, header, 10000, "options, or another header that the fast path leaves alone") \
	X(DOWN, down, 10000, "the out port is missing, down or being rebuilt")                 \
	X(FLOOD, flood, 10000, "this host's copy of a frame flooded in a bridge")

#define HANDBACK_REASON_ID(id, label, per_second, help) HANDBACK_##id,
enum handback_reason { HANDBACK_REASONS(HANDBACK_REASON_ID) HANDBACK_N };
#undef HANDBACK_REASON_ID

/* --- What the tables say --------------------------------------------------------------------- */

/* A resolved neighbour: one per (out port, family, address). Constant but for `used`. */
struct adjacency {
	uint8_t header[12]; /* destination and source MAC, as they go on the wire */
	uint16_t out_port;
	bool is_ip6;
	uint32_t ifindex;     /* of the out port's device */
	struct ip6_addr addr; /* IPv4: the first four octets, the rest zero */
	/* w: workers, 1 when a packet was sent to it; control: reads and clears. Never both stored
	 * without need: a worker looks before it stores. */
	uint32_t used;
} CACHE_ALIGNED;

enum nexthop_kind { NEXTHOP_PASS, NEXTHOP_VIA, NEXTHOP_CONNECTED, NEXTHOP_GROUP };

/* A flow hashes to a bucket; a member that comes or goes moves its own share of them alone. */
#define NEXTHOP_GROUP_BUCKETS 256

struct nexthop {
	uint8_t kind;      /* enum nexthop_kind */
	uint8_t reason;    /* PASS: enum handback_reason */
	uint16_t out_port; /* VIA, CONNECTED */
	uint32_t
		ifindex; /* of the device it leaves by, also of PASS where there is one; 0 = none */
	uint32_t mtu;    /* VIA, CONNECTED: longest IP packet, the least of route's and link's */
	bool is_unicast; /* PASS: of a route that the kernel forwards by, by a device that is up */
	struct adjacency *adjacency; /* VIA; NULL = not resolved */
	const uint16_t *buckets; /* GROUP: NEXTHOP_GROUP_BUCKETS numbers of VIA, CONNECTED, PASS */
};

/*
 * Adjacencies of connected routes, by (out port's ifindex, address): open addressing, at most half
 * full, a power of two of cells. A cell's pointer is replaced in place; a table that has to grow is
 * replaced as a whole.
 */
struct adjacency_table {
	uint32_t mask;
	_Atomic(struct adjacency *) cells[];
};

/* What a port's IPv4 source check must be: net.ipv4.conf.*.rp_filter, the larger of all and port.
 */
enum route_rpf { ROUTE_RPF_OFF, ROUTE_RPF_STRICT, ROUTE_RPF_LOOSE };

/* Addresses of this host, which nobody else may send from. Sorted, host byte order. */
struct route_locals {
	uint32_t n;
	uint64_t filter[4]; /* bit by the low octet: most sources miss here */
	uint32_t addr[];
};

struct route_view {
	struct fib4 *fib4;
	struct fib6 *fib6;
	uint64_t hash_seed; /* of flows over a group's buckets; random at start */
	_Atomic uint64_t generation;
	_Atomic(const struct adjacency_table *) adjacencies;
	_Atomic(const struct route_locals *) locals;
	/* ifindex << 8 | enum route_rpf of each port; another ifindex than expected: strict */
	_Atomic uint64_t rpf[ROUTE_MAX_PORTS];
	_Atomic(const struct nexthop *)
		nexthops[FIB_NH_MAX + 1]; /* [FIB_NO_ROUTE]: PASS, no_route */
};

/* For the table and for who looks an adjacency up. */
uint32_t adjacency_hash(uint32_t ifindex, bool is_ip6, const struct ip6_addr *addr);
struct adjacency *adjacency_find(const struct adjacency_table *table, uint32_t ifindex, bool is_ip6,
				 const struct ip6_addr *addr);

/* --- The decision ---------------------------------------------------------------------------- */

enum route_verdict { ROUTE_FORWARD, ROUTE_HAND_BACK, ROUTE_DROP };

/* One frame of a burst. */
struct route_frame {
	/* in */
	uint8_t *data; /* from the Ethernet header on */
	uint32_t len;
	/* out */
	uint8_t verdict;             /* enum route_verdict; DROP: what Linux drops unseen */
	uint8_t reason;              /* HAND_BACK: enum handback_reason */
	uint16_t nh;                 /* number that the FIB gave, for explain; FIB_NO_ROUTE */
	uint32_t out_len;            /* FORWARD: without the padding behind the IP packet */
	struct adjacency *adjacency; /* FORWARD */
};

/* Where a burst came in. */
struct route_in {
	uint16_t port;
	uint32_t ifindex;
	uint8_t mac[ETH_ALEN];
};

/*
 * Decides for n ≤ FIB_BURST frames; reads them, changes nothing but the results. The caller has
 * prefetched their first line. Thread: worker, or any that is registered as a reader of the view.
 */
void route_decide(const struct route_view *view, const struct route_in *in,
		  struct route_frame *frames, unsigned n);

/*
 * Makes a frame with the verdict FORWARD what leaves: MAC addresses, TTL or hop limit less one, the
 * checksum adjusted (RFC 1624 eqn. 3). Marks the adjacency used.
 */
void route_rewrite(const struct route_frame *frame);
