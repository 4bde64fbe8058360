/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "Did you mean": the nearest of a set of known words to one that is unknown.
 *
 *   struct conf_suggest s = {.word = text};
 *   for each known word: conf_suggest_offer(&s, known);
 *   if (s.best) …
 *
 * Borrows every string. Thread: any.
 */
#pragma once

struct conf_suggest {
	const char *word;
	const char *best; /* NULL: nothing is near enough to be what was meant */
	unsigned distance;
};

void conf_suggest_offer(struct conf_suggest *suggest, const char *known);

/* Letters to insert, delete, replace or swap with their neighbour, whatever their case. */
unsigned conf_edit_distance(const char *a, const char *b);
