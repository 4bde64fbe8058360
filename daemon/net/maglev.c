/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filling a Maglev table; see maglev.h.
 *
 * Theory of operation. A member's id gives it a permutation of the table: offset, offset + skip,
 * offset + 2 skip, … modulo a prime. Members take turns, and each takes the next place of its
 * permutation that is still free. With weights, the heaviest has a turn in every round, the others
 * when the rounds so far, times their weight, have reached the heaviest's next turn of theirs
 * (as Envoy does): member i has had round(r × w_i ÷ w_max) turns after r rounds.
 *
 * Turns go by id, so that the order of a configuration does not matter. A member that leaves frees
 * its places; the others' permutations are the same, and most of their places, too.
 */
#include "net/maglev.h"

#include <errno.h>
#include <stdlib.h>

#include "util/macros.h"

struct walker {
	uint64_t id;
	uint64_t credit; /* in weights; a turn costs the greatest weight */
	uint32_t next, skip;
	uint16_t weight, index;
};

/* splitmix64's finaliser: ids that differ in a bit get unlike permutations. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

bool maglev_is_prime(uint32_t n)
{
	if (n < 4)
		return n >= 2;
	if (n % 2 == 0)
		return false;
	for (uint32_t i = 3; (uint64_t)i * i <= n; i += 2)
		if (n % i == 0)
			return false;
	return true;
}

/* By id; of two with the same the first comes first, for qsort() is not stable. */
static int compare(const void *a, const void *b)
{
	const struct walker *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Those with weight, in their order. Returns how many. */
static unsigned place_walkers(const struct maglev_member *members, unsigned n, uint32_t size,
			      struct walker *walkers)
{
	unsigned n_walkers = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!members[i].weight)
			continue;
		walkers[n_walkers++] = (struct walker){
			.id = members[i].id,
			.next = (uint32_t)(mix(members[i].id + 0x9e3779b97f4a7c15) % size),
			/* of a table of two there is only one way round */
			.skip = (uint32_t)(mix(members[i].id ^ 0x6a09e667f3bcc908) % (size - 1)) +
				1,
			.weight = members[i].weight,
			.index = (uint16_t)i,
		};
	}
	qsort(walkers, n_walkers, sizeof(*walkers), compare);
	return n_walkers;
}

static void take_place(struct walker *walker, uint16_t *table, uint32_t size)
{
	uint32_t place = walker->next;

	/* size is a prime: every place is met, and one is free */
	while (table[place] != MAGLEV_NONE)
		place = (uint32_t)(((uint64_t)place + walker->skip) % size);
	table[place] = walker->index;
	walker->next = (uint32_t)(((uint64_t)place + walker->skip) % size);
}

static void fill(struct walker *walkers, unsigned n, uint16_t *table, uint32_t size)
{
	uint32_t n_filled = 0;
	uint16_t heaviest = 0;

	for (unsigned i = 0; i < n; i++)
		heaviest = MAX(heaviest, walkers[i].weight);
	while (n_filled < size) {
		for (unsigned i = 0; i < n && n_filled < size; i++) {
			walkers[i].credit += walkers[i].weight;
			if (walkers[i].credit < heaviest)
				continue;
			walkers[i].credit -= heaviest;
			take_place(&walkers[i], table, size);
			n_filled++;
		}
	}
}

int maglev_fill(const struct maglev_member *members, unsigned n, uint16_t *table, uint32_t size)
{
	_cleanup_free_ struct walker *walkers = NULL;

	if (n >= MAGLEV_NONE || !maglev_is_prime(size))
		return -EINVAL;
	walkers = calloc(n ? n : 1, sizeof(*walkers));
	if (!walkers)
		return -ENOMEM;
	n = place_walkers(members, n, size, walkers);
	for (uint32_t i = 0; i < size; i++)
		table[i] = MAGLEV_NONE;
	if (n)
		fill(walkers, n, table, size);
	return 0;
}
