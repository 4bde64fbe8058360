/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kern/splice_maps.c (life, rings) and kern/splice_enter.c (sockets) share. Nobody else
 * includes it.
 */
#pragma once

#include <stdint.h>

#include "kern/splice_maps.h"

struct splice_bpf;
struct ring_buffer;

/* How far a socket has come; leaving goes the same way back. */
enum splice_stage { STAGE_OUT, STAGE_FLOW_OF, STAGE_SINK, STAGE_SPLICED };

struct splice_socket {
	uint64_t cookie;
	int fd; /* borrowed while it is in */
	enum splice_stage stage;
};

struct splice_ring {
	struct splice_maps *maps;
	int fd;
	struct ring_buffer *buffer;
	/* of the running splice_events_drain() */
	void (*fn)(const struct splice_event *event, void *arg);
	void *fn_arg;
	uint32_t n_drained;
};

struct splice_maps {
	struct splice_bpf *skel;
	int in_fd, out_fd, flow_of_fd; /* borrowed of skel */
	uint32_t n_sides, n_acceptors, n_conns_each;
	struct splice_flow *flows;     /* mapped; n_sides */
	struct splice_socket *sockets; /* n_sides; each of the acceptor that owns the side */
	struct splice_ring rings[SPLICE_MAX_ACCEPTORS];
};
