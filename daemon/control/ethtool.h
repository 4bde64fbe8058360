/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ethtool(8) knows of an interface: driver, channels, offloads. By ethtool's generic netlink
 * family; where the kernel has none (CONFIG_ETHTOOL_NETLINK=n) by the SIOCETHTOOL ioctl, which
 * cannot notify. Queue counts also by the `netdev` family (kernel ≥ 6.8) for devices without
 * channels, such as bridge. A part of link.c; nobody else includes this.
 *
 * Thread: control. Capabilities: CAP_NET_ADMIN to change an offload.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/link.h"
#include "control/netlink.h"

struct ethtool {
	struct nl nl;            /* requests */
	uint16_t ethtool_family; /* 0 = not in this kernel: the ioctl is used */
	uint16_t netdev_family;  /* 0 = not in this kernel */
	int event_fd;            /* group "monitor"; -1 = no notifications */
	int ioctl_fd;            /* any socket will do for SIOCETHTOOL */
};

/* Never fails for a missing family; -errno of socket(2) and the like. */
int ethtool_open(struct ethtool *ethtool);
void ethtool_close(struct ethtool *ethtool);

/* Channels in use, rx + combined and tx + combined. -EOPNOTSUPP: the driver has none. */
int ethtool_channels(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
		     unsigned *ret_n_rx, unsigned *ret_n_tx);

/* Real queues by the netdev family. -EOPNOTSUPP: not in this kernel, or the device is down. */
int ethtool_netdev_queues(struct ethtool *ethtool, uint32_t ifindex, unsigned *ret_n_rx,
			  unsigned *ret_n_tx);

/* State of the offloads we care about. */
int ethtool_features(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
		     bool ret_on[LINK_OFFLOAD_N], bool ret_fixed[LINK_OFFLOAD_N]);

/* Asks for a change; the driver may ignore it, so read back. */
int ethtool_set_feature(struct ethtool *ethtool, uint32_t ifindex, const char *interface,
			enum link_offload offload, bool on);

/* The interface of a notification about channels or features; NULL if it is about neither. */
const char *ethtool_event_interface(const struct nlmsghdr *event);

/* --- The ioctl (ethtool_ioctl.c); `fd` is any socket ----------------------------------------- */

/* "" into ret_driver if the driver does not say. */
void ethtool_ioctl_driver(int fd, const char *interface, char ret_driver[32]);
int ethtool_ioctl_channels(int fd, const char *interface, unsigned *ret_n_rx, unsigned *ret_n_tx);
int ethtool_ioctl_features(int fd, const char *interface, bool ret_on[LINK_OFFLOAD_N],
			   bool ret_fixed[LINK_OFFLOAD_N]);
int ethtool_ioctl_set_feature(int fd, const char *interface, enum link_offload offload, bool on);
