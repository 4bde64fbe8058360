/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers of a plan: how many, which lanes, on which node, with how many frames (design.md
 * §4.1). Nothing here depends on another group.
 */
#include <errno.h>
#include <string.h>

#include "control/plan_internal.h"
#include "kern/umem.h"
#include "util/macros.h"

/* Entries of each ring of a lane: a burst of 1 ms at 2 Mpps. Memory: 8 MiB a lane. */
#define DEFAULT_RING_SIZE 2048u
/* One burst must fit (data/worker.h, BURST). */
#define MIN_RING_SIZE 64u
/* Frames that are in no ring: a burst in hand and one being handed over. */
#define SPARE_FRAMES 128u

/* --- Lanes ----------------------------------------------------------------------------------- */

static bool next_in_group(const struct plan *plan, uint32_t group, uint32_t *port)
{
	while (++*port < plan->n_ports) {
		if (plan->ports[*port].group == group)
			return true;
	}
	return false;
}

/* for (each port of the group, in file order) */
#define for_each_in_group(plan, group, port) \
	for (uint32_t port = PLAN_NONE; next_in_group(plan, group, &port);)

/* Of n things dealt to n_workers in turn, how many does this one get? */
static unsigned share_of(unsigned n, uint32_t worker, uint32_t n_workers)
{
	return n > worker ? (n - worker - 1) / n_workers + 1 : 0;
}

static unsigned group_size(const struct plan *plan, uint32_t group)
{
	unsigned n = 0;

	for_each_in_group (plan, group, port)
		n++;
	return n;
}

/*
 * The tag interleaves the ports of the group, so that it says the same whichever of them are
 * present: a lane's frames are known by it as long as the worker lives.
 */
static void add_lanes_of_port(struct plan_builder *b, struct plan_worker *w, uint32_t port,
			      unsigned place_in_group, unsigned n_ports)
{
	struct plan_port *p = &b->plan->ports[port];
	const struct plan_queues *queues = &b->queues[port];
	unsigned n = 0;

	for (unsigned i = w->index; i < queues->n; i += p->n_workers) {
		w->lanes[w->n_lanes++] = (struct plan_lane){
			.port = port,
			.queue = queues->queue[i],
			.out_lane = PLAN_NONE,
			.out_number = n,
			.tag = n * n_ports + place_in_group,
		};
		n++;
		p->queue_worker[queues->queue[i]] = (uint16_t)w->index;
	}
}

/* The worker's lanes of one port are consecutive. */
static uint32_t first_lane(const struct plan_worker *w, uint32_t port, uint32_t *ret_n)
{
	uint32_t first = PLAN_NONE;

	*ret_n = 0;
	for (uint32_t i = 0; i < w->n_lanes; i++) {
		if (w->lanes[i].port != port)
			continue;
		if (first == PLAN_NONE)
			first = i;
		++*ret_n;
	}
	return first;
}

/* Of a wire: where a bridge or a router sends to, each packet says. */
static void connect_lanes(const struct plan *plan, struct plan_worker *w)
{
	for (uint32_t i = 0; i < w->n_lanes; i++) {
		struct plan_lane *lane = &w->lanes[i];
		uint32_t n_in, n_out;
		uint32_t in = first_lane(w, lane->port, &n_in);
		uint32_t out = first_lane(w, plan->ports[lane->port].peer, &n_out);

		if (n_out > 0)
			lane->out_lane = out + (i - in) % n_out;
	}
}

/* CPUs of a node that the workers before this one leave it. */
static int spare_cpus(const struct plan_builder *b, const struct plan_worker *w, int node)
{
	int n = 0;

	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++)
		n += b->plan->cpus[cpu] && b->topo->cpus[cpu].node == node;
	for (uint32_t i = 0; i < w->number; i++)
		n -= b->plan->workers[i].numa_node == node;
	return n;
}

/* Lanes that the worker has on a node, or will have when the ports that are absent are back. */
static unsigned lanes_on(const struct plan_builder *b, const struct plan_worker *w, int node)
{
	unsigned n = 0;

	for_each_in_group (b->plan, w->group, port) {
		const struct plan_port *p = &b->plan->ports[port];

		if (p->link.numa_node == node)
			n += share_of(b->queues[port].n_expected, w->index, p->n_workers);
	}
	return n;
}

/*
 * The node that most lanes are on; of equals the one with the most CPUs to spare, so that the
 * workers of a wire between two nodes divide themselves over both; of equals again the first.
 * -1 if no port tells.
 */
static int choose_node(const struct plan_builder *b, const struct plan_worker *w)
{
	unsigned best_lanes = 0;
	int best = -1;

	for_each_in_group (b->plan, w->group, port) {
		int node = b->plan->ports[port].link.numa_node;
		unsigned n = node >= 0 && node != best ? lanes_on(b, w, node) : 0;

		if (n > best_lanes ||
		    (n > 0 && n == best_lanes && spare_cpus(b, w, node) > spare_cpus(b, w, best))) {
			best = node;
			best_lanes = n;
		}
	}
	return best;
}

static void mark_remote_lanes(struct plan_builder *b, struct plan_worker *w)
{
	uint32_t noted = PLAN_NONE;

	for (uint32_t i = 0; i < w->n_lanes; i++) {
		struct plan_lane *lane = &w->lanes[i];
		const struct plan_port *p = &b->plan->ports[lane->port];

		lane->is_remote = p->link.numa_node >= 0 && p->link.numa_node != w->numa_node;
		if (!lane->is_remote || noted == lane->port)
			continue;
		noted = lane->port;
		plan_note(b, PLAN_INFO, lane->port,
			  "port %s: %s is on node %d, its lanes of worker %u are remote (node %d)",
			  p->conf->name, p->link.name, p->link.numa_node, w->number, w->numa_node);
	}
}

/* --- Frames ---------------------------------------------------------------------------------- */

/* Lanes that the worker has, or will have when the ports that are not present appear. */
static unsigned expected_lanes(const struct plan_builder *b, const struct plan_worker *w)
{
	unsigned n = 0;

	for_each_in_group (b->plan, w->group, port)
		n += share_of(b->queues[port].n_expected, w->index, b->plan->ports[port].n_workers);
	return n;
}

static void set_frames(struct plan_builder *b, struct plan_worker *w)
{
	uint32_t asked = b->conf->daemon.frames_per_worker;
	uint32_t n_lanes = expected_lanes(b, w);
	uint32_t full = n_lanes * 2 * DEFAULT_RING_SIZE + SPARE_FRAMES;
	uint32_t least = n_lanes * 2 * MIN_RING_SIZE + SPARE_FRAMES;
	uint32_t size = DEFAULT_RING_SIZE;

	if (asked != 0 && asked < least)
		plan_note(
			b, PLAN_ERROR, PLAN_NONE,
			"[daemon] frames_per_worker: %u are too few for the %u lanes of worker %u, "
			"which need at least %u",
			asked, n_lanes, w->number, least);
	else if (asked != 0 && asked < full)
		size = round_down_pow2((asked - SPARE_FRAMES) / (2 * n_lanes));
	if (size < DEFAULT_RING_SIZE)
		plan_note(
			b, PLAN_INFO, PLAN_NONE,
			"worker %u: rings of %u entries instead of %u, since frames_per_worker = %u",
			w->number, size, DEFAULT_RING_SIZE, asked);
	w->n_frames = asked != 0 ? asked : full;
	w->fill_size = w->rx_size = w->tx_size = w->completion_size = size;
}

/* --- Workers --------------------------------------------------------------------------------- */

/* What the workers of a group are shared out from. */
struct group_limits {
	uint32_t smallest_port; /* of those present; PLAN_NONE = none is */
	unsigned smallest;      /* queues of the port that has the fewest */
	unsigned largest;
};

static struct group_limits find_limits(const struct plan_builder *b, uint32_t group)
{
	struct group_limits limits = {.smallest_port = PLAN_NONE};

	for_each_in_group (b->plan, group, port) {
		unsigned n = b->queues[port].n;

		if (!b->plan->ports[port].is_present)
			continue;
		if (limits.smallest_port == PLAN_NONE || n < limits.smallest) {
			limits.smallest_port = port;
			limits.smallest = n;
		}
		limits.largest = MAX(limits.largest, n);
	}
	return limits;
}

/* A port that is not there yet is expected to be like the others, unless it has a list. */
static void expect_absent(struct plan_builder *b, uint32_t group, struct group_limits *limits)
{
	for_each_in_group (b->plan, group, port) {
		struct plan_queues *queues = &b->queues[port];

		if (b->plan->ports[port].is_present)
			continue;
		if (queues->n_expected == 0)
			queues->n_expected = limits->smallest;
		if (queues->n_expected < limits->smallest) {
			limits->smallest = queues->n_expected;
			limits->smallest_port = port;
		}
	}
}

static uint32_t asked_workers(struct plan_builder *b, const struct group_limits *limits)
{
	const struct plan_port *p = &b->plan->ports[limits->smallest_port];
	uint32_t asked = b->conf->daemon.workers;

	if (asked <= limits->smallest)
		return asked;
	plan_note(
		b, PLAN_ERROR, limits->smallest_port,
		"[daemon] workers: %u is more than the %u queue%s of port %s (%s), and every worker "
		"needs one: set workers = %u or less, or add queues (ethtool -L)",
		asked, limits->smallest, limits->smallest == 1 ? "" : "s", p->conf->name,
		p->conf->interface, limits->smallest);
	return limits->smallest;
}

static uint32_t auto_workers(struct plan_builder *b, const struct group_limits *limits)
{
	const struct plan_port *p = &b->plan->ports[limits->smallest_port];
	uint32_t n = MIN(limits->smallest, b->n_candidates);

	if (n < limits->smallest)
		plan_note(b, PLAN_INFO, limits->smallest_port,
			  "port %s: %u queues, but %u CPU%s for workers: %u worker%s in its group",
			  p->conf->name, limits->smallest, n, n == 1 ? "" : "s", n,
			  n == 1 ? "" : "s");
	else if (limits->smallest < limits->largest)
		plan_note(
			b, PLAN_INFO, limits->smallest_port,
			"port %s: its %u queue%s limit%s the group to %u worker%s; %s has %u queues",
			p->conf->name, n, n == 1 ? "" : "s", n == 1 ? "s" : "", n,
			n == 1 ? "" : "s", p->peer != PLAN_NONE ? "its peer" : "another port of it",
			limits->largest);
	return n;
}

/* Owner bytes of frames have room for so many lanes (kern/umem.h). */
static void check_lane_count(struct plan_builder *b, uint32_t group, uint32_t n_workers)
{
	unsigned n_ports = group_size(b->plan, group);
	unsigned most = UMEM_MAX_LANES / n_ports;

	for_each_in_group (b->plan, group, port) {
		unsigned n = b->queues[port].n;

		if (share_of(n, 0, n_workers) <= most)
			continue;
		plan_note(
			b, PLAN_ERROR, port,
			"port %s: %u queues are too many for %u worker%s, which can own %u of each "
			"port: set workers = %u or more, or name fewer queues",
			b->plan->ports[port].conf->name, n, n_workers, n_workers == 1 ? "" : "s",
			most, (n + most - 1) / most);
	}
}

static struct plan_worker *append_worker(struct plan_builder *b, uint32_t group, uint32_t index)
{
	struct plan *plan = b->plan;
	struct plan_worker *workers =
		reallocarray(plan->workers, plan->n_workers + 1, sizeof(*workers));
	struct plan_worker *w;
	unsigned n_lanes = 0;

	if (!workers)
		return NULL;
	plan->workers = workers;
	w = &workers[plan->n_workers];
	*w = (struct plan_worker){.number = plan->n_workers, .group = group, .index = index};
	for_each_in_group (plan, group, port)
		n_lanes += share_of(b->queues[port].n, index, plan->ports[port].n_workers);
	w->lanes = calloc(MAX(n_lanes, 1u), sizeof(*w->lanes));
	if (!w->lanes)
		return NULL;
	plan->n_workers++;
	return w;
}

static void add_worker(struct plan_builder *b, uint32_t group, uint32_t index)
{
	struct plan_worker *w = append_worker(b, group, index);
	unsigned place = 0, n_ports = group_size(b->plan, group);

	if (!w) {
		b->error = -ENOMEM;
		return;
	}
	for_each_in_group (b->plan, group, port)
		add_lanes_of_port(b, w, port, place++, n_ports);
	connect_lanes(b->plan, w);
	w->numa_node = choose_node(b, w);
	mark_remote_lanes(b, w);
	set_frames(b, w);
}

void plan_add_workers(struct plan_builder *b, uint32_t group)
{
	struct group_limits limits = find_limits(b, group);
	uint32_t n_workers;

	if (limits.smallest_port == PLAN_NONE)
		return;
	expect_absent(b, group, &limits);
	/* No usable queue: said by plan_select_queues(), and there is nothing to share out. */
	if (limits.smallest == 0)
		return;
	n_workers =
		b->conf->daemon.workers != 0 ? asked_workers(b, &limits) : auto_workers(b, &limits);
	check_lane_count(b, group, n_workers);
	for_each_in_group (b->plan, group, port)
		b->plan->ports[port].n_workers = n_workers;
	for (uint32_t index = 0; index < n_workers && b->error == 0; index++)
		add_worker(b, group, index);
}
