/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The set of all prefixes of a table. Owned by one table, used by its control thread only. */
#include "net/fib_rib.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

#define NH_MASK      0xffffULL
#define MIN_CAPACITY 16

struct place {
	uint32_t segment;
	uint32_t hash; /* within the segment */
};

/* The finalizer of MurmurHash3: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

static struct place place_of(const struct rib *rib, const uint64_t *words)
{
	uint64_t hash = mix(words[0] & ~NH_MASK);

	for (unsigned i = 1; i < rib->n_words; i++)
		hash = mix(hash ^ words[i]);
	return (struct place){.segment = (uint32_t)(hash >> 56), .hash = (uint32_t)hash};
}

/* Capacities are no powers of two: the hash is scaled, not masked. */
static uint32_t home_of(const struct rib_segment *segment, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * segment->capacity >> 32);
}

static uint32_t next_of(const struct rib_segment *segment, uint32_t i)
{
	return i + 1 == segment->capacity ? 0 : i + 1;
}

static uint64_t *entry_at(const struct rib *rib, const struct rib_segment *segment, uint32_t i)
{
	return segment->words + (size_t)i * rib->n_words;
}

static bool is_free(const uint64_t *entry)
{
	return (entry[0] & NH_MASK) == 0;
}

static bool is_key(const struct rib *rib, const uint64_t *entry, const uint64_t *key)
{
	if ((entry[0] ^ key[0]) & ~NH_MASK)
		return false;
	for (unsigned i = 1; i < rib->n_words; i++) {
		if (entry[i] != key[i])
			return false;
	}
	return true;
}

/* The key's entry, or the free one where it would be; the segment is never full. */
static uint32_t seek(const struct rib *rib, const struct rib_segment *segment, uint32_t hash,
		     const uint64_t *key)
{
	uint32_t i = home_of(segment, hash);
	const uint64_t *entry = entry_at(rib, segment, i);

	while (!is_free(entry) && !is_key(rib, entry, key)) {
		i = next_of(segment, i);
		entry = entry_at(rib, segment, i);
	}
	return i;
}

static int resize(const struct rib *rib, struct rib_segment *segment, uint32_t capacity)
{
	struct rib_segment bigger = {.capacity = capacity, .n_used = segment->n_used};

	bigger.words = calloc(capacity, rib->n_words * sizeof(uint64_t));
	if (!bigger.words)
		return -ENOMEM;
	for (uint32_t i = 0; i < segment->capacity; i++) {
		const uint64_t *from = entry_at(rib, segment, i);
		uint32_t to;

		if (is_free(from))
			continue;
		to = seek(rib, &bigger, place_of(rib, from).hash, from);
		memcpy(entry_at(rib, &bigger, to), from, rib->n_words * sizeof(uint64_t));
	}
	free(segment->words);
	*segment = bigger;
	return 0;
}

void rib_init(struct rib *rib, unsigned n_words)
{
	assert(n_words > 0 && n_words <= RIB_MAX_WORDS);
	*rib = (struct rib){.n_words = n_words};
}

void rib_fini(struct rib *rib)
{
	for (size_t i = 0; i < RIB_SEGMENTS; i++)
		free(rib->segments[i].words);
	*rib = (struct rib){0};
}

uint16_t rib_find(const struct rib *rib, const struct rib_key *key)
{
	struct place place;
	const struct rib_segment *segment;

	if (rib->n_of_len[rib_key_len(key)] == 0)
		return 0;
	place = place_of(rib, key->words);
	segment = &rib->segments[place.segment];
	if (segment->n_used == 0)
		return 0;
	return entry_at(rib, segment, seek(rib, segment, place.hash, key->words))[0] & NH_MASK;
}

int rib_reserve(struct rib *rib, const struct rib_key *key)
{
	struct rib_segment *segment = &rib->segments[place_of(rib, key->words).segment];

	/* Linear probing: at a fill of 7/8 a search that fails looks at 32 entries, five lines. */
	if ((uint64_t)(segment->n_used + 1) * 8 <= (uint64_t)segment->capacity * 7)
		return 0;
	return resize(rib, segment, MAX(segment->capacity + segment->capacity / 4, MIN_CAPACITY));
}

void rib_put(struct rib *rib, const struct rib_key *key, uint16_t nh)
{
	struct place place = place_of(rib, key->words);
	struct rib_segment *segment = &rib->segments[place.segment];
	uint64_t *entry;

	assert(nh != 0 && segment->n_used < segment->capacity);
	entry = entry_at(rib, segment, seek(rib, segment, place.hash, key->words));
	if (is_free(entry)) {
		segment->n_used++;
		rib->n_prefixes++;
		rib->n_of_len[rib_key_len(key)]++;
	}
	memcpy(entry, key->words, rib->n_words * sizeof(uint64_t));
	entry[0] |= nh;
}

/* Closes the hole: entries behind it move up unless that would put them before their home. */
static void close_hole(const struct rib *rib, struct rib_segment *segment, uint32_t hole)
{
	size_t size = rib->n_words * sizeof(uint64_t);
	uint32_t i = hole;

	for (;;) {
		const uint64_t *entry;
		uint32_t home, from_home, from_hole;

		i = next_of(segment, i);
		entry = entry_at(rib, segment, i);
		if (is_free(entry))
			break;
		home = home_of(segment, place_of(rib, entry).hash);
		from_home = i >= home ? i - home : i + segment->capacity - home;
		from_hole = i >= hole ? i - hole : i + segment->capacity - hole;
		if (from_home < from_hole)
			continue;
		memcpy(entry_at(rib, segment, hole), entry, size);
		hole = i;
	}
	memset(entry_at(rib, segment, hole), 0, size);
}

void rib_remove(struct rib *rib, const struct rib_key *key)
{
	struct place place = place_of(rib, key->words);
	struct rib_segment *segment = &rib->segments[place.segment];
	uint32_t i = seek(rib, segment, place.hash, key->words);

	assert(!is_free(entry_at(rib, segment, i)));
	close_hole(rib, segment, i);
	segment->n_used--;
	rib->n_prefixes--;
	rib->n_of_len[rib_key_len(key)]--;
	/* To a fill of a half, so that what comes back does not grow it again at once. Without
	 * memory it stays as large as it is. */
	if (segment->capacity > MIN_CAPACITY && segment->n_used < segment->capacity / 4)
		(void)resize(rib, segment, MAX(segment->n_used * 2, MIN_CAPACITY));
}

size_t rib_bytes(const struct rib *rib)
{
	size_t n_words = 0;

	for (size_t i = 0; i < RIB_SEGMENTS; i++)
		n_words += (size_t)rib->segments[i].capacity * rib->n_words;
	return n_words * sizeof(uint64_t);
}
