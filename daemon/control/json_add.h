/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building json-c trees without a leak or an unchecked allocation: the child may be NULL, from a
 * constructor that failed, and is owned by the parent or freed. json-c itself frees nothing when
 * an addition fails.
 */
#pragma once

#include <errno.h>
#include <json-c/json.h>

/* 0 or -ENOMEM. `child` is taken in both cases. */
static inline int json_add(struct json_object *object, const char *name, struct json_object *child)
{
	if (!child)
		return -ENOMEM;
	if (json_object_object_add(object, name, child) < 0) {
		json_object_put(child);
		return -ENOMEM;
	}
	return 0;
}

static inline int json_append(struct json_object *array, struct json_object *child)
{
	if (!child)
		return -ENOMEM;
	if (json_object_array_add(array, child) < 0) {
		json_object_put(child);
		return -ENOMEM;
	}
	return 0;
}
