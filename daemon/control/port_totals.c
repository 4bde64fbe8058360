/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of what a port has counted: the last word in the log, and a new beginning on another
 * interface. Thread: control.
 */
#include <stdio.h>
#include <string.h>

#include "control/live.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

/* What the XDP program did with every frame that came to the port; zeros are left out. */
static void log_verdicts(const struct live_port *port)
{
	char text[512] = "none";
	size_t used = 0;

	for (unsigned i = 0; i < SLUICE_V_N && used < sizeof(text); i++) {
		if (port->verdict_totals[i])
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %llu",
						 used ? ", " : "", report_verdict_names[i],
						 (unsigned long long)port->verdict_totals[i]);
	}
	log_notice("port %s: XDP verdicts: %s", port->name, text);
}

void port_log_totals(const struct live_port *port)
{
	struct lane_counters sum = {0};
	uint64_t n_dropped = 0, n_unreceived = 0;

	for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
		const struct lane_counters *counters = &port->totals[q].counters;

		sum.rx_packets += counters->rx_packets;
		sum.forwarded += counters->forwarded;
		sum.tx_packets += counters->tx_packets;
		sum.tx_completed += counters->tx_completed;
		for (unsigned i = 0; i < DROP_N; i++)
			n_dropped += counters->drops[i];
		n_unreceived += port->totals[q].xsk.rx_dropped + port->totals[q].xsk.rx_ring_full;
	}
	if (!port->was_built)
		return;
	log_verdicts(port);
	log_notice("port %s: not received %llu, received %llu, forwarded %llu, dropped %llu; sent "
		   "%llu, confirmed %llu",
		   port->name, (unsigned long long)n_unreceived, (unsigned long long)sum.rx_packets,
		   (unsigned long long)sum.forwarded, (unsigned long long)n_dropped,
		   (unsigned long long)sum.tx_packets, (unsigned long long)sum.tx_completed);
}

/*
 * Totals are the interface's, by whose name they are exported: carried to another they would be
 * counted there a second time, and the series of both would jump.
 */
void port_leave_interface(struct live_port *port)
{
	port_log_totals(port);
	memset(port->totals, 0, CONF_MAX_QUEUES * sizeof(*port->totals));
	memset(port->verdict_totals, 0, sizeof(port->verdict_totals));
	memset(port->verdict_base, 0, sizeof(port->verdict_base));
	port->n_map_update_failures = 0;
	port->n_rebinds = 0;
	port->was_built = false;
	port->interface[0] = '\0';
	port->ifindex = 0;
}
