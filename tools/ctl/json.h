/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading answers: a missing key is "", 0 or false, so that a tool and a daemon of neighbouring
 * versions understand each other.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

static inline struct json_object *json_at(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

static inline const char *json_text(struct json_object *object, const char *key)
{
	const char *text = json_object_get_string(json_at(object, key));

	return text ? text : "";
}

static inline uint64_t json_count(struct json_object *object, const char *key)
{
	return json_object_get_uint64(json_at(object, key));
}

static inline int64_t json_signed(struct json_object *object, const char *key)
{
	return json_object_get_int64(json_at(object, key));
}

static inline double json_real(struct json_object *object, const char *key)
{
	return json_object_get_double(json_at(object, key));
}

static inline bool json_truth(struct json_object *object, const char *key)
{
	return json_object_get_boolean(json_at(object, key));
}

/* 0 for what is no array. */
static inline size_t json_length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

/* For json_object_object_foreach(), which takes no NULL: is there anything to walk? */
static inline bool json_has_members(struct json_object *object)
{
	return json_object_is_type(object, json_type_object);
}
