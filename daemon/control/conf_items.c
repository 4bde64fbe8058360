/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys that may be repeated: how many values, the one in a place, the line it came from. */
#include <assert.h>
#include <stdlib.h>

#include "control/conf_value.h"
#include "util/macros.h"

/* By type: the size of an item, whose first member is its line. Bridges keep theirs in place. */
static const size_t item_bytes[CONF_TYPE_N] = {
	[CONF_TYPE_BIND] = sizeof(struct conf_bind),
	[CONF_TYPE_NAME_ROUTE] = sizeof(struct conf_name_route),
	[CONF_TYPE_PREFIX] = sizeof(struct conf_prefix),
	[CONF_TYPE_SERVER] = sizeof(struct conf_server),
};
static_assert(offsetof(struct conf_bind, line) == 0, "read by its type's name only");
static_assert(offsetof(struct conf_name_route, line) == 0, "read by its type's name only");
static_assert(offsetof(struct conf_prefix, line) == 0, "read by its type's name only");
static_assert(offsetof(struct conf_server, line) == 0, "read by its type's name only");

unsigned conf_list_count(const struct conf_key *key, const void *section)
{
	const struct conf_bridge *bridge = section;
	const struct conf_list *list = conf_field(key, section);

	return key->type == CONF_TYPE_STATIC ? bridge->n_statics : list->n;
}

const void *conf_list_item(const struct conf_key *key, const void *section, unsigned i)
{
	const struct conf_bridge *bridge = section;
	const struct conf_list *list = conf_field(key, section);

	if (key->type == CONF_TYPE_STATIC)
		return &bridge->statics[i];
	return (const char *)list->items + i * item_bytes[key->type];
}

unsigned conf_list_line(const struct conf_key *key, const void *section, unsigned i)
{
	const struct conf_bridge *bridge = section;
	const unsigned *line = conf_list_item(key, section, i);

	return key->type == CONF_TYPE_STATIC ? bridge->statics[i].line : *line;
}

void conf_list_set_last_line(const struct conf_key *key, void *section, unsigned line)
{
	struct conf_bridge *bridge = section;
	struct conf_list *list = (void *)((char *)section + key->offset);

	if (key->type == CONF_TYPE_STATIC)
		bridge->statics[bridge->n_statics - 1].line = line;
	else
		*(unsigned *)(void *)((char *)list->items + (list->n - 1) * item_bytes[key->type]) =
			line;
}

void conf_lists_free(enum conf_section_kind kind, void *section)
{
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		struct conf_list *list = (void *)((char *)section + key->offset);

		if (key->section != kind || item_bytes[key->type] == 0)
			continue;
		free(list->items);
		*list = (struct conf_list){0};
	}
}
