/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live connections per listener and source, over all acceptors: exact, and bounded by the
 * connections that there can be. A source is an IPv4 address, or the /64 of an IPv6 address, of
 * which a host may have as many as it likes. The hash is seeded, so that clients cannot choose
 * their buckets.
 *
 * Thread: acceptors, at accept and close; a lock per shard, held for a few probes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/wire.h"

struct sources;

/* Room for `max` different sources at least. */
int sources_new(uint32_t max, struct sources **ret_sources);
void sources_free(struct sources *sources);

/* False: `limit` connections of it are there already, or the table is full. */
bool sources_add(struct sources *sources, uint32_t listener, const struct ip_endpoint *source,
		 uint32_t limit);

/* Once for each that sources_add() let in. */
void sources_remove(struct sources *sources, uint32_t listener, const struct ip_endpoint *source);

/* For tests and reports. */
uint32_t sources_count(struct sources *sources);
