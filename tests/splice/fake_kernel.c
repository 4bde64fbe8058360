/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No sockmap and no sock_ops: what the plane asks of them when it has none, which is nothing. */
#include <stdlib.h>

#include "kern/sockops.h"
#include "kern/splice_maps.h"
#include "splice/engine.h"

void promote(struct conn *conn, enum conn_side from, uint64_t now_ns)
{
}

int splice_events_fd(const struct splice_maps *maps)
{
	abort();
}

int splice_events_drain(struct splice_maps *maps,
			void (*fn)(const struct splice_event *event, void *arg), void *arg)
{
	abort();
}

int sockops_set(struct sockops *sockops, int fd, const struct splice_conn_meta *meta)
{
	abort();
}
