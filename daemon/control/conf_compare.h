/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a reload may not change, keys whose class in conf_keys.h is `restart`, and what it changes
 * without touching a port. Pure.
 */
#pragma once

#include <stdio.h>

struct conf;

/*
 * Writes a line per key that differs and needs a restart, "key: old -> new"; returns how many.
 * Thread: control.
 */
unsigned conf_restart_changes(const struct conf *old, const struct conf *new, FILE *out);

/* The same for [route], and for bridges that are in both: keys that no port shows. */
unsigned conf_table_changes(const struct conf *old, const struct conf *new, FILE *out);

/* The same for listeners and backends, those that come and go included, and for what a reload
 * changes in [daemon]. */
unsigned conf_splice_changes(const struct conf *old, const struct conf *new, FILE *out);
