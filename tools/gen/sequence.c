/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sliding bitmap of sequence.h. */
#include "tools/gen/sequence.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

#define WORD_BITS 64

int sequence_init(struct sequence *s, uint64_t window)
{
	if (window < SEQUENCE_MIN_WINDOW || (window & (window - 1)) != 0)
		return -EINVAL;
	*s = (struct sequence){.window = window, .bits = calloc(window / WORD_BITS, 8)};
	return s->bits ? 0 : -ENOMEM;
}

void sequence_fini(struct sequence *s)
{
	free(s->bits);
	*s = (struct sequence){0};
}

static bool test_and_set(struct sequence *s, uint64_t seq)
{
	uint64_t at = seq & (s->window - 1);
	uint64_t *word = &s->bits[at / WORD_BITS];
	uint64_t bit = 1ULL << (at % WORD_BITS);
	bool was_set = *word & bit;

	*word |= bit;
	return was_set;
}

/* Forgets the numbers that [from, to) pushes out of the window; the same bits are theirs. */
static void forget(struct sequence *s, uint64_t from, uint64_t to)
{
	if (to - from >= s->window) {
		memset(s->bits, 0, s->window / 8);
		return;
	}
	for (uint64_t seq = from; seq < to; seq++) {
		uint64_t at = seq & (s->window - 1);

		s->bits[at / WORD_BITS] &= ~(1ULL << (at % WORD_BITS));
	}
}

enum sequence_fate sequence_note(struct sequence *s, uint64_t seq)
{
	if (seq >= s->next) {
		forget(s, s->next, seq + 1);
		(void)test_and_set(s, seq);
		s->next = seq + 1;
		s->n_unique++;
		return SEQUENCE_IN_ORDER;
	}
	if (s->next - seq > s->window) {
		s->n_stale++;
		return SEQUENCE_STALE;
	}
	if (test_and_set(s, seq)) {
		s->n_duplicate++;
		return SEQUENCE_DUPLICATE;
	}
	s->n_reordered++;
	s->n_unique++;
	return SEQUENCE_REORDERED;
}

uint64_t sequence_missing(const struct sequence *s, uint64_t expected)
{
	uint64_t total = MAX(s->next, expected);
	uint64_t came = s->n_unique + s->n_stale;

	return total > came ? total - came : 0;
}
