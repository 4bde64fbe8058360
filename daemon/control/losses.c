/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One row per reason; the rows of lists that are declared elsewhere are indexed by their enums. */
#include "control/losses.h"

#include <stddef.h>
#include <string.h>

#include "control/report.h"
#include "util/macros.h"

const char *const loss_place_names[] = {
	[LOSS_NIC] = "nic",       [LOSS_XDP] = "xdp",           [LOSS_SOCKET] = "socket",
	[LOSS_WORKER] = "worker", [LOSS_TRANSMIT] = "transmit",
};
_Static_assert(ARRAY_SIZE(loss_place_names) == LOSS_PLACE_N, "a name for every place");

static const char *const drop_remedies[] = {
	[DROP_MALFORMED] = "find the sender: no Ethernet card sends such frames",
	[DROP_MTU] = "give both ports of the cross-connect the same MTU (ip link set DEV mtu N)",
	[DROP_LINK_DOWN] = "bring the other port up (ip link show; sluicectl status says why)",
	[DROP_TX_RING_FULL] = "the out port is slower than the in port: check its speed and its "
			      "qdisc, or spread the load over more queues",
	[DROP_UMEM_EXHAUSTED] = "raise frames_per_worker, or let both ports bind in the same mode",
	[DROP_IP_HEADER] = "find the sender: its IP headers are broken (sluicectl explain packet)",
	[DROP_HANDBACK_LIMIT] = "too many packets need the kernel: `sluicectl drops` says why they "
				"were handed back",
	[DROP_HANDBACK_FAILED] = "the port's tap did not take it: see the journal, and whether the "
				 "port is up",
	[DROP_SAME_PORT] = "nothing: both stations are behind one port, and have the frame already",
	[DROP_NO_PORT] = "give the bridge a second port that is up (sluicectl status)",
	[DROP_SOURCE] = "find the sender: no station sends from a group address or from zero",
	[DROP_FLOOD_LIMIT] = "look for a loop or a storm behind the port, or raise its flood_limit",
	[DROP_INTERNAL] = "a bug in the driver or in sluice: please report it with `sluicectl "
			  "metrics`",
};
_Static_assert(ARRAY_SIZE(drop_remedies) == DROP_N, "a remedy for every reason");

static const char *const verdict_remedies[] = {
	[SLUICE_V_PAUSE] = "nothing: PAUSE frames belong to the link; if they are many, the "
			   "neighbour cannot keep up",
	[SLUICE_V_MALFORMED] = "find the sender: no Ethernet card sends such frames",
	[SLUICE_V_STALE] = "the worker stands still: look at its CPU (sluicectl show workers) and "
			   "give it one of its own",
	[SLUICE_V_NO_SOCKET] =
		"the queue is being rebuilt or could not be bound (sluicectl status)",
	[SLUICE_V_INTERNAL] = "a bug in sluice: please report it with `sluicectl metrics`",
};
_Static_assert(ARRAY_SIZE(verdict_remedies) == SLUICE_V_N, "up to the last verdict");

struct walk {
	void (*fn)(const struct loss *loss, void *arg);
	void *arg;
};

static void walk_nic(const struct report_port *port, const struct walk *walk)
{
	const struct loss losses[] = {
		{LOSS_NIC, "rx_missed", "the card had no buffer for it",
		 "larger rx rings (ethtool -G), more queues, or a worker with a CPU of its own",
		 port->link.rx_missed, false},
		{LOSS_NIC, "rx_errors", "the card saw a broken frame",
		 "cable, transceiver or duplex (ethtool -S)", port->link.rx_errors, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		walk->fn(&losses[i], walk->arg);
}

static void walk_xdp(const struct report_port *port, const struct walk *walk)
{
	for (int v = 0; v < SLUICE_V_N; v++) {
		const char *action = report_verdict_action(port, v);
		struct loss loss = {
			.place = LOSS_XDP,
			.reason = report_verdict_names[v],
			.meaning = report_verdict_helps[v],
			.remedy = verdict_remedies[v],
			.n_packets = port->verdicts[v],
		};

		/* What passes or is redirected is not lost. */
		if (strcmp(action, "drop") == 0 || strcmp(action, "aborted") == 0)
			walk->fn(&loss, walk->arg);
	}
}

static void walk_sockets(const struct report_port *port, const struct walk *walk)
{
	struct report_xsk sum = {0};

	for (uint32_t q = 0; q < port->n_queues; q++) {
		const struct report_xsk *xsk = &port->queues[q].xsk;

		sum.rx_dropped += xsk->rx_dropped;
		sum.rx_ring_full += xsk->rx_ring_full;
		sum.fill_ring_empty += xsk->fill_ring_empty;
		sum.rx_invalid_descs += xsk->rx_invalid_descs;
		sum.tx_invalid_descs += xsk->tx_invalid_descs;
	}
	const struct loss losses[] = {
		{LOSS_SOCKET, "rx_dropped",
		 "no free frame in the fill ring, or longer than a frame",
		 "raise frames_per_worker; an MTU above 1770 needs frame_size = 4096",
		 sum.rx_dropped, false},
		{LOSS_SOCKET, "rx_ring_full", "the worker did not take packets fast enough",
		 "the worker's CPU is full: more queues and workers, or a CPU of its own",
		 sum.rx_ring_full, false},
		{LOSS_SOCKET, "fill_ring_empty", "the kernel looked for a frame and found none",
		 "raise frames_per_worker; in copy mode the packets are counted as rx_dropped too",
		 sum.fill_ring_empty, true},
		{LOSS_SOCKET, "rx_invalid_descs", "the kernel refused a fill descriptor",
		 "a bug in sluice: please report it with `sluicectl metrics`", sum.rx_invalid_descs,
		 true},
		{LOSS_SOCKET, "tx_invalid_descs", "the kernel refused a tx descriptor",
		 "a bug in sluice: please report it with `sluicectl metrics`", sum.tx_invalid_descs,
		 true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		walk->fn(&losses[i], walk->arg);
}

static void walk_workers(const struct report_port *port, const struct walk *walk)
{
	for (int reason = 0; reason < DROP_N; reason++) {
		struct loss loss = {
			.place = LOSS_WORKER,
			.reason = report_drop_names[reason],
			.meaning = report_drop_helps[reason],
			.remedy = drop_remedies[reason],
		};

		for (uint32_t q = 0; q < port->n_queues; q++)
			loss.n_packets += port->queues[q].counters.drops[reason];
		walk->fn(&loss, walk->arg);
	}
}

/* The frame they are copies of has its fate already, so they are in no sum. */
static void walk_copies(const struct report_port *port, const struct walk *walk)
{
	struct loss loss = {
		.place = LOSS_WORKER,
		.reason = "copies_dropped",
		.meaning = "copies of flooded frames that this port could not send",
		.remedy =
			"the port is slower than what is flooded to it; or raise frames_per_worker",
		.is_symptom = true,
	};

	for (uint32_t q = 0; q < port->n_queues; q++)
		loss.n_packets += port->queues[q].counters.copies_dropped;
	walk->fn(&loss, walk->arg);
}

static void walk_transmit(const struct report_port *port, const struct walk *walk)
{
	uint64_t n_abandoned = 0;

	for (uint32_t q = 0; q < port->n_queues; q++)
		n_abandoned += port->queues[q].tx_abandoned;
	const struct loss losses[] = {
		{LOSS_TRANSMIT, "tx_dropped",
		 "the kernel or the driver dropped it on the way out (anybody's packets)",
		 "the link is full or its qdisc drops (tc -s qdisc; ethtool -S)",
		 port->link.tx_dropped, false},
		{LOSS_TRANSMIT, "abandoned",
		 "on its way out when the socket was closed; the kernel never confirmed it",
		 "the interface went away, or sent nothing for 200 ms while it was rebuilt",
		 n_abandoned, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		walk->fn(&losses[i], walk->arg);
}

void losses_of_port(const struct report_port *port, void (*fn)(const struct loss *loss, void *arg),
		    void *arg)
{
	const struct walk walk = {fn, arg};

	walk_nic(port, &walk);
	walk_xdp(port, &walk);
	walk_sockets(port, &walk);
	walk_workers(port, &walk);
	walk_copies(port, &walk);
	walk_transmit(port, &walk);
}
