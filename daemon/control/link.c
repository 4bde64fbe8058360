/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading an interface: life of the connection, rtnetlink, and who is asked in which order. */
#include "control/link.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "control/link_internal.h"
#include "util/macros.h"

int links_open(struct links **ret_links)
{
	struct links *links = calloc(1, sizeof(*links));
	int r;

	if (!links)
		return -ENOMEM;
	*links = (struct links){
		.event_fd = -1,
		.ethtool = {.event_fd = -1, .ioctl_fd = -1},
		.sysfs_root = "/sys",
		.proc_root = "/proc",
	};
	r = nl_open(&links->route, NETLINK_ROUTE);
	if (r < 0)
		goto fail;
	r = link_events_open(&links->event_fd);
	if (r < 0)
		goto fail;
	r = ethtool_open(&links->ethtool);
	if (r < 0)
		goto fail;
	*ret_links = links;
	return 0;
fail:
	links_close(links);
	return r;
}

void links_close(struct links *links)
{
	if (!links)
		return;
	ethtool_close(&links->ethtool);
	close_fdp(&links->event_fd);
	nl_close(&links->route);
	free(links->known);
	free(links->uppers);
	free(links);
}

int links_event_fd(const struct links *links)
{
	return links->event_fd;
}

int links_ethtool_event_fd(const struct links *links)
{
	return links->ethtool.event_fd;
}

int links_learn(struct links *links, uint32_t ifindex, const char *name)
{
	struct known_link *known;
	unsigned n = 0;

	for (unsigned i = 0; i < links->n_known; i++) {
		known = &links->known[i];
		if (known->ifindex != ifindex && strcmp(known->name, name) != 0)
			links->known[n++] = *known;
	}
	links->n_known = n;
	known = reallocarray(links->known, n + 1, sizeof(*known));
	if (!known)
		return -ENOMEM;
	links->known = known;
	known[n] = (struct known_link){.ifindex = ifindex};
	(void)snprintf(known[n].name, sizeof(known[n].name), "%s", name);
	links->n_known = n + 1;
	return 0;
}

void links_forget_uppers(struct links *links, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < links->n_uppers; i++) {
		if (strcmp(links->uppers[i].name, name) != 0)
			links->uppers[n++] = links->uppers[i];
	}
	links->n_uppers = n;
}

int links_learn_upper(struct links *links, uint32_t ifindex, const char *name)
{
	struct known_link *uppers =
		reallocarray(links->uppers, links->n_uppers + 1, sizeof(*uppers));

	if (!uppers)
		return -ENOMEM;
	links->uppers = uppers;
	uppers[links->n_uppers] = (struct known_link){.ifindex = ifindex};
	(void)snprintf(uppers[links->n_uppers++].name, IF_NAMESIZE, "%s", name);
	return 0;
}

/* --- rtnetlink ------------------------------------------------------------------------------- */

/* One RTM_NEWLINK; the master is still an index. */
struct link_answer {
	struct link *link;
	uint32_t master_ifindex;
};

static void take_xdp(struct link *link, const struct nlattr *xdp)
{
	const struct nlattr *attr;

	/* PROG_ID is the program of a single mode; with several modes each has its own attribute.
	 */
	mnl_attr_for_each_nested (attr, xdp) {
		uint16_t type = mnl_attr_get_type(attr);

		if ((type == IFLA_XDP_PROG_ID || type == IFLA_XDP_DRV_PROG_ID ||
		     type == IFLA_XDP_SKB_PROG_ID || type == IFLA_XDP_HW_PROG_ID) &&
		    link->xdp_prog_id == 0)
			link->xdp_prog_id = mnl_attr_get_u32(attr);
	}
}

static void take_kind(struct link *link, const struct nlattr *info)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, info) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			(void)snprintf(link->kind, sizeof(link->kind), "%.15s",
				       mnl_attr_get_str(attr));
	}
}

/* The structure grows with kernels: what is missing stays 0. */
static void take_stats(struct link *link, const struct nlattr *attr)
{
	struct rtnl_link_stats64 stats = {0};

	memcpy(&stats, mnl_attr_get_payload(attr),
	       MIN(sizeof(stats), (size_t)mnl_attr_get_payload_len(attr)));
	link->rx_missed = stats.rx_missed_errors;
	link->rx_errors = stats.rx_errors;
	link->tx_dropped = stats.tx_dropped;
}

static void take_link_attr(struct link_answer *answer, const struct nlattr *attr)
{
	struct link *link = answer->link;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		(void)snprintf(link->name, sizeof(link->name), "%.15s", mnl_attr_get_str(attr));
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(attr) == sizeof(link->address))
			memcpy(link->address, mnl_attr_get_payload(attr), sizeof(link->address));
		break;
	case IFLA_MTU:
		link->mtu = mnl_attr_get_u32(attr);
		break;
	case IFLA_MASTER:
		answer->master_ifindex = mnl_attr_get_u32(attr);
		break;
	case IFLA_NUM_RX_QUEUES:
		link->n_rx_queues = mnl_attr_get_u32(attr);
		break;
	case IFLA_NUM_TX_QUEUES:
		link->n_tx_queues = mnl_attr_get_u32(attr);
		break;
	case IFLA_LINKINFO:
		take_kind(link, attr);
		break;
	case IFLA_XDP:
		take_xdp(link, attr);
		break;
	case IFLA_STATS64:
		take_stats(link, attr);
		break;
	default:
		break;
	}
}

static void take_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct link_answer *answer = arg;
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return;
	answer->link->exists = true;
	answer->link->ifindex = (uint32_t)ifi->ifi_index;
	answer->link->is_up = ifi->ifi_flags & IFF_UP;
	answer->link->has_carrier = ifi->ifi_flags & IFF_LOWER_UP;
	answer->link->is_ethernet = ifi->ifi_type == ARPHRD_ETHER;
	mnl_attr_for_each (attr, nlh, sizeof(*ifi))
		take_link_attr(answer, attr);
}

static struct nlmsghdr *getlink_message(void *buffer, uint32_t ifindex)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	return nlh;
}

void link_read_master(struct links *links, uint32_t ifindex, struct link_host *host)
{
	_Alignas(struct nlmsghdr) char buffer[128];
	struct link link = {0};
	struct link_answer answer = {.link = &link};

	(void)snprintf(host->master, sizeof(host->master), "if%u", ifindex);
	if (nl_request(&links->route, getlink_message(buffer, ifindex), take_link, &answer) < 0 ||
	    !link.exists)
		return;
	text_escape(link.name, host->master, sizeof(host->master));
	memcpy(host->master_kind, link.kind, sizeof(host->master_kind));
}

/*
 * The queues that exist now. rtnetlink tells only how many were allocated (256 for every tap), so
 * it is the last one to be believed.
 */
static void read_queues(struct links *links, struct link *link)
{
	unsigned n_rx, n_tx;
	bool is_known =
		ethtool_channels(&links->ethtool, link->ifindex, link->name, &n_rx, &n_tx) == 0 ||
		ethtool_netdev_queues(&links->ethtool, link->ifindex, &n_rx, &n_tx) == 0;

	(void)link_sysfs_read(links->sysfs_root, links->proc_root, !is_known, link);
	if (is_known) {
		link->n_rx_queues = n_rx;
		link->n_tx_queues = n_tx;
	}
}

int link_read(struct links *links, const char *interface, struct link *ret_link)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct link link = {.numa_node = -1};
	struct link_answer answer = {.link = &link};
	struct nlmsghdr *nlh = getlink_message(buffer, 0);
	int r;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, interface);
	r = nl_request(&links->route, nlh, take_link, &answer);
	if (r < 0 && r != -ENODEV)
		return r;
	/* The kernel also finds alternative names, but events carry the real one: it alone counts.
	 */
	if (r == -ENODEV || strcmp(link.name, interface) != 0) {
		*ret_link = (struct link){.numa_node = -1};
		(void)snprintf(ret_link->name, sizeof(ret_link->name), "%s", interface);
		return 0;
	}
	r = links_learn(links, link.ifindex, link.name);
	if (r < 0)
		return r;
	if (answer.master_ifindex != 0)
		link_read_master(links, answer.master_ifindex, &link.host);
	read_queues(links, &link);
	ethtool_ioctl_driver(links->ethtool.ioctl_fd, link.name, link.driver);
	/* A device without ethtool has no offloads either. */
	(void)ethtool_features(&links->ethtool, link.ifindex, link.name, link.offload_on,
			       link.offload_fixed);
	r = link_read_host(&links->route, &link);
	if (r < 0)
		return r;
	r = link_read_upper(links, &link);
	if (r < 0)
		return r;
	*ret_link = link;
	return 0;
}

int link_read_stats(struct links *links, uint32_t ifindex, struct link *io_link)
{
	_Alignas(struct nlmsghdr) char buffer[128];
	struct link link = {0};
	struct link_answer answer = {.link = &link};
	int r = nl_request(&links->route, getlink_message(buffer, ifindex), take_link, &answer);

	if (r < 0)
		return r;
	if (!link.exists)
		return -ENODEV;
	io_link->is_up = link.is_up;
	io_link->has_carrier = link.has_carrier;
	io_link->mtu = link.mtu;
	io_link->rx_missed = link.rx_missed;
	io_link->rx_errors = link.rx_errors;
	io_link->tx_dropped = link.tx_dropped;
	return 0;
}

/* --- Changes to an interface ----------------------------------------------------------------- */

int link_set_offload(struct links *links, uint32_t ifindex, enum link_offload offload, bool on)
{
	bool is_on[LINK_OFFLOAD_N], is_fixed[LINK_OFFLOAD_N];
	char name[IF_NAMESIZE];
	int r;

	if (!if_indextoname(ifindex, name))
		return -errno;
	r = ethtool_set_feature(&links->ethtool, ifindex, name, offload, on);
	if (r < 0)
		return r;
	r = ethtool_features(&links->ethtool, ifindex, name, is_on, is_fixed);
	if (r < 0)
		return r;
	return is_on[offload] == on ? 0 : -EOPNOTSUPP;
}

int link_hold_promiscuous(uint32_t ifindex, int *ret_fd)
{
	struct packet_mreq request = {.mr_ifindex = (int)ifindex, .mr_type = PACKET_MR_PROMISC};
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
