/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tables tell about ports: to the XDP programs by line 0 of their heartbeat maps, to the
 * workers by view->rpf. Always computed whole from what is known, and stored where it differs.
 *
 * Thread: tables, or control under the lock.
 */
#include <string.h>

#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/macros.h"

/* Hooks of legacy iptables, BPF and modules, and tc filters, announce nothing: asked for. */
#define POLICY_INTERVAL_NS NSEC_PER_SEC

/* After asking, so many times as long as that took is left to everything else. */
#define POLICY_REST 4

/* A store that changes nothing would still take the line away from the programs' CPUs. */
static void store(__u64 *word, uint64_t value)
{
	if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

uint64_t lines_route_ports(const struct tables *tables)
{
	uint64_t ports = 0;

	for (uint32_t i = 0; i < tables->config.n_ports; i++) {
		if (tables->ports[i].is_route)
			ports |= 1ULL << i;
	}
	return ports;
}

/* Until the tables say what the kernel's say, and while the gate knows all addresses of the host.
 */
static bool may_forward(const struct tables *tables)
{
	return tables->is_synced_once && !tables->is_full && tables->is_started &&
	       locals_n_refused(tables->locals) == 0;
}

void lines_policy_state(const struct tables *tables, struct policy_state *ret_state)
{
	*ret_state = tables->policy_state;
	if (tables->is_full) {
		ret_state->ports[POLICY_TABLES_FULL] = lines_route_ports(tables);
		(void)snprintf(ret_state->what[POLICY_TABLES_FULL],
			       sizeof(ret_state->what[POLICY_TABLES_FULL]),
			       "%zu bytes wait for a worker", limbo_bytes(tables->limbo));
	} else if (tables->must_pass[0] || tables->must_pass[1]) {
		ret_state->ports[POLICY_TABLES_FULL] = lines_route_ports(tables);
		(void)snprintf(ret_state->what[POLICY_TABLES_FULL],
			       sizeof(ret_state->what[POLICY_TABLES_FULL]),
			       "the forwarding table has no room for all routes");
	} else if (locals_n_refused(tables->locals) > 0) {
		ret_state->ports[POLICY_TABLES_FULL] = lines_route_ports(tables);
		(void)snprintf(ret_state->what[POLICY_TABLES_FULL],
			       sizeof(ret_state->what[POLICY_TABLES_FULL]),
			       "%u addresses of this host have no room",
			       locals_n_refused(tables->locals));
	}
}

/* The longest packet that every route port can send; 0: not known. */
static uint32_t smallest_mtu(const struct tables *tables)
{
	uint32_t smallest = 0;

	for (uint32_t i = 0; i < tables->config.n_ports; i++) {
		const struct tables_port *port = &tables->ports[i];
		const struct link_entry *link;

		if (!port->is_route || port->ifindex == 0)
			continue;
		link = link_table_find(tables->links, port->ifindex);
		if (link && (smallest == 0 || link->mtu < smallest))
			smallest = link->mtu;
	}
	return smallest;
}

/* What the policy allows, less the families that the FIB cannot answer for. */
static uint64_t routes_of(const struct tables *tables, uint32_t place)
{
	uint64_t routes = policy_routes(&tables->policy_state, place);

	if (!may_forward(tables))
		return 0;
	if (tables->must_pass[0])
		routes &= ~(uint64_t)SLUICE_ROUTES_IPV4;
	if (tables->must_pass[1])
		routes &= ~(uint64_t)SLUICE_ROUTES_IPV6;
	return routes;
}

static void store_line(const struct tables *tables, uint32_t place, uint32_t max_packet_len)
{
	const struct tables_port *port = &tables->ports[place];
	const struct link_entry *link = link_table_find(tables->links, port->ifindex);
	uint64_t mac = 0;

	if (!port->line || !(port->is_route || port->bridge != UINT32_MAX))
		return;
	if (link)
		memcpy(&mac, link->mac, sizeof(link->mac));
	store(&port->line->mac, mac);
	if (!port->is_route)
		return;
	store(&port->line->max_packet_len, max_packet_len);
	store(&port->line->routes, link ? routes_of(tables, place) : 0);
}

/*
 * fib_validate_source() has a loose check fail on a device without addresses unless a strict one
 * holds. And as soon as there are local routes that no address made, sources are looked up whatever
 * rp_filter is, and local ones refused: AnyIP prefixes are in no list of ours, but in the FIB. What
 * is refused for want of a route then is handed back, and the kernel decides.
 */
static enum route_rpf source_check(const struct tables *tables, uint32_t place)
{
	enum route_rpf rpf = tables->policy ? policy_rpf(tables->policy, place) : ROUTE_RPF_STRICT;

	if (rpf == ROUTE_RPF_LOOSE &&
	    !locals_has_address4(tables->locals, tables->ports[place].ifindex))
		return ROUTE_RPF_STRICT;
	if (rpf == ROUTE_RPF_OFF && locals_n_prefixes4(tables->locals) > 0)
		return ROUTE_RPF_LOOSE;
	return rpf;
}

void lines_store(struct tables *tables)
{
	const uint32_t max_packet_len = smallest_mtu(tables);

	tables->lines_are_stale = false;
	for (uint32_t i = 0; i < tables->config.n_ports; i++) {
		const struct tables_port *port = &tables->ports[i];
		uint64_t rpf = 0;

		if (port->is_route)
			rpf = (uint64_t)port->ifindex << 8 | source_check(tables, i);
		/* Before the port may forward: a worker checks by what it finds here. */
		atomic_store_explicit(&tables->view->rpf[i], rpf, memory_order_release);
		store_line(tables, i, max_packet_len);
	}
	for (uint32_t i = tables->config.n_ports; i < ROUTE_MAX_PORTS; i++)
		atomic_store_explicit(&tables->view->rpf[i], 0, memory_order_release);
}

void lines_refresh_policy(struct tables *tables, uint64_t now_ns)
{
	uint64_t end_ns;

	policy_refresh(tables->policy, &tables->policy_state);
	lines_store(tables);
	end_ns = clock_now_ns();
	tables->policy_not_before_ns = end_ns + POLICY_REST * (end_ns - MIN(now_ns, end_ns));
	tables->policy_due_ns = end_ns + POLICY_INTERVAL_NS;
}

/*
 * Until the kernel's policy has been asked for, frames go on by the old one: the first change is
 * acted upon at once. Of a storm of them only every fifth part of the time is taken.
 */
void lines_want_policy(struct tables *tables, uint64_t now_ns)
{
	uint64_t due_ns = MAX(now_ns, tables->policy_not_before_ns);

	tables->policy_due_ns = MIN(tables->policy_due_ns, due_ns);
}
