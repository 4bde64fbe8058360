/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interfaces as values, and the events that change them.
 *
 * link_read() asks the kernel all that a plan needs to know about one interface: rtnetlink for
 * state, MTU, addresses and masters, ethtool netlink for channels and offloads, sysfs for the NUMA
 * node. links_open() subscribes to what changes later. A port is its interface *name* in the
 * daemon's network namespace: renamed away is down, a new device with the name is a new port.
 *
 * Thread: control. Capabilities: none to read; CAP_NET_ADMIN to set offloads. sysfs may show
 * another network namespace than ours (nsenter --net), so it is believed only where its ifindex
 * and address agree with rtnetlink's.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/text.h"

/* Offloads that would make AF_XDP lose or alter frames; see operations.md §3.2, design.md §4.7. */
enum link_offload {
	LINK_OFFLOAD_LRO,     /* rx-lro */
	LINK_OFFLOAD_HW_GRO,  /* rx-gro-hw */
	LINK_OFFLOAD_RX_VLAN, /* rx-vlan-hw-parse: tags would vanish */
	LINK_OFFLOAD_RX_STAG, /* rx-vlan-stag-hw-parse */
	LINK_OFFLOAD_GRO,     /* rx-gro: matters in generic mode only */
	LINK_OFFLOAD_N
};

extern const char *const link_offload_names[LINK_OFFLOAD_N]; /* as ethtool -k prints them */

/*
 * Names of devices that no configuration has checked are kept escaped: the kernel takes any byte
 * but '/', ':' and blanks, and they go to logs, terminals and JSON.
 */
#define LINK_NAME_TEXT_BYTES TEXT_ESCAPED_BYTES(IF_NAMESIZE - 1)

/* Why an interface may carry the host's own traffic. */
struct link_host {
	unsigned n_addresses; /* IPv4 and non-link-local IPv6 */
	bool has_default_route;
	char master[LINK_NAME_TEXT_BYTES]; /* "" = none */
	char master_kind[16];              /* "bond", "bridge", "vrf", …; "" = it does not say */
};

static inline bool link_host_is_there(const struct link_host *host)
{
	return host->n_addresses > 0 || host->has_default_route || host->master[0] != '\0';
}

/* Interrupts of one device that link_read() looks at; the plan only warns with them. */
#define LINK_MAX_IRQS 64

struct link_irq {
	uint32_t irq;
	uint32_t cpu; /* where it fires now: the first CPU of its effective affinity */
};

struct link {
	char name[IF_NAMESIZE];
	bool exists; /* false: all that follows is zero */
	uint32_t ifindex;
	uint8_t address[6];
	uint32_t mtu;
	bool is_up;           /* IFF_UP */
	bool has_carrier;     /* IFF_LOWER_UP */
	bool is_ethernet;     /* ARPHRD_ETHER */
	char kind[16];        /* IFLA_INFO_KIND: "veth", "bond", "vlan", …; "" for hardware */
	char driver[32];      /* ethtool driver name, "" if it does not say */
	unsigned n_rx_queues; /* in use now (real_num_rx_queues) */
	unsigned n_tx_queues;
	int numa_node;        /* device/numa_node, or one level up (virtio); -1 = unknown */
	uint32_t xdp_prog_id; /* a program that is already attached; 0 = none */
	bool offload_on[LINK_OFFLOAD_N];
	bool offload_fixed[LINK_OFFLOAD_N]; /* the driver does not let it be changed */
	struct link_host host;
	char upper[LINK_NAME_TEXT_BYTES]; /* a device stacked on it (VLAN, macvlan) by which the
					   * host is reached; "" = none, or none that is up */
	struct link_host upper_host;
	unsigned n_irqs; /* 0 for virtual devices, and where sysfs is not ours */
	struct link_irq irqs[LINK_MAX_IRQS];
	uint64_t rx_missed, rx_errors, tx_dropped; /* rtnetlink statistics */
};

struct links; /* an rtnetlink + ethtool netlink connection */

/* Opens the sockets and subscribes. -errno. Syscalls: socket(AF_NETLINK), bind. */
int links_open(struct links **ret_links);
void links_close(struct links *links);

/*
 * Reads one interface. A missing interface is not an error: ret_link->exists is false.
 * -errno only if the kernel cannot be asked.
 */
int link_read(struct links *links, const char *interface, struct link *ret_link);

/*
 * What may change from second to second: the counters of rtnetlink, is_up, has_carrier and the
 * MTU. One request, whatever the host's routes and addresses are. -ENODEV: it is gone.
 */
int link_read_stats(struct links *links, uint32_t ifindex, struct link *io_link);

/*
 * Switches offloads off (or back on) by ethtool netlink; needs CAP_NET_ADMIN.
 * -EOPNOTSUPP: fixed by the driver, or no ethtool support.
 */
int link_set_offload(struct links *links, uint32_t ifindex, enum link_offload offload, bool on);

/*
 * Readable when links_drain() has something to do; for the event loop. The second is -1 where the
 * kernel has no ethtool netlink: then changes of channels are seen only at the next link_read().
 */
int links_event_fd(const struct links *links);
int links_ethtool_event_fd(const struct links *links);

/*
 * Drains pending notifications, at most a bounded number per call, and calls fn once per
 * interface named in them (link, address or master change, channels, features, MTU). A rename is
 * told under both names, provided that link_read() has seen the interface under the old one.
 * A change of a default route is told of every interface that has been read. `interface` is NULL
 * after an overflow (ENOBUFS): re-read all.
 * Returns the number of notifications handled or -errno; while it is not 0 there may be more.
 */
int links_drain(struct links *links, void (*fn)(const char *interface, void *arg), void *arg);

/*
 * Holds promiscuity on an interface by a PACKET_MR_PROMISC membership of an AF_PACKET socket that
 * receives nothing (protocol 0): gone with the fd, however the process ends.
 * Needs CAP_NET_RAW. The fd is the caller's.
 */
int link_hold_promiscuous(uint32_t ifindex, int *ret_fd);
