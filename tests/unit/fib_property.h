/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The property tests that both tables have to stand, written once against this interface. An
 * address is 16 octets, of which IPv4 uses the first four.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/fib.h"
#include "tests/unit/fib_world.h"

struct table_kind {
	const char *name;
	unsigned max_len;
	const uint8_t *lens; /* that are worth special attention */
	size_t n_lens;
	void *(*new)(const struct fib_pages *pages); /* NULL: -ENOMEM */
	void (*free)(void *table);
	int (*add)(void *table, struct ip6_addr addr, unsigned len, uint16_t nh);
	int (*delete)(void *table, struct ip6_addr addr, unsigned len);
	uint16_t (*get)(const void *table, struct ip6_addr addr, unsigned len);
	void (*lookup)(const void *table, const struct ip6_addr *dst, uint16_t *nh, unsigned n);
	void (*begin_generation)(void *table, uint64_t generation);
	void (*reclaim)(void *table, uint64_t oldest_generation_seen);
	void (*stats)(const void *table, struct fib_stats *ret_stats);
};

/*
 * Random changes of a table of overlapping prefixes, and after each of them lookups around the
 * prefixes that there are, compared with the oracle. Changes that the table refuses with -ENOSPC
 * or -EAGAIN must have changed nothing; *ret_n_refused counts them. Ends by deleting everything:
 * when that is reclaimed, the table holds no piece any more.
 */
void property_agrees_with_oracle(const struct table_kind *kind, void *table, struct random *random,
				 size_t n_comparisons, size_t *ret_n_refused);

/* The same table filled and emptied again and again: no piece stays, no more memory is taken. */
void property_leaks_nothing(const struct table_kind *kind, uint64_t seed);

/* Every allocation that new() makes fails once; and the one of an add. */
void property_survives_no_memory(const struct table_kind *kind);

/* -EINVAL and -ENOENT. */
void property_refuses_nonsense(const struct table_kind *kind);

/*
 * Readers during a storm of changes. No lookup gives anything but the next hop of a prefix around
 * its address, nor nothing where there always is one, nor an older next hop after a newer one.
 */
void property_holds_under_readers(const struct table_kind *kind, uint64_t seed, unsigned n_rounds);

/*
 * Times changes of a full table. Prints; more than ten times the goal (10 ms per change, 10,000 a
 * second) is a failure. Generations so far are below n_routes.
 */
void property_changes_are_quick(const struct table_kind *kind, void *table,
				const struct route *routes, size_t n_routes);
