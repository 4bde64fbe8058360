/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the splicer, shared by its files and nobody else. Thread: control. */
#pragma once

#include <systemd/sd-event.h>

#include "control/conf.h"
#include "control/health.h"
#include "control/listeners.h"
#include "control/splicer.h"

/* Flow log lines that wait for what TCP still does after close(2). */
#define SPLICER_WAITING 256

struct splicer_waiting {
	struct splice_flow_record record;
	uint64_t until_ns;
	bool is_written;
};

struct splicer {
	sd_event *event;
	struct listeners *listeners;
	struct health *health;
	/* Of the plane; NULL until a configuration has a listener. */
	struct splice *splice;
	struct splice_maps *maps; /* NULL: sockmap is off */
	struct sockops *sockops;
	struct splice_config *config; /* what acceptors serve */
	uint32_t next_number;         /* of the next new listener */
	struct listeners_acceptor acceptors[CONF_MAX_ACCEPTORS];
	uint32_t n_acceptors, max_conns;
	uint64_t
		n_wanted; /* connections, by the listeners of the last configuration; 0: none yet */
	bool lacks_files; /* max_conns is what RLIMIT_NOFILE allowed */
	bool selftest_passed, sockops_is_on, is_draining;
	uint64_t selftest_ns; /* that it took */
	char sockmap_why_not[256], sockops_why_not[160];
	uint64_t n_closed, n_retransmits;   /* sockets, as sock_ops tells */
	uint64_t beats[CONF_MAX_ACCEPTORS]; /* at the last splicer_all_beating() */
	char silent[24];
	/* splicer_log.c */
	sd_event_source *records_io, *sockops_io, *sockops_timer, *waiting_timer;
	struct splicer_waiting waiting[SPLICER_WAITING]; /* a ring, in the order of until_ns */
	uint32_t first_waiting, n_waiting;
};

/* splicer_start.c: the threads and what they stand on. `text` says what failed. */
int splicer_start(struct splicer *splicer, const struct conf *conf, const struct plan *plan,
		  const struct topo *topo, char *text, size_t size);

/* splicer_log.c: the flow log. -errno of the event loop. */
int splicer_log_start(struct splicer *splicer);
/* Writes what there is, and lets go of the event loop. */
void splicer_log_finish(struct splicer *splicer);
