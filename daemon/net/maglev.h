/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maglev hashing (Eisenbud et al., NSDI 2016 §3.4) with weights: a table from hash to member, in
 * which a member that comes or goes moves little but its own share. Pure; shared with a later L4
 * plane.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MAGLEV_NONE 0xffff

struct maglev_member {
	uint64_t id;     /* stable: hash of name and address */
	uint16_t weight; /* 0 = no share */
};

/* Fills table[size], size a prime ≥ 100 × members for an even share; MAGLEV_NONE throughout if
 * nobody has weight. -EINVAL: size is no prime. -ENOMEM. */
int maglev_fill(const struct maglev_member *members, unsigned n, uint16_t *table, uint32_t size);

bool maglev_is_prime(uint32_t n);
