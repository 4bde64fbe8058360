/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prefixes shorter than /8. Owned by one table, changed by its control thread. */
#include "net/fib_top.h"

#include "net/fib.h"

static unsigned n_octets(unsigned len)
{
	return 1U << (FIB_TOP_BITS - len);
}

void fib_top_add(struct fib_top *top, uint8_t octet, unsigned len, uint16_t nh)
{
	for (unsigned i = octet; i < octet + n_octets(len); i++) {
		if (top->ruled_by[i] > len + 1)
			continue;
		top->ruled_by[i] = (uint8_t)(len + 1);
		atomic_store_explicit(&top->nh[i], nh, memory_order_relaxed);
	}
}

void fib_top_delete(struct fib_top *top, uint8_t octet, unsigned len, unsigned cover_len,
		    uint16_t cover_nh)
{
	for (unsigned i = octet; i < octet + n_octets(len); i++) {
		if (top->ruled_by[i] != len + 1)
			continue;
		top->ruled_by[i] = cover_nh == FIB_NO_ROUTE ? 0 : (uint8_t)(cover_len + 1);
		atomic_store_explicit(&top->nh[i], cover_nh, memory_order_relaxed);
	}
}
