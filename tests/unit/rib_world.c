/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rib_world.h. A checking fake: what must not happen is an assertion here. */
#include "tests/unit/rib_world.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "net/fib4.h"
#include "net/fib6.h"
#include "tests/unit/fib_world.h"
#include "util/clock.h"
#include "util/macros.h"

struct link_entry world_links[WORLD_LINKS + 1];
uint64_t world_n_retired;

static struct route_view *view;
static uint8_t *classes; /* by /24 */
static uint8_t *locals;  /* by /24 */

#define MAX_RETIRED 65536
static void *retired[MAX_RETIRED];
static size_t n_retired;

#define MAX_GATED 65536
static struct route gated[MAX_GATED];
static size_t n_gated;

#define MAX_NEIGHBOURS 64
static struct neighbour {
	uint32_t ifindex;
	bool is_ip6;
	struct ip6_addr addr;
	struct adjacency *adjacency;
} known[MAX_NEIGHBOURS];
static size_t n_known;
static struct adjacency_table *table;

void world_reset(void)
{
	for (uint32_t i = 1; i <= WORLD_LINKS; i++) {
		world_links[i] = (struct link_entry){
			.ifindex = i,
			.mtu = 1500,
			.is_up = true,
			.has_carrier = true,
			.port = i >= 2 && i <= 4 ? WORLD_PORT(i) : LINK_NO_PORT,
			.name = {'d', (char)('0' + i)},
		};
	}
	world_reclaim_limbo();
	free(view);
	free(classes);
	free(locals);
	free(table);
	view = NULL;
	classes = calloc(1U << 24, 1);
	locals = calloc(1U << 24, 1);
	table = calloc(1, sizeof(*table) + sizeof(table->cells[0]));
	assert(classes && locals && table);
	n_gated = 0;
	n_known = 0;
	world_n_retired = 0;
}

struct route_view *world_view(void)
{
	view = calloc(1, sizeof(*view));
	assert(view);
	view->hash_seed = 42;
	atomic_store(&view->adjacencies, table);
	return view;
}

/* --- links and neighbours --------------------------------------------------------------------- */

const struct link_entry *link_table_find(const struct link_table *links, uint32_t ifindex)
{
	return ifindex >= 1 && ifindex <= WORLD_LINKS && world_links[ifindex].ifindex ?
		       &world_links[ifindex] :
		       NULL;
}

uint32_t adjacency_hash(uint32_t ifindex, bool is_ip6, const struct ip6_addr *addr)
{
	/* few values, so that neighbours collide */
	return (ifindex + is_ip6 + addr->octet[3] + addr->octet[15]) % 4;
}

static struct neighbour *find_neighbour(uint32_t ifindex, bool is_ip6, const struct ip6_addr *addr)
{
	for (size_t i = 0; i < n_known; i++) {
		if (known[i].ifindex == ifindex && known[i].is_ip6 == is_ip6 &&
		    memcmp(&known[i].addr, addr, sizeof(*addr)) == 0)
			return &known[i];
	}
	return NULL;
}

struct adjacency *adjacency_find(const struct adjacency_table *t, uint32_t ifindex, bool is_ip6,
				 const struct ip6_addr *addr)
{
	const struct neighbour *neighbour = find_neighbour(ifindex, is_ip6, addr);

	return neighbour ? neighbour->adjacency : NULL;
}

void world_set_neighbour(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
			 const struct ip6_addr *addr, struct adjacency *adjacency)
{
	struct neighbour *neighbour = find_neighbour(ifindex, is_ip6, addr);

	if (!neighbour) {
		assert(n_known < MAX_NEIGHBOURS);
		neighbour = &known[n_known++];
	}
	*neighbour = (struct neighbour){ifindex, is_ip6, *addr, adjacency};
	nexthops_neighbour_changed(nexthops, ifindex, is_ip6, addr, adjacency);
}

/* --- the limbo -------------------------------------------------------------------------------- */

void limbo_retire(struct limbo *limbo, void *ptr, size_t bytes)
{
	if (!ptr)
		return;
	assert(malloc_usable_size(ptr) >= bytes && bytes > 0);
	/* what workers can still come by is not retired */
	for (uint32_t number = 0; view && number < 4096; number++)
		assert(atomic_load(&view->nexthops[number]) != ptr);
	assert(n_retired < MAX_RETIRED);
	retired[n_retired++] = ptr;
	world_n_retired++;
}

void world_reclaim_limbo(void)
{
	while (n_retired > 0)
		free(retired[--n_retired]);
}

/* --- the gate and the host's addresses -------------------------------------------------------- */

void gate_set4(struct gate *gate, uint32_t first24, uint32_t n, enum sluice_gate_class class)
{
	assert(n > 0 && first24 + n <= 1U << 24);
	memset(classes + first24, class, n);
}

enum sluice_gate_class gate_get4(const struct gate *gate, uint32_t slot24)
{
	return classes[slot24];
}

static struct route *find_gated(const uint8_t *octets, unsigned len)
{
	for (size_t i = 0; i < n_gated; i++) {
		if (gated[i].len == len && memcmp(gated[i].addr.octet, octets, 16) == 0)
			return &gated[i];
	}
	return NULL;
}

int gate_add6(struct gate *gate, const uint8_t addr[16], unsigned len)
{
	assert(!find_gated(addr, len) && n_gated < MAX_GATED);
	memcpy(gated[n_gated].addr.octet, addr, 16);
	gated[n_gated++].len = (uint8_t)len;
	return 0;
}

void gate_delete6(struct gate *gate, const uint8_t addr[16], unsigned len)
{
	struct route *prefix = find_gated(addr, len);

	assert(prefix);
	*prefix = gated[--n_gated];
}

unsigned world_gated6(const struct ip6_addr *addr)
{
	unsigned n = 0;

	for (size_t i = 0; i < n_gated; i++) {
		struct ip6_addr cut = prefix_of(*addr, gated[i].len);

		n += memcmp(&cut, &gated[i].addr, sizeof(cut)) == 0;
	}
	return n;
}

size_t world_n_gated6(void)
{
	return n_gated;
}

bool locals_in_slot24(const struct locals *l, uint32_t slot24)
{
	return locals[slot24];
}

void world_set_local24(uint32_t slot24, bool is_local)
{
	locals[slot24] = is_local;
}

/* --- next hops and a RIB --------------------------------------------------------------------- */

struct rib_world rib_world_new(void)
{
	struct rib_world world = {0};

	world_reset();
	world.view = world_view();
	assert(nexthops_new(world.view, NULL, NULL, &world.nexthops) == 0);
	assert(rib_table_new(world.view, NULL, world.nexthops, NULL, &world.rib) == 0);
	return world;
}

void rib_world_free(struct rib_world *world)
{
	rib_table_free(world->rib);
	nexthops_free(world->nexthops);
	world_reset();
}

void rib_world_turn(struct rib_world *world)
{
	rib_begin_generation(world->rib, ++world->generation);
	rib_reclaim(world->rib, world->generation);
	world_reclaim_limbo();
	while (!rib_repaint(world->rib, clock_now_ns() + NSEC_PER_MSEC))
		;
}

uint16_t rib_world_lookup(const struct rib_world *world, bool is_ip6, const struct ip6_addr *addr)
{
	uint16_t nh;
	be32 addr4;

	if (is_ip6) {
		fib6_lookup_burst(world->view->fib6, addr, &nh, 1);
		return nh;
	}
	memcpy(&addr4, addr->octet, sizeof(addr4));
	fib4_lookup_burst(world->view->fib4, &addr4, &nh, 1);
	return nh;
}
