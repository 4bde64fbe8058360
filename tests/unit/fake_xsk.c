/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's side of AF_XDP rings in plain memory; the story is in fake_xsk.h. */
#include "fake_xsk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct fake_lane *fakes[FAKE_MAX_LANES];

int __wrap_xsk_wake_tx(const struct xsk *xsk);
int __wrap_xsk_wake_rx(const struct xsk *xsk);

static struct fake_lane *fake_of(const struct xsk *xsk)
{
	for (unsigned i = 0; i < FAKE_MAX_LANES; i++) {
		if (fakes[i] && &fakes[i]->lane->xsk == xsk)
			return fakes[i];
	}
	abort();
}

int __wrap_xsk_wake_tx(const struct xsk *xsk)
{
	struct fake_lane *fake = fake_of(xsk);

	fake->n_wakes_tx++;
	(void)fake_transmit(fake, fake->wake_budget);
	if (fake->n_wake_script == 0)
		return 0;
	fake->n_wake_script--;
	return *fake->wake_script++;
}

int __wrap_xsk_wake_rx(const struct xsk *xsk)
{
	struct fake_lane *fake = fake_of(xsk);

	fake->n_wakes_rx++;
	return fake->wake_rx_result;
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

void fake_umem_init(struct fake_umem *memory, struct umem *umem)
{
	memory->umem = umem;
	memory->held = zeroed(umem->n_frames, 1);
}

void fake_umem_fini(struct fake_umem *memory)
{
	free(memory->held);
	memory->held = NULL;
}

static void ring_init(struct fake_ring *ring, uint32_t size, uint32_t start, bool has_descs)
{
	assert(size && (size & (size - 1)) == 0);
	ring->size = size;
	ring->producer = ring->consumer = start;
	if (has_descs)
		ring->descs = zeroed(size, sizeof(*ring->descs));
	else
		ring->addrs = zeroed(size, sizeof(*ring->addrs));
}

/* The worker's view of a ring, as map_rings() of kern/xsk.c makes it. */
#define VIEW_INIT(view_, ring_, entries_, lead_)                    \
	do {                                                        \
		(view_)->mask = (ring_)->size - 1;                  \
		(view_)->size = (ring_)->size;                      \
		(view_)->producer = &(ring_)->producer;             \
		(view_)->consumer = &(ring_)->consumer;             \
		(view_)->flags = &(ring_)->flags;                   \
		(view_)->ring = (entries_);                         \
		(view_)->cached_prod = (ring_)->producer;           \
		(view_)->cached_cons = (ring_)->consumer + (lead_); \
	} while (0)

void fake_lane_init(struct fake_lane *fake, struct lane *lane, struct fake_umem *memory,
		    uint8_t tag, const struct fake_sizes *sizes)
{
	memset(fake, 0, sizeof(*fake));
	memset(lane, 0, sizeof(*lane));
	fake->lane = lane;
	fake->memory = memory;
	fake->wake_budget = UINT32_MAX;
	ring_init(&fake->rx, sizes->rx, sizes->start, true);
	ring_init(&fake->tx, sizes->tx, sizes->start, true);
	ring_init(&fake->fill, sizes->fill, sizes->start, false);
	ring_init(&fake->completion, sizes->completion, sizes->start, false);
	fake->flying = zeroed(memory->umem->n_frames, sizeof(*fake->flying));
	VIEW_INIT(&lane->xsk.rx, &fake->rx, fake->rx.descs, 0);
	VIEW_INIT(&lane->xsk.tx, &fake->tx, fake->tx.descs, sizes->tx);
	VIEW_INIT(&lane->xsk.fill, &fake->fill, fake->fill.addrs, sizes->fill);
	VIEW_INIT(&lane->xsk.completion, &fake->completion, fake->completion.addrs, 0);
	/* Copy mode: the flag never clears (net/xdp/xsk.c). */
	fake_need_wakeup(&fake->tx, true);
	fake->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert(fake->event_fd >= 0);
	lane->xsk.fd = fake->event_fd;
	lane->xsk.tx_budget = sizes->tx;
	lane->umem = memory->umem;
	lane->tag = tag;
	lane_init(lane);
	for (unsigned i = 0; i < FAKE_MAX_LANES; i++) {
		if (!fakes[i]) {
			fakes[i] = fake;
			return;
		}
	}
	abort();
}

void fake_lane_fini(struct fake_lane *fake)
{
	for (unsigned i = 0; i < FAKE_MAX_LANES; i++) {
		if (fakes[i] == fake)
			fakes[i] = NULL;
	}
	free(fake->rx.descs);
	free(fake->tx.descs);
	free(fake->fill.addrs);
	free(fake->completion.addrs);
	free(fake->flying);
	(void)close(fake->event_fd);
	memset(fake, 0, sizeof(*fake));
}

static uint32_t waiting(const struct fake_ring *ring)
{
	uint32_t n = __atomic_load_n(&ring->producer, __ATOMIC_ACQUIRE) -
		     __atomic_load_n(&ring->consumer, __ATOMIC_ACQUIRE);

	assert(n <= ring->size);
	return n;
}

static void advance(uint32_t *index)
{
	__atomic_store_n(index, *index + 1, __ATOMIC_RELEASE);
}

/* A frame changes hands; whoever gives it away must have had it. */
static void pass_frame(struct fake_umem *memory, uint64_t addr, enum fake_holder from,
		       enum fake_holder to)
{
	uint64_t frame = umem_frame_of(memory->umem, addr);

	assert(frame < memory->umem->n_frames);
	assert(memory->held[frame] == from);
	memory->held[frame] = (uint8_t)to;
}

bool fake_push_rx(struct fake_lane *fake, uint64_t addr, uint32_t len)
{
	struct fake_ring *ring = &fake->rx;

	if (waiting(ring) == ring->size)
		return false;
	ring->descs[ring->producer & (ring->size - 1)] =
		(struct xdp_desc){.addr = addr, .len = len};
	advance(&ring->producer);
	return true;
}

bool fake_push_completion(struct fake_lane *fake, uint64_t addr)
{
	struct fake_ring *ring = &fake->completion;

	if (waiting(ring) == ring->size)
		return false;
	ring->addrs[ring->producer & (ring->size - 1)] = addr;
	advance(&ring->producer);
	return true;
}

bool fake_receive(struct fake_lane *fake, const void *head, uint32_t head_len, uint32_t len,
		  uint64_t *ret_addr)
{
	struct fake_ring *fill = &fake->fill;
	uint64_t addr;

	if (waiting(fill) == 0 || waiting(&fake->rx) == fake->rx.size)
		return false;
	addr = fill->addrs[fill->consumer & (fill->size - 1)];
	advance(&fill->consumer);
	pass_frame(fake->memory, addr, FAKE_USER, FAKE_USER);
	addr += FAKE_HEADROOM;
	memcpy(fake->memory->umem->area + addr, head, MIN(head_len, len));
	if (ret_addr)
		*ret_addr = addr;
	return fake_push_rx(fake, addr, len);
}

uint32_t fake_receive_n(struct fake_lane *fake, uint32_t n, uint32_t len)
{
	static const uint8_t head[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00};
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (!fake_receive(fake, head, sizeof(head), len, NULL))
			break;
	}
	return i;
}

uint32_t fake_transmit(struct fake_lane *fake, uint32_t n)
{
	struct fake_ring *tx = &fake->tx;
	uint32_t capacity = fake->memory->umem->n_frames;
	uint32_t i;

	n = MIN(n, waiting(tx));
	for (i = 0; i < n; i++) {
		const struct xdp_desc *desc = &tx->descs[tx->consumer & (tx->size - 1)];
		struct fake_packet packet = {desc->addr, desc->len};

		/* As the kernel: nothing is sent that the completion ring could not take back. */
		if (fake->n_flying + waiting(&fake->completion) == fake->completion.size)
			break;
		assert(umem_holds(fake->memory->umem, packet.addr, packet.len));
		assert(desc->options == 0);
		pass_frame(fake->memory, packet.addr, FAKE_USER, FAKE_KERNEL_TX);
		if (fake->on_sent)
			fake->on_sent(fake, packet.addr, packet.len, fake->on_sent_data);
		advance(&tx->consumer);
		fake->flying[(fake->flying_first + fake->n_flying++) % capacity] = packet;
		fake->n_sent++;
	}
	return i;
}

uint32_t fake_complete(struct fake_lane *fake, uint32_t n)
{
	uint32_t i;

	n = MIN(n, fake->n_flying);
	for (i = 0; i < n; i++) {
		uint64_t addr = fake->flying[fake->flying_first].addr;

		if (waiting(&fake->completion) == fake->completion.size)
			break;
		pass_frame(fake->memory, addr, FAKE_KERNEL_TX, FAKE_USER);
		(void)fake_push_completion(fake, addr);
		fake->flying_first = (fake->flying_first + 1) % fake->memory->umem->n_frames;
		fake->n_flying--;
	}
	return i;
}

void fake_set_readable(struct fake_lane *fake, bool is_readable)
{
	uint64_t one = 1;
	ssize_t n = is_readable ? write(fake->event_fd, &one, sizeof(one)) :
				  read(fake->event_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: it was so already */
}

static void check_given(const struct fake_lane *fake, uint8_t *seen, uint64_t addr, uint8_t owner)
{
	uint64_t frame = umem_frame_of(fake->memory->umem, addr);

	assert(frame < fake->memory->umem->n_frames);
	assert(!seen[frame]);
	assert(fake->memory->umem->owner[frame] == owner);
	seen[frame] = 1;
}

void fake_check_given(const struct fake_lane *fake, uint8_t *seen)
{
	const struct fake_ring *fill = &fake->fill, *tx = &fake->tx;
	uint8_t tag = fake->lane->tag;

	for (uint32_t i = fill->consumer; i != fill->producer; i++)
		check_given(fake, seen, fill->addrs[i & (fill->size - 1)], FRAME_FILL(tag));
	for (uint32_t i = tx->consumer; i != tx->producer; i++)
		check_given(fake, seen, tx->descs[i & (tx->size - 1)].addr, FRAME_TX(tag));
	for (uint32_t i = 0; i < fake->n_flying; i++)
		check_given(
			fake, seen,
			fake->flying[(fake->flying_first + i) % fake->memory->umem->n_frames].addr,
			FRAME_TX(tag));
}

void fake_let_go(struct fake_lane *fake)
{
	while (fake->n_flying > 0) {
		pass_frame(fake->memory, fake->flying[fake->flying_first].addr, FAKE_KERNEL_TX,
			   FAKE_USER);
		fake->flying_first = (fake->flying_first + 1) % fake->memory->umem->n_frames;
		fake->n_flying--;
	}
}
