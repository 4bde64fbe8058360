/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening, mapping and closing AF_XDP sockets by raw SOL_XDP calls; the story is in xsk.h. */
#include "kern/xsk.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* linux/if_xdp.h of 6.18 */
#endif

#define BUSY_POLL_BUDGET  64 /* packets; the burst of data/loop.c */
#define TX_BUDGET_DEFAULT 32 /* TX_BATCH_SIZE, net/xdp/xsk.c */
/*
 * Copy-mode packets are charged to the socket until the receiver has consumed them (about 768
 * bytes for a small one): the default of 208 KiB ends after 270 packets, a tx ring has 2048.
 */
#define SEND_BUFFER_BYTES (4 << 20)

const char *const xsk_mode_names[XSK_MODE_N] = {
	[XSK_MODE_ZEROCOPY] = "zerocopy",
	[XSK_MODE_COPY] = "copy",
	[XSK_MODE_GENERIC] = "generic",
};

const char *const xsk_step_names[XSK_STEP_N] = {
	[XSK_STEP_SOCKET] = "open an AF_XDP socket",
	[XSK_STEP_UMEM] = "register the packet memory (XDP_UMEM_REG)",
	[XSK_STEP_RINGS] = "size the rings",
	[XSK_STEP_MMAP] = "map the rings",
	[XSK_STEP_BUSY_POLL] = "turn busy polling on",
	[XSK_STEP_BIND] = "bind the socket",
};

static int set_xdp(int fd, int option, const void *value, socklen_t size)
{
	return setsockopt(fd, SOL_XDP, option, value, size) < 0 ? -errno : 0;
}

static int register_umem(int fd, const struct umem *umem)
{
	struct xdp_umem_reg reg = {
		.addr = (uint64_t)(uintptr_t)umem->area,
		.len = (uint64_t)umem->n_frames << umem->frame_shift,
		.chunk_size = 1U << umem->frame_shift,
	};

	return set_xdp(fd, XDP_UMEM_REG, &reg, sizeof(reg));
}

static int size_rings(int fd, const struct xsk_spec *spec)
{
	const struct {
		int option;
		uint32_t size;
	} rings[] = {
		{XDP_UMEM_FILL_RING, spec->fill_size},
		{XDP_UMEM_COMPLETION_RING, spec->completion_size},
		{XDP_RX_RING, spec->rx_size},
		{XDP_TX_RING, spec->tx_size},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		int r = set_xdp(fd, rings[i].option, &rings[i].size, sizeof(rings[i].size));

		if (r < 0)
			return r;
	}
	return 0;
}

/* Both ring structs of <xdp/xsk.h> have the same members; only the start of cached_cons differs. */
#define RING_INIT(ring_, map_, off_, n_)                                         \
	do {                                                                     \
		(ring_)->mask = (n_)-1;                                          \
		(ring_)->size = (n_);                                            \
		(ring_)->producer = (void *)((char *)(map_) + (off_)->producer); \
		(ring_)->consumer = (void *)((char *)(map_) + (off_)->consumer); \
		(ring_)->flags = (void *)((char *)(map_) + (off_)->flags);       \
		(ring_)->ring = (void *)((char *)(map_) + (off_)->desc);         \
		(ring_)->cached_prod = *(ring_)->producer;                       \
		(ring_)->cached_cons = *(ring_)->consumer;                       \
	} while (0)

static int map_ring(struct xsk *xsk, unsigned i, uint64_t pgoff, uint64_t desc_off,
		    size_t entry_bytes, uint32_t n)
{
	size_t size_bytes = desc_off + n * entry_bytes;
	void *addr = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  xsk->fd, (off_t)pgoff);

	if (addr == MAP_FAILED)
		return -errno;
	xsk->maps[i] = (struct xsk_map){addr, size_bytes};
	return 0;
}

static int map_rings(struct xsk *xsk, const struct xsk_spec *spec)
{
	struct xdp_mmap_offsets off;
	socklen_t size = sizeof(off);
	int r;

	if (getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &size) < 0)
		return -errno;
	if ((r = map_ring(xsk, 0, XDP_PGOFF_RX_RING, off.rx.desc, sizeof(struct xdp_desc),
			  spec->rx_size)) < 0 ||
	    (r = map_ring(xsk, 1, XDP_PGOFF_TX_RING, off.tx.desc, sizeof(struct xdp_desc),
			  spec->tx_size)) < 0 ||
	    (r = map_ring(xsk, 2, XDP_UMEM_PGOFF_FILL_RING, off.fr.desc, sizeof(uint64_t),
			  spec->fill_size)) < 0 ||
	    (r = map_ring(xsk, 3, XDP_UMEM_PGOFF_COMPLETION_RING, off.cr.desc, sizeof(uint64_t),
			  spec->completion_size)) < 0)
		return r;
	RING_INIT(&xsk->rx, xsk->maps[0].addr, &off.rx, spec->rx_size);
	RING_INIT(&xsk->tx, xsk->maps[1].addr, &off.tx, spec->tx_size);
	RING_INIT(&xsk->fill, xsk->maps[2].addr, &off.fr, spec->fill_size);
	RING_INIT(&xsk->completion, xsk->maps[3].addr, &off.cr, spec->completion_size);
	/* A producer's cached consumer runs one ring ahead: free entries = cached_cons −
	 * cached_prod. */
	xsk->tx.cached_cons += spec->tx_size;
	xsk->fill.cached_cons += spec->fill_size;
	return 0;
}

static int bind_queue(const struct xsk *xsk, const struct xsk_spec *spec)
{
	struct sockaddr_xdp addr = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = spec->ifindex,
		.sxdp_queue_id = spec->queue,
	};

	if (spec->shared_fd >= 0) {
		addr.sxdp_flags = XDP_SHARED_UMEM;
		addr.sxdp_shared_umem_fd = (uint32_t)spec->shared_fd;
	} else {
		addr.sxdp_flags = (spec->zerocopy ? XDP_ZEROCOPY : XDP_COPY) | XDP_USE_NEED_WAKEUP;
	}
	return bind(xsk->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

/* SO_BUSY_POLL alone needs no capability, the other two CAP_NET_ADMIN (net/core/sock.c). */
static int enable_busy_poll(int fd, uint32_t busy_poll_us)
{
	const struct {
		int option, value;
	} options[] = {
		{SO_PREFER_BUSY_POLL, 1},
		{SO_BUSY_POLL, (int)busy_poll_us},
		{SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (setsockopt(fd, SOL_SOCKET, options[i].option, &options[i].value, sizeof(int)) <
		    0)
			return -errno;
	}
	return 0;
}

/* Improvements that a kernel may lack; each has a working fall-back, so none can fail the open. */
static void tune(struct xsk *xsk, const struct xsk_spec *spec)
{
	int send_buffer = SEND_BUFFER_BYTES;
	struct xdp_options options = {0};
	uint32_t budget = spec->tx_size;
	socklen_t size = sizeof(options);

	xsk->tx_budget = TX_BUDGET_DEFAULT;
	if (set_xdp(xsk->fd, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)) == 0)
		xsk->tx_budget = budget;
	(void)setsockopt(xsk->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof(send_buffer));
	if (getsockopt(xsk->fd, SOL_XDP, XDP_OPTIONS, &options, &size) == 0)
		xsk->is_zerocopy = options.flags & XDP_OPTIONS_ZEROCOPY;
	size = sizeof(xsk->napi_id);
	(void)getsockopt(xsk->fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &xsk->napi_id, &size);
}

int xsk_open(struct xsk *xsk, const struct umem *umem, const struct xsk_spec *spec,
	     enum xsk_step *ret_step)
{
	enum xsk_step step = XSK_STEP_SOCKET;
	int r = 0;

	*xsk = (struct xsk){.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
	if (xsk->fd < 0) {
		r = -errno;
		goto fail;
	}
	step = XSK_STEP_UMEM;
	if (spec->shared_fd < 0 && (r = register_umem(xsk->fd, umem)) < 0)
		goto fail;
	step = XSK_STEP_RINGS;
	if ((r = size_rings(xsk->fd, spec)) < 0)
		goto fail;
	step = XSK_STEP_MMAP;
	if ((r = map_rings(xsk, spec)) < 0)
		goto fail;
	step = XSK_STEP_BUSY_POLL;
	if (spec->busy_poll_us > 0 && (r = enable_busy_poll(xsk->fd, spec->busy_poll_us)) < 0)
		goto fail;
	step = XSK_STEP_BIND;
	if ((r = bind_queue(xsk, spec)) < 0)
		goto fail;
	tune(xsk, spec);
	return 0;

fail:
	xsk_close(xsk);
	*ret_step = step;
	return r;
}

void xsk_close(struct xsk *xsk)
{
	for (size_t i = 0; i < ARRAY_SIZE(xsk->maps); i++) {
		if (xsk->maps[i].addr)
			(void)munmap(xsk->maps[i].addr, xsk->maps[i].size_bytes);
	}
	if (xsk->fd > 0)
		(void)close(xsk->fd);
	*xsk = (struct xsk){.fd = -1};
}

int xsk_statistics(const struct xsk *xsk, struct xdp_statistics *ret_stats)
{
	struct xdp_statistics stats = {0};
	socklen_t size = sizeof(stats);

	if (getsockopt(xsk->fd, SOL_XDP, XDP_STATISTICS, &stats, &size) < 0)
		return -errno;
	*ret_stats = stats;
	return 0;
}

uint32_t xsk_rx_waiting(const struct xsk *xsk)
{
	return __atomic_load_n(xsk->rx.producer, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(xsk->rx.consumer, __ATOMIC_ACQUIRE);
}

int xsk_wake_tx(const struct xsk *xsk)
{
	return sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

int xsk_wake_rx(const struct xsk *xsk)
{
	return recvfrom(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? -errno : 0;
}
