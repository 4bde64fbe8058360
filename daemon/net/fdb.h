/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The forwarding database of a bridge: MAC address → port. Pure.
 *
 *	hash(mac) ──► two buckets of eight words, a cache line each
 *	word: address << 16 | static << 15 | place of the port + 1      0 = empty
 *
 * A word is replaced by one atomic store, so a lookup needs no lock and nothing is ever retired: it
 * sees an address before or after a change. Two choices of eight at a fill of one half all but
 * never run out of room (Azar et al., "Balanced Allocations", STOC 1994); if they do, the address
 * is not learnt and its frames are flooded, which is counted. The hash is seeded: who chooses the
 * addresses of a network does not choose their buckets.
 *
 * An address goes to its first bucket while that is not nearly full, so that nineteen lookups of
 * twenty read one line; only then to the emptier of the two.
 *
 * Beside each word stands when the address was last seen, in seconds, stored by workers (relaxed,
 * only when it changes: once a second for a busy address).
 *
 * Threads: tables (control/tables.h) adds, moves and removes; workers look up and mark seen. VLAN
 * tags play no part, as in the kernel's bridge with vlan_filtering = 0, its default.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/fib.h"

#define FDB_NO_PORT 0xffff

struct fdb;

/* Room for max_entries at half fill. -ENOMEM. Thread: tables, as all but the next three. */
int fdb_new(const struct fib_pages *pages, uint32_t max_entries, uint64_t seed,
	    struct fdb **ret_fdb);

/* The top octet of its seed, by which its owner tells databases apart. Thread: any. */
uint8_t fdb_tag(const struct fdb *fdb);

/* No worker may be looking up any more. NULL is allowed. */
void fdb_free(struct fdb *fdb);

/* An address and its hash, for one database. */
struct fdb_key {
	uint64_t key;
	uint64_t hash;
};

/* Also has the line fetched on which the address most likely stands. Thread: worker. */
struct fdb_key fdb_key(const struct fdb *fdb, const uint8_t mac[6]);

/* The place of the port behind an address, or FDB_NO_PORT. Thread: worker. */
uint16_t fdb_lookup_key(const struct fdb *fdb, struct fdb_key key);

/* The same, by all its octets. Thread: any. */
uint16_t fdb_lookup(const struct fdb *fdb, const uint8_t mac[6]);

/*
 * A frame with this source came in by `port` in second now_s. True: it was known to be there (or is
 * static, wherever) and is marked as seen. False: new or moved, to be reported. Thread: worker.
 */
bool fdb_saw(struct fdb *fdb, struct fdb_key key, uint16_t port, uint32_t now_s);

/*
 * Learns, moves or (is_static) pins an address. -ENOSPC: both buckets are full, or max_entries
 * reached. -EPERM: it is static and this is not. -EINVAL: all zeroes, the mark of an empty word.
 */
int fdb_put(struct fdb *fdb, const uint8_t mac[6], uint16_t port, bool is_static, uint32_t now_s);

/* -ENOENT. */
int fdb_delete(struct fdb *fdb, const uint8_t mac[6]);

/* Removes what was last seen before second oldest_s, static entries excepted. Returns how many. */
uint32_t fdb_age(struct fdb *fdb, uint32_t oldest_s);

/* Removes all that leads to a port, with `and_static` the static ones too. Returns how many. */
uint32_t fdb_flush_port(struct fdb *fdb, uint16_t port, bool and_static);

struct fdb_entry {
	uint8_t mac[6];
	uint16_t port;
	bool is_static;
	uint32_t seen_s;
};

/* Calls fn for each entry, in no order; stops when it returns false. */
void fdb_for_each(const struct fdb *fdb, bool (*fn)(const struct fdb_entry *entry, void *arg),
		  void *arg);

uint32_t fdb_count(const struct fdb *fdb);
