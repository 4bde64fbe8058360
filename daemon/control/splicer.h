/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The splice plane as control runs it: acceptors, their maps, listening sockets, health checks, and
 * the configuration that they serve (splice/splice.h is the plane itself).
 *
 * There are no threads and no maps until a configuration has a listener. What the kernel refuses
 * (sockmap, sock_ops) is done without, and told in the report.
 *
 * Thread: control. Capabilities: see listeners.h; CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON for
 * sockmap.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "splice/splice.h"

struct conf;
struct plan;
struct report_splice;
struct splicer;
struct splicer_next;
struct topo;
typedef struct sd_event sd_event;

int splicer_new(sd_event *event, struct splicer **ret_splicer);

/* Connections that are left are reset, without waiting. */
void splicer_free(struct splicer *splicer);

/*
 * Everything of a configuration that can be refused: starts the threads if they are needed for the
 * first time, binds addresses. On failure nothing has changed and `text` says why. *ret_next is for
 * commit or abandon.
 */
int splicer_prepare(struct splicer *splicer, const struct conf *conf, const struct plan *plan,
		    const struct topo *topo, struct splicer_next **ret_next, char *text,
		    size_t size);
void splicer_abandon(struct splicer_next *next);
int splicer_commit(struct splicer *splicer, struct splicer_next *next);

/* New connections are refused from now on; those left at the deadline are reset. */
void splicer_drain(struct splicer *splicer, uint64_t deadline_ns);
bool splicer_is_drained(const struct splicer *splicer);
uint32_t splicer_n_conns(const struct splicer *splicer);
/* Connections reset for what they did not do, ever: drained, timed out, too much parked. */
uint64_t splicer_n_killed(const struct splicer *splicer);

/* Did every acceptor beat since the last call? Names the first that did not. */
bool splicer_all_beating(struct splicer *splicer, const char **ret_acceptor);

/* "BACKEND/SERVER" or "BACKEND" gets no new connections, or again. -ENOENT: there is none. */
int splicer_set_draining(struct splicer *splicer, const char *name, bool is_draining);

/* The live connections, at most `max`; to be freed. NULL: no memory. */
struct splice_flow_row *splicer_flows(struct splicer *splicer, uint32_t max, uint32_t *ret_n);

/* -ENOMEM */
int splicer_report(const struct splicer *splicer, struct report_splice *ret_report);
