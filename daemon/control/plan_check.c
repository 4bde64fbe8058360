/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an interface must be like to be a port that forwards, and which of its queues are used.
 * Sluice takes every frame of such a port: an interface that the host itself lives on is refused
 * unless the operator says so (design.md §4.7), and so is one that is not a wire.
 */
#include <string.h>

#include "bpf/sluice_abi.h"
#include "control/plan_internal.h"
#include "util/macros.h"

_Static_assert(CONF_MAX_QUEUES == SLUICE_MAX_QUEUES, "one limit under two names");

/* linux/bpf.h's XDP_PACKET_HEADROOM: the kernel keeps it free before every frame. */
#define XDP_HEADROOM_BYTES      256
#define ETHERNET_AND_TAGS_BYTES 22

uint32_t plan_max_mtu(uint32_t frame_size_bytes)
{
	return frame_size_bytes - XDP_HEADROOM_BYTES - ETHERNET_AND_TAGS_BYTES;
}

/* Devices that stand for others: to forward by one would bypass what it is for. */
static const struct refused_kind {
	const char *kind;
	const char *reason;
} refused_kinds[] = {
	{"bond", "frames arrive on its members: make ports of those"},
	{"bridge", "it is the host's own port of the bridge: make ports of its members"},
	{"ipvlan", "it shares the interface below it with the host: make a port of that one"},
	{"ipvtap", "it shares the interface below it with the host: make a port of that one"},
	{"macvlan", "it shares the interface below it with the host: make a port of that one"},
	{"macvtap", "it shares the interface below it with the host: make a port of that one"},
	{"team", "frames arrive on its members: make ports of those"},
	{"vlan",
	 "its frames are those of the interface below it with a tag: make a port of that one"},
	{"vrf", "it is a routing table, not a wire: make ports of its members"},
};

static const char *const participles[CONF_FORWARD_N] = {
	[CONF_FORWARD_PASS] = "passed",
	[CONF_FORWARD_XCONNECT] = "cross-connected",
	[CONF_FORWARD_ROUTE] = "routed by",
	[CONF_FORWARD_BRIDGE] = "bridged",
};

static void check_kind(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];

	for (unsigned i = 0; i < ARRAY_SIZE(refused_kinds); i++) {
		if (strcmp(p->link.kind, refused_kinds[i].kind) == 0) {
			plan_note(b, PLAN_ERROR, port, "port %s: %s is of kind %s: %s",
				  p->conf->name, p->link.name, p->link.kind,
				  refused_kinds[i].reason);
			return;
		}
	}
	if (!p->link.is_ethernet)
		plan_note(b, PLAN_ERROR, port,
			  "port %s: %s is not an Ethernet interface, it cannot be %s",
			  p->conf->name, p->link.name, participles[p->conf->forward]);
}

static void note_host(struct plan_builder *b, uint32_t port, const char *what)
{
	const struct conf_port *conf = b->plan->ports[port].conf;
	bool is_bridge = conf->forward == CONF_FORWARD_BRIDGE;

	if (conf->take_host_traffic)
		plan_note(b, PLAN_INFO, port, "port %s: %s; %s (take_host_traffic = yes)",
			  conf->name, what,
			  is_bridge ? "this host stays reachable by its hardware address alone" :
				      "its traffic is taken from this host");
	else
		plan_note(b, PLAN_ERROR, port,
			  "port %s: %s; %s: move that elsewhere, or set take_host_traffic = yes",
			  conf->name, what,
			  is_bridge ? "bridging it would leave this host only what is for the "
				      "interface's hardware address" :
				      "cross-connecting it would cut this host off");
}

static void check_host_of(struct plan_builder *b, uint32_t port, const char *device,
			  const struct link_host *host)
{
	char what[256];

	if (host->n_addresses > 0) {
		(void)snprintf(what, sizeof(what), "%s carries %u address%s of this host", device,
			       host->n_addresses, host->n_addresses == 1 ? "" : "es");
		note_host(b, port, what);
	}
	if (host->has_default_route) {
		(void)snprintf(what, sizeof(what), "a default route leaves by %s", device);
		note_host(b, port, what);
	}
	if (host->master[0] != '\0') {
		(void)snprintf(what, sizeof(what), "%s belongs to %s", device, host->master);
		note_host(b, port, what);
	}
}

static void check_host(struct plan_builder *b, uint32_t port)
{
	const struct link *link = &b->plan->ports[port].link;
	char upper[128];

	check_host_of(b, port, link->name, &link->host);
	if (link->upper[0] == '\0')
		return;
	(void)snprintf(upper, sizeof(upper), "%s (on top of %s)", link->upper, link->name);
	check_host_of(b, port, upper, &link->upper_host);
}

/* The host's traffic stays its own, but another master's frames are that master's. */
static void check_route_port(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];
	const struct link_host *host = &p->link.host;

	if (host->master[0] != '\0' && strcmp(host->master_kind, "vrf") != 0)
		plan_note(
			b, PLAN_ERROR, port,
			"port %s: %s belongs to %s%s%s, which receives its frames: take it out, or "
			"make no port of it",
			p->conf->name, p->link.name, host->master,
			host->master_kind[0] ? ", a " : "", host->master_kind);
	if (p->conf->take_host_traffic)
		plan_note(
			b, PLAN_WARNING, port,
			"port %s: take_host_traffic = yes has no effect with forward = route: what "
			"is for this host stays its own",
			p->conf->name);
}

static void check_mtu(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];
	uint32_t frame_size_bytes = b->plan->frame_size_bytes;
	uint32_t max_mtu = plan_max_mtu(frame_size_bytes);
	bool would_fit = frame_size_bytes < 4096 && p->link.mtu <= plan_max_mtu(4096);

	if (p->link.mtu <= max_mtu)
		return;
	plan_note(
		b, PLAN_ERROR, port,
		"port %s: MTU %u of %s is more than %u, the most that frames of %u bytes hold: set "
		"it to %u or less (ip link set %s mtu %u)%s",
		p->conf->name, p->link.mtu, p->link.name, max_mtu, frame_size_bytes, max_mtu,
		p->link.name, max_mtu, would_fit ? ", or set frame_size = 4096" : "");
}

static const char *const offload_harms[LINK_OFFLOAD_N] = {
	[LINK_OFFLOAD_LRO] = "frames would arrive merged",
	[LINK_OFFLOAD_HW_GRO] = "frames would arrive merged",
	[LINK_OFFLOAD_RX_VLAN] = "VLAN tags would be lost",
	[LINK_OFFLOAD_RX_STAG] = "VLAN tags would be lost",
	[LINK_OFFLOAD_GRO] = "frames would arrive merged in generic mode",
};

static void check_offload(struct plan_builder *b, uint32_t port, enum link_offload offload)
{
	struct plan_port *p = &b->plan->ports[port];
	const char *name = link_offload_names[offload], *harm = offload_harms[offload];

	/* GRO runs before generic XDP only; before native XDP there is nothing to merge yet. */
	if (offload == LINK_OFFLOAD_GRO && p->conf->mode != CONF_MODE_GENERIC)
		return;
	if (!p->link.offload_on[offload])
		return;
	if (p->link.offload_fixed[offload]) {
		plan_note(
			b, PLAN_ERROR, port,
			"port %s: %s of %s is on, and its driver does not let it be turned off: %s",
			p->conf->name, name, p->link.name, harm);
		return;
	}
	if (p->conf->offloads == CONF_OFFLOADS_CHECK) {
		plan_note(b, PLAN_ERROR, port,
			  "port %s: %s of %s is on, %s: turn it off (ethtool -K %s %s off), or set "
			  "offloads = fix",
			  p->conf->name, name, p->link.name, harm, p->link.name, name);
		return;
	}
	p->fix_offload[offload] = true;
	plan_note(b, PLAN_INFO, port,
		  "port %s: %s of %s is on, %s: it is turned off until a clean stop", p->conf->name,
		  name, p->link.name, harm);
}

void plan_check_port(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];

	if (!p->is_present) {
		plan_note(b, PLAN_WARNING, port,
			  "port %s: there is no interface %s; the port starts when it appears",
			  p->conf->name, p->conf->interface);
		return;
	}
	if (p->conf->forward == CONF_FORWARD_PASS) {
		/* The one key whose being without effect could be missed when it counts. */
		if (p->conf->on_failure == CONF_FAIL_DROP)
			plan_note(b, PLAN_WARNING, port,
				  "port %s: on_failure = drop has no effect with forward = pass: "
				  "everything passes, whatever happens",
				  p->conf->name);
		return;
	}
	check_kind(b, port);
	if (p->conf->forward == CONF_FORWARD_ROUTE)
		check_route_port(b, port);
	else
		check_host(b, port);
	check_mtu(b, port);
	for (enum link_offload offload = 0; offload < LINK_OFFLOAD_N; offload++)
		check_offload(b, port, offload);
}

/* --- Queues ---------------------------------------------------------------------------------- */

static void note_missing_queue(struct plan_builder *b, uint32_t port, unsigned queue)
{
	const struct plan_port *p = &b->plan->ports[port];

	plan_note(
		b, PLAN_ERROR, port,
		"port %s: queues: there is no queue %u, %s has %u receive queue%s: leave it out, or "
		"add queues (ethtool -L)",
		p->conf->name, queue, p->link.name, p->link.n_rx_queues,
		p->link.n_rx_queues == 1 ? "" : "s");
}

/*
 * A socket sends by the tx queue of its own number; where there is none, sendto(2) says 0 and
 * sends nothing (afxdp.md §3.8, 6).
 */
static void note_no_tx_queue(struct plan_builder *b, uint32_t port, unsigned queue)
{
	const struct plan_port *p = &b->plan->ports[port];

	plan_note(
		b, PLAN_ERROR, port,
		"port %s: queues: %s has %u receive but %u transmit queue%s, queue %u could not send: "
		"make them equal (ethtool -L), or name fewer queues",
		p->conf->name, p->link.name, p->link.n_rx_queues, p->link.n_tx_queues,
		p->link.n_tx_queues == 1 ? "" : "s", queue);
}

static void note_too_many_queues(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];

	plan_note(b, PLAN_ERROR, port,
		  "port %s: queues: %s has %u receive queues, at most %u can be used: have fewer "
		  "(ethtool -L), or set queues = 0-%u",
		  p->conf->name, p->link.name, p->link.n_rx_queues, CONF_MAX_QUEUES,
		  CONF_MAX_QUEUES - 1);
}

static unsigned first_missing_queue(const struct conf_set *set, unsigned n_queues)
{
	for (unsigned queue = n_queues; !set->all && queue < CONF_MAX_CPUS; queue++) {
		if (conf_set_has(set, queue))
			return queue;
	}
	return CONF_MAX_CPUS;
}

static unsigned count_listed(const struct conf_set *set)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(set->bits); i++)
		n += (unsigned)__builtin_popcountll(set->bits[i]);
	return MIN(n, CONF_MAX_QUEUES);
}

void plan_select_queues(struct plan_builder *b, uint32_t port)
{
	const struct plan_port *p = &b->plan->ports[port];
	const struct conf_set *set = &p->conf->queues;
	struct plan_queues *queues = &b->queues[port];
	unsigned missing;

	if (!p->is_present) {
		queues->n_expected = set->all ? 0 : count_listed(set);
		return;
	}
	missing = first_missing_queue(set, p->n_queues);
	if (missing < CONF_MAX_CPUS)
		note_missing_queue(b, port, missing);
	if (set->all && p->link.n_rx_queues > CONF_MAX_QUEUES) {
		note_too_many_queues(b, port);
		return;
	}
	for (unsigned queue = 0; queue < p->n_queues; queue++) {
		if (!conf_set_has(set, queue))
			continue;
		if (queue >= p->link.n_tx_queues) {
			note_no_tx_queue(b, port, queue);
			break;
		}
		queues->queue[queues->n++] = (uint16_t)queue;
	}
	queues->n_expected = queues->n;
}
