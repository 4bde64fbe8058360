/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's neighbours, and an adjacency (net/route.h) for each that a route port can send to.
 *
 *	state valid, MAC known, device is a route port  ──►  adjacency: in the table, for connected
 *	                                                     routes, and told to nexthops.c
 *	anything else                                   ──►  none: the worker hands back, and the
 *	                                                     kernel resolves
 *
 * Keeping alive. Packets that workers send are unseen by the kernel, so a neighbour that only they
 * use would go stale, be forgotten, or stay for ever though it is dead. What the kernel's own
 * forwarding does for each packet is neigh_event_send(): it notes the time (neigh->used) and takes
 * a STALE entry to DELAY, from where it is probed. RTM_NEWNEIGH with NTF_USE does exactly this, so
 * it is sent on behalf of the adjacencies that workers marked:
 *
 *	STALE              at once: DELAY, PROBE, then REACHABLE with its new MAC, or FAILED
 *	REACHABLE          every USE_INTERVAL_NS, less than delay_first_probe_time (5 s): when its
 *	                   time is up the kernel finds neigh->used recent and goes to DELAY, not to
 *	                   STALE, and garbage collection leaves it alone
 *	DELAY, PROBE, …    not: the kernel is at it, or has nothing to find out
 *
 * design.md §4.11 prefers NTF_EXT_MANAGED where the kernel has it. We do not use it: the kernel
 * then solicits for ever for next hops that carry no traffic, marks the operator's entries, and a
 * daemon that died leaves the mark behind.
 *
 * Thread: tables. Syscalls: send and recv of rtnetlink. This file does not log.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/tables_internal.h"
#include "util/macros.h"

#define USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

#define USE_INTERVAL_NS (2 * NSEC_PER_SEC)
/* Per call: at four calls a second 16 000 neighbours in use are told every second. */
#define MAX_TOLD_PER_CALL 4096
#define MAX_TOLD_PER_SEND 64

#define FIRST_CHAINS 256 /* a power of two, as all that follow */
#define FIRST_CELLS  64

struct entry {
	struct entry *next;
	struct rt_neighbour neighbour;
	struct adjacency *adjacency; /* NULL: nobody sends to it */
	uint64_t told_ns;
	uint64_t mark;
};

struct neighbours {
	struct route_view *view;
	const struct link_table *links;
	struct nexthops *nexthops;
	struct limbo *limbo;
	struct entry **chains;
	uint32_t n_chains;
	uint32_t n_entries;
	uint64_t n_usable[2];
	uint32_t n_filled; /* cells of the published table that are not NULL, removed ones among */
	uint32_t resume;   /* chain at which the next call of keep_alive starts */
	uint64_t mark;
	/*
	 * Stands in the cell of an adjacency that was removed, so that a search goes on behind it.
	 * ifindex 0 is nobody's: it is never found.
	 */
	struct adjacency removed;
};

/* --- The table that workers search ------------------------------------------------------------ */

static struct adjacency_table *table_new(uint32_t n_cells)
{
	struct adjacency_table *table =
		calloc(1, sizeof(*table) + n_cells * sizeof(table->cells[0]));

	if (table)
		table->mask = n_cells - 1;
	return table;
}

static size_t table_bytes(const struct adjacency_table *table)
{
	return sizeof(*table) + ((size_t)table->mask + 1) * sizeof(table->cells[0]);
}

/* The pointer in the view is to const: workers change nothing. Its owner does. */
static struct adjacency_table *table_of(const struct neighbours *neighbours)
{
	return (struct adjacency_table *)(uintptr_t)atomic_load_explicit(
		&neighbours->view->adjacencies, memory_order_relaxed);
}

/* The cell that holds `old`, or (NULL) the first empty one, on the way of a search for the key. */
static uint32_t table_cell(const struct adjacency_table *table, const struct adjacency *key,
			   const struct adjacency *old)
{
	uint32_t cell = adjacency_hash(key->ifindex, key->is_ip6, &key->addr) & table->mask;

	while (atomic_load_explicit(&table->cells[cell], memory_order_relaxed) != old)
		cell = (cell + 1) & table->mask;
	return cell;
}

/* Makes a table of the size that what is usable needs, without the removed ones. -ENOMEM. */
static int table_replace(struct neighbours *neighbours)
{
	const uint64_t n_usable = neighbours->n_usable[0] + neighbours->n_usable[1];
	struct adjacency_table *old = table_of(neighbours), *new;
	uint32_t n_cells = FIRST_CELLS;

	/* A quarter full at first, so that the next replacement is far. */
	while (n_cells / 4 < n_usable + 1)
		n_cells *= 2;
	new = table_new(n_cells);
	if (!new)
		return -ENOMEM;
	for (uint32_t i = 0; old && i <= old->mask; i++) {
		struct adjacency *adjacency =
			atomic_load_explicit(&old->cells[i], memory_order_relaxed);

		if (adjacency && adjacency != &neighbours->removed)
			atomic_store_explicit(&new->cells[table_cell(new, adjacency, NULL)],
					      adjacency, memory_order_relaxed);
	}
	neighbours->n_filled = (uint32_t)n_usable;
	/* pairs with the worker's acquire of the table */
	atomic_store_explicit(&neighbours->view->adjacencies, new, memory_order_release);
	limbo_retire(neighbours->limbo, old, old ? table_bytes(old) : 0);
	return 0;
}

/* --- Entries ---------------------------------------------------------------------------------- */

int neighbours_new(struct route_view *view, const struct link_table *links,
		   struct nexthops *nexthops, struct limbo *limbo,
		   struct neighbours **ret_neighbours)
{
	struct neighbours *neighbours = calloc(1, sizeof(*neighbours));

	if (!neighbours)
		return -ENOMEM;
	neighbours->view = view;
	neighbours->links = links;
	neighbours->nexthops = nexthops;
	neighbours->limbo = limbo;
	neighbours->chains = calloc(FIRST_CHAINS, sizeof(struct entry *));
	neighbours->n_chains = FIRST_CHAINS;
	if (!neighbours->chains || table_replace(neighbours) < 0) {
		free(neighbours->chains);
		free(neighbours);
		return -ENOMEM;
	}
	*ret_neighbours = neighbours;
	return 0;
}

void neighbours_free(struct neighbours *neighbours)
{
	if (!neighbours)
		return;
	for (uint32_t i = 0; i < neighbours->n_chains; i++) {
		while (neighbours->chains[i]) {
			struct entry *entry = neighbours->chains[i];

			neighbours->chains[i] = entry->next;
			free(entry->adjacency);
			free(entry);
		}
	}
	free(table_of(neighbours));
	atomic_store_explicit(&neighbours->view->adjacencies, NULL, memory_order_relaxed);
	free(neighbours->chains);
	free(neighbours);
}

static struct entry **entry_slot(const struct neighbours *neighbours,
				 const struct rt_neighbour *key)
{
	uint32_t hash = adjacency_hash(key->ifindex, key->is_ip6, &key->addr);
	struct entry **slot = &neighbours->chains[hash & (neighbours->n_chains - 1)];

	while (*slot && !((*slot)->neighbour.ifindex == key->ifindex &&
			  (*slot)->neighbour.is_ip6 == key->is_ip6 &&
			  memcmp(&(*slot)->neighbour.addr, &key->addr, sizeof(key->addr)) == 0))
		slot = &(*slot)->next;
	return slot;
}

/* Without memory the chains stay as they are, and get longer. */
static void grow(struct neighbours *neighbours)
{
	const uint32_t n_chains = neighbours->n_chains * 2;
	struct entry **chains = calloc(n_chains, sizeof(struct entry *));

	if (!chains)
		return;
	for (uint32_t i = 0; i < neighbours->n_chains; i++) {
		while (neighbours->chains[i]) {
			struct entry *entry = neighbours->chains[i];
			const struct rt_neighbour *key = &entry->neighbour;
			uint32_t hash = adjacency_hash(key->ifindex, key->is_ip6, &key->addr);

			neighbours->chains[i] = entry->next;
			entry->next = chains[hash & (n_chains - 1)];
			chains[hash & (n_chains - 1)] = entry;
		}
	}
	free(neighbours->chains);
	neighbours->chains = chains;
	neighbours->n_chains = n_chains;
	neighbours->resume = 0;
}

/* --- Adjacencies ------------------------------------------------------------------------------ */

/* What workers should send by; false: nothing. */
static bool wanted_adjacency(const struct neighbours *neighbours,
			     const struct rt_neighbour *neighbour, struct adjacency *ret_adjacency)
{
	const struct link_entry *link = link_table_find(neighbours->links, neighbour->ifindex);
	static const uint8_t no_mac[6];

	if (!link || link->port == LINK_NO_PORT || !neighbour->has_mac ||
	    !(neighbour->state & USABLE) || memcmp(link->mac, no_mac, sizeof(no_mac)) == 0)
		return false;
	*ret_adjacency = (struct adjacency){
		.out_port = link->port,
		.is_ip6 = neighbour->is_ip6,
		.ifindex = neighbour->ifindex,
		.addr = neighbour->addr,
	};
	memcpy(ret_adjacency->header, neighbour->mac, sizeof(neighbour->mac));
	memcpy(ret_adjacency->header + sizeof(neighbour->mac), link->mac, sizeof(link->mac));
	return true;
}

/* In the place of entry->adjacency, which may be NULL. -ENOMEM: nothing changed. */
static int table_put(struct neighbours *neighbours, const struct entry *entry,
		     struct adjacency *adjacency)
{
	struct adjacency_table *table = table_of(neighbours);

	if (!entry->adjacency && neighbours->n_filled + 1 > (table->mask + 1) / 2) {
		int r = table_replace(neighbours);

		if (r < 0)
			return r;
		table = table_of(neighbours);
	}
	/* pairs with the worker's acquire of the cell */
	atomic_store_explicit(&table->cells[table_cell(table, adjacency, entry->adjacency)],
			      adjacency, memory_order_release);
	if (!entry->adjacency) {
		neighbours->n_filled++;
		neighbours->n_usable[adjacency->is_ip6]++;
	}
	return 0;
}

static void adjacency_remove(struct neighbours *neighbours, struct entry *entry)
{
	struct adjacency *old = entry->adjacency;
	struct adjacency_table *table = table_of(neighbours);

	if (!old)
		return;
	atomic_store_explicit(&table->cells[table_cell(table, old, old)], &neighbours->removed,
			      memory_order_release);
	neighbours->n_usable[old->is_ip6]--;
	entry->adjacency = NULL;
	nexthops_neighbour_changed(neighbours->nexthops, old->ifindex, old->is_ip6, &old->addr,
				   NULL);
	limbo_retire(neighbours->limbo, old, sizeof(*old));
}

/* Brings the adjacency of an entry in line with what is known. */
static void settle(struct neighbours *neighbours, struct entry *entry)
{
	struct adjacency wanted, *old = entry->adjacency, *new;

	if (!wanted_adjacency(neighbours, &entry->neighbour, &wanted)) {
		adjacency_remove(neighbours, entry);
		return;
	}
	if (old && old->out_port == wanted.out_port &&
	    memcmp(old->header, wanted.header, sizeof(wanted.header)) == 0)
		return;
	new = aligned_alloc(CACHE_LINE_BYTES, sizeof(*new));
	if (new)
		*new = wanted;
	if (new &&old)
		new->used = __atomic_load_n(&old->used, __ATOMIC_RELAXED);
	/* Without memory it is not resolved: the old one may lead to a wrong place. */
	if (!new || table_put(neighbours, entry, new) < 0) {
		free(new);
		adjacency_remove(neighbours, entry);
		return;
	}
	entry->adjacency = new;
	nexthops_neighbour_changed(neighbours->nexthops, new->ifindex, new->is_ip6, &new->addr,
				   new);
	limbo_retire(neighbours->limbo, old, sizeof(*old));
}

static void entry_remove(struct neighbours *neighbours, struct entry **slot)
{
	struct entry *entry = *slot;

	adjacency_remove(neighbours, entry);
	*slot = entry->next;
	neighbours->n_entries--;
	free(entry);
}

void neighbours_apply(struct neighbours *neighbours, const struct rt_neighbour *neighbour,
		      bool is_delete)
{
	struct entry **slot;

	/* A proxy entry is an address that we answer for, not a neighbour. */
	if (neighbour->flags & NTF_PROXY)
		return;
	slot = entry_slot(neighbours, neighbour);
	if (is_delete) {
		if (*slot)
			entry_remove(neighbours, slot);
		return;
	}
	if (!*slot && neighbours->n_entries >= neighbours->n_chains) {
		grow(neighbours);
		slot = entry_slot(neighbours, neighbour);
	}
	if (!*slot) {
		*slot = calloc(1, sizeof(**slot));
		if (!*slot)
			return;
		neighbours->n_entries++;
	}
	(*slot)->neighbour = *neighbour;
	(*slot)->mark = neighbours->mark;
	settle(neighbours, *slot);
}

void neighbours_link_changed(struct neighbours *neighbours, uint32_t ifindex)
{
	for (uint32_t i = 0; i < neighbours->n_chains; i++) {
		for (struct entry *entry = neighbours->chains[i]; entry; entry = entry->next) {
			if (ifindex == 0 || entry->neighbour.ifindex == ifindex)
				settle(neighbours, entry);
		}
	}
}

void neighbours_begin_sync(struct neighbours *neighbours)
{
	neighbours->mark++;
}

void neighbours_end_sync(struct neighbours *neighbours)
{
	for (uint32_t i = 0; i < neighbours->n_chains; i++) {
		struct entry **slot = &neighbours->chains[i];

		while (*slot) {
			if ((*slot)->mark != neighbours->mark)
				entry_remove(neighbours, slot);
			else
				slot = &(*slot)->next;
		}
	}
}

void neighbours_count(const struct neighbours *neighbours, uint64_t ret_n[2])
{
	ret_n[0] = neighbours->n_usable[0];
	ret_n[1] = neighbours->n_usable[1];
}

bool neighbours_walk(const struct neighbours *neighbours, uint64_t *io_cursor, uint32_t max_scan,
		     void (*fn)(const struct neighbour_row *row, void *arg), void *arg)
{
	/* Whole chains, since entries have no order; a growth in between tells some twice. */
	for (uint32_t n = 0; n < max_scan && *io_cursor < neighbours->n_chains; (*io_cursor)++) {
		for (const struct entry *entry = neighbours->chains[*io_cursor]; entry;
		     entry = entry->next, n++) {
			const struct neighbour_row row = {
				.neighbour = entry->neighbour,
				.is_usable = entry->adjacency,
			};

			fn(&row, arg);
		}
		n++;
	}
	return *io_cursor < neighbours->n_chains;
}

/* --- Keeping alive ---------------------------------------------------------------------------- */

struct batch {
	_Alignas(struct nlmsghdr) char buffer[MAX_TOLD_PER_SEND * 64];
	size_t bytes;
	uint32_t n;
	int fd;
};

/* Lost ones do no harm: the mark is set again by the next packet, and 250 ms are short. */
static void batch_send(struct batch *batch)
{
	char answer[1024];

	if (batch->n > 0)
		(void)send(batch->fd, batch->buffer, batch->bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	batch->bytes = batch->n = 0;
	/* Only refusals are answered: of neighbours that have gone meanwhile. */
	while (recv(batch->fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}

static void batch_put(struct batch *batch, const struct rt_neighbour *neighbour)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(batch->buffer + batch->bytes);
	struct ndmsg *ndm;

	/* Without NLM_F_CREATE: what the kernel has forgotten is not brought back. */
	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_REPLACE;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = neighbour->is_ip6 ? AF_INET6 : AF_INET;
	ndm->ndm_ifindex = (int)neighbour->ifindex;
	ndm->ndm_flags = NTF_USE;
	mnl_attr_put(nlh, NDA_DST, neighbour->is_ip6 ? 16 : 4, &neighbour->addr);
	batch->bytes += MNL_ALIGN(nlh->nlmsg_len);
	if (++batch->n == MAX_TOLD_PER_SEND)
		batch_send(batch);
}

static bool is_to_be_told(const struct entry *entry, uint64_t now_ns)
{
	switch (entry->neighbour.state) {
	case NUD_STALE:
		return true;
	case NUD_REACHABLE:
		return now_ns - entry->told_ns >= USE_INTERVAL_NS;
	default:
		return false;
	}
}

/* Takes the workers' mark off; true: it was on. */
static bool take_mark(struct entry *entry)
{
	if (!entry->adjacency || __atomic_load_n(&entry->adjacency->used, __ATOMIC_RELAXED) == 0)
		return false;
	__atomic_store_n(&entry->adjacency->used, 0, __ATOMIC_RELAXED);
	return true;
}

uint32_t neighbours_keep_alive(struct neighbours *neighbours, int rtnl_fd, uint64_t now_ns)
{
	struct batch batch = {.fd = rtnl_fd};
	uint32_t n_told = 0;

	for (uint32_t i = 0; i < neighbours->n_chains && n_told < MAX_TOLD_PER_CALL; i++) {
		struct entry *entry = neighbours->chains[neighbours->resume];

		for (; entry; entry = entry->next) {
			if (!take_mark(entry) || !is_to_be_told(entry, now_ns))
				continue;
			entry->told_ns = now_ns;
			batch_put(&batch, &entry->neighbour);
			n_told++;
		}
		neighbours->resume = (neighbours->resume + 1) & (neighbours->n_chains - 1);
	}
	batch_send(&batch);
	return n_told;
}
