/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interfaces of the host, by index, and which of them are route ports. Thread: tables.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/tables_internal.h"
#include "util/macros.h"

/* A chained hash: indexes are handed out in order, so their low bits spread by themselves. */
#define N_CHAINS 256

struct link_node {
	struct link_entry entry;
	struct link_node *next;
};

struct link_table {
	struct link_node *chains[N_CHAINS];
	uint32_t ports[ROUTE_MAX_PORTS]; /* ifindex of the route port at this place; 0 = none */
	uint64_t mark;                   /* of the sync that runs, or of the last */
};

int link_table_new(struct link_table **ret_links)
{
	struct link_table *links = calloc(1, sizeof(*links));

	if (!links)
		return -ENOMEM;
	*ret_links = links;
	return 0;
}

void link_table_free(struct link_table *links)
{
	if (!links)
		return;
	for (unsigned i = 0; i < N_CHAINS; i++) {
		while (links->chains[i]) {
			struct link_node *node = links->chains[i];

			links->chains[i] = node->next;
			free(node);
		}
	}
	free(links);
}

/* Where the pointer to the link stands, or to where a new one belongs. */
static struct link_node **link_slot(struct link_table *links, uint32_t ifindex)
{
	struct link_node **slot = &links->chains[ifindex % N_CHAINS];

	while (*slot && (*slot)->entry.ifindex != ifindex)
		slot = &(*slot)->next;
	return slot;
}

const struct link_entry *link_table_find(const struct link_table *links, uint32_t ifindex)
{
	const struct link_node *node = links->chains[ifindex % N_CHAINS];

	while (node && node->entry.ifindex != ifindex)
		node = node->next;
	return node ? &node->entry : NULL;
}

const struct link_entry *link_table_find_name(const struct link_table *links, const char *name)
{
	for (unsigned i = 0; i < N_CHAINS; i++) {
		for (const struct link_node *node = links->chains[i]; node; node = node->next) {
			if (strcmp(node->entry.name, name) == 0)
				return &node->entry;
		}
	}
	return NULL;
}

static uint16_t port_of(const struct link_table *links, uint32_t ifindex)
{
	for (uint16_t place = 0; place < ROUTE_MAX_PORTS; place++) {
		if (links->ports[place] == ifindex)
			return place;
	}
	return LINK_NO_PORT;
}

static unsigned compare(const struct link_entry *old, const struct link_entry *new)
{
	unsigned changes = 0;

	if (old->is_up != new->is_up || old->has_carrier != new->has_carrier)
		changes |= LINK_CHANGED_STATE;
	if (old->mtu != new->mtu)
		changes |= LINK_CHANGED_MTU;
	if (memcmp(old->mac, new->mac, sizeof(old->mac)) != 0)
		changes |= LINK_CHANGED_MAC;
	if (old->master != new->master || old->vrf_table != new->vrf_table ||
	    strcmp(old->name, new->name) != 0)
		changes |= LINK_CHANGED_REST;
	return changes;
}

int link_table_apply(struct link_table *links, const struct rt_link *link)
{
	struct link_node **slot = link_slot(links, link->ifindex);
	struct link_entry entry = {
		.ifindex = link->ifindex,
		.mtu = link->mtu,
		.master = link->master,
		.is_up = link->is_up,
		.has_carrier = link->has_carrier,
		.port = port_of(links, link->ifindex),
		.vrf_table = link->vrf_table,
		.mark = links->mark,
	};
	unsigned changes;

	memcpy(entry.name, link->name, sizeof(entry.name));
	if (link->has_mac)
		memcpy(entry.mac, link->mac, sizeof(entry.mac));
	if (*slot) {
		changes = compare(&(*slot)->entry, &entry);
	} else {
		*slot = calloc(1, sizeof(**slot));
		if (!*slot)
			return -ENOMEM;
		changes = LINK_CAME;
	}
	(*slot)->entry = entry;
	return (int)changes;
}

bool link_table_gone(struct link_table *links, uint32_t ifindex)
{
	struct link_node **slot = link_slot(links, ifindex);
	struct link_node *node = *slot;

	if (!node)
		return false;
	*slot = node->next;
	free(node);
	return true;
}

bool link_table_set_ports(struct link_table *links, const struct tables_port *ports,
			  uint32_t n_ports)
{
	uint32_t now[ROUTE_MAX_PORTS] = {0};

	for (uint32_t i = 0; i < MIN(n_ports, (uint32_t)ROUTE_MAX_PORTS); i++)
		now[i] = ports[i].is_route ? ports[i].ifindex : 0;
	if (memcmp(now, links->ports, sizeof(now)) == 0)
		return false;
	memcpy(links->ports, now, sizeof(now));
	for (unsigned i = 0; i < N_CHAINS; i++) {
		for (struct link_node *node = links->chains[i]; node; node = node->next)
			node->entry.port = port_of(links, node->entry.ifindex);
	}
	return true;
}

void link_table_begin_sync(struct link_table *links)
{
	links->mark++;
}

void link_table_end_sync(struct link_table *links, void (*fn)(uint32_t ifindex, void *arg),
			 void *arg)
{
	for (unsigned i = 0; i < N_CHAINS; i++) {
		struct link_node **slot = &links->chains[i];

		while (*slot) {
			struct link_node *node = *slot;
			uint32_t ifindex = node->entry.ifindex;

			if (node->entry.mark == links->mark) {
				slot = &node->next;
				continue;
			}
			*slot = node->next;
			free(node);
			fn(ifindex, arg);
		}
	}
}
