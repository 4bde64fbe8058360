/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A report as JSON: what sluicectl shows. Keys are a contract ("api": 1): they are added, never
 * renamed; counters have the names of data/counters.h.
 *
 * Each function returns a new object that the caller puts (json_object_put), or NULL without
 * memory. Thread: control.
 */
#pragma once

#include <stdint.h>

struct json_object;
struct report;
struct splice_flow_row;

/* One screen: readiness, what is wrong, configuration, a line per port. */
struct json_object *answer_status(const struct report *report);

/* Parts of it (answers_tables.c): policies in force, sizes of the tables. */
struct json_object *answer_policies(const struct report *report);
struct json_object *answer_tables(const struct report *report);

/* {"interfaces": […]}, {"queues": […]}, {"workers": […]} */
struct json_object *answer_interfaces(const struct report *report);
struct json_object *answer_queues(const struct report *report);
struct json_object *answer_workers(const struct report *report);

/* {"listeners": […]}, {"backends": […]}; a connection of "show flows" (answers_splice.c). */
struct json_object *answer_listeners(const struct report *report);
struct json_object *answer_backends(const struct report *report);
struct json_object *answer_flow(const struct splice_flow_row *row);

/* The plane as a whole, for status. */
struct json_object *answer_splice(const struct report *report);

/*
 * The loss balance: for each port what came in, what went out and every packet that did not, by
 * place and reason and with what to do about it; and the identities, which are exact when no
 * packet is moving:
 *
 *   handover    redirected = received + rx_dropped + rx_ring_full + waiting in rx rings
 *   ingress     received = forwarded + handed back + Σ drops
 *   egress      put on tx rings = completed + pending
 *   crossing    Σ forwarded + Σ replicated = Σ put on tx rings   (over all ports)
 *   pending     Σ pending = Σ frames that the workers count as being sent
 */
struct json_object *answer_drops(const struct report *report);
