/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Routes of one family in little memory: nodes of 28 (IPv4) or 40 bytes in chunks, named by index,
 * and a hash from a prefix to the first of its routes, 4 bytes per prefix. The hash grows by one
 * bucket per prefix (linear hashing: Litwin, VLDB 1980), so that no change ever pays for a table
 * that doubles. Chunks do not move: a pass over all nodes is a pass over an array.
 *
 * Thread: tables.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIB_CHUNK_NODES 4096U
#define RIB_FREE        0xff /* rib_node.len */

/* Host order, bits behind the prefix 0; IPv4 uses the first word. */
struct rib_prefix {
	uint32_t words[4];
	uint8_t len;
};

struct rib_node {
	uint32_t chain; /* next prefix of the bucket; of a free node, the next free one */
	uint32_t next;  /* next route of the prefix */
	uint32_t metric;
	uint16_t nh; /* counted in nexthops */
	uint16_t identity;
	uint16_t mark; /* of the sync that saw it last */
	uint8_t len;
	uint8_t type;
	uint8_t protocol;
	uint8_t tos;
	uint8_t flags;  /* RIB_NODE_* */
	uint8_t prefix; /* RIB_PREFIX_*, of the first of the prefix */
	uint32_t addr[];
};

/* Index 0 is none. */
struct rib_store {
	unsigned n_words; /* of an address */
	size_t node_bytes;
	uint64_t seed;
	char **chunks;
	uint32_t n_chunks, max_chunks;
	uint32_t n_ever; /* nodes ever used, the 0th included */
	uint32_t free_node;
	uint32_t n_nodes;

	uint32_t **buckets; /* pieces of RIB_CHUNK_NODES heads */
	uint32_t n_buckets, n_pieces, max_pieces;
	uint32_t n_prefixes;
};

int rib_store_init(struct rib_store *store, unsigned n_words, uint64_t seed);
void rib_store_fini(struct rib_store *store);

static inline struct rib_node *rib_node_at(const struct rib_store *store, uint32_t index)
{
	return (struct rib_node *)(void *)(store->chunks[index / RIB_CHUNK_NODES] +
					   index % RIB_CHUNK_NODES * store->node_bytes);
}

/* A node with the prefix filled in, in no list; 0: no memory. */
uint32_t rib_store_new_node(struct rib_store *store, const struct rib_prefix *prefix);
void rib_store_free_node(struct rib_store *store, uint32_t index);

/* The first route of a prefix, or 0. */
uint32_t rib_store_find(const struct rib_store *store, const struct rib_prefix *prefix);

/* Another node, or the first one, or (0) none becomes the first route of a prefix. */
void rib_store_set_head(struct rib_store *store, const struct rib_prefix *prefix, uint32_t index);

struct rib_prefix rib_prefix_of(const struct rib_store *store, const struct rib_node *node);
size_t rib_store_bytes(const struct rib_store *store);
