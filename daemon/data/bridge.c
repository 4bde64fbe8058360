/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bridge in a worker: what Linux's does with vlan_filtering, snooping, STP and hairpin off
 * (br_handle_frame_finish, net/bridge/br_input.c), as far as frames leave by a port.
 *
 *	source no unicast address    dropped, not learnt
 *	source not known here        reported to tables (learn.h), unless it is our own
 *	to a known address           to its port; dropped if that is this one, down, or small
 *	to the address of a port     this host's: handed back on that port
 *	to 01:80:c2:00:00:0x         this host's: XDP passes them, so here are stragglers
 *	to anything else             to every other port that is up, within flood_limit
 *
 * Multicast is flooded: groups are not snooped. This host gets broadcasts and multicasts as well
 * if it has an address on a port (floods_to_host), never unknown unicast, which its bridge device
 * would not be given either unless promiscuous.
 *
 * A flooded frame is copied for all ports but the last, which gets the frame itself. Copies are
 * bounded by the free frames and by the tx rings: frames_per_worker = auto counts all of these at
 * their fullest, so what is flooded never takes a frame that a fill ring needs.
 */
#include <unistd.h>

#include "data/burst.h"
#include "net/fdb.h"

_Static_assert(WORKER_MAX_PORTS <= 256, "a learn_report has eight bits for the port");

#include "data/hot.h"

/* A frame that was taken and has a proper source. */
struct bridged {
	uint64_t addr;
	uint32_t len;
	struct fdb_key to, from;
};

/* One burst at work. */
struct crossing {
	struct worker *worker;
	const struct worker_set *set;
	const struct worker_route *route;
	struct lane *in;
	struct burst *burst;
	struct egress egress;
	learn_report
		reported; /* the latest of this burst: a new station sends more than one frame */
	bool has_reports;
	/* The other ports that can send, gathered when the burst has the first frame to flood. */
	bool has_exits;
	uint32_t n_exits;
	struct exit {
		struct lane *lane;
		uint32_t max_len;
	} exits[WORKER_MAX_PORTS];
};

static inline bool mac_is_group(const uint8_t *mac)
{
	return mac[0] & 1;
}

static inline bool mac_is_zero(const uint8_t *mac)
{
	return (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
}

/* 01:80:c2:00:00:00 … 0f: of this link, forwarded by no bridge (IEEE 802.1D). */
static inline bool mac_is_link_local(const uint8_t *mac)
{
	static const uint8_t prefix[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};

	return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[5] <= 0x0f;
}

static inline struct lane *exit_lane(const struct crossing *c, const struct worker_port *port)
{
	uint32_t i = c->route->out_number;

	return port->lanes[likely(i < port->n_lanes) ? i : i % port->n_lanes];
}

static inline bool port_can_send(const struct worker_port *port)
{
	return port->can_send && port->n_lanes > 0;
}

/* The member port whose own address this is; NULL: none's. */
static const struct worker_port *owner_of(const struct worker_set *set, const uint8_t *mac)
{
	for (uint32_t i = 0; i < WORKER_MAX_PORTS; i++) {
		const struct worker_port *port = &set->ports[i];

		if (port->is_member && memcmp(port->mac, mac, ETH_ALEN) == 0)
			return port;
	}
	return NULL;
}

/* --- learning --------------------------------------------------------------------------------- */

/* A frame that claims to come from this host is forwarded, but moves nothing, as in Linux. */
static __attribute__((cold, noinline)) void report_source(struct crossing *c, const uint8_t *source)
{
	struct learn_ring *ring = c->worker->learn;
	learn_report report = learn_report_of(source, c->route->port, fdb_tag(c->set->fdb));

	if (c->reported == report)
		return;
	c->reported = report;
	if (owner_of(c->set, source))
		return;
	if (learn_push(ring, report))
		c->has_reports = true;
	else
		counter_add(&ring->n_dropped, 1);
}

static __attribute__((cold, noinline)) void submit_reports(struct learn_ring *ring)
{
	const uint64_t one = 1;

	/* It cannot fail: the count is far from its end, and tables reads it. */
	if (learn_submit(ring))
		(void)!write(ring->eventfd, &one, sizeof(one));
}

/* --- one way out ------------------------------------------------------------------------------ */

static inline void send_to(struct crossing *c, const struct worker_port *port, uint64_t addr,
			   uint32_t len)
{
	struct umem *umem = c->in->umem;
	enum drop_reason reason;

	if (unlikely(!port_can_send(port)))
		reason = DROP_LINK_DOWN;
	else if (unlikely(!frame_fits(umem->area + addr, len, port->max_len)))
		reason = DROP_MTU;
	else
		reason = egress_put(&c->egress, c->in, exit_lane(c, port), addr, len);
	if (likely(reason == DROP_N))
		c->burst->n_sent++;
	else
		burst_drop_frame(c->burst, umem, addr, reason);
}

/* The frame is this host's alone. */
static void give_to_host(struct crossing *c, const struct worker_port *port,
			 enum handback_reason why, uint64_t addr, uint32_t len)
{
	struct umem *umem = c->in->umem;
	enum drop_reason reason = hand_back(c->worker, port, why, umem->area + addr, len);

	if (reason != DROP_N) {
		burst_drop_frame(c->burst, umem, addr, reason);
		return;
	}
	c->burst->handed_back[why]++;
	c->burst->n_handed_back++;
	umem_put(umem, (uint32_t)umem_frame_of(umem, addr));
}

/* --- many ways out ---------------------------------------------------------------------------- */

static void gather_exits(struct crossing *c)
{
	for (uint32_t i = 0; i < WORKER_MAX_PORTS; i++) {
		const struct worker_port *port = &c->set->ports[i];

		if (i == c->route->port || !port->is_member || !port_can_send(port))
			continue;
		c->exits[c->n_exits++] =
			(struct exit){.lane = exit_lane(c, port), .max_len = port->max_len};
	}
	c->has_exits = true;
}

/* The bucket holds what one second allows. */
static bool take_flood_token(struct crossing *c)
{
	const uint32_t per_s = c->set->ports[c->route->port].flood_per_s;

	return per_s == 0 || token_bucket_take(&c->worker->flood_tokens[c->route->port],
					       c->worker->now_ns, per_s, per_s);
}

static enum drop_reason copy_to(struct lane *in, struct lane *out, uint64_t addr, uint32_t len)
{
	struct umem *to = out->umem;
	uint64_t copy;

	if (unlikely(to->n_free == 0 || len > 1U << to->frame_shift))
		return DROP_UMEM_EXHAUSTED;
	copy = umem_frame_addr(to, umem_take(to));
	to->min_free = MIN(to->min_free, to->n_free);
	memcpy(to->area + copy, in->umem->area + addr, len);
	egress_stage(out, copy, len);
	return DROP_N;
}

static enum drop_reason ask_exit(struct crossing *c, const struct exit *exit, const uint8_t *frame,
				 uint32_t len)
{
	if (unlikely(!frame_fits(frame, len, exit->max_len)))
		return DROP_MTU;
	egress_open(&c->egress, exit->lane, BURST);
	return likely(exit->lane->n_staged < exit->lane->staged_room) ? DROP_N : DROP_TX_RING_FULL;
}

/* What has become of a flooded frame so far. */
struct flooded {
	uint32_t n_sent;
	enum drop_reason why_not; /* DROP_N: nothing failed; DROP_NO_PORT: for unlike reasons */
};

static void note_exit(struct flooded *flooded, struct lane *out, enum drop_reason reason)
{
	if (likely(reason == DROP_N)) {
		/* The first is the frame that is counted as forwarded where it came in. */
		out->n_replicas += flooded->n_sent++ > 0;
		return;
	}
	counter_add(&out->counters.copies_dropped, 1);
	if (flooded->why_not == DROP_N)
		flooded->why_not = reason;
	else if (flooded->why_not != reason)
		flooded->why_not = DROP_NO_PORT;
}

/* Returns whether the frame itself has left. */
static bool send_to_all(struct crossing *c, uint64_t addr, uint32_t len, struct flooded *flooded)
{
	const uint8_t *frame = c->in->umem->area + addr;
	struct lane *last = NULL;
	enum drop_reason reason;

	for (uint32_t i = 0; i < c->n_exits; i++) {
		reason = ask_exit(c, &c->exits[i], frame, len);
		if (unlikely(reason != DROP_N)) {
			note_exit(flooded, c->exits[i].lane, reason);
			continue;
		}
		if (last)
			note_exit(flooded, last, copy_to(c->in, last, addr, len));
		last = c->exits[i].lane;
	}
	if (!last)
		return false;
	reason = egress_put(&c->egress, c->in, last, addr, len);
	note_exit(flooded, last, reason);
	return reason == DROP_N;
}

static void flood(struct crossing *c, uint64_t addr, uint32_t len, bool is_group)
{
	const struct worker_port *from = &c->set->ports[c->route->port];
	struct flooded flooded = {.why_not = DROP_N};
	struct umem *umem = c->in->umem;
	bool host_has_it;

	if (!take_flood_token(c)) {
		burst_drop_frame(c->burst, umem, addr, DROP_FLOOD_LIMIT);
		return;
	}
	if (!c->has_exits)
		gather_exits(c);
	host_has_it = is_group && from->floods_to_host &&
		      hand_back(c->worker, from, HANDBACK_FLOOD, umem->area + addr, len) == DROP_N;
	if (!send_to_all(c, addr, len, &flooded))
		umem_put(umem, (uint32_t)umem_frame_of(umem, addr));
	if (likely(flooded.n_sent > 0)) {
		c->burst->n_sent++;
		c->burst->n_handback_copies += host_has_it;
	} else if (host_has_it) {
		c->burst->handed_back[HANDBACK_FLOOD]++;
		c->burst->n_handed_back++;
	} else {
		burst_drop(c->burst, flooded.why_not == DROP_N ? DROP_NO_PORT : flooded.why_not);
	}
}

/* --- frames ----------------------------------------------------------------------------------- */

static __attribute__((noinline)) void cross_to_group(struct crossing *c, uint64_t addr,
						     uint32_t len)
{
	if (unlikely(mac_is_link_local(c->in->umem->area + addr)))
		give_to_host(c, &c->set->ports[c->route->port], HANDBACK_LOCAL, addr, len);
	else
		flood(c, addr, len, true);
}

static __attribute__((noinline)) void cross_to_unknown(struct crossing *c, uint64_t addr,
						       uint32_t len)
{
	const struct worker_port *owner = owner_of(c->set, c->in->umem->area + addr);

	if (unlikely(owner))
		give_to_host(c, owner, HANDBACK_LOCAL, addr, len);
	else
		flood(c, addr, len, false);
}

/* Loopback of a station that is new here: Linux learns first and finds that it came from there. */
static void cross_to_itself(struct crossing *c, uint64_t addr, uint32_t len)
{
	const struct worker_port *owner = owner_of(c->set, c->in->umem->area + addr);

	if (owner)
		give_to_host(c, owner, HANDBACK_LOCAL, addr, len);
	else
		burst_drop_frame(c->burst, c->in->umem, addr, DROP_SAME_PORT);
}

static inline void cross(struct crossing *c, const struct bridged *frame)
{
	const uint64_t addr = frame->addr;
	const uint32_t len = frame->len;
	const uint8_t *to = c->in->umem->area + addr;
	uint16_t port;

	if (unlikely(!fdb_saw(c->set->fdb, frame->from, c->route->port, c->worker->now_s))) {
		report_source(c, to + ETH_ALEN);
		if (frame->from.key == frame->to.key) {
			cross_to_itself(c, addr, len);
			return;
		}
	}
	if (unlikely(mac_is_group(to))) {
		cross_to_group(c, addr, len);
		return;
	}
	port = fdb_lookup_key(c->set->fdb, frame->to);
	/* After a reload the database may be ahead of this set: what it says is then unknown. */
	if (unlikely(port >= WORKER_MAX_PORTS || !c->set->ports[port].is_member))
		cross_to_unknown(c, addr, len);
	else if (unlikely(port == c->route->port))
		burst_drop_frame(c->burst, c->in->umem, addr, DROP_SAME_PORT);
	else
		send_to(c, &c->set->ports[port], addr, len);
}

/* The frames of the burst that have a proper source, with what is needed of them on its way. */
static uint32_t take_frames(struct crossing *c, uint32_t index, uint32_t n, struct bridged *frames)
{
	const struct xsk_ring_cons *rx = &c->in->xsk.rx;
	const struct fdb *fdb = c->set->fdb;
	struct umem *umem = c->in->umem;
	uint32_t n_frames = 0;

	for (uint32_t i = 0; i < n; i++)
		umem_prefetch(umem, xsk_ring_cons__rx_desc(rx, index + i)->addr);
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(rx, index + i);
		const uint64_t addr = desc->addr;
		const uint32_t len = desc->len;
		const uint8_t *source = umem->area + addr + ETH_ALEN;

		if (unlikely(!burst_take(c->burst, c->in, desc)))
			continue;
		if (unlikely(mac_is_group(source) || mac_is_zero(source))) {
			burst_drop_frame(c->burst, umem, addr, DROP_SOURCE);
			continue;
		}
		frames[n_frames++] = (struct bridged){
			.addr = addr,
			.len = len,
			.to = fdb_key(fdb, source - ETH_ALEN),
			.from = fdb_key(fdb, source),
		};
	}
	return n_frames;
}

void bridge_burst(struct worker *worker, const struct worker_route *route, uint32_t index,
		  uint32_t n, struct burst *burst)
{
	struct bridged frames[BURST];
	struct crossing c;
	uint32_t n_frames;

	c.worker = worker;
	c.set = worker->set;
	c.route = route;
	c.in = route->rx;
	c.burst = burst;
	c.egress.n = 0;
	c.reported = 0;
	c.has_reports = c.has_exits = false;
	c.n_exits = 0;
	n_frames = take_frames(&c, index, n, frames);
	for (uint32_t i = 0; i < n_frames; i++)
		cross(&c, &frames[i]);
	egress_submit(&c.egress);
	if (unlikely(c.has_reports))
		submit_reports(worker->learn);
}
