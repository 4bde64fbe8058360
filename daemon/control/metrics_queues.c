/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of queues: what their worker counted, and the kernel's six counters of each socket. */
#include "control/metrics_family.h"
#include "data/counters.h"
#include "util/macros.h"

/* The common walk: calls fn for every queue that is a worker's. */
static void for_each_queue(const struct metrics_page *page, const struct metrics_family *family,
			   void (*fn)(const struct metrics_page *page,
				      const struct metrics_family *family, const char *interface,
				      const struct report_queue *queue))
{
	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		for (uint32_t q = 0; q < port->n_queues; q++) {
			if (report_queue_is_ours(&port->queues[q]))
				fn(page, family, report_port_interface(port), &port->queues[q]);
		}
	}
}

static void emit_queue(const struct metrics_page *page, const struct metrics_family *family,
		       const char *interface, const struct report_queue *queue)
{
	char labels[METRICS_LABELS_BYTES], number[16];

	(void)snprintf(number, sizeof(number), "%u", queue->queue);
	metrics_field(page, family,
		      metrics_labels(labels, "interface", interface, "queue", number, NULL), queue);
}

static void emit_queues(const struct metrics_page *page, const struct metrics_family *family)
{
	for_each_queue(page, family, emit_queue);
}

static void emit_queue_drops(const struct metrics_page *page, const struct metrics_family *family,
			     const char *interface, const struct report_queue *queue)
{
	char labels[METRICS_LABELS_BYTES], number[16];

	(void)snprintf(number, sizeof(number), "%u", queue->queue);
	for (int reason = 0; reason < DROP_N; reason++)
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "interface", interface, "queue", number,
					      "reason", report_drop_names[reason], NULL),
			       queue->counters.drops[reason]);
}

static void emit_drops(const struct metrics_page *page, const struct metrics_family *family)
{
	for_each_queue(page, family, emit_queue_drops);
}

static void emit_queue_handbacks(const struct metrics_page *page,
				 const struct metrics_family *family, const char *interface,
				 const struct report_queue *queue)
{
	char labels[METRICS_LABELS_BYTES], number[16];

	(void)snprintf(number, sizeof(number), "%u", queue->queue);
	for (int reason = 0; reason < HANDBACK_N; reason++)
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "interface", interface, "queue", number,
					      "reason", report_handback_names[reason], NULL),
			       queue->counters.handed_back[reason]);
}

static void emit_handbacks(const struct metrics_page *page, const struct metrics_family *family)
{
	for_each_queue(page, family, emit_queue_handbacks);
}

static void emit_queue_wakeups(const struct metrics_page *page, const struct metrics_family *family,
			       const char *interface, const struct report_queue *queue)
{
	const struct {
		const char *ring;
		uint64_t n;
	} rings[] = {
		{"rx", queue->counters.wakeups_rx},
		{"tx", queue->counters.wakeups_tx},
	};
	char labels[METRICS_LABELS_BYTES], number[16];

	(void)snprintf(number, sizeof(number), "%u", queue->queue);
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++)
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "interface", interface, "queue", number,
					      "ring", rings[i].ring, NULL),
			       rings[i].n);
}

static void emit_wakeups(const struct metrics_page *page, const struct metrics_family *family)
{
	for_each_queue(page, family, emit_queue_wakeups);
}

const struct metrics_family metrics_queue_families[] = {
	{"sluice_queue_receive_packets_total", COUNTER,
	 "Packets received by the worker of a queue.", emit_queues,
	 OF(struct report_queue, counters.rx_packets)},
	{"sluice_queue_receive_bytes_total", COUNTER, "Bytes received, Ethernet header included.",
	 emit_queues, OF(struct report_queue, counters.rx_bytes)},
	{"sluice_queue_forwarded_packets_total", COUNTER,
	 "Packets received that were put on a transmit ring.", emit_queues,
	 OF(struct report_queue, counters.forwarded)},
	{"sluice_queue_drops_total", COUNTER, "Packets dropped by the worker by reason.",
	 .emit = emit_drops},
	{"sluice_handed_back_total", COUNTER,
	 "Packets received that were given back to the kernel unchanged, by reason.",
	 .emit = emit_handbacks},
	{"sluice_queue_replicated_packets_total", COUNTER,
	 "Packets transmitted that are further copies of a flooded frame.", emit_queues,
	 OF(struct report_queue, counters.replicated)},
	{"sluice_queue_copies_dropped_total", COUNTER,
	 "Further copies of flooded frames that could not be transmitted.", emit_queues,
	 OF(struct report_queue, counters.copies_dropped)},
	{"sluice_queue_handback_copies_total", COUNTER,
	 "Copies of flooded frames that this host was given.", emit_queues,
	 OF(struct report_queue, counters.handback_copies)},
	{"sluice_queue_transmit_packets_total", COUNTER,
	 "Packets transmitted by the worker of a queue.", emit_queues,
	 OF(struct report_queue, counters.tx_packets)},
	{"sluice_queue_transmit_bytes_total", COUNTER,
	 "Bytes transmitted, Ethernet header included.", emit_queues,
	 OF(struct report_queue, counters.tx_bytes)},
	{"sluice_queue_transmit_completed_packets_total", COUNTER,
	 "Packets transmitted whose frames the kernel gave back.", emit_queues,
	 OF(struct report_queue, counters.tx_completed)},
	{"sluice_queue_transmit_pending_packets", GAUGE,
	 "Packets transmitted whose frames the kernel still holds.", emit_queues,
	 OF(struct report_queue, in_tx)},
	{"sluice_queue_transmit_abandoned_packets_total", COUNTER,
	 "Packets transmitted whose socket was closed before the kernel gave their frames back.",
	 emit_queues, OF(struct report_queue, tx_abandoned)},
	{"sluice_queue_receive_abandoned_packets_total", COUNTER,
	 "Packets left in the receive ring of a socket that was closed while its worker stood still.",
	 emit_queues, OF(struct report_queue, rx_abandoned)},
	{"sluice_queue_receive_waiting_packets", GAUGE,
	 "Packets in the receive ring that the worker has not taken yet.", emit_queues,
	 OF(struct report_queue, rx_waiting)},
	{"sluice_queue_copied_packets_total", COUNTER,
	 "Packets copied between two UMEMs, because the ports bind in unlike modes.", emit_queues,
	 OF(struct report_queue, counters.copied)},
	{"sluice_queue_fill_posted_frames_total", COUNTER, "Frames given to the fill ring.",
	 emit_queues, OF(struct report_queue, counters.fill_posted)},
	{"sluice_queue_fill_taken_frames_total", COUNTER,
	 "Frames the kernel gave back through the receive ring.", emit_queues,
	 OF(struct report_queue, counters.fill_taken)},
	{"sluice_xsk_rx_dropped_total", COUNTER, "Kernel XDP_STATISTICS rx_dropped.", emit_queues,
	 OF(struct report_queue, xsk.rx_dropped)},
	{"sluice_xsk_rx_invalid_descs_total", COUNTER, "Kernel XDP_STATISTICS rx_invalid_descs.",
	 emit_queues, OF(struct report_queue, xsk.rx_invalid_descs)},
	{"sluice_xsk_tx_invalid_descs_total", COUNTER, "Kernel XDP_STATISTICS tx_invalid_descs.",
	 emit_queues, OF(struct report_queue, xsk.tx_invalid_descs)},
	{"sluice_xsk_rx_ring_full_total", COUNTER, "Kernel XDP_STATISTICS rx_ring_full.",
	 emit_queues, OF(struct report_queue, xsk.rx_ring_full)},
	{"sluice_xsk_fill_ring_empty_total", COUNTER,
	 "Kernel XDP_STATISTICS rx_fill_ring_empty_descs.", emit_queues,
	 OF(struct report_queue, xsk.fill_ring_empty)},
	{"sluice_xsk_tx_ring_empty_total", COUNTER, "Kernel XDP_STATISTICS tx_ring_empty_descs.",
	 emit_queues, OF(struct report_queue, xsk.tx_ring_empty)},
	{"sluice_xsk_wakeups_total", COUNTER, "System calls made to wake the kernel.",
	 .emit = emit_wakeups},
	{"sluice_xsk_wakeup_retries_total", COUNTER,
	 "Transmit wakeups that left packets in the ring.", emit_queues,
	 OF(struct report_queue, counters.wakeup_again)},
	{"sluice_xsk_wakeup_failures_total", COUNTER,
	 "Wakeups that failed for another reason than pressure.", emit_queues,
	 OF(struct report_queue, counters.wakeup_errors)},
	{"sluice_xsk_bad_completions_total", COUNTER,
	 "Completions out of range or not of this queue; anything but 0 is a bug.", emit_queues,
	 OF(struct report_queue, counters.bad_completions)},
	{"sluice_xsk_bound", GAUGE, "1 if the queue has a socket that the XDP program sends to.",
	 emit_queues, OF(struct report_queue, is_bound)},
	{"sluice_xsk_zerocopy", GAUGE, "1 if the socket is bound in zero-copy mode.", emit_queues,
	 OF(struct report_queue, is_zerocopy)},
	{"sluice_xsk_busy_poll_active", GAUGE, "1 if busy polling was asked for and has an effect.",
	 emit_queues, OF(struct report_queue, busy_poll_active)},
	{0},
};
