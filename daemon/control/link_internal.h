/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of link.h share: the connection, and the readings that fill one struct link.
 * Nobody else includes this, but the tests, which bring a sysfs tree of their own.
 *
 *   link.c         life of the connection, link_read(), rtnetlink link messages
 *   link_host.c    addresses and default routes: is this the host's own interface?
 *   link_upper.c   the same of devices stacked on it
 *   link_events.c  notifications
 *   link_sysfs.c   node, interrupts, and queues as a last resort
 *   ethtool.c      channels, offloads, driver
 */
#pragma once

#include "control/ethtool.h"
#include "control/link.h"
#include "control/netlink.h"

/* Interfaces that link_read() has seen, so that an event by index, or a rename, finds its name. */
struct known_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
};

struct links {
	struct nl route; /* requests */
	int event_fd;    /* notifications */
	struct ethtool ethtool;
	const char *sysfs_root; /* "/sys"; tests replace it */
	const char *proc_root;  /* "/proc" */
	struct known_link *known;
	unsigned n_known;
	struct known_link *uppers; /* devices stacked on them: an index, and the name *below* it */
	unsigned n_uppers;
};

/* Notes the name under which an interface was read; forgets what else had that name or index. */
int links_learn(struct links *links, uint32_t ifindex, const char *name);

/* The same for devices stacked on the interface `name`, so that their events are told of it. */
int links_learn_upper(struct links *links, uint32_t ifindex, const char *name);
void links_forget_uppers(struct links *links, const char *name);

/* Name and kind of a master; the name of one in another namespace, or gone since, is "if" and its
 * index. */
void link_read_master(struct links *links, uint32_t ifindex, struct link_host *host);

/* Subscribes to links, addresses and default routes. -errno. */
int link_events_open(int *ret_fd);

/* Addresses and default route of link->ifindex into link->host; the master is link.c's. -errno. */
int link_read_host(struct nl *route, struct link *link);

/* Finds link->upper and what it carries, if there is one; learns all that is stacked. -errno. */
int link_read_upper(struct links *links, struct link *link);

/*
 * numa_node, irqs and, where want_queues, the queue counts — if `sysfs_root` shows our network
 * namespace: its ifindex and address of this name are those in *link. Else nothing is touched.
 * False if it does not.
 */
bool link_sysfs_read(const char *sysfs_root, const char *proc_root, bool want_queues,
		     struct link *link);
