/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a metrics page in a test: the page of a report as text, series by their exact text, sums
 * over series by parts of their labels.
 */
#pragma once

#include <stddef.h>

struct report;

/* To be freed. */
char *page_of(const struct report *report);

/* The value of the series with exactly this text before the blank; the test fails without it. */
double page_value(const char *page, const char *series);

/*
 * Σ of the family's samples whose labels hold `label1` and `label2` (NULL: whatever); at least one
 * sample must be there.
 */
double page_sum(const char *page, const char *family, const char *label1, const char *label2);

/* How many lines begin with `start`? */
size_t page_count(const char *page, const char *start);

/* Σ of all samples of the families that begin with `start`, without times of day. */
double page_sum_of_start(const char *page, const char *start);
