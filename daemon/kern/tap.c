// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The TAP of a port; see tap.h. A struct tap owns the fds alone: the device, its qdisc and the
 * program live as long as one of them is open.
 *
 * The kernel enforces no MTU on what is written to a TAP, nor on what is redirected to an ingress.
 * So the device's MTU is free to keep IPv6 away: where less than 1280 bytes fit the kernel has no
 * IPv6 settings, no address, and no multicast group to report (disable_ipv6 would need /proc/sys,
 * which the service cannot write; without an address alone it still reports ff02::2).
 */
#include "kern/tap.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <handback.skel.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kern/load_log.h"
#include "util/macros.h"

#define MTU_WITHOUT_IPV6 1279

struct tap {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	unsigned n_queues;
	int fds[]; /* -1 = not open */
};

static void tap_closep(struct tap **tap)
{
	tap_close(*tap);
}

static void handback_destroyp(struct handback **skel)
{
	handback__destroy(*skel);
}

/* --- The device's settings, over rtnetlink --------------------------------------------------- */

struct link_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	uint8_t attributes[64];
};

static struct link_request new_request(uint32_t ifindex)
{
	return (struct link_request){
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			   .nlmsg_type = RTM_NEWLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_index = (int)ifindex},
	};
}

/* The caller's attributes fit, or the constant of the array is wrong. */
static void put(struct link_request *request, uint16_t type, const void *data, size_t bytes)
{
	struct rtattr *attribute =
		(struct rtattr *)(void *)((uint8_t *)request + request->header.nlmsg_len);

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(bytes);
	memcpy(RTA_DATA(attribute), data, bytes);
	request->header.nlmsg_len += RTA_SPACE(bytes);
}

static int send_request(const struct link_request *request)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[512];
	} answer;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (sendto(fd, request, request->header.nlmsg_len, 0, (const struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < NLMSG_LENGTH(sizeof(answer.error)) ||
	    answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

/*
 * Nobody reads what the kernel sends to the TAP, so it need not be kept: a multi-queue TAP has 256
 * transmit queues, and at the usual length their qdiscs would take megabytes.
 */
static int shorten_queues(const struct tap *tap)
{
	struct link_request request = new_request(tap->ifindex);
	const uint32_t one = 1;

	put(&request, IFLA_TXQLEN, &one, sizeof(one));
	return send_request(&request);
}

/* Before it is up: then it has never said anything. */
static int silence_ipv6(const struct tap *tap)
{
	struct link_request request = new_request(tap->ifindex);
	const uint32_t mtu = MTU_WITHOUT_IPV6;

	put(&request, IFLA_MTU, &mtu, sizeof(mtu));
	return send_request(&request);
}

static int bring_up(const struct tap *tap)
{
	struct link_request request = new_request(tap->ifindex);

	request.link.ifi_flags = IFF_UP;
	request.link.ifi_change = IFF_UP;
	return send_request(&request);
}

/* --- The device ------------------------------------------------------------------------------ */

static int open_queue(struct ifreq *name, int *ret_fd)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	name->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, name) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The first queue makes the device and learns its name, the others join it. */
static int open_queues(struct tap *tap)
{
	struct ifreq name = {.ifr_name = "sluice%d"};
	int r = 0;

	for (unsigned q = 0; r == 0 && q < tap->n_queues; q++)
		r = open_queue(&name, &tap->fds[q]);
	if (r < 0)
		return r;
	memcpy(tap->name, name.ifr_name, sizeof(tap->name));
	tap->ifindex = if_nametoindex(tap->name);
	return tap->ifindex ? 0 : -errno;
}

/* clsact rather than tcx, which is of 6.6: it goes with the device just as well. */
static int attach_program(const struct tap *tap, uint32_t port_ifindex)
{
	_cleanup_(handback_destroyp) struct handback *skel = NULL;
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)tap->ifindex,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int r;

	load_log_begin();
	skel = handback__open();
	if (!skel)
		return -errno;
	skel->rodata->port_ifindex = port_ifindex;
	r = handback__load(skel);
	if (r == 0)
		r = bpf_tc_hook_create(&hook);
	if (r < 0)
		return r;
	opts.prog_fd = bpf_program__fd(skel->progs.sluice_handback);
	return bpf_tc_attach(&hook, &opts);
}

int tap_open(uint32_t port_ifindex, unsigned n_queues, struct tap **ret_tap)
{
	_cleanup_(tap_closep) struct tap *tap = NULL;
	int r;

	if (n_queues < 1)
		return -EINVAL;
	tap = calloc(1, sizeof(*tap) + n_queues * sizeof(tap->fds[0]));
	if (!tap)
		return -ENOMEM;
	tap->n_queues = n_queues;
	for (unsigned q = 0; q < n_queues; q++)
		tap->fds[q] = -1;

	r = open_queues(tap);
	if (r == 0)
		r = shorten_queues(tap);
	if (r == 0)
		r = silence_ipv6(tap);
	if (r == 0)
		r = attach_program(tap, port_ifindex);
	if (r == 0)
		r = bring_up(tap);
	if (r < 0)
		return r;
	*ret_tap = TAKE_PTR(tap);
	return 0;
}

void tap_close(struct tap *tap)
{
	if (!tap)
		return;
	for (unsigned q = 0; q < tap->n_queues; q++)
		close_fdp(&tap->fds[q]);
	free(tap);
}

int tap_fd(const struct tap *tap, unsigned queue)
{
	return tap->fds[queue];
}

const char *tap_name(const struct tap *tap)
{
	return tap->name;
}

uint32_t tap_ifindex(const struct tap *tap)
{
	return tap->ifindex;
}
