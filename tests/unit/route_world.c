// SPDX-License-Identifier: GPL-2.0-or-later
/* A router's tables and packets for it; see route_world.h. */
#include "tests/unit/route_world.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"
#include "util/pages.h"

static const struct fib_pages pages = {.map = pages_map, .unmap = pages_unmap};

struct route_world *route_world_new(void)
{
	size_t table_bytes = sizeof(struct adjacency_table) +
			     ROUTE_WORLD_CELLS * sizeof(_Atomic(struct adjacency *));
	struct route_world *world = aligned_alloc(CACHE_LINE_BYTES, sizeof(*world));

	assert(world);
	memset(world, 0, sizeof(*world));
	assert(fib4_new(&pages, &world->view.fib4) == 0);
	assert(fib6_new(&pages, FIB6_NODE_BYTES, &world->view.fib6) == 0);
	world->table = calloc(1, table_bytes);
	assert(world->table);
	world->table->mask = ROUTE_WORLD_CELLS - 1;
	world->view.adjacencies = world->table;
	world->view.hash_seed = 0x5eed;
	world->view.generation = 1;
	(void)route_world_pass(world, FIB_NO_ROUTE, HANDBACK_NO_ROUTE, 0);
	for (uint16_t port = 0; port < ROUTE_MAX_PORTS; port++)
		route_world_set_rpf(world, port, ROUTE_WORLD_IFINDEX(port), ROUTE_RPF_OFF);
	return world;
}

void route_world_free(struct route_world *world)
{
	fib4_free(world->view.fib4);
	fib6_free(world->view.fib6);
	free(world->table);
	free(world->locals);
	free(world);
}

void route_world_mac(uint16_t port, uint8_t mac[6])
{
	const uint8_t octets[6] = {2, 0, 0, 0, 1, (uint8_t)port};

	memcpy(mac, octets, sizeof(octets));
}

static void make_adjacency(struct adjacency *adjacency, uint16_t port, uint8_t kind,
			   uint32_t number)
{
	const uint8_t neighbour[6] = {2, 0, 0, kind, (uint8_t)(number >> 8), (uint8_t)number};

	*adjacency = (struct adjacency){.out_port = port, .ifindex = ROUTE_WORLD_IFINDEX(port)};
	memcpy(adjacency->header, neighbour, sizeof(neighbour));
	route_world_mac(port, adjacency->header + 6);
}

static struct nexthop *publish(struct route_world *world, uint16_t number,
			       const struct nexthop *nexthop)
{
	assert(number < ROUTE_WORLD_HOPS);
	world->hops[number] = *nexthop;
	atomic_store_explicit(&world->view.nexthops[number], &world->hops[number],
			      memory_order_release);
	return &world->hops[number];
}

struct nexthop *route_world_via(struct route_world *world, uint16_t number, uint16_t port,
				uint32_t mtu)
{
	make_adjacency(&world->adjacencies[number], port, 2, number);
	return publish(world, number,
		       &(struct nexthop){.kind = NEXTHOP_VIA,
					 .out_port = port,
					 .ifindex = ROUTE_WORLD_IFINDEX(port),
					 .mtu = mtu,
					 .adjacency = &world->adjacencies[number]});
}

struct nexthop *route_world_connected(struct route_world *world, uint16_t number, uint16_t port,
				      uint32_t mtu)
{
	return publish(world, number,
		       &(struct nexthop){.kind = NEXTHOP_CONNECTED,
					 .out_port = port,
					 .ifindex = ROUTE_WORLD_IFINDEX(port),
					 .mtu = mtu});
}

struct nexthop *route_world_pass(struct route_world *world, uint16_t number,
				 enum handback_reason reason, uint32_t ifindex)
{
	return publish(world, number,
		       &(struct nexthop){.kind = NEXTHOP_PASS,
					 .reason = (uint8_t)reason,
					 .ifindex = ifindex});
}

struct nexthop *route_world_group(struct route_world *world, uint16_t number,
				  const uint16_t *members, unsigned n_members)
{
	uint16_t *buckets = world->buckets[world->n_groups++];

	assert(world->n_groups <= ROUTE_WORLD_GROUPS);
	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++)
		buckets[i] = members[i % n_members];
	return publish(world, number, &(struct nexthop){.kind = NEXTHOP_GROUP, .buckets = buckets});
}

struct ip6_addr addr_of_text(const char *text)
{
	struct ip6_addr addr = {{0}};

	assert(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, addr.octet) == 1);
	return addr;
}

struct adjacency *route_world_neighbour(struct route_world *world, uint16_t port, const char *text)
{
	struct adjacency *adjacency = &world->neighbours[world->n_neighbours];
	struct ip6_addr addr = addr_of_text(text);
	bool is_ip6 = strchr(text, ':');
	uint32_t cell = adjacency_hash(ROUTE_WORLD_IFINDEX(port), is_ip6, &addr);

	assert(world->n_neighbours < ARRAY_SIZE(world->neighbours));
	make_adjacency(adjacency, port, 3, world->n_neighbours++);
	adjacency->is_ip6 = is_ip6;
	adjacency->addr = addr;
	while (world->table->cells[cell & world->table->mask])
		cell++;
	atomic_store_explicit(&world->table->cells[cell & world->table->mask], adjacency,
			      memory_order_release);
	return adjacency;
}

void route_world_add(struct route_world *world, const char *prefix, uint16_t nh)
{
	const char *slash = strchr(prefix, '/');
	struct ip6_addr addr;
	char text[64] = "";
	unsigned len;
	be32 word;

	assert(slash && (size_t)(slash - prefix) < sizeof(text));
	memcpy(text, prefix, (size_t)(slash - prefix));
	addr = addr_of_text(text);
	len = (unsigned)strtoul(slash + 1, NULL, 10);
	if (strchr(text, ':')) {
		assert(fib6_add(world->view.fib6, &addr, len, nh) == 0);
		return;
	}
	memcpy(&word, addr.octet, sizeof(word));
	assert(fib4_add(world->view.fib4, word, len, nh) == 0);
}

static int compare_addrs(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void route_world_set_locals(struct route_world *world, const char *const *addrs)
{
	uint32_t n = 0;
	struct route_locals *locals;

	while (addrs[n])
		n++;
	locals = calloc(1, sizeof(*locals) + n * sizeof(locals->addr[0]));
	assert(locals);
	locals->n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct ip6_addr addr = addr_of_text(addrs[i]);
		uint8_t last = addr.octet[3];

		locals->addr[i] = (uint32_t)addr.octet[0] << 24 | (uint32_t)addr.octet[1] << 16 |
				  (uint32_t)addr.octet[2] << 8 | last;
		locals->filter[last / 64] |= 1ULL << last % 64;
	}
	qsort(locals->addr, n, sizeof(locals->addr[0]), compare_addrs);
	atomic_store_explicit(&world->view.locals, locals, memory_order_release);
	free(world->locals);
	world->locals = locals;
}

void route_world_set_rpf(struct route_world *world, uint16_t port, uint32_t ifindex,
			 enum route_rpf rpf)
{
	atomic_store_explicit(&world->view.rpf[port], (uint64_t)ifindex << 8 | rpf,
			      memory_order_relaxed);
}

struct route_in route_world_in(uint16_t port)
{
	struct route_in in = {.port = port, .ifindex = ROUTE_WORLD_IFINDEX(port)};

	route_world_mac(port, in.mac);
	return in;
}

/* --- packets -----------------------------------------------------------------------------------
 */

static void make_ethernet(uint8_t *frame, uint8_t type_high, uint8_t type_low)
{
	const uint8_t src[6] = {2, 0, 0, 0, 9, 9};

	route_world_mac(0, frame);
	memcpy(frame + 6, src, sizeof(src));
	frame[12] = type_high;
	frame[13] = type_low;
}

static void make_udp(uint8_t *udp, uint32_t len)
{
	static const uint8_t ports[4] = {0x30, 0x39, 0x00, 0x35};

	for (uint32_t i = 0; i < len; i++)
		udp[i] = (uint8_t)i;
	memcpy(udp, ports, MIN(len, sizeof(ports)));
}

void frame_fix_checksum(uint8_t *frame)
{
	uint32_t sum = 0;

	frame[24] = frame[25] = 0;
	for (unsigned i = 0; i < (frame[14] & 15) * 4U; i += 2)
		sum += (uint32_t)frame[14 + i] << 8 | frame[15 + i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	frame[24] = (uint8_t)(~sum >> 8);
	frame[25] = (uint8_t)~sum;
}

uint32_t frame_make4(uint8_t *frame, be32 src, be32 dst, uint32_t payload_len)
{
	uint32_t total_len = 20 + payload_len;
	const uint8_t header[12] = {0x45,
				    0x2a,
				    (uint8_t)(total_len >> 8),
				    (uint8_t)total_len,
				    0x12,
				    0x34,
				    0x40,
				    0,
				    64,
				    IPPROTO_UDP,
				    0,
				    0};

	make_ethernet(frame, 0x08, 0x00);
	memcpy(frame + 14, header, sizeof(header));
	memcpy(frame + 26, &src, sizeof(src));
	memcpy(frame + 30, &dst, sizeof(dst));
	make_udp(frame + 34, payload_len);
	frame_fix_checksum(frame);
	return 14 + total_len;
}

uint32_t frame_make6(uint8_t *frame, const struct ip6_addr *src, const struct ip6_addr *dst,
		     uint32_t payload_len)
{
	const uint8_t header[8] = {
		0x61,        0x23, 0x45, 0x67, (uint8_t)(payload_len >> 8), (uint8_t)payload_len,
		IPPROTO_UDP, 64};

	make_ethernet(frame, 0x86, 0xdd);
	memcpy(frame + 14, header, sizeof(header));
	memcpy(frame + 22, src->octet, sizeof(src->octet));
	memcpy(frame + 38, dst->octet, sizeof(dst->octet));
	make_udp(frame + 54, payload_len);
	return 54 + payload_len;
}

uint32_t frame_make(uint8_t *frame, const char *src, const char *dst, uint32_t payload_len)
{
	struct ip6_addr from = addr_of_text(src), to = addr_of_text(dst);
	be32 from4, to4;

	if (strchr(dst, ':'))
		return frame_make6(frame, &from, &to, payload_len);
	memcpy(&from4, from.octet, sizeof(from4));
	memcpy(&to4, to.octet, sizeof(to4));
	return frame_make4(frame, from4, to4, payload_len);
}
