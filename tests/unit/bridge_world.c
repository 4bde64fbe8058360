/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bridge of four ports on fake rings; see bridge_world.h. */
#include "bridge_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/pages.h"

static const struct fib_pages pages = {.map = pages_map, .unmap = pages_unmap};
static struct bridge_world *current; /* hand_back() knows no other way */

const struct bridge_mac broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

enum drop_reason __wrap_hand_back(struct worker *worker, const struct worker_port *port,
				  enum handback_reason reason, const uint8_t *data, uint32_t len);

enum drop_reason __wrap_hand_back(struct worker *worker, const struct worker_port *port,
				  enum handback_reason reason, const uint8_t *data, uint32_t len)
{
	struct bridge_handed *handed = &current->handed[current->n_handed];

	assert(worker == &current->w->worker);
	if (current->hand_back_result == DROP_N &&
	    current->n_handed < ARRAY_SIZE(current->handed)) {
		*handed = (struct bridge_handed){.port = port, .reason = reason, .len = len};
		memcpy(handed->bytes, data, MIN(len, sizeof(handed->bytes)));
		current->n_handed++;
	}
	return current->hand_back_result;
}

static void log_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	struct bridge_world *b = data;
	struct bridge_sent *sent = &b->sent[b->n_sent++];

	assert(b->n_sent <= ARRAY_SIZE(b->sent) && len <= sizeof(sent->bytes));
	sent->port = (uint32_t)(fake - b->w->fakes);
	sent->len = len;
	memcpy(sent->bytes, fake->memory->umem->area + addr, len);
}

struct worker_set *bridge_next_set(struct bridge_world *b)
{
	struct worker_set *set = world_next_set(b->w);
	struct worker_port *ports = b->ports[set - b->w->sets];

	if (set->ports)
		memcpy(ports, set->ports, sizeof(b->ports[0]));
	set->ports = ports;
	return set;
}

struct bridge_world *bridge_new(const struct world_spec *spec)
{
	struct bridge_world *b = calloc(1, sizeof(*b));
	struct worker_set *set;

	assert(b && spec->n_lanes == BRIDGE_PORTS);
	b->w = world_new(spec);
	b->hand_back_result = DROP_N;
	assert(fdb_new(&pages, 4096, 1, &b->fdb) == 0);
	assert(learn_ring_new(&b->w->worker.learn) == 0);
	b->w->worker.now_s = 1;
	set = bridge_next_set(b);
	set->forward = WORKER_BRIDGE;
	set->fdb = b->fdb;
	for (uint16_t i = 0; i < BRIDGE_PORTS; i++) {
		set->routes[i].port = i;
		set->routes[i].out = NULL;
		set->ports[i] = (struct worker_port){
			.is_member = true,
			.can_send = true,
			.mac = {2, 0xff, 0, 0, 0, (uint8_t)i},
			.ifindex = 10 + i,
			.max_len = 1514,
			.handback_fd = -1,
			.n_lanes = 1,
			.lanes = {&b->w->lanes[i]},
		};
		b->w->fakes[i].on_sent = log_sent;
		b->w->fakes[i].on_sent_data = b;
	}
	world_publish(b->w);
	current = b;
	return b;
}

void bridge_free(struct bridge_world *b)
{
	learn_ring_free(b->w->worker.learn);
	world_free(b->w);
	fdb_free(b->fdb);
	free(b);
	current = NULL;
}

struct bridge_mac station(uint16_t number)
{
	return (struct bridge_mac){{2, 0, 0, 0, (uint8_t)(number >> 8), (uint8_t)number}};
}

void bridge_receive(struct bridge_world *b, uint32_t port, struct bridge_mac to,
		    struct bridge_mac from, uint32_t len, uint8_t fill)
{
	uint8_t frame[2048];
	bool ok;

	memset(frame, fill, sizeof(frame));
	memcpy(frame, to.octet, 6);
	memcpy(frame + 6, from.octet, 6);
	frame[12] = 0x08;
	frame[13] = 0x00;
	ok = fake_receive(&b->w->fakes[port], frame, sizeof(frame), len, NULL);
	assert(ok);
}

uint32_t bridge_cross(struct bridge_world *b, uint32_t port, struct bridge_mac to,
		      struct bridge_mac from)
{
	static uint8_t fill;
	uint32_t first = b->n_sent, ports = 0;

	bridge_receive(b, port, to, from, 60, ++fill);
	(void)world_turn(b->w);
	for (uint32_t i = first; i < b->n_sent; i++) {
		const struct bridge_sent *sent = &b->sent[i];

		assert(!(ports & 1U << sent->port));
		ports |= 1U << sent->port;
		assert(sent->len == 60 && memcmp(sent->bytes, to.octet, 6) == 0);
		assert(memcmp(sent->bytes + 6, from.octet, 6) == 0);
		assert(sent->bytes[12] == 8 && sent->bytes[14] == fill && sent->bytes[59] == fill);
	}
	return ports;
}

uint32_t bridge_learn(struct bridge_world *b)
{
	struct learn_ring *ring = b->w->worker.learn;
	uint32_t n = learn_waiting(ring);

	for (uint32_t i = 0; i < n; i++) {
		learn_report report = learn_peek(ring, i);
		uint8_t mac[6];

		learn_report_mac(report, mac);
		(void)fdb_put(b->fdb, mac, learn_report_port(report), false, 1);
	}
	learn_done(ring, n);
	return n;
}

uint64_t bridge_drops(const struct bridge_world *b, uint32_t port, enum drop_reason reason)
{
	return b->w->lanes[port].counters.drops[reason];
}
