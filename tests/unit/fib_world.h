/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests and benchmarks of the forwarding tables: reproducible random numbers, route tables with
 * the length distribution of BGP, and the plainest longest-prefix match there is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/fib.h"
#include "net/wire.h"

struct random {
	uint64_t state;
};

uint64_t random_next(struct random *random);

/* 0 … n − 1 */
static inline uint32_t random_below(struct random *random, uint32_t n)
{
	return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

/* SLUICE_SEED, or the given one; printed, so that a failure can be had again. */
struct random random_seeded(const char *test, uint64_t seed);

/* An IPv4 prefix stands in the first four octets. */
struct route {
	struct ip6_addr addr;
	uint8_t len;
	uint16_t nh;
};

/* The address with all bits behind the prefix cleared. */
struct ip6_addr prefix_of(struct ip6_addr addr, unsigned len);

/* n different routes, shuffled, next hops 1 … n_next_hops. The caller frees. */
struct route *routes_like_bgp4(uint64_t seed, size_t n, uint16_t n_next_hops);
struct route *routes_like_bgp6(uint64_t seed, size_t n, uint16_t n_next_hops);

/* An address in the route's prefix, the other bits random. */
struct ip6_addr route_address(const struct route *route, struct random *random);

#define ORACLE_MAX 512

/* All routes in an array, looked up by looking at each. */
struct oracle {
	size_t n;
	struct oracle_route {
		struct route route;
		uint64_t addr[2];
		uint64_t mask[2];
	} routes[ORACLE_MAX];
};

void oracle_add(struct oracle *oracle, const struct route *route);
bool oracle_delete(struct oracle *oracle, struct ip6_addr addr, unsigned len);
uint16_t oracle_get(const struct oracle *oracle, struct ip6_addr addr, unsigned len);
uint16_t oracle_lookup(const struct oracle *oracle, const struct ip6_addr *dst);

/* util/pages.h; and one that fails when its countdown reaches 0. */
extern const struct fib_pages world_pages;
extern const struct fib_pages world_scarce_pages;
extern int world_pages_left;
extern int world_pages_mapped;

/* After so many more calls calloc() fails once; −1: never. */
extern int world_callocs_left;

/* ThreadSanitizer makes each atomic store of a repainted range a function call. */
#if defined(__SANITIZE_THREAD__)
#define WORLD_SLOWNESS 10
#else
#define WORLD_SLOWNESS 1
#endif

/* Sanitizers keep memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORLD_HAS_OWN_MEMORY false
#else
#define WORLD_HAS_OWN_MEMORY true
#endif

/* SLUICE_FULL: as many as the issue names. */
bool world_is_full(void);
