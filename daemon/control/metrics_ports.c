/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of ports: the interface, the XDP program on it, the program's maps. */
#include <string.h>

#include "bpf/sluice_abi.h"
#include "control/metrics_family.h"
#include "util/macros.h"

static const char *port_labels(char buf[METRICS_LABELS_BYTES], const struct report_port *port)
{
	return metrics_labels(buf, "interface", report_port_interface(port), NULL);
}

static void emit_ports(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		metrics_field(page, family, port_labels(labels, port), port);
	}
}

static void emit_interface_info(const struct metrics_page *page,
				const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES], node[16];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];
		bool has_socket = port->mode < XSK_MODE_N;

		(void)snprintf(node, sizeof(node), "%d", port->link.numa_node);
		(void)metrics_labels(labels, "interface", report_port_interface(port), "driver",
				     port->link.driver, "mode",
				     has_socket ? xsk_mode_names[port->mode] : "none", "zerocopy",
				     port->mode == XSK_MODE_ZEROCOPY ? "true" : "false",
				     "numa_node", node, NULL);
		metrics_sample(page->out, family->name, labels, 1);
	}
}

static void emit_interface_up(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		metrics_sample(page->out, family->name, port_labels(labels, port),
			       port->link.is_up && port->link.has_carrier);
	}
}

static void emit_interface_state(const struct metrics_page *page,
				 const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		for (int state = 0; state < PORT_STATE_N; state++)
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "interface",
						      report_port_interface(port), "state",
						      port_state_names[state], NULL),
				       port->state == (enum port_state)state);
	}
}

static void emit_xdp_packets(const struct metrics_page *page, const struct metrics_family *family)
{
	static const char *const actions[] = {"redirect", "pass", "drop", "tx", "aborted"};
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		for (size_t a = 0; a < ARRAY_SIZE(actions); a++) {
			uint64_t n = 0;

			for (int v = 0; v < SLUICE_V_N; v++) {
				if (strcmp(report_verdict_action(port, v), actions[a]) == 0)
					n += port->verdicts[v];
			}
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "interface",
						      report_port_interface(port), "action",
						      actions[a], NULL),
				       n);
		}
	}
}

static void emit_xdp_verdicts(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		for (int v = 0; v < SLUICE_V_N; v++)
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "interface",
						      report_port_interface(port), "reason",
						      report_verdict_names[v], "action",
						      report_verdict_action(port, v), NULL),
				       port->verdicts[v]);
	}
}

/* --- BPF maps: one instance per port of each that bpf/sluice_abi.h describes ----------------- */

struct map_size {
	const char *name;
	uint64_t n_entries;
	uint64_t n_max;
};

#define N_MAPS 3

static void read_map_sizes(const struct metrics_page *page, const struct report_port *port,
			   struct map_size ret_maps[N_MAPS])
{
	bool is_loaded = port->prog_id != 0;
	uint64_t n_slots = port->n_queues > 0 ? port->queues[port->n_queues - 1].queue + 1 : 0;
	uint64_t n_beats = is_loaded ? 1 + (uint64_t)page->report->n_workers : 0;
	uint64_t n_bound = 0;

	for (uint32_t q = 0; q < port->n_queues; q++)
		n_bound += port->queues[q].is_bound;
	ret_maps[0] = (struct map_size){"xsks", n_bound, is_loaded ? n_slots : 0};
	ret_maps[1] = (struct map_size){"heartbeat", n_beats, n_beats};
	ret_maps[2] = (struct map_size){"verdicts", is_loaded ? SLUICE_V_N : 0,
					is_loaded ? SLUICE_V_N : 0};
}

static void emit_map_sizes(const struct metrics_page *page, const struct metrics_family *family,
			   bool want_max)
{
	char labels[METRICS_LABELS_BYTES];
	struct map_size maps[N_MAPS];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		read_map_sizes(page, port, maps);
		for (size_t m = 0; m < N_MAPS; m++)
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "interface",
						      report_port_interface(port), "map",
						      maps[m].name, NULL),
				       want_max ? maps[m].n_max : maps[m].n_entries);
	}
}

static void emit_map_entries(const struct metrics_page *page, const struct metrics_family *family)
{
	emit_map_sizes(page, family, false);
}

static void emit_map_max_entries(const struct metrics_page *page,
				 const struct metrics_family *family)
{
	emit_map_sizes(page, family, true);
}

/* The XSKMAP is the only map that user space updates entry by entry; the others are mapped memory.
 */
static void emit_map_failures(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "interface", report_port_interface(port),
					      "map", "xsks", NULL),
			       port->n_map_update_failures);
	}
}

const struct metrics_family metrics_port_families[] = {
	{"sluice_interface_info", GAUGE, "Interface facts; value is always 1.",
	 .emit = emit_interface_info},
	{"sluice_interface_up", GAUGE,
	 "1 if the interface is administratively and operationally up.", .emit = emit_interface_up},
	{"sluice_interface_attached", GAUGE, "1 if our XDP program is attached to the interface.",
	 emit_ports, OF(struct report_port, is_attached)},
	{"sluice_interface_pinned", GAUGE,
	 "1 if the program stays on the interface when the daemon ends.", emit_ports,
	 OF(struct report_port, is_pinned)},
	{"sluice_interface_state", GAUGE, "1 for the state that the port of the interface is in.",
	 .emit = emit_interface_state},
	{"sluice_interface_rebinds_total", COUNTER,
	 "Times the sockets of an interface were rebuilt after a link, channel or MTU change.",
	 emit_ports, OF(struct report_port, n_rebinds)},
	{"sluice_interface_receive_missed_total", COUNTER,
	 "Packets the NIC lost before XDP, from rtnetlink rx_missed_errors.", emit_ports,
	 OF(struct report_port, link.rx_missed)},
	{"sluice_interface_receive_errors_total", COUNTER,
	 "Bad packets seen by the NIC, from rtnetlink rx_errors.", emit_ports,
	 OF(struct report_port, link.rx_errors)},
	{"sluice_interface_transmit_dropped_total", COUNTER,
	 "Packets the kernel dropped on the way out, from rtnetlink tx_dropped.", emit_ports,
	 OF(struct report_port, link.tx_dropped)},
	{"sluice_xdp_packets_total", COUNTER, "Packets seen by the XDP program by verdict.",
	 .emit = emit_xdp_packets},
	{"sluice_xdp_verdicts_total", COUNTER,
	 "Packets seen by the XDP program by the reason for the verdict.",
	 .emit = emit_xdp_verdicts},
	{"sluice_xdp_redirect_failures_total", COUNTER,
	 "Packets whose receive queue had no bound socket.", emit_ports,
	 OF(struct report_port, verdicts[SLUICE_V_NO_SOCKET])},
	{"sluice_bpf_map_entries", GAUGE, "Entries in use per BPF map.", .emit = emit_map_entries},
	{"sluice_bpf_map_max_entries", GAUGE, "Capacity per BPF map.",
	 .emit = emit_map_max_entries},
	{"sluice_bpf_map_update_failures_total", COUNTER, "Failed BPF map updates.",
	 .emit = emit_map_failures},
	{0},
};
