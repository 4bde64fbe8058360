// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router in a worker: takes a burst, lets net/route.h decide, and gives every frame its fate,
 * on to a tx ring, back to the kernel, or away. Thread: worker.
 */
#include "data/burst.h"

#include "data/hot.h"

/* A port as this burst may leave by it, judged at the first frame that wants to. */
struct out {
	struct lane *lane; /* NULL: down, missing, or nothing to send by */
	uint32_t ifindex;
	uint32_t max_len;
};

/* One burst on its way. Large, and used where written: never cleared as a whole. */
struct routing {
	struct worker *worker;
	const struct worker_route *route;
	struct burst *burst;
	uint64_t known_outs; /* bit by port: outs[] is filled in */
	uint32_t n;
	uint64_t addrs[BURST];
	struct route_frame frames[BURST];
	struct egress egress;
	struct out outs[WORKER_MAX_PORTS];
};
_Static_assert(WORKER_MAX_PORTS == 64, "known_outs has a bit for each");
_Static_assert(BURST <= FIB_BURST, "route_decide() takes a burst at once");

/* The frames that are ours, with their headers on the way into the cache. */
static void take_frames(struct routing *routing, uint32_t index, uint32_t n)
{
	const struct lane *in = routing->route->rx;
	const struct umem *umem = in->umem;
	uint32_t n_taken = 0;

	for (uint32_t i = 0; i < n; i++)
		umem_prefetch(umem, xsk_ring_cons__rx_desc(&in->xsk.rx, index + i)->addr);
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&in->xsk.rx, index + i);

		if (unlikely(!burst_take(routing->burst, in, desc)))
			continue;
		routing->addrs[n_taken] = desc->addr;
		routing->frames[n_taken].data = umem->area + desc->addr;
		routing->frames[n_taken].len = desc->len;
		n_taken++;
	}
	routing->n = n_taken;
}

static void drop_frame(struct routing *routing, uint32_t i, enum drop_reason reason)
{
	burst_drop_frame(routing->burst, routing->route->rx->umem, routing->addrs[i], reason);
}

/* What the fast path does not fully understand is the kernel's, as it came. */
static __attribute__((noinline)) void hand_back_frame(struct routing *routing, uint32_t i,
						      enum handback_reason reason)
{
	const struct worker_port *port = &routing->worker->set->ports[routing->route->port];
	const struct route_frame *frame = &routing->frames[i];
	struct umem *umem = routing->route->rx->umem;
	enum drop_reason failure =
		hand_back(routing->worker, port, reason, frame->data, frame->len);

	if (failure != DROP_N) {
		drop_frame(routing, i, failure);
		return;
	}
	routing->burst->handed_back[reason]++;
	routing->burst->n_handed_back++;
	umem_put(umem, (uint32_t)umem_frame_of(umem, routing->addrs[i]));
}

static __attribute__((noinline)) void know_out(struct routing *routing, uint16_t port_number)
{
	const struct worker_port *port = &routing->worker->set->ports[port_number];
	const bool is_able = port->is_member && port->can_send && port->n_lanes > 0;

	routing->outs[port_number] = (struct out){
		.lane = is_able ? port->lanes[routing->route->out_number % port->n_lanes] : NULL,
		.ifindex = port->ifindex,
		.max_len = port->max_len,
	};
	routing->known_outs |= 1ULL << port_number;
}

/* NULL: the next hop was meant for a port that is down, or not there any more. */
static inline const struct out *out_of(struct routing *routing, const struct adjacency *adjacency)
{
	uint16_t port = adjacency->out_port;
	const struct out *out = &routing->outs[port % WORKER_MAX_PORTS];

	if (unlikely(port >= WORKER_MAX_PORTS))
		return NULL;
	if (unlikely(!(routing->known_outs >> port & 1)))
		know_out(routing, port);
	return likely(out->lane && out->ifindex == adjacency->ifindex) ? out : NULL;
}

static inline void forward_frame(struct routing *routing, uint32_t i)
{
	const struct route_frame *frame = &routing->frames[i];
	const struct out *out = out_of(routing, frame->adjacency);
	enum drop_reason failure;

	if (unlikely(!out)) {
		hand_back_frame(routing, i, HANDBACK_DOWN);
		return;
	}
	if (unlikely(frame->out_len > out->max_len)) {
		hand_back_frame(routing, i, HANDBACK_MTU);
		return;
	}
	/* Before it is put: it may be copied on the way. */
	route_rewrite(frame);
	failure = egress_put(&routing->egress, routing->route->rx, out->lane, routing->addrs[i],
			     frame->out_len);
	if (likely(failure == DROP_N))
		routing->burst->n_sent++;
	else
		drop_frame(routing, i, failure);
}

static struct route_in in_of(const struct worker_set *set, uint16_t port_number)
{
	const struct worker_port *port = &set->ports[port_number];
	struct route_in in = {.port = port_number, .ifindex = port->ifindex};

	memcpy(in.mac, port->mac, sizeof(in.mac));
	return in;
}

void route_burst(struct worker *worker, const struct worker_route *route, uint32_t index,
		 uint32_t n, struct burst *burst)
{
	const struct route_in in = in_of(worker->set, route->port);
	struct routing routing UNINITIALIZED;

	routing.worker = worker;
	routing.route = route;
	routing.burst = burst;
	routing.known_outs = 0;
	routing.egress.n = 0;
	take_frames(&routing, index, n);
	route_decide(worker->set->view, &in, routing.frames, routing.n);
	for (uint32_t i = 0; i < routing.n; i++) {
		const struct route_frame *frame = &routing.frames[i];

		if (likely(frame->verdict == ROUTE_FORWARD))
			forward_frame(&routing, i);
		else if (frame->verdict == ROUTE_HAND_BACK)
			hand_back_frame(&routing, i, frame->reason);
		else
			drop_frame(&routing, i, DROP_IP_HEADER);
	}
	egress_submit(&routing.egress);
}
