/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values are sums of distinct multiples, so that a counter shown in a wrong place is seen. */
#include "report_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

static const struct conf_port ports[WORLD_PORTS] = {
	{
		.name = "wan",
		/* a name that the kernel accepts and that must be escaped */
		.interface = "et\"h\\0",
		.forward = CONF_FORWARD_XCONNECT,
		.peer = "lan",
		.on_failure = CONF_FAIL_PASS,
	},
	{
		.name = "lan",
		.interface = "eth1",
		.forward = CONF_FORWARD_XCONNECT,
		.peer = "wan",
		.on_failure = CONF_FAIL_DROP,
	},
};

static void *zeroed(size_t n, size_t size)
{
	void *memory = report_array(n, size);

	assert(memory);
	return memory;
}

/* The same packets go both ways, so that each queue's transmit side matches its peer's receive. */
static void make_queue(struct report_queue *queue, uint32_t port, uint32_t q)
{
	struct lane_counters *counters = &queue->counters;
	uint64_t n = 1000 * (q + 1), n_drops = 0, n_handed_back = 0;

	queue->queue = q;
	queue->worker = q % WORLD_WORKERS;
	queue->is_bound = true;
	queue->is_zerocopy = port == 1;
	queue->rx_waiting = 3 + q;
	queue->in_tx = 5 + q;
	queue->tx_abandoned = 7 + q;
	queue->rx_abandoned = 9 + q;
	for (int reason = 0; reason < DROP_N; reason++) {
		counters->drops[reason] = 10 + (uint64_t)reason;
		n_drops += counters->drops[reason];
	}
	for (int reason = 0; reason < HANDBACK_N; reason++) {
		counters->handed_back[reason] = 30 + (uint64_t)reason;
		n_handed_back += counters->handed_back[reason];
	}
	/* What the peer flooded is more than it received. */
	counters->replicated = 6 + q;
	counters->copies_dropped = 131 + q;
	counters->handback_copies = 141 + q;
	counters->forwarded = n - counters->replicated;
	counters->rx_packets = counters->forwarded + n_handed_back + n_drops;
	counters->rx_bytes = counters->rx_packets * 60;
	counters->tx_packets = n;
	counters->tx_bytes = n * 60;
	counters->tx_completed = n - queue->in_tx - queue->tx_abandoned;
	counters->copied = 700 + q;
	counters->fill_posted = 800 + q;
	counters->fill_taken = 900 + q;
	counters->wakeups_tx = 71 + q;
	counters->wakeups_rx = 81 + q;
	counters->wakeup_again = 91 + q;
	counters->wakeup_errors = 101 + q;
	counters->bad_completions = 111 + q;
	queue->xsk = (struct report_xsk){
		.rx_dropped = 21 + q,
		.rx_invalid_descs = 31 + q,
		.tx_invalid_descs = 41 + q,
		.rx_ring_full = 51 + q,
		.fill_ring_empty = 61 + q,
		.tx_ring_empty = 201 + q,
	};
}

static void make_port(struct report_port *port, uint32_t index, uint32_t n_queues)
{
	uint64_t redirected = 0;

	port->conf = &ports[index];
	port->link = (struct link){
		.exists = true,
		.ifindex = 7 + index,
		.mtu = 1500,
		.is_up = true,
		.has_carrier = true,
		.driver = "veth",
		.numa_node = -1,
		.rx_missed = 301 + index,
		.rx_errors = 311 + index,
		.tx_dropped = 321 + index,
	};
	port->state = PORT_FORWARDING;
	port->is_attached = true;
	port->is_pinned = index == 1;
	port->mode = index == 1 ? XSK_MODE_ZEROCOPY : XSK_MODE_COPY;
	port->prog_id = 42 + index;
	port->n_rebinds = 331 + index;
	port->n_map_update_failures = 341 + index;
	port->n_queues = n_queues;
	port->queues = zeroed(n_queues, sizeof(*port->queues));
	for (uint32_t q = 0; q < n_queues; q++) {
		const struct report_queue *queue = &port->queues[q];

		make_queue(&port->queues[q], index, q);
		redirected += queue->counters.rx_packets + queue->xsk.rx_dropped +
			      queue->xsk.rx_ring_full + queue->rx_waiting + queue->rx_abandoned;
	}
	for (int v = 0; v < SLUICE_V_N; v++)
		port->verdicts[v] = 401 + (uint64_t)v;
	port->verdicts[SLUICE_V_REDIRECT] = redirected;
}

static void make_worker(struct report_worker *worker, uint32_t index)
{
	(void)snprintf(worker->name, sizeof(worker->name), "sluice-w%u", index);
	worker->cpu = 2 + index;
	worker->is_pinned_to_cpu = true;
	worker->numa_node = 0;
	worker->tid = 5000 + (int32_t)index;
	worker->beat_age_ns = 2 * NSEC_PER_MSEC;
	worker->n_preemptions = 501 + index;
	worker->n_frames = 1U << 20;
	worker->umem_bytes = (uint64_t)worker->n_frames * 2048;
	worker->counters.turns = 511 + index;
	worker->counters.busy_ns = 1500 * NSEC_PER_MSEC;
	worker->counters.idle_ns = 2500 * NSEC_PER_MSEC;
	worker->counters.sleeps = 521 + index;
	for (unsigned i = 0; i < BATCH_BUCKETS; i++)
		worker->counters.batch[i] = i + 1;
	worker->counters.batch_packets = 999;
	for (unsigned i = 0; i < RESIDENCE_BUCKETS; i++)
		worker->counters.residence[i] = 2 * (i + 1);
	worker->counters.residence_sum_ns = 123456;
	worker->frames = (struct frame_states){.fill = 2048, .quarantine = 16, .min_free = 77};
}

static void settle_frames(struct report *report)
{
	for (uint32_t p = 0; p < report->n_ports; p++) {
		for (uint32_t q = 0; q < report->ports[p].n_queues; q++) {
			const struct report_queue *queue = &report->ports[p].queues[q];

			report->workers[queue->worker].frames.tx += queue->in_tx;
		}
	}
	for (uint32_t w = 0; w < report->n_workers; w++) {
		struct report_worker *worker = &report->workers[w];

		worker->frames.free = worker->n_frames - worker->frames.fill - worker->frames.tx -
				      worker->frames.quarantine;
	}
}

static void make_listener(struct report_listener *listener, const char *name, uint64_t n)
{
	(void)snprintf(listener->name, sizeof(listener->name), "%s", name);
	(void)snprintf(listener->addresses, sizeof(listener->addresses), "192.0.2.1:443 unix:/x");
	listener->sniff = SPLICE_SNIFF_TLS;
	listener->engine = SPLICE_AUTO;
	listener->max_connections = 50000;
	listener->n_active = (uint32_t)n + 1;
	listener->n_sniffing = (uint32_t)n + 2;
	listener->n_accepted = n + 3;
	for (size_t i = 0; i < SPLICE_REJECT_N; i++)
		listener->n_rejected[i] = n + 10 + i;
	for (size_t i = 0; i < SPLICE_TIME_BUCKETS; i++)
		listener->sniff_time[i] = n + 30 + i;
	listener->sniff_time_sum_ns = n * NSEC_PER_SEC;
}

static void make_backend(struct report_backend *backend, const char *name, uint64_t n)
{
	(void)snprintf(backend->name, sizeof(backend->name), "%s", name);
	backend->is_up = n > 2000;
	backend->n_active = (uint32_t)n + 1;
	backend->n_connections = n + 2;
	backend->n_failures = n + 3;
	for (size_t i = 0; i < SPLICE_TIME_BUCKETS; i++)
		backend->connect_time[i] = n + 10 + i;
	backend->connect_time_sum_ns = n * NSEC_PER_MSEC;
	backend->n_servers = 2;
	backend->servers = report_array(2, sizeof(*backend->servers));
	assert(backend->servers);
	for (uint32_t i = 0; i < backend->n_servers; i++) {
		struct report_server *server = &backend->servers[i];

		(void)snprintf(server->name, sizeof(server->name), "s%u", i);
		(void)snprintf(server->address, sizeof(server->address), "10.0.0.%u:443", i + 1);
		server->weight = i + 1;
		server->is_up = backend->is_up;
		server->is_draining = i == 1;
		server->n_connections = n + 40 + i;
	}
}

static void make_splice(struct report_splice *splice)
{
	uint64_t *totals = (uint64_t *)(void *)&splice->totals;

	*splice = (struct report_splice){
		.is_running = true,
		.selftest_passed = true,
		.selftest_ns = 20000000,
		.sockmap_is_on = true,
		.sockops_is_on = true,
		.n_conns = 2001,
		.max_conns = 2002,
		.n_acceptors = 2,
		.acceptors = {{.cpu = 1, .n_conns = 2003}, {.cpu = 2, .n_conns = 2004}},
		.n_listeners = 2,
		.listeners = report_array(2, sizeof(*splice->listeners)),
		.n_backends = 2,
		.backends = report_array(2, sizeof(*splice->backends)),
	};
	assert(splice->listeners && splice->backends);
	for (size_t i = 0; i < sizeof(splice->totals) / sizeof(uint64_t); i++)
		totals[i] = 2100 + i;
	make_listener(&splice->listeners[0], "web", 2200);
	make_listener(&splice->listeners[1], "mail", 2300);
	make_backend(&splice->backends[0], "app", 2400);
	make_backend(&splice->backends[1], "down", 1500);
}

static void make_tables(struct report_tables *tables)
{
	*tables = (struct report_tables){
		.is_running = true,
		.is_synced = true,
		.n_prefixes = {1001, 1002},
		.n_routes = {1003, 1004},
		.fib_bytes = {1005, 1006},
		.retired_bytes = 1007,
		.n_nexthops = 1008,
		.n_neighbours = {1009, 1010},
		.n_resyncs = 4,
		.n_overflows = 1011,
		.n_route_changes = 1012,
		.n_keepalives = 1013,
		.last_sync_ns = 250 * NSEC_PER_MSEC,
		.n_bridges = 1,
		.bridges = {{
			.name = "br",
			.n_entries = 1014,
			.max_entries = 1015,
			.n_learned = 1016,
			.n_moved = 1017,
			.n_aged = 1018,
			.n_refused = 1019,
		}},
	};
	tables->policy.ports[POLICY_RULE4] = 2; /* lan */
	(void)snprintf(tables->policy.what[POLICY_RULE4], sizeof(tables->policy.what[0]),
		       "rule 500 (ip rule)");
	tables->policy.ports[POLICY_RP_FILTER] = 3;
	(void)snprintf(tables->policy.what[POLICY_RP_FILTER], sizeof(tables->policy.what[0]),
		       "checked by the workers");
}

void report_world_make_sized(struct report *ret_report, uint32_t n_queues)
{
	*ret_report = (struct report){
		.is_ready = true,
		.status_line = "2 ports forwarding",
		.config_path = "/etc/sluice/sluice.conf",
		.config_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		.last_reload_ok = true,
		.n_reloads = 11,
		.n_reload_failures = 2,
		.last_reload_unix_s = 1700000000.5,
		.start_unix_s = 1699999000.25,
		.n_control_requests = 17,
		.n_control_failures = 3,
		.n_netlink_resyncs = 1,
		.n_ports = WORLD_PORTS,
		.ports = zeroed(WORLD_PORTS, sizeof(*ret_report->ports)),
		.n_workers = WORLD_WORKERS,
		.workers = zeroed(WORLD_WORKERS, sizeof(*ret_report->workers)),
	};
	for (uint32_t i = 0; i < WORLD_PORTS; i++)
		make_port(&ret_report->ports[i], i, n_queues);
	for (uint32_t i = 0; i < WORLD_WORKERS; i++)
		make_worker(&ret_report->workers[i], i);
	settle_frames(ret_report);
	make_tables(&ret_report->tables);
	make_splice(&ret_report->splice);
}

void report_world_make(struct report *ret_report)
{
	report_world_make_sized(ret_report, WORLD_QUEUES);
}
