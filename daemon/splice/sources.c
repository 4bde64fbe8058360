/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open addressing with linear probing; a removal closes the gap, so that there are no tombstones.
 */
#include "splice/sources.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/macros.h"

#define N_SHARDS 16

struct entry {
	struct ip6_addr addr;
	uint32_t listener;
	uint32_t n; /* 0 = free */
	uint8_t family;
};

struct shard {
	pthread_mutex_t lock;
	struct entry *entries;
	uint32_t n_used;
} CACHE_ALIGNED;

struct sources {
	struct shard shards[N_SHARDS];
	uint64_t seed[2];
	uint32_t mask; /* of a shard's entries */
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

static uint64_t hash_of(const struct sources *sources, const struct entry *key)
{
	uint64_t words[2];

	memcpy(words, key->addr.octet, sizeof(words));
	return mix(mix(mix(words[0] ^ sources->seed[0]) + words[1]) ^
		   (key->listener + ((uint64_t)key->family << 32)) ^ sources->seed[1]);
}

static struct entry key_of(uint32_t listener, const struct ip_endpoint *source)
{
	struct entry key = {.listener = listener, .family = source->family};

	memcpy(key.addr.octet, source->addr.octet, source->family == 6 ? 8 : 4);
	return key;
}

static bool is_same(const struct entry *a, const struct entry *b)
{
	return a->listener == b->listener && a->family == b->family &&
	       memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

int sources_new(uint32_t max, struct sources **ret_sources)
{
	struct sources *sources;
	uint32_t n = 64;

	/* Twice the even share: a shard that gets more than its part still has room. */
	while (n < (1u << 26) && n < 4 * (max / N_SHARDS + 1))
		n *= 2;
	sources = aligned_alloc(CACHE_LINE_BYTES, sizeof(*sources));
	if (!sources)
		return -ENOMEM;
	memset(sources, 0, sizeof(*sources));
	sources->mask = n - 1;
	for (unsigned i = 0; i < N_SHARDS; i++)
		pthread_mutex_init(&sources->shards[i].lock, NULL);
	for (unsigned i = 0; i < N_SHARDS; i++) {
		sources->shards[i].entries = calloc(n, sizeof(struct entry));
		if (!sources->shards[i].entries) {
			sources_free(sources);
			return -ENOMEM;
		}
	}
	if (getrandom(sources->seed, sizeof(sources->seed), 0) != sizeof(sources->seed)) {
		sources_free(sources);
		return -EIO;
	}
	*ret_sources = sources;
	return 0;
}

void sources_free(struct sources *sources)
{
	if (!sources)
		return;
	for (unsigned i = 0; i < N_SHARDS; i++) {
		pthread_mutex_destroy(&sources->shards[i].lock);
		free(sources->shards[i].entries);
	}
	free(sources);
}

/* Where it is, or the free place where it would be. There is always a free one. */
static uint32_t find(const struct sources *sources, const struct shard *shard,
		     const struct entry *key, uint64_t hash)
{
	uint32_t i = (uint32_t)(hash >> 8) & sources->mask;

	while (shard->entries[i].n && !is_same(&shard->entries[i], key))
		i = (i + 1) & sources->mask;
	return i;
}

bool sources_add(struct sources *sources, uint32_t listener, const struct ip_endpoint *source,
		 uint32_t limit)
{
	struct entry key = key_of(listener, source);
	uint64_t hash = hash_of(sources, &key);
	struct shard *shard = &sources->shards[hash % N_SHARDS];
	struct entry *entry;
	bool is_let_in = false;

	pthread_mutex_lock(&shard->lock);
	entry = &shard->entries[find(sources, shard, &key, hash)];
	if (entry->n == 0 && limit > 0 && shard->n_used < sources->mask / 4 * 3) {
		*entry = key;
		shard->n_used++;
		entry->n = 1;
		is_let_in = true;
	} else if (entry->n > 0 && entry->n < limit) {
		entry->n++;
		is_let_in = true;
	}
	pthread_mutex_unlock(&shard->lock);
	return is_let_in;
}

/* Entries behind the gap that would be found sooner from their own place move into it. */
static void close_gap(const struct sources *sources, struct shard *shard, uint32_t gap)
{
	for (uint32_t i = (gap + 1) & sources->mask; shard->entries[i].n;
	     i = (i + 1) & sources->mask) {
		uint32_t home = (uint32_t)(hash_of(sources, &shard->entries[i]) >> 8);

		if (((i - home) & sources->mask) < ((i - gap) & sources->mask))
			continue;
		shard->entries[gap] = shard->entries[i];
		gap = i;
	}
	shard->entries[gap].n = 0;
}

void sources_remove(struct sources *sources, uint32_t listener, const struct ip_endpoint *source)
{
	struct entry key = key_of(listener, source);
	uint64_t hash = hash_of(sources, &key);
	struct shard *shard = &sources->shards[hash % N_SHARDS];
	uint32_t i;

	pthread_mutex_lock(&shard->lock);
	i = find(sources, shard, &key, hash);
	if (shard->entries[i].n && --shard->entries[i].n == 0) {
		close_gap(sources, shard, i);
		shard->n_used--;
	}
	pthread_mutex_unlock(&shard->lock);
}

uint32_t sources_count(struct sources *sources)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < N_SHARDS; i++) {
		pthread_mutex_lock(&sources->shards[i].lock);
		n += sources->shards[i].n_used;
		pthread_mutex_unlock(&sources->shards[i].lock);
	}
	return n;
}
