/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs that look into the tables of routes, neighbours, stations and connections, and that explain
 * a packet. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "control/ctlreq.h"
#include "control/ctlverb.h"
#include "control/ctlverb_internal.h"
#include "control/json_add.h"

#define DEFAULT_ROWS 1000
/* About 20 MB of JSON, for which the event loop stands still a fraction of a second. */
#define MAX_ROWS 100000

#define MAX_FRAME_BYTES (CTLREQ_MAX_BYTES / 2)

/* --- Rows ------------------------------------------------------------------------------------- */

struct rows_request {
	const char *filter; /* NULL: all */
	uint32_t max;
};

/* "max=N" */
static int parse_max(const char *text, uint32_t *ret_max)
{
	uint32_t n = 0;

	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > MAX_ROWS)
			return -EINVAL;
		n = n * 10 + (uint32_t)(*text - '0');
	}
	if (n == 0 || n > MAX_ROWS)
		return -EINVAL;
	*ret_max = n;
	return 0;
}

static int parse_rows(const struct ctlverb_call *call, struct rows_request *ret_request)
{
	struct rows_request request = {.max = DEFAULT_ROWS};

	for (unsigned i = 0; i < call->n_args; i++) {
		const char *arg = call->args[i];

		if (strncmp(arg, "max=", 4) == 0) {
			if (parse_max(arg + 4, &request.max) < 0)
				return -EINVAL;
		} else if (request.filter) {
			return -EINVAL;
		} else {
			request.filter = arg;
		}
	}
	*ret_request = request;
	return 0;
}

/* {key: rows, "more": …}: one more than wanted was asked for, to know whether there are more. */
static struct json_object *rows_answer(const char *key, struct json_object *rows, uint32_t max)
{
	bool is_more = json_object_array_length(rows) > max;
	struct json_object *body = json_object_new_object();
	int r = 0;

	if (!body) {
		json_object_put(rows);
		return NULL;
	}
	if (is_more)
		r = json_object_array_del_idx(rows, max, json_object_array_length(rows) - max);
	if (json_add(body, key, rows) < 0 || r < 0 ||
	    json_add(body, "more", json_object_new_boolean(is_more)) < 0) {
		json_object_put(body);
		return NULL;
	}
	return ctlverb_wrap(body);
}

static struct json_object *refuse_rows(int r, const char *filter)
{
	switch (r) {
	case -ENODEV:
		return ctlverb_refuse("not_found", "no port routes or bridges");
	case -ENOENT:
		return ctlverb_refuse("not_found", "no bridge is called '%s'", filter);
	case -EINVAL:
		return ctlverb_refuse("usage", "'%s' is no address and no prefix", filter);
	default:
		return ctlverb_refuse("failed", "cannot read the tables: %s", strerror(-r));
	}
}

static struct json_object *refuse_words(const char *key)
{
	return ctlverb_refuse("usage",
			      "show %s takes max=1 … %u, and routes a prefix, fdb a bridge", key,
			      MAX_ROWS);
}

static struct json_object *show_rows(const struct ctlverb_call *call, const char *key,
				     struct json_object *(*rows_json)(void *arg, const char *filter,
								      uint32_t max, int *ret_error))
{
	struct rows_request request;
	struct json_object *rows;
	int r = -ENOMEM;

	if (parse_rows(call, &request) < 0)
		return refuse_words(key);
	rows = rows_json(call->arg, request.filter, request.max + 1, &r);
	return rows ? rows_answer(key, rows, request.max) : refuse_rows(r, request.filter);
}

struct json_object *ctlverb_routes(const struct ctlverb_call *call)
{
	return show_rows(call, "routes", call->ops->routes_json);
}

struct json_object *ctlverb_fdb(const struct ctlverb_call *call)
{
	return show_rows(call, "fdb", call->ops->fdb_json);
}

struct json_object *ctlverb_neighbours(const struct ctlverb_call *call)
{
	struct rows_request request;
	struct json_object *rows;
	int r = -ENOMEM;

	if (parse_rows(call, &request) < 0 || request.filter)
		return refuse_words("neighbours");
	rows = call->ops->neighbours_json(call->arg, request.max + 1, &r);
	return rows ? rows_answer("neighbours", rows, request.max) : refuse_rows(r, NULL);
}

struct json_object *ctlverb_flows(const struct ctlverb_call *call)
{
	struct rows_request request;
	struct json_object *rows;
	int r = -ENOMEM;

	if (parse_rows(call, &request) < 0 || request.filter)
		return refuse_words("flows");
	rows = call->ops->flows_json(call->arg, request.max + 1, &r);
	if (!rows && r == -ENODEV)
		return ctlverb_refuse("not_found", "there is no listener");
	return rows ? rows_answer("flows", rows, request.max) : refuse_rows(r, NULL);
}

/* --- A packet --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_frame(const char *hex, uint8_t frame[MAX_FRAME_BYTES], uint32_t *ret_len)
{
	uint32_t len = 0;

	for (; hex[0]; hex += 2) {
		int high = hex_digit(hex[0]);
		int low = high < 0 ? -1 : hex_digit(hex[1]);

		if (low < 0 || len == MAX_FRAME_BYTES)
			return -EINVAL;
		frame[len++] = (uint8_t)(high << 4 | low);
	}
	*ret_len = len;
	return 0;
}

struct json_object *ctlverb_explain(const struct ctlverb_call *call)
{
	struct json_object *body, *explanation;
	uint8_t frame[MAX_FRAME_BYTES];
	uint32_t len;
	int r = -ENOMEM;

	/* The kernel runs no program on less than an Ethernet header. */
	if (parse_frame(call->args[1], frame, &len) < 0 || len < 14)
		return ctlverb_refuse(
			"usage", "a packet is at least 14 octets, two hexadecimal digits each");
	explanation = call->ops->explain_json(call->arg, call->args[0], frame, len, &r);
	if (!explanation && r == -ENOENT)
		return ctlverb_refuse("not_found", "no port is called '%s'", call->args[0]);
	if (!explanation && r == -ENODEV)
		return ctlverb_refuse("failed", "port %s has no program at this moment",
				      call->args[0]);
	if (!explanation)
		return ctlverb_refuse("failed", "cannot explain: %s", strerror(-r));
	body = json_object_new_object();
	if (!body || json_add(body, "explain", explanation) < 0) {
		if (!body)
			json_object_put(explanation);
		json_object_put(body);
		return NULL;
	}
	return ctlverb_wrap(body);
}
