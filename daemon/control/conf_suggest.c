/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Edit distance (optimal string alignment) over short words, for "did you mean".
 */
#include "control/conf_suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "util/macros.h"

/* Longer words are nobody's typing error; known words are all shorter. */
#define WORD_MAX 48

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

unsigned conf_edit_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1] = {0};
	size_t n_a = strlen(a), n_b = strlen(b);

	if (n_a > WORD_MAX || n_b > WORD_MAX)
		return WORD_MAX;
	for (unsigned j = 0; j <= n_b; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= n_a; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3];
		const unsigned *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= n_b; j++) {
			unsigned replace = above[j - 1] + !same_letter(a[i - 1], b[j - 1]);

			row[j] = MIN(MIN(above[j] + 1, row[j - 1] + 1), replace);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
			    same_letter(a[i - 2], b[j - 1]))
				row[j] = MIN(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[n_a % 3][n_b];
}

void conf_suggest_offer(struct conf_suggest *suggest, const char *known)
{
	unsigned distance = conf_edit_distance(suggest->word, known);
	/* A third of the letters wrong is still a slip; half of them is another word. */
	size_t limit = MAX(strlen(known) / 3, 1);

	if (distance > limit || (suggest->best && distance >= suggest->distance))
		return;
	suggest->best = known;
	suggest->distance = distance;
}
