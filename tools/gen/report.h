/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results as JSON, or as the same thing one line per value for people. */
#pragma once

#include <stdbool.h>

#include "tools/gen/send.h"
#include "tools/gen/sink.h"

struct json_object;

/* The caller's, to be put into another object or printed. NULL only without memory. */
struct json_object *report_send(const struct send_result *result, const struct gen_options *o);
struct json_object *report_sink(const struct sink *s);

/* Takes the object. */
void report_print(struct json_object *report, bool json);
