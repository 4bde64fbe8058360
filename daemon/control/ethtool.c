/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ethtool and netdev generic netlink; see ethtool.h. */
#include "control/ethtool.h"

#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "util/macros.h"

/* linux/netdev.h, which Debian 12's headers do not have yet. */
#define NETDEV_FAMILY_NAME     "netdev"
#define NETDEV_FAMILY_VERSION  1
#define NETDEV_CMD_QUEUE_GET   10
#define NETDEV_A_QUEUE_IFINDEX 2
#define NETDEV_A_QUEUE_TYPE    3
#define NETDEV_QUEUE_TYPE_RX   0

/* Names of the kernel's feature strings (net/ethtool/common.c), which `ethtool -K` takes too. */
const char *const link_offload_names[LINK_OFFLOAD_N] = {
	[LINK_OFFLOAD_LRO] = "rx-lro",
	[LINK_OFFLOAD_HW_GRO] = "rx-gro-hw",
	[LINK_OFFLOAD_RX_VLAN] = "rx-vlan-hw-parse",
	[LINK_OFFLOAD_RX_STAG] = "rx-vlan-stag-hw-parse",
	[LINK_OFFLOAD_GRO] = "rx-gro",
};

/* The monitor group on a socket of its own, so that answers and events never mix. */
static int open_events(uint32_t group)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int ethtool_open(struct ethtool *ethtool)
{
	uint32_t monitor = 0;
	int r;

	*ethtool = (struct ethtool){.event_fd = -1, .ioctl_fd = -1};
	/* Netlink, since AF_INET may be missing from the kernel or from the unit's families. */
	ethtool->ioctl_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (ethtool->ioctl_fd < 0)
		return -errno;
	r = nl_open(&ethtool->nl, NETLINK_GENERIC);
	if (r < 0)
		goto fail;
	(void)nl_genl_resolve(&ethtool->nl, NETDEV_FAMILY_NAME, NULL, &ethtool->netdev_family,
			      NULL);
	if (nl_genl_resolve(&ethtool->nl, ETHTOOL_GENL_NAME, ETHTOOL_MCGRP_MONITOR_NAME,
			    &ethtool->ethtool_family, &monitor) < 0 ||
	    monitor == 0)
		return 0;
	r = open_events(monitor);
	if (r < 0)
		goto fail;
	ethtool->event_fd = r;
	return 0;
fail:
	ethtool_close(ethtool);
	return r;
}

void ethtool_close(struct ethtool *ethtool)
{
	nl_close(&ethtool->nl);
	close_fdp(&ethtool->event_fd);
	close_fdp(&ethtool->ioctl_fd);
}

/* Every ethtool message has its header at attribute 1, whatever the command. */
static struct nlmsghdr *ethtool_message(void *buffer, uint16_t family, uint8_t command,
					uint32_t ifindex)
{
	struct nlmsghdr *nlh = nl_genl_message(buffer, family, command, ETHTOOL_GENL_VERSION);
	struct nlattr *header = mnl_attr_nest_start(nlh, ETHTOOL_A_CHANNELS_HEADER);

	mnl_attr_put_u32(nlh, ETHTOOL_A_HEADER_DEV_INDEX, ifindex);
	mnl_attr_nest_end(nlh, header);
	return nlh;
}

_Static_assert(ETHTOOL_A_CHANNELS_HEADER == 1 && ETHTOOL_A_FEATURES_HEADER == 1,
	       "the header is attribute 1");

/* --- Channels and queues --------------------------------------------------------------------- */

struct queue_counts {
	unsigned n_rx, n_tx;
};

static void take_channels(const struct nlmsghdr *nlh, void *arg)
{
	struct queue_counts *counts = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, nlh, sizeof(struct genlmsghdr)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == ETHTOOL_A_CHANNELS_RX_COUNT ||
		    type == ETHTOOL_A_CHANNELS_COMBINED_COUNT)
			counts->n_rx += mnl_attr_get_u32(attr);
		if (type == ETHTOOL_A_CHANNELS_TX_COUNT ||
		    type == ETHTOOL_A_CHANNELS_COMBINED_COUNT)
			counts->n_tx += mnl_attr_get_u32(attr);
	}
}

int ethtool_channels(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
		     unsigned *ret_n_rx, unsigned *ret_n_tx)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct queue_counts counts = {0};
	int r;

	if (ethtool->ethtool_family == 0)
		return ethtool_ioctl_channels(ethtool->ioctl_fd, interface, ret_n_rx, ret_n_tx);
	r = nl_request(
		&ethtool->nl,
		ethtool_message(buffer, ethtool->ethtool_family, ETHTOOL_MSG_CHANNELS_GET, ifindex),
		take_channels, &counts);
	if (r < 0)
		return r;
	if (counts.n_rx == 0 || counts.n_tx == 0)
		return -EOPNOTSUPP;
	*ret_n_rx = counts.n_rx;
	*ret_n_tx = counts.n_tx;
	return 0;
}

static void take_queue(const struct nlmsghdr *nlh, void *arg)
{
	struct queue_counts *counts = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) != NETDEV_A_QUEUE_TYPE)
			continue;
		if (mnl_attr_get_u32(attr) == NETDEV_QUEUE_TYPE_RX)
			counts->n_rx++;
		else
			counts->n_tx++;
	}
}

int ethtool_netdev_queues(struct ethtool *ethtool, uint32_t ifindex, unsigned *ret_n_rx,
			  unsigned *ret_n_tx)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct queue_counts counts = {0};
	struct nlmsghdr *nlh;
	int r;

	if (ethtool->netdev_family == 0)
		return -EOPNOTSUPP;
	nlh = nl_genl_message(buffer, ethtool->netdev_family, NETDEV_CMD_QUEUE_GET,
			      NETDEV_FAMILY_VERSION);
	nlh->nlmsg_flags |= NLM_F_DUMP;
	mnl_attr_put_u32(nlh, NETDEV_A_QUEUE_IFINDEX, ifindex);
	r = nl_request(&ethtool->nl, nlh, take_queue, &counts);
	if (r < 0)
		return r;
	if (counts.n_rx == 0 || counts.n_tx == 0)
		return -EOPNOTSUPP; /* the family tells nothing of a device that is down */
	*ret_n_rx = counts.n_rx;
	*ret_n_tx = counts.n_tx;
	return 0;
}

/* --- Features -------------------------------------------------------------------------------- */

static enum link_offload offload_by_name(const char *name)
{
	enum link_offload offload = 0;

	while (offload < LINK_OFFLOAD_N && strcmp(name, link_offload_names[offload]) != 0)
		offload++;
	return offload;
}

/*
 * A verbose bitset: a list of named bits. With NOMASK the listed bits are the set ones; otherwise
 * each carries a flag that says so.
 */
static void take_bit(const struct nlattr *bit, bool is_list, bool bits[LINK_OFFLOAD_N])
{
	const struct nlattr *attr;
	enum link_offload offload = LINK_OFFLOAD_N;
	bool is_set = is_list;

	mnl_attr_for_each_nested (attr, bit) {
		if (mnl_attr_get_type(attr) == ETHTOOL_A_BITSET_BIT_NAME)
			offload = offload_by_name(mnl_attr_get_str(attr));
		else if (mnl_attr_get_type(attr) == ETHTOOL_A_BITSET_BIT_VALUE)
			is_set = true;
	}
	if (offload < LINK_OFFLOAD_N)
		bits[offload] = is_set;
}

static void take_bitset(const struct nlattr *bitset, bool bits[LINK_OFFLOAD_N])
{
	const struct nlattr *attr, *bit;
	bool is_list = false;

	mnl_attr_for_each_nested (attr, bitset) {
		if (mnl_attr_get_type(attr) == ETHTOOL_A_BITSET_NOMASK)
			is_list = true;
	}
	mnl_attr_for_each_nested (attr, bitset) {
		if (mnl_attr_get_type(attr) != ETHTOOL_A_BITSET_BITS)
			continue;
		mnl_attr_for_each_nested (bit, attr)
			take_bit(bit, is_list, bits);
	}
}

struct features {
	bool active[LINK_OFFLOAD_N];
	bool changeable[LINK_OFFLOAD_N]; /* hw_features */
	bool never_change[LINK_OFFLOAD_N];
};

static void take_features(const struct nlmsghdr *nlh, void *arg)
{
	struct features *features = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, nlh, sizeof(struct genlmsghdr)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == ETHTOOL_A_FEATURES_ACTIVE)
			take_bitset(attr, features->active);
		else if (type == ETHTOOL_A_FEATURES_HW)
			take_bitset(attr, features->changeable);
		else if (type == ETHTOOL_A_FEATURES_NOCHANGE)
			take_bitset(attr, features->never_change);
	}
}

int ethtool_features(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
		     bool ret_on[LINK_OFFLOAD_N], bool ret_fixed[LINK_OFFLOAD_N])
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct features features = {0};
	int r;

	if (ethtool->ethtool_family == 0)
		return ethtool_ioctl_features(ethtool->ioctl_fd, interface, ret_on, ret_fixed);
	r = nl_request(
		&ethtool->nl,
		ethtool_message(buffer, ethtool->ethtool_family, ETHTOOL_MSG_FEATURES_GET, ifindex),
		take_features, &features);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		ret_on[i] = features.active[i];
		ret_fixed[i] = !features.changeable[i] || features.never_change[i];
	}
	return 0;
}

int ethtool_set_feature(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
			enum link_offload offload, bool on)
{
	_Alignas(struct nlmsghdr) char buffer[512];
	struct nlattr *wanted, *bits, *bit;
	struct nlmsghdr *nlh;

	if (ethtool->ethtool_family == 0)
		return ethtool_ioctl_set_feature(ethtool->ioctl_fd, interface, offload, on);
	nlh = ethtool_message(buffer, ethtool->ethtool_family, ETHTOOL_MSG_FEATURES_SET, ifindex);
	wanted = mnl_attr_nest_start(nlh, ETHTOOL_A_FEATURES_WANTED);
	bits = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS);
	bit = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS_BIT);
	mnl_attr_put_strz(nlh, ETHTOOL_A_BITSET_BIT_NAME, link_offload_names[offload]);
	if (on)
		mnl_attr_put(nlh, ETHTOOL_A_BITSET_BIT_VALUE, 0, NULL);
	mnl_attr_nest_end(nlh, bit);
	mnl_attr_nest_end(nlh, bits);
	mnl_attr_nest_end(nlh, wanted);
	return nl_request(&ethtool->nl, nlh, NULL, NULL);
}

/* --- Notifications --------------------------------------------------------------------------- */

const char *ethtool_event_interface(const struct nlmsghdr *event)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(event);
	const struct nlattr *header, *attr;

	if (mnl_nlmsg_get_payload_len(event) < sizeof(*genl) ||
	    (genl->cmd != ETHTOOL_MSG_CHANNELS_NTF && genl->cmd != ETHTOOL_MSG_FEATURES_NTF))
		return NULL;
	mnl_attr_for_each (header, event, sizeof(*genl)) {
		if (mnl_attr_get_type(header) != ETHTOOL_A_CHANNELS_HEADER)
			continue;
		mnl_attr_for_each_nested (attr, header) {
			if (mnl_attr_get_type(attr) == ETHTOOL_A_HEADER_DEV_NAME)
				return mnl_attr_get_str(attr);
		}
	}
	return NULL;
}
