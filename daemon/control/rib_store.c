/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes and the hash over them; see rib_store.h. Owns its memory. Thread: tables. */
#include "control/rib_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

/* --- growing arrays of pieces ------------------------------------------------------------------
 */

static int grow_pointers(void *io_pointers, uint32_t n, uint32_t *max)
{
	void **pointers;
	uint32_t more = MAX(*max * 2, 64U);

	if (n < *max)
		return 0;
	memcpy(&pointers, io_pointers, sizeof(pointers));
	pointers = reallocarray(pointers, more, sizeof(*pointers));
	if (!pointers)
		return -ENOMEM;
	memcpy(io_pointers, &pointers, sizeof(pointers));
	*max = more;
	return 0;
}

static int add_chunk(struct rib_store *store)
{
	if (grow_pointers(&store->chunks, store->n_chunks, &store->max_chunks) < 0)
		return -ENOMEM;
	store->chunks[store->n_chunks] = malloc(RIB_CHUNK_NODES * store->node_bytes);
	if (!store->chunks[store->n_chunks])
		return -ENOMEM;
	store->n_chunks++;
	return 0;
}

static int add_piece(struct rib_store *store)
{
	if (grow_pointers(&store->buckets, store->n_pieces, &store->max_pieces) < 0)
		return -ENOMEM;
	store->buckets[store->n_pieces] = calloc(RIB_CHUNK_NODES, sizeof(uint32_t));
	if (!store->buckets[store->n_pieces])
		return -ENOMEM;
	store->n_pieces++;
	return 0;
}

/* --- the hash ----------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

/* Seeded, since who announces routes might choose them to collide. */
static uint32_t hash_of(const struct rib_store *store, const uint32_t *words, uint8_t len)
{
	uint64_t hash = mix(store->seed ^ ((uint64_t)words[0] << 8 | len));

	for (unsigned i = 1; i < store->n_words; i++)
		hash = mix(hash ^ words[i]);
	return (uint32_t)hash;
}

static uint32_t *bucket_at(const struct rib_store *store, uint32_t bucket)
{
	return &store->buckets[bucket / RIB_CHUNK_NODES][bucket % RIB_CHUNK_NODES];
}

static uint32_t *bucket_of(const struct rib_store *store, uint32_t hash)
{
	uint32_t half = round_down_pow2(store->n_buckets), bucket = hash & (2 * half - 1);

	return bucket_at(store, bucket < store->n_buckets ? bucket : hash & (half - 1));
}

static bool is_of_prefix(const struct rib_store *store, const struct rib_node *node,
			 const struct rib_prefix *prefix)
{
	if (node->len != prefix->len || node->addr[0] != prefix->words[0])
		return false;
	for (unsigned i = 1; i < store->n_words; i++) {
		if (node->addr[i] != prefix->words[i])
			return false;
	}
	return true;
}

/* Where the index of the prefix's first node stands, or the 0 that ends its bucket. */
static uint32_t *link_of(const struct rib_store *store, const struct rib_prefix *prefix)
{
	uint32_t *link = bucket_of(store, hash_of(store, prefix->words, prefix->len));

	while (*link) {
		struct rib_node *node = rib_node_at(store, *link);

		if (is_of_prefix(store, node, prefix))
			break;
		link = &node->chain;
	}
	return link;
}

/* One more bucket takes its share of the one that it is the other half of. */
static void split_bucket(struct rib_store *store)
{
	uint32_t half = round_down_pow2(store->n_buckets), added = store->n_buckets;
	uint32_t *from, *to;

	if (added / RIB_CHUNK_NODES >= store->n_pieces && add_piece(store) < 0)
		return; /* chains get longer, that is all */
	from = bucket_at(store, added - half);
	to = bucket_at(store, added);
	while (*from) {
		struct rib_node *node = rib_node_at(store, *from);

		if ((hash_of(store, node->addr, node->len) & (2 * half - 1)) != added) {
			from = &node->chain;
			continue;
		}
		*to = *from;
		*from = node->chain;
		node->chain = 0;
		to = &node->chain;
	}
	store->n_buckets++;
}

uint32_t rib_store_find(const struct rib_store *store, const struct rib_prefix *prefix)
{
	return *link_of(store, prefix);
}

void rib_store_set_head(struct rib_store *store, const struct rib_prefix *prefix, uint32_t index)
{
	uint32_t *link = link_of(store, prefix), old = *link;

	if (old == index)
		return;
	if (!index) {
		*link = rib_node_at(store, old)->chain;
		store->n_prefixes--;
		return;
	}
	rib_node_at(store, index)->chain = old ? rib_node_at(store, old)->chain : 0;
	*link = index;
	if (old)
		return;
	store->n_prefixes++;
	if (store->n_prefixes > store->n_buckets)
		split_bucket(store);
}

/* --- nodes -------------------------------------------------------------------------------------
 */

uint32_t rib_store_new_node(struct rib_store *store, const struct rib_prefix *prefix)
{
	uint32_t index = store->free_node;
	struct rib_node *node;

	if (index) {
		store->free_node = rib_node_at(store, index)->chain;
	} else {
		if (store->n_ever / RIB_CHUNK_NODES >= store->n_chunks && add_chunk(store) < 0)
			return 0;
		index = store->n_ever++;
	}
	store->n_nodes++;
	node = rib_node_at(store, index);
	*node = (struct rib_node){.len = prefix->len};
	memcpy(node->addr, prefix->words, store->n_words * sizeof(uint32_t));
	return index;
}

void rib_store_free_node(struct rib_store *store, uint32_t index)
{
	struct rib_node *node = rib_node_at(store, index);

	node->len = RIB_FREE;
	node->chain = store->free_node;
	store->free_node = index;
	store->n_nodes--;
}

struct rib_prefix rib_prefix_of(const struct rib_store *store, const struct rib_node *node)
{
	struct rib_prefix prefix = {.len = node->len};

	memcpy(prefix.words, node->addr, store->n_words * sizeof(uint32_t));
	return prefix;
}

/* --- life --------------------------------------------------------------------------------------
 */

int rib_store_init(struct rib_store *store, unsigned n_words, uint64_t seed)
{
	*store = (struct rib_store){
		.n_words = n_words,
		.node_bytes = sizeof(struct rib_node) + n_words * sizeof(uint32_t),
		.seed = seed,
		.n_ever = 1,
		.n_buckets = 1,
	};
	if (add_chunk(store) < 0 || add_piece(store) < 0) {
		rib_store_fini(store);
		return -ENOMEM;
	}
	rib_node_at(store, 0)->len = RIB_FREE;
	return 0;
}

void rib_store_fini(struct rib_store *store)
{
	for (uint32_t i = 0; i < store->n_chunks; i++)
		free(store->chunks[i]);
	for (uint32_t i = 0; i < store->n_pieces; i++)
		free(store->buckets[i]);
	free(store->chunks);
	free(store->buckets);
	*store = (struct rib_store){0};
}

size_t rib_store_bytes(const struct rib_store *store)
{
	return (size_t)store->n_chunks * RIB_CHUNK_NODES * store->node_bytes +
	       (size_t)store->n_pieces * RIB_CHUNK_NODES * sizeof(uint32_t) +
	       (store->max_chunks + store->max_pieces) * sizeof(void *);
}
