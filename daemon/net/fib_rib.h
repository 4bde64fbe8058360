/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set of all prefixes of a table with their next hops: what a delete asks for the next shorter
 * prefix. Thread: control.
 *
 * A hash with open addressing, in 256 segments that grow by themselves, by a quarter: at a million
 * prefixes a segment is 40 kB, so that no single insertion moves more than that, and the fill is
 * between 0.7 and 0.875 at any size. A prefix is one word (IPv4) or three (IPv6):
 *
 *	word 0    IPv4 address << 32 | length << 16 | next hop      (next hop 0: free)
 *	word 1,2  IPv6 address, host order, left out for IPv4
 *
 * A trie would find the next shorter prefix in one descent, but costs 16 bytes per node and up to
 * two nodes per prefix, which is 20 MiB more than this at 1,000,000.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RIB_SEGMENTS  256
#define RIB_MAX_WORDS 3
#define RIB_MAX_LEN   128

struct rib {
	unsigned n_words;
	size_t n_prefixes;
	uint32_t n_of_len[RIB_MAX_LEN + 1]; /* lengths that nobody uses need no search */
	struct rib_segment {
		uint64_t *words; /* capacity × n_words */
		uint32_t capacity;
		uint32_t n_used;
	} segments[RIB_SEGMENTS];
};

struct rib_key {
	uint64_t words[RIB_MAX_WORDS]; /* with next hop 0 */
};

static inline unsigned rib_key_len(const struct rib_key *key)
{
	return key->words[0] >> 16 & 0xff;
}

void rib_init(struct rib *rib, unsigned n_words);

void rib_fini(struct rib *rib);

/* 0: not in it. */
uint16_t rib_find(const struct rib *rib, const struct rib_key *key);

/* Makes room, so that rib_put() of this key cannot fail. -ENOMEM. */
int rib_reserve(struct rib *rib, const struct rib_key *key);

/* Inserts, or replaces the next hop. */
void rib_put(struct rib *rib, const struct rib_key *key, uint16_t nh);

/* The prefix must be in it. */
void rib_remove(struct rib *rib, const struct rib_key *key);

size_t rib_bytes(const struct rib *rib);
