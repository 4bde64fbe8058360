/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See plan_world.h. */
#include "tests/unit/plan_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

void world_init(struct world *world)
{
	*world = (struct world){
		.conf = {.daemon = {.cpus = {.all = true}, .frame_size_bytes = 2048}},
	};
	world->conf.ports = world->ports;
	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++)
		world->topo.cpus[cpu] = (struct topo_cpu){.is_allowed = cpu < 8, .node = -1};
	world->topo.n_cpus = 8;
	world->limits = (struct plan_limits){UINT64_MAX, UINT64_MAX, UINT64_MAX};
	(void)world_add_pair(world, "wan", "lan");
	for (unsigned port = WAN; port <= LAN; port++) {
		(void)snprintf(world->ports[port].interface, IF_NAMESIZE, "eth%u", port);
		world_set_link(world, port, 4);
	}
}

void world_fini(struct world *world)
{
	plan_notes_fini(&world->notes);
	plan_free(world->plan);
	world->plan = NULL;
}

static void add_port(struct world *world, const char *name, const char *peer)
{
	struct conf_port *port = &world->ports[world->conf.n_ports];

	assert_in_range(world->conf.n_ports, 0, WORLD_MAX_PORTS - 1);
	*port = (struct conf_port){
		.queues = {.all = true},
		.forward = CONF_FORWARD_XCONNECT,
		.stall_timeout_ns = 100000000,
	};
	(void)snprintf(port->name, sizeof(port->name), "%s", name);
	(void)snprintf(port->peer, sizeof(port->peer), "%s", peer);
	(void)snprintf(port->interface, sizeof(port->interface), "%.15s", name);
	world_set_link(world, world->conf.n_ports++, 4);
}

unsigned world_add_pair(struct world *world, const char *a, const char *b)
{
	unsigned first = world->conf.n_ports;

	add_port(world, a, b);
	add_port(world, b, a);
	return first;
}

void world_set_link(struct world *world, unsigned port, unsigned n_queues)
{
	struct link *link = &world->links[port];

	*link = (struct link){
		.exists = true,
		.ifindex = 10 + port,
		.mtu = 1500,
		.is_up = true,
		.has_carrier = true,
		.is_ethernet = true,
		.driver = "nic",
		.n_rx_queues = n_queues,
		.n_tx_queues = n_queues,
		.numa_node = -1,
	};
	memcpy(link->name, world->ports[port].interface, sizeof(link->name));
}

void world_remove_link(struct world *world, unsigned port)
{
	world->links[port] = (struct link){.numa_node = -1};
	memcpy(world->links[port].name, world->ports[port].interface, IF_NAMESIZE);
}

struct conf_set world_set(const int *numbers)
{
	struct conf_set set = {0};

	for (; *numbers >= 0; numbers++)
		set.bits[*numbers / 64] |= 1ULL << (*numbers % 64);
	return set;
}

int world_plan(struct world *world, const struct plan *previous)
{
	world_fini(world);
	return plan_make_next(previous, &world->conf, world->links, &world->topo, &world->limits,
			      &world->plan, &world->notes);
}

static void print_notes(const struct world *world)
{
	for (uint32_t i = 0; i < world->notes.n; i++)
		print_message("note %d: %s\n", (int)world->notes.notes[i].severity,
			      world->notes.notes[i].text);
}

void world_plan_ok(struct world *world, const struct plan *previous)
{
	int r = world_plan(world, previous);

	if (r != 0)
		print_notes(world);
	assert_int_equal(r, 0);
	assert_int_equal(world_count_notes(world, PLAN_ERROR), 0);
}

char *world_text(const struct plan *plan, const struct plan_notes *notes)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	plan_print(plan, notes, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

unsigned world_count_notes(const struct world *world, enum plan_severity severity)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world->notes.n; i++)
		n += world->notes.notes[i].severity == severity;
	return n;
}

void world_expect_note(const struct world *world, enum plan_severity severity, const char *text)
{
	for (uint32_t i = 0; i < world->notes.n; i++) {
		if (world->notes.notes[i].severity == severity)
			assert_string_equal(world->notes.notes[i].text, text);
	}
	if (world_count_notes(world, severity) != 1) {
		print_notes(world);
		fail_msg("expected one note: %s", text);
	}
}
