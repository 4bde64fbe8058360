/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route tables, random numbers and an oracle for the forwarding tables. Single-threaded. */
#include "tests/unit/fib_world.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"
#include "util/pages.h"

/* --- random numbers ----------------------------------------------------------------------------
 */

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): any state is a good one. */
uint64_t random_next(struct random *random)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

struct random random_seeded(const char *test, uint64_t seed)
{
	const char *wanted = getenv("SLUICE_SEED");

	if (wanted)
		seed = strtoull(wanted, NULL, 0);
	printf("%s: SLUICE_SEED=%" PRIu64 "\n", test, seed);
	return (struct random){seed};
}

bool world_is_full(void)
{
	return getenv("SLUICE_FULL") != NULL;
}

/* --- prefixes ----------------------------------------------------------------------------------
 */

static uint64_t mask_half(unsigned len, unsigned half)
{
	unsigned skip = 64 * half;

	if (len <= skip)
		return 0;
	return len - skip >= 64 ? UINT64_MAX : ~(UINT64_MAX >> (len - skip));
}

static void halves_of(const struct ip6_addr *addr, uint64_t *ret_halves)
{
	memcpy(ret_halves, addr->octet, 16);
	ret_halves[0] = be64toh(ret_halves[0]);
	ret_halves[1] = be64toh(ret_halves[1]);
}

static struct ip6_addr addr_of(uint64_t high, uint64_t low)
{
	const uint64_t be[2] = {htobe64(high), htobe64(low)};
	struct ip6_addr addr;

	memcpy(addr.octet, be, sizeof(be));
	return addr;
}

struct ip6_addr prefix_of(struct ip6_addr addr, unsigned len)
{
	uint64_t halves[2];

	halves_of(&addr, halves);
	return addr_of(halves[0] & mask_half(len, 0), halves[1] & mask_half(len, 1));
}

static struct ip6_addr with_random_tail(struct ip6_addr addr, unsigned len, struct random *random)
{
	uint64_t halves[2];

	halves_of(&addr, halves);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t mask = mask_half(len, i);

		halves[i] = (halves[i] & mask) | (random_next(random) & ~mask);
	}
	return addr_of(halves[0], halves[1]);
}

struct ip6_addr route_address(const struct route *route, struct random *random)
{
	return with_random_tail(route->addr, route->len, random);
}

/* --- tables like those of BGP ------------------------------------------------------------------
 */

/* Ten-thousandths of the table, by length; the rest goes to `most`. */
struct share {
	uint8_t len;
	uint16_t share;
};

/* After the CIDR report and RIPE RIS, 2024; longer than /24 stands for a network's own routes. */
static const struct share shares4[] = {
	{8, 1},    {9, 1},   {10, 1},   {11, 1},   {12, 3},   {13, 6},   {14, 12},   {15, 20},
	{16, 140}, {17, 85}, {18, 140}, {19, 250}, {20, 450}, {21, 520}, {22, 1100}, {23, 980},
	{25, 3},   {26, 4},  {27, 4},   {28, 4},   {29, 5},   {30, 5},   {31, 2},    {32, 10},
};

static const struct share shares6[] = {
	{20, 5},   {22, 5},   {24, 15},   {25, 3},   {26, 5},   {27, 5},   {28, 70},   {29, 210},
	{30, 50},  {31, 30},  {32, 1120}, {33, 130}, {34, 120}, {35, 80},  {36, 440},  {37, 50},
	{38, 140}, {39, 50},  {40, 950},  {41, 60},  {42, 320}, {43, 90},  {44, 1050}, {45, 180},
	{46, 440}, {47, 320}, {56, 50},   {64, 60},  {127, 5},  {128, 20},
};

/* What the registries give out of: a prefix of a table lies in one of these. */
static const struct {
	uint16_t high;
	uint8_t len;
} blocks6[] = {{0x2001, 16}, {0x2400, 12}, {0x2600, 12}, {0x2800, 12}, {0x2a00, 12}, {0x2c00, 12}};

struct family {
	const struct share *shares;
	size_t n_shares;
	uint8_t most;        /* the length that takes the rest */
	uint8_t parents_min; /* a longer prefix mostly lies within one of these lengths … */
	uint8_t parents_max; /* … that is there already */
	unsigned percent_inside;
	struct ip6_addr (*draw)(struct random *random);
};

static struct ip6_addr draw4(struct random *random)
{
	/* 1.0.0.0 … 223.255.255.255 */
	uint64_t high = (uint64_t)(1 + random_below(random, 223)) << 56;

	return addr_of(high | random_next(random) >> 8, random_next(random));
}

static struct ip6_addr draw6(struct random *random)
{
	unsigned i = random_below(random, ARRAY_SIZE(blocks6));

	return with_random_tail(addr_of((uint64_t)blocks6[i].high << 48, 0), blocks6[i].len,
				random);
}

static const struct family family4 = {
	.shares = shares4,
	.n_shares = ARRAY_SIZE(shares4),
	.most = 24,
	.parents_min = 12,
	.parents_max = 20,
	.percent_inside = 75,
	.draw = draw4,
};
static const struct family family6 = {
	.shares = shares6,
	.n_shares = ARRAY_SIZE(shares6),
	.most = 48,
	.parents_min = 28,
	.parents_max = 32,
	.percent_inside = 90,
	.draw = draw6,
};

static int compare_routes(const void *a, const void *b)
{
	const struct route *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->addr.octet, y->addr.octet, sizeof(x->addr.octet));
}

static size_t sort_unique(struct route *routes, size_t n)
{
	size_t n_kept = 0;

	qsort(routes, n, sizeof(*routes), compare_routes);
	for (size_t i = 0; i < n; i++) {
		if (n_kept == 0 || compare_routes(&routes[i], &routes[n_kept - 1]) != 0)
			routes[n_kept++] = routes[i];
	}
	return n_kept;
}

/* `want` different prefixes of a length behind the n_before shorter ones; returns how many. */
static size_t draw_length(const struct family *family, struct random *random, uint8_t len,
			  size_t want, struct route *routes, size_t n_before)
{
	size_t first_parent = n_before, n_parents = 0, n = 0;

	for (size_t i = 0; i < n_before; i++) {
		if (routes[i].len < family->parents_min || routes[i].len > family->parents_max ||
		    routes[i].len >= len)
			continue;
		first_parent = MIN(first_parent, i);
		n_parents++;
	}
	for (unsigned round = 0; n < want && round < 1000; round++) {
		for (size_t i = n_before + n; i < n_before + want; i++) {
			struct ip6_addr addr = family->draw(random);

			if (n_parents > 0 && random_below(random, 100) < family->percent_inside)
				addr = route_address(
					&routes[first_parent +
						random_below(random, (uint32_t)n_parents)],
					random);
			routes[i] = (struct route){.addr = prefix_of(addr, len), .len = len};
		}
		n = sort_unique(routes + n_before, want);
	}
	return n;
}

static void shuffle(struct route *routes, size_t n, struct random *random)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = random_below(random, (uint32_t)i);
		struct route swap = routes[i - 1];

		routes[i - 1] = routes[j];
		routes[j] = swap;
	}
}

static struct route *draw_table(const struct family *family, uint64_t seed, size_t n,
				uint16_t n_next_hops)
{
	struct random random = {seed};
	struct route *routes = calloc(n, sizeof(*routes));
	size_t n_most = n, n_routes = 0, i = 0;

	assert(routes);
	for (size_t s = 0; s < family->n_shares; s++)
		n_most -= n * family->shares[s].share / 10000;
	/* shorter ones first, since they are parents */
	for (unsigned len = 0; len <= 128; len++) {
		size_t want = len == family->most ? n_most : 0;

		if (i < family->n_shares && family->shares[i].len == len)
			want = n * family->shares[i++].share / 10000;
		if (want > 0)
			n_routes +=
				draw_length(family, &random, (uint8_t)len, want, routes, n_routes);
	}
	assert(n_routes == n);
	for (size_t r = 0; r < n; r++)
		routes[r].nh = (uint16_t)(1 + random_below(&random, n_next_hops));
	shuffle(routes, n, &random);
	return routes;
}

struct route *routes_like_bgp4(uint64_t seed, size_t n, uint16_t n_next_hops)
{
	return draw_table(&family4, seed, n, n_next_hops);
}

struct route *routes_like_bgp6(uint64_t seed, size_t n, uint16_t n_next_hops)
{
	return draw_table(&family6, seed, n, n_next_hops);
}

/* --- the oracle --------------------------------------------------------------------------------
 */

static struct oracle_route *oracle_find(struct oracle *oracle, struct ip6_addr addr, unsigned len)
{
	for (size_t i = 0; i < oracle->n; i++) {
		struct oracle_route *route = &oracle->routes[i];

		if (route->route.len == len &&
		    memcmp(route->route.addr.octet, addr.octet, sizeof(addr.octet)) == 0)
			return route;
	}
	return NULL;
}

void oracle_add(struct oracle *oracle, const struct route *route)
{
	struct oracle_route *entry = oracle_find(oracle, route->addr, route->len);

	if (!entry) {
		assert(oracle->n < ORACLE_MAX);
		entry = &oracle->routes[oracle->n++];
	}
	entry->route = *route;
	halves_of(&route->addr, entry->addr);
	entry->mask[0] = mask_half(route->len, 0);
	entry->mask[1] = mask_half(route->len, 1);
}

bool oracle_delete(struct oracle *oracle, struct ip6_addr addr, unsigned len)
{
	struct oracle_route *entry = oracle_find(oracle, addr, len);

	if (!entry)
		return false;
	*entry = oracle->routes[--oracle->n];
	return true;
}

uint16_t oracle_get(const struct oracle *oracle, struct ip6_addr addr, unsigned len)
{
	for (size_t i = 0; i < oracle->n; i++) {
		const struct route *route = &oracle->routes[i].route;

		if (route->len == len &&
		    memcmp(route->addr.octet, addr.octet, sizeof(addr.octet)) == 0)
			return route->nh;
	}
	return FIB_NO_ROUTE;
}

uint16_t oracle_lookup(const struct oracle *oracle, const struct ip6_addr *dst)
{
	uint64_t halves[2];
	uint16_t nh = FIB_NO_ROUTE;
	int longest = -1;

	halves_of(dst, halves);
	for (size_t i = 0; i < oracle->n; i++) {
		const struct oracle_route *entry = &oracle->routes[i];

		if ((int)entry->route.len <= longest ||
		    ((halves[0] ^ entry->addr[0]) & entry->mask[0]) != 0 ||
		    ((halves[1] ^ entry->addr[1]) & entry->mask[1]) != 0)
			continue;
		longest = entry->route.len;
		nh = entry->route.nh;
	}
	return nh;
}

/* --- memory ------------------------------------------------------------------------------------
 */

int world_pages_left;
int world_pages_mapped;
int world_callocs_left = -1;

static void *scarce_map(size_t size_bytes)
{
	if (world_pages_left == 0)
		return NULL;
	world_pages_left--;
	world_pages_mapped++;
	return pages_map(size_bytes);
}

static void scarce_unmap(void *area, size_t size_bytes)
{
	world_pages_mapped--;
	pages_unmap(area, size_bytes);
}

const struct fib_pages world_pages = {.map = pages_map, .unmap = pages_unmap};
const struct fib_pages world_scarce_pages = {.map = scarce_map, .unmap = scarce_unmap};

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

/* Linked with --wrap=calloc. */
void *__wrap_calloc(size_t n, size_t size)
{
	if (world_callocs_left == 0) {
		world_callocs_left = -1;
		return NULL;
	}
	if (world_callocs_left > 0)
		world_callocs_left--;
	return __real_calloc(n, size);
}
