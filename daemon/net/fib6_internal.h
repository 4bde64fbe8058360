/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IPv6 table as its two halves see it: changes (fib6.c, control) and lookups (fib6_lookup.c,
 * workers). Inside of net/fib6*.c only.
 */
#pragma once

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net/fib6.h"
#include "net/fib6_node.h"
#include "net/fib_limbo.h"
#include "net/fib_rib.h"
#include "net/fib_top.h"
#include "util/macros.h"

#define FIB6_ROOT_BITS 24U
#define FIB6_N_ROOT    (1U << FIB6_ROOT_BITS)
/* The root is committed in pieces of this size. */
#define FIB6_PIECE_SLOTS (FIB6_N_ROOT / 32)
/* In root_lens: below the slot there may be empty nodes or buckets. */
#define FIB6_UNTIDY 0x80U

typedef void (*fib6_lookup_fn)(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			       unsigned n);

struct fib6 {
	/* r: workers */
	_Atomic uint32_t *root; /* next hop, or FIB6_CHILD | node; 0: as top says */
	struct fib6_pool pool;  /* r: base */
	_Atomic uint32_t n_changes;
	fib6_lookup_fn lookup;
	struct fib_top top;

	/* control only */
	uint8_t *root_lens CACHE_ALIGNED; /* length, 8 … 24, of the prefix that rules the slot, or
					     0; FIB6_UNTIDY */
	uint32_t pieces_touched;          /* of the root, one bit each */
	uint32_t pieces_untidy;           /* with slots that are */
	struct fib_limbo limbo;
	struct rib rib;
	const struct fib_pages *pages;
};

static inline uint32_t fib6_root_index(const struct ip6_addr *addr)
{
	uint32_t be;

	memcpy(&be, addr->octet, sizeof(be));
	return be32toh(be) >> (32 - FIB6_ROOT_BITS);
}

/* Takes out what deletes had to leave, as far as it can be retired: net/fib6_tidy.c. */
void fib6_tidy(struct fib6 *fib);

/* The empty node or bucket where this address ends, and what is empty then. False: no room. */
bool fib6_take_out_empty(struct fib6 *fib, const struct ip6_addr *addr);

/* The fastest that this processor can run. */
fib6_lookup_fn fib6_choose_lookup(void);

/* What any processor can run. */
void fib6_lookup_portable(const struct fib6 *fib, const struct ip6_addr *dst, uint16_t *nh,
			  unsigned n);
