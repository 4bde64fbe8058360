/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done in slices: the sweep after a dump, the pass over all prefixes, the painting of the
 * gate; and what is owed. Thread: tables.
 */
#include <errno.h>

#include "control/rib_internal.h"
#include "net/fib4.h"
#include "net/fib6.h"
#include "util/clock.h"
#include "util/macros.h"

/* Nodes, prefixes and /24s between two looks at the clock: some tens of microseconds each. */
#define SWEEP_STEP 4096U
#define PASS_STEP  64U
#define PAINT_STEP 16384U

/* Of what is owed, tried again at a time. */
#define RETRY_MAX 256U

/* --- sync --------------------------------------------------------------------------------------
 */

void rib_set_table(struct rib_table *rib, uint32_t table)
{
	rib->next_table = table;
}

void rib_begin_sync(struct rib_table *rib)
{
	rib->table = rib->next_table;
	rib->mark++;
	rib->sweep_family = 0;
	rib->sweep_cursor = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(rib->families); i++)
		rib->families[i].is_lossy_again = false;
}

static void sweep(struct rib_table *rib, struct rib_family *family, uint32_t n)
{
	for (; n > 0 && rib->sweep_cursor < family->store.n_ever; n--) {
		const struct rib_node *node = rib_node_at(&family->store, rib->sweep_cursor);

		if (node->len != RIB_FREE && node->mark != rib->mark)
			rib_drop(rib, family, rib->sweep_cursor);
		rib->sweep_cursor++;
	}
}

bool rib_end_sync(struct rib_table *rib, uint64_t until_ns)
{
	while (rib->sweep_family < ARRAY_SIZE(rib->families)) {
		struct rib_family *family = &rib->families[rib->sweep_family];

		sweep(rib, family, SWEEP_STEP);
		if (rib->sweep_cursor >= family->store.n_ever) {
			family->is_lossy = family->is_lossy_again;
			rib->sweep_family++;
			rib->sweep_cursor = 1;
		}
		if (clock_now_ns() >= until_ns)
			break;
	}
	return rib->sweep_family == ARRAY_SIZE(rib->families);
}

/* --- passes ------------------------------------------------------------------------------------
 */

static void want_pass(struct rib_family *family)
{
	family->wants_pass = true;
	family->pass_cursor = 1;
}

void rib_begin_repaint(struct rib_table *rib)
{
	want_pass(&rib->families[1]);
	rib->dirty_first = 0;
	rib->dirty_end = RIB_SLOTS;
}

static void pass(struct rib_table *rib, struct rib_family *family, uint32_t n)
{
	if (family->pass_cursor == 1)
		family->is_overwhelmed_again = false;
	for (; n > 0 && family->pass_cursor < family->store.n_ever; n--) {
		const struct rib_node *node = rib_node_at(&family->store, family->pass_cursor++);
		struct rib_prefix prefix;

		if (node->len == RIB_FREE)
			continue;
		prefix = rib_prefix_of(&family->store, node);
		(void)rib_settle_prefix(rib, family, &prefix);
	}
	if (family->pass_cursor < family->store.n_ever)
		return;
	family->wants_pass = false;
	family->is_overwhelmed = family->is_overwhelmed_again;
}

static bool has_work(const struct rib_table *rib)
{
	return rib->families[0].wants_pass || rib->families[1].wants_pass ||
	       rib->dirty_first < rib->dirty_end;
}

/* The passes first: they decide what is painted. */
static void work(struct rib_table *rib)
{
	uint32_t n;

	for (unsigned i = 0; i < ARRAY_SIZE(rib->families); i++) {
		if (rib->families[i].wants_pass) {
			pass(rib, &rib->families[i], PASS_STEP);
			return;
		}
	}
	n = MIN(PAINT_STEP, rib->dirty_end - rib->dirty_first);
	rib_paint(rib, rib->dirty_first, n);
	rib->dirty_first += n;
}

bool rib_repaint(struct rib_table *rib, uint64_t until_ns)
{
	while (has_work(rib)) {
		work(rib);
		if (clock_now_ns() >= until_ns)
			break;
	}
	return !has_work(rib);
}

void rib_slot24_changed(struct rib_table *rib, uint32_t slot24)
{
	rib_paint(rib, slot24, 1);
}

/* --- what is owed ------------------------------------------------------------------------------
 */

/*
 * From where the last time ended, downwards: one that is paid is replaced by the last. What there
 * is no room for at all must not keep the others from their turn.
 */
static void retry_some(struct rib_table *rib, struct rib_family *family)
{
	for (uint32_t n = MIN(family->n_owed, RETRY_MAX); n > 0 && family->n_owed > 0; n--) {
		struct rib_prefix prefix;

		if (family->retry_cursor == 0 || family->retry_cursor > family->n_owed)
			family->retry_cursor = family->n_owed;
		prefix = family->owed[--family->retry_cursor].prefix;
		if (rib_settle_prefix(rib, family, &prefix) == -EAGAIN)
			break; /* no room for the others either */
	}
}

static bool retry_family(struct rib_table *rib, struct rib_family *family)
{
	bool is_waiting = false;

	retry_some(rib, family);
	for (uint32_t i = 0; i < family->n_owed; i++)
		is_waiting |= family->owed[i].is_waiting;
	if (family->is_overwhelmed && !family->wants_pass && family->n_owed < RIB_MAX_OWED / 2)
		want_pass(family);
	return is_waiting;
}

int rib_retry(struct rib_table *rib)
{
	bool is_waiting = false;

	for (unsigned i = 0; i < ARRAY_SIZE(rib->families); i++) {
		if (rib->families[i].n_owed > 0 || rib->families[i].is_overwhelmed)
			is_waiting |= retry_family(rib, &rib->families[i]);
	}
	return is_waiting ? -EAGAIN : 0;
}

/* --- generations -------------------------------------------------------------------------------
 */

void rib_begin_generation(struct rib_table *rib, uint64_t generation)
{
	fib4_begin_generation(rib->view->fib4, generation);
	fib6_begin_generation(rib->view->fib6, generation);
	nexthops_begin_generation(rib->nexthops, generation);
}

void rib_reclaim(struct rib_table *rib, uint64_t oldest_generation_seen)
{
	fib4_reclaim(rib->view->fib4, oldest_generation_seen);
	fib6_reclaim(rib->view->fib6, oldest_generation_seen);
	nexthops_reclaim(rib->nexthops, oldest_generation_seen);
	(void)rib_retry(rib);
}
