/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking lanes away under traffic, for any number of ports at once: the order of design.md §4.5,
 * so that every packet that was redirected before is forwarded or counted.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "control/live.h"
#include "kern/grace.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

struct drain {
	const struct engine *engine;
	const bool *closing;
};

static bool rx_is_empty(const struct lane *lane)
{
	return xsk_rx_waiting(&lane->xsk) == 0;
}

static bool tx_is_completed(const struct lane *lane)
{
	return counter_read(&lane->counters.tx_packets) ==
	       counter_read(&lane->counters.tx_completed);
}

static bool all_closing(const struct drain *drain, bool (*is_so)(const struct lane *lane))
{
	for (uint32_t i = 0; i < engine_n_ports(drain->engine); i++) {
		for (unsigned q = 0; drain->closing[i] && q < CONF_MAX_QUEUES; q++) {
			const struct live_lane *live = drain->engine->ports[i]->lanes[q];

			if (live && !is_so(&live->lane))
				return false;
		}
	}
	return true;
}

/*
 * First every rx, then every tx: what leaves the rx ring of one lane goes out by another, whose tx
 * would otherwise have been looked at before.
 */
static bool is_drained(void *arg)
{
	return all_closing(arg, rx_is_empty) && all_closing(arg, tx_is_completed);
}

static bool group_has_closing(const struct engine *engine, uint32_t group, const bool *closing)
{
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (closing[i] && engine->plan->ports[i].group == group)
			return true;
	}
	return false;
}

static void publish_affected(struct engine *engine, const bool *closing, bool drop_closing)
{
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		if (group_has_closing(engine, engine->plan->workers[w].group, closing))
			(void)crew_publish(engine, w, closing, drop_closing);
	}
}

/* A device that is gone was unbound by the kernel: its frames are free. */
static void reclaim_lanes_of(struct engine *engine, uint32_t index)
{
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		struct live_worker *worker = engine->workers[w];
		const struct plan_worker *plan_worker = &engine->plan->workers[w];

		for (uint32_t i = 0; i < plan_worker->n_lanes; i++) {
			for (uint32_t u = 0; u < worker->worker.n_umems; u++) {
				if (plan_worker->lanes[i].port == index)
					crew_reclaim(worker, u, (uint8_t)plan_worker->lanes[i].tag);
			}
		}
	}
}

static bool device_is_gone(const struct live_port *port)
{
	char name[IF_NAMESIZE];

	/* Under another name it still is the device that may hold frames. */
	return !if_indextoname(port->ifindex, name) && errno == ENXIO;
}

static bool port_has_lanes(const struct live_port *port)
{
	for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
		if (port->lanes[q])
			return true;
	}
	return false;
}

void engine_close_ports(struct engine *engine, const bool *closing)
{
	struct drain drain = {.engine = engine, .closing = closing};
	uint64_t drain_ns;
	bool any = false;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (!closing[i] || !port_has_lanes(engine->ports[i]))
			continue;
		any = true;
		port_clear_slots(engine->ports[i]);
	}
	if (!any)
		return;
	drain_ns = MIN(DRAIN_NS, engine->plan->conf->daemon.drain_timeout_ns);
	/* No NAPI poll that saw a filled slot is still running after this. */
	(void)grace_wait();
	publish_affected(engine, closing, false);
	if (!wait_until(is_drained, &drain, drain_ns))
		log_warning("some packets were not confirmed sent within %llu ms",
			    (unsigned long long)(drain_ns / NSEC_PER_MSEC));
	publish_affected(engine, closing, true);
	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		struct live_port *port = engine->ports[i];

		if (!closing[i])
			continue;
		port_close_lanes(port);
		if (port->is_attached && device_is_gone(port))
			reclaim_lanes_of(engine, i);
	}
}
