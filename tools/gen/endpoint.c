/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening an interface: namespace, program, packet memory, sockets. */
#include "tools/gen/endpoint.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "gen.skel.h"
#include "util/clock.h"
#include "util/macros.h"

#define BIND_PATIENCE_NS (5 * NSEC_PER_SEC)
#define BIND_INTERVAL_NS (10 * NSEC_PER_MSEC)
#define MAX_OVERHEAD     (256 + 14 + 8) /* headroom, Ethernet, two tags */
#define MIN_RING         64 /* of a direction that is not used; the kernel wants all four rings */

int netns_enter(const char *name, int *ret_old_fd)
{
	_cleanup_close_ int old_fd = -1, new_fd = -1;
	char path[256];

	if (!name) {
		*ret_old_fd = -1;
		return 0;
	}
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	new_fd = open(path, O_RDONLY | O_CLOEXEC);
	old_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (new_fd < 0 || old_fd < 0 || setns(new_fd, CLONE_NEWNET) < 0) {
		int r = -errno;

		warn("network namespace %s", name);
		return r;
	}
	*ret_old_fd = TAKE_FD(old_fd);
	return 0;
}

void netns_return(int old_fd)
{
	if (old_fd < 0)
		return;
	if (setns(old_fd, CLONE_NEWNET) < 0)
		warn("going back to the first network namespace");
	(void)close(old_fd);
}

static void ifr_set_name(struct ifreq *ifr, const char *ifname)
{
	(void)snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", ifname);
}

/*
 * A received packet has the kernel's headroom of 256 bytes in front of it. 4096 is the most that
 * packet memory has; what is longer the kernel drops and counts.
 */
static uint32_t frame_size_for(const char *ifname)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	ifr_set_name(&ifr, ifname);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &ifr) < 0)
		return 4096;
	return ifr.ifr_mtu + MAX_OVERHEAD > 2048 ? 4096 : 2048;
}

/* Receive queues by ETHTOOL_GCHANNELS; a driver that cannot say has one. */
static uint32_t count_queues(const char *ifname)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (char *)&channels};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ifr_set_name(&ifr, ifname);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr) < 0)
		return 1;
	return MAX(channels.combined_count + channels.rx_count, 1);
}

static int attach_sink(struct endpoint *ep, const struct endpoint_spec *spec, uint32_t n_queues)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = spec->generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	struct gen_bpf *skeleton = gen_bpf__open();

	ep->skeleton = skeleton;
	if (!skeleton)
		return -errno;
	skeleton->rodata->sink_ethertype = spec->ethertype;
	if (bpf_program__set_autoload(skeleton->progs.gen_flood, false) < 0 ||
	    bpf_map__set_max_entries(skeleton->maps.sink_xsks, n_queues) < 0 ||
	    gen_bpf__load(skeleton) < 0) {
		warn("%s: loading the XDP program", spec->ifname);
		return -errno;
	}
	ep->link_fd = bpf_link_create(bpf_program__fd(skeleton->progs.gen_sink), (int)ep->ifindex,
				      BPF_XDP, &opts);
	if (ep->link_fd < 0) {
		warn("%s: attaching the XDP program", spec->ifname);
		return -errno;
	}
	return 0;
}

static int open_socket(struct endpoint *ep, struct lane *lane, const struct endpoint_spec *spec)
{
	struct xsk_spec xsk = {
		.ifindex = ep->ifindex,
		.queue = lane->queue,
		/*
		 * Twice the frames: the kernel publishes received packets before it gives their
		 * places in the fill ring back (net/xdp/xsk.c, xsk_flush), so for a moment a frame
		 * is in both.
		 */
		.fill_size = MAX(2 * spec->rx_frames, MIN_RING),
		.rx_size = MAX(spec->rx_frames, MIN_RING),
		.tx_size = spec->sends ? LANE_TX_FRAMES : MIN_RING,
		.completion_size = spec->sends ? LANE_TX_FRAMES : MIN_RING,
		.shared_fd = lane == ep->lanes ? -1 : ep->lanes[0].xsk.fd,
	};
	const struct timespec interval = {.tv_nsec = BIND_INTERVAL_NS};
	uint64_t deadline_ns = clock_now_ns() + BIND_PATIENCE_NS;
	enum xsk_step step;
	int r;

	while ((r = xsk_open(&lane->xsk, &ep->umem, &xsk, &step)) == -EBUSY &&
	       step == XSK_STEP_BIND && clock_now_ns() < deadline_ns)
		(void)nanosleep(&interval, NULL);
	if (r < 0) {
		errno = -r;
		warn("%s queue %u: cannot %s", spec->ifname, lane->queue, xsk_step_names[step]);
	}
	return r;
}

/* Gives the lane its frames: the first to the fill ring, the others to the sender's stack. */
static int stock_lane(struct lane *lane, const struct umem *umem, uint32_t first_frame,
		      const struct endpoint_spec *spec)
{
	uint32_t at;

	if (spec->rx_frames > 0 &&
	    xsk_ring_prod__reserve(&lane->xsk.fill, spec->rx_frames, &at) != spec->rx_frames)
		return -ENOBUFS;
	for (uint32_t i = 0; i < spec->rx_frames; i++)
		*xsk_ring_prod__fill_addr(&lane->xsk.fill, at + i) =
			umem_frame_addr(umem, first_frame + i);
	if (spec->rx_frames > 0)
		xsk_ring_prod__submit(&lane->xsk.fill, spec->rx_frames);
	for (uint32_t i = LANE_TX_FRAMES; spec->sends && i-- > 0;)
		lane->tx_free[lane->n_tx_free++] = first_frame + spec->rx_frames + i;
	return 0;
}

static int open_lanes(struct endpoint *ep, const struct endpoint_spec *spec)
{
	uint32_t per_lane = spec->rx_frames + (spec->sends ? LANE_TX_FRAMES : 0);
	struct umem_spec umem = {
		.n_frames = per_lane * ep->n_lanes,
		.frame_size_bytes = MAX(spec->frame_size_bytes, frame_size_for(spec->ifname)),
		.numa_node = -1,
	};
	int r = umem_init(&ep->umem, &umem);

	if (r < 0) {
		errno = -r;
		warn("%s: packet memory of %u frames", spec->ifname, umem.n_frames);
		return r;
	}
	for (uint32_t i = 0; i < ep->n_lanes; i++) {
		struct lane *lane = &ep->lanes[i];
		int fd;

		if ((r = open_socket(ep, lane, spec)) < 0 ||
		    (r = stock_lane(lane, &ep->umem, i * per_lane, spec)) < 0)
			return r;
		fd = lane->xsk.fd;
		if (ep->skeleton && bpf_map_update_elem(bpf_map__fd(ep->skeleton->maps.sink_xsks),
							&lane->queue, &fd, BPF_ANY) < 0) {
			warn("%s queue %u: XSKMAP", spec->ifname, lane->queue);
			return -errno;
		}
	}
	return 0;
}

static int open_here(struct endpoint *ep, const struct endpoint_spec *spec)
{
	uint32_t n_queues;
	int r;

	ep->ifname = spec->ifname;
	ep->ifindex = if_nametoindex(spec->ifname);
	if (ep->ifindex == 0) {
		warn("interface %s", spec->ifname);
		return -errno;
	}
	ep->dev_fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
	n_queues = count_queues(spec->ifname);
	ep->n_lanes = spec->queues->n ? spec->queues->n : MIN(n_queues, GEN_MAX_QUEUES);
	ep->lanes = calloc(ep->n_lanes, sizeof(*ep->lanes));
	if (!ep->lanes)
		return -ENOMEM;
	for (uint32_t i = 0; i < ep->n_lanes; i++) {
		ep->lanes[i].xsk.fd = -1;
		ep->lanes[i].queue = spec->queues->n ? spec->queues->list[i] : i;
		n_queues = MAX(n_queues, ep->lanes[i].queue + 1);
	}
	if (spec->rx_frames > 0 && (r = attach_sink(ep, spec, n_queues)) < 0)
		return r;
	return open_lanes(ep, spec);
}

int endpoint_open(struct endpoint *ep, const struct endpoint_spec *spec)
{
	int old_fd, r;

	*ep = (struct endpoint){.link_fd = -1, .dev_fd = -1, .umem = {.memfd = -1}};
	r = netns_enter(spec->netns, &old_fd);
	if (r < 0)
		return r;
	r = open_here(ep, spec);
	netns_return(old_fd);
	if (r < 0)
		endpoint_close(ep);
	return r;
}

void endpoint_close(struct endpoint *ep)
{
	close_fdp(&ep->link_fd);
	if (ep->skeleton)
		gen_bpf__destroy(ep->skeleton);
	for (uint32_t i = 0; i < ep->n_lanes && ep->lanes; i++)
		xsk_close(&ep->lanes[i].xsk);
	free(ep->lanes);
	umem_fini(&ep->umem);
	close_fdp(&ep->dev_fd);
	*ep = (struct endpoint){.link_fd = -1, .dev_fd = -1, .umem = {.memfd = -1}};
}

int endpoint_counters(const struct endpoint *ep, struct device_counters *ret_counters)
{
	/* bytes packets errs drop fifo frame compressed multicast | bytes packets errs drop … */
	static const char format[] = " %*u %lu %*u %lu %*u %*u %*u %*u %*u %lu %*u %lu";
	struct device_counters c;
	char text[16384], key[IF_NAMESIZE + 2];
	ssize_t n = pread(ep->dev_fd, text, sizeof(text) - 1, 0);
	const char *line;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	(void)snprintf(key, sizeof(key), "%s:", ep->ifname);
	for (line = text; line; line = strchr(line, '\n')) {
		line += strspn(line, " \n");
		if (strncmp(line, key, strlen(key)) == 0)
			break;
	}
	if (!line || sscanf(line + strlen(key), format, &c.rx_packets, &c.rx_dropped, &c.tx_packets,
			    &c.tx_dropped) != 4)
		return -ENODEV;
	*ret_counters = c;
	return 0;
}

void endpoint_statistics(const struct endpoint *ep, struct xdp_statistics *ret_stats)
{
	struct xdp_statistics sum = {0};

	for (uint32_t i = 0; i < ep->n_lanes; i++) {
		struct xdp_statistics s;

		if (xsk_statistics(&ep->lanes[i].xsk, &s) < 0)
			continue;
		sum.rx_dropped += s.rx_dropped;
		sum.rx_invalid_descs += s.rx_invalid_descs;
		sum.tx_invalid_descs += s.tx_invalid_descs;
		sum.rx_ring_full += s.rx_ring_full;
		sum.rx_fill_ring_empty_descs += s.rx_fill_ring_empty_descs;
		sum.tx_ring_empty_descs += s.tx_ring_empty_descs;
	}
	*ret_stats = sum;
}
