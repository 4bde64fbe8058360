/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The forwarding database of a bridge; see fdb.h. */
#include "net/fdb.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

#define WORDS_PER_BUCKET 8
/* So many in the first bucket of an address, and the second one is considered. */
#define NEARLY_FULL 6

#define PORT_BITS  0x7fffULL
#define STATIC_BIT 0x8000ULL
#define MAC_SHIFT  16

/* No address has this as its 48 bits, and 0 is an empty word's. */
#define NOT_FOUND 0

struct bucket {
	_Atomic uint64_t words[WORDS_PER_BUCKET]; /* w: tables, r: workers */
} CACHE_ALIGNED;

struct fdb {
	/* constant */
	struct bucket *buckets;
	_Atomic uint32_t *seen_s; /* of word i of bucket b: [8b + i]. w: workers and tables */
	uint32_t mask;            /* of bucket numbers */
	uint32_t max_entries;
	uint64_t seed;
	struct fib_pages pages;
	/* w, r: tables */
	uint32_t n_entries;
};

_Static_assert(sizeof(struct bucket) == CACHE_LINE_BYTES, "a line each");

static size_t bytes_of(uint32_t n_buckets)
{
	return n_buckets * (sizeof(struct bucket) + WORDS_PER_BUCKET * sizeof(uint32_t));
}

int fdb_new(const struct fib_pages *pages, uint32_t max_entries, uint64_t seed,
	    struct fdb **ret_fdb)
{
	uint32_t n_buckets = 2;
	struct fdb *fdb;

	while ((uint64_t)n_buckets * WORDS_PER_BUCKET < 2ULL * max_entries)
		n_buckets *= 2;
	fdb = calloc(1, sizeof(*fdb));
	if (!fdb)
		return -ENOMEM;
	fdb->buckets = pages->map(bytes_of(n_buckets));
	if (!fdb->buckets) {
		free(fdb);
		return -ENOMEM;
	}
	fdb->seen_s = (_Atomic uint32_t *)(fdb->buckets + n_buckets);
	fdb->mask = n_buckets - 1;
	fdb->max_entries = max_entries;
	fdb->seed = seed;
	fdb->pages = *pages;
	*ret_fdb = fdb;
	return 0;
}

uint8_t fdb_tag(const struct fdb *fdb)
{
	return (uint8_t)(fdb->seed >> 56);
}

void fdb_free(struct fdb *fdb)
{
	if (!fdb)
		return;
	fdb->pages.unmap(fdb->buckets, bytes_of(fdb->mask + 1));
	free(fdb);
}

/* --- where an address may stand --------------------------------------------------------------- */

/* 48 bits, in whatever order two loads give. */
static inline uint64_t key_of(const uint8_t mac[6])
{
	uint32_t first;
	uint16_t last;

	memcpy(&first, mac, sizeof(first));
	memcpy(&last, mac + sizeof(first), sizeof(last));
	return (uint64_t)last << 32 | first;
}

static void mac_of(uint64_t key, uint8_t ret_mac[6])
{
	uint32_t first = (uint32_t)key;
	uint16_t last = (uint16_t)(key >> 32);

	memcpy(ret_mac, &first, sizeof(first));
	memcpy(ret_mac + sizeof(first), &last, sizeof(last));
}

/* The finalizer of splitmix64: each bit of the key moves half of the bits of either number. */
static inline uint64_t hash_of(const struct fdb *fdb, uint64_t key)
{
	uint64_t hash = (key ^ fdb->seed) * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
	return hash ^ hash >> 27;
}

static inline uint32_t first_of(const struct fdb *fdb, uint64_t hash)
{
	return (uint32_t)hash & fdb->mask;
}

static inline uint32_t second_of(const struct fdb *fdb, uint64_t hash)
{
	uint32_t second = (uint32_t)(hash >> 32) & fdb->mask;

	return second == first_of(fdb, hash) ? second ^ 1 : second;
}

/*
 * The word of a key in one bucket and its number, or NOT_FOUND. All eight are looked at without a
 * branch: where an address stands cannot be predicted. An address that is moved to another word of
 * its bucket in this moment may be seen twice or not at all: both is before or after.
 */
static inline uint64_t find_in(const struct fdb *fdb, uint32_t bucket, uint64_t key,
			       uint32_t *ret_place)
{
	const _Atomic uint64_t *words = fdb->buckets[bucket].words;
	uint64_t found = NOT_FOUND;
	uint32_t place = 0;

#pragma GCC unroll 8
	for (uint32_t i = 0; i < WORDS_PER_BUCKET; i++) {
		uint64_t word = atomic_load_explicit(&words[i], memory_order_relaxed);
		bool is_it = word >> MAC_SHIFT == key;

		found = is_it ? word : found;
		place = is_it ? i : place;
	}
	*ret_place = bucket * WORDS_PER_BUCKET + place;
	return found;
}

static inline uint64_t find(const struct fdb *fdb, struct fdb_key key, uint32_t *ret_place)
{
	uint64_t word = find_in(fdb, first_of(fdb, key.hash), key.key, ret_place);

	if (likely(word != NOT_FOUND))
		return word;
	return find_in(fdb, second_of(fdb, key.hash), key.key, ret_place);
}

static inline struct fdb_key hashed(const struct fdb *fdb, const uint8_t mac[6])
{
	uint64_t key = key_of(mac);

	return (struct fdb_key){.key = key, .hash = hash_of(fdb, key)};
}

/* Of an empty word: FDB_NO_PORT. */
static inline uint16_t port_of(uint64_t word)
{
	return (uint16_t)((word & PORT_BITS) - 1);
}

static uint64_t word_of(uint64_t key, uint16_t port, bool is_static)
{
	return key << MAC_SHIFT | (is_static ? STATIC_BIT : 0) | (uint64_t)(port + 1);
}

/* --- workers ---------------------------------------------------------------------------------- */

struct fdb_key fdb_key(const struct fdb *fdb, const uint8_t mac[6])
{
	struct fdb_key key = hashed(fdb, mac);

	__builtin_prefetch(&fdb->buckets[first_of(fdb, key.hash)]);
	return key;
}

uint16_t fdb_lookup_key(const struct fdb *fdb, struct fdb_key key)
{
	uint32_t place;

	return port_of(find(fdb, key, &place));
}

uint16_t fdb_lookup(const struct fdb *fdb, const uint8_t mac[6])
{
	return fdb_lookup_key(fdb, hashed(fdb, mac));
}

bool fdb_saw(struct fdb *fdb, struct fdb_key key, uint16_t port, uint32_t now_s)
{
	uint32_t place;
	uint64_t word = find(fdb, key, &place);

	if (unlikely(port_of(word) != port && !(word & STATIC_BIT)))
		return false;
	/* If the word changes hands in between, the new address lives up to a second longer. */
	if (atomic_load_explicit(&fdb->seen_s[place], memory_order_relaxed) != now_s)
		atomic_store_explicit(&fdb->seen_s[place], now_s, memory_order_relaxed);
	return true;
}

/* --- tables ----------------------------------------------------------------------------------- */

static _Atomic uint64_t *word_at(const struct fdb *fdb, uint32_t place)
{
	return &fdb->buckets[place / WORDS_PER_BUCKET].words[place % WORDS_PER_BUCKET];
}

static uint64_t load_at(const struct fdb *fdb, uint32_t place)
{
	return atomic_load_explicit(word_at(fdb, place), memory_order_relaxed);
}

static uint32_t n_places(const struct fdb *fdb)
{
	return (fdb->mask + 1) * WORDS_PER_BUCKET;
}

static void clear_at(struct fdb *fdb, uint32_t place)
{
	atomic_store_explicit(word_at(fdb, place), NOT_FOUND, memory_order_relaxed);
	fdb->n_entries--;
}

/* How many words are taken, and (if there is one) an empty one. */
static uint32_t fill_of(const struct fdb *fdb, uint32_t bucket, uint32_t *ret_empty)
{
	uint32_t n = 0;

	for (uint32_t i = WORDS_PER_BUCKET; i-- > 0;) {
		uint32_t place = bucket * WORDS_PER_BUCKET + i;

		if (load_at(fdb, place) == NOT_FOUND)
			*ret_empty = place;
		else
			n++;
	}
	return n;
}

static int find_room(const struct fdb *fdb, uint64_t hash, uint32_t *ret_place)
{
	uint32_t first = 0, second = 0, n_first, n_second;

	n_first = fill_of(fdb, first_of(fdb, hash), &first);
	n_second = fill_of(fdb, second_of(fdb, hash), &second);
	if (n_first < NEARLY_FULL || n_first <= n_second) {
		if (n_first == WORDS_PER_BUCKET)
			return -ENOSPC;
		*ret_place = first;
	} else {
		*ret_place = second;
	}
	return 0;
}

int fdb_put(struct fdb *fdb, const uint8_t mac[6], uint16_t port, bool is_static, uint32_t now_s)
{
	struct fdb_key key = hashed(fdb, mac);
	uint32_t place;
	uint64_t word;

	if (key.key == 0)
		return -EINVAL;
	word = find(fdb, key, &place);
	if (word == NOT_FOUND) {
		int r = fdb->n_entries < fdb->max_entries ? find_room(fdb, key.hash, &place) :
							    -ENOSPC;

		if (r < 0)
			return r;
		fdb->n_entries++;
	} else if ((word & STATIC_BIT) && !is_static) {
		return -EPERM;
	}
	atomic_store_explicit(&fdb->seen_s[place], now_s, memory_order_relaxed);
	atomic_store_explicit(word_at(fdb, place), word_of(key.key, port, is_static),
			      memory_order_relaxed);
	return 0;
}

int fdb_delete(struct fdb *fdb, const uint8_t mac[6])
{
	uint32_t place;

	if (find(fdb, hashed(fdb, mac), &place) == NOT_FOUND)
		return -ENOENT;
	clear_at(fdb, place);
	return 0;
}

uint32_t fdb_age(struct fdb *fdb, uint32_t oldest_s)
{
	uint32_t n = 0;

	for (uint32_t place = 0; place < n_places(fdb); place++) {
		uint64_t word = load_at(fdb, place);

		if (word == NOT_FOUND || (word & STATIC_BIT) ||
		    atomic_load_explicit(&fdb->seen_s[place], memory_order_relaxed) >= oldest_s)
			continue;
		clear_at(fdb, place);
		n++;
	}
	return n;
}

uint32_t fdb_flush_port(struct fdb *fdb, uint16_t port, bool and_static)
{
	uint32_t n = 0;

	for (uint32_t place = 0; place < n_places(fdb); place++) {
		uint64_t word = load_at(fdb, place);

		if (port_of(word) != port || ((word & STATIC_BIT) && !and_static))
			continue;
		clear_at(fdb, place);
		n++;
	}
	return n;
}

static struct fdb_entry entry_of(const struct fdb *fdb, uint32_t place, uint64_t word)
{
	struct fdb_entry entry = {
		.port = port_of(word),
		.is_static = word & STATIC_BIT,
		.seen_s = atomic_load_explicit(&fdb->seen_s[place], memory_order_relaxed),
	};

	mac_of(word >> MAC_SHIFT, entry.mac);
	return entry;
}

void fdb_for_each(const struct fdb *fdb, bool (*fn)(const struct fdb_entry *entry, void *arg),
		  void *arg)
{
	for (uint32_t place = 0; place < n_places(fdb); place++) {
		uint64_t word = load_at(fdb, place);
		struct fdb_entry entry;

		if (word == NOT_FOUND)
			continue;
		entry = entry_of(fdb, place, word);
		if (!fn(&entry, arg))
			return;
	}
}

uint32_t fdb_count(const struct fdb *fdb)
{
	return fdb->n_entries;
}
