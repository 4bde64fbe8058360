/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compares two configurations by their printed values, row by row of the table. */
#include "control/conf_compare.h"

#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "control/conf_keys.h"
#include "control/conf_value.h"
#include "util/macros.h"

static char *value_text(const struct conf_key *key, const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	conf_value_print(key, &conf->daemon, out);
	(void)fclose(out);
	return text;
}

unsigned conf_restart_changes(const struct conf *old, const struct conf *new, FILE *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONF_KEYS_N; i++) {
		const struct conf_key *key = &conf_keys[i];
		_cleanup_free_ char *before = NULL, *after = NULL;

		/* Ports come and go by reload; only [daemon] has keys that need a restart. */
		if (key->section != CONF_SECTION_DAEMON || key->reload != CONF_RELOAD_RESTART ||
		    !key->in_conf)
			continue;
		before = value_text(key, old);
		after = value_text(key, new);
		if (!before || !after || strcmp(before, after) == 0)
			continue;
		fprintf(out, "[daemon] %s: %s -> %s\n", key->name, before, after);
		n++;
	}
	return n;
}
