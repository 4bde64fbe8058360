/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Active health checks: every server of a backend with health_check = tcp must accept a connection
 * now and then. The result is server_state.is_up, which acceptors read; what connections of clients
 * find out by themselves (passive marks) is the acceptors' business.
 *
 *   first result   counts at once, so that a start with dead servers is not a minute of errors
 *   later          health_fall failures in a row take a server out, health_rise successes bring it
 *                  back; each change is logged
 *
 * Thread: control; everything is sources of its sd-event loop.
 */
#pragma once

#include <stdint.h>

struct health;
struct server_state;
struct splice_config;
typedef struct sd_event sd_event;

int health_new(sd_event *event, struct health **ret_health);
void health_free(struct health *health);

/* From now on the servers of this configuration; checks of those that were there before go on. */
int health_apply(struct health *health, const struct splice_config *config);

struct health_counts {
	uint64_t n_checks, n_failures, n_changes;
};

/* Zero for one that is not checked. */
struct health_counts health_counts(const struct health *health, const struct server_state *server);
