/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fate of one frame, asked of those who decide it: the port's own XDP program, run by the
 * kernel on a copy, and behind it the worker's own code. Thread: control.
 */
#pragma once

#include <stdint.h>

struct engine;
struct json_object;

/* See ctlsock_ops.explain_json. */
struct json_object *explain_packet_json(struct engine *engine, const char *port,
					const uint8_t *frame, uint32_t len, int *ret_error);
