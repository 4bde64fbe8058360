/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of this host: for the XDP programs (gate), which pass what is sent to them, and for
 * the workers, which forward nothing that claims to come from them.
 *
 * What counts is the route of type RTN_LOCAL, since that is what the kernel goes by; the address
 * itself only says which device carries it. Both are kept as facts in one hash by address, and
 * what follows from the facts of an address is computed anew after each change: facts may come
 * twice (dumps, replays) and in any order.
 *
 * Thread: tables. This file does not log.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/tables_internal.h"
#include "util/macros.h"

#define N_CHAINS 4096

#define DEFAULT_LEN UINT8_MAX /* fact.len of 0.0.0.0/0 */

struct fact {
	struct fact *next;
	struct ip6_addr addr;
	bool is_ip6;
	bool is_route; /* else an address of a device */
	uint8_t len;   /* of a route; shorter than an address: counted, and otherwise the FIB's */
	uint32_t ifindex;
	uint32_t table;
	uint64_t mark;
};

/* An address that is local now: what the gate and the workers have been told. */
struct local {
	struct local *next;
	struct ip6_addr addr;
	bool is_ip6;
	bool is_refused; /* the gate had no room */
	uint32_t group;
};

struct locals {
	struct route_view *view;
	struct gate *gate;
	struct limbo *limbo;
	struct fact *facts[N_CHAINS];
	struct local *locals[N_CHAINS];
	uint32_t n_local4, n_refused, n_prefixes4;
	void (*slot_changed)(uint32_t slot24, void *arg);
	void *slot_arg;
	uint64_t mark;
	bool is_dirty; /* view->locals is not what is known */
	uint32_t n_ports;
	struct {
		uint32_t ifindex, group;
	} ports[ROUTE_MAX_PORTS]; /* bridge ports */
};

/* All IPv4 addresses of a /24 share a chain: locals_in_slot24() looks at no other. */
static uint32_t chain_of(bool is_ip6, const struct ip6_addr *addr)
{
	uint64_t halves[2];

	memcpy(halves, addr->octet, sizeof(halves));
	if (!is_ip6)
		halves[0] &= htobe64(0xffffff0000000000);
	return (uint32_t)(((halves[0] ^ halves[1]) * 0x9e3779b97f4a7c15ULL) >> 52);
}
_Static_assert(N_CHAINS == 1 << (64 - 52), "chain_of() gives 12 bits");

static be32 addr4(const struct ip6_addr *addr)
{
	be32 addr_be;

	memcpy(&addr_be, addr->octet, sizeof(addr_be));
	return addr_be;
}

int locals_new(struct route_view *view, struct gate *gate, struct limbo *limbo,
	       struct locals **ret_locals)
{
	struct route_locals *none = calloc(1, sizeof(*none));
	struct locals *locals = calloc(1, sizeof(*locals));

	if (!none || !locals) {
		free(none);
		free(locals);
		return -ENOMEM;
	}
	locals->view = view;
	locals->gate = gate;
	locals->limbo = limbo;
	atomic_store_explicit(&view->locals, none, memory_order_release);
	*ret_locals = locals;
	return 0;
}

/* The view's pointer is to const: workers change nothing. Who made the object frees it. */
static void *unconst(const void *ptr)
{
	return (void *)(uintptr_t)ptr;
}

void locals_free(struct locals *locals)
{
	if (!locals)
		return;
	for (uint32_t i = 0; i < N_CHAINS; i++) {
		while (locals->facts[i]) {
			struct fact *fact = locals->facts[i];

			locals->facts[i] = fact->next;
			free(fact);
		}
		while (locals->locals[i]) {
			struct local *local = locals->locals[i];

			locals->locals[i] = local->next;
			free(local);
		}
	}
	free(unconst(atomic_load_explicit(&locals->view->locals, memory_order_relaxed)));
	atomic_store_explicit(&locals->view->locals, NULL, memory_order_relaxed);
	free(locals);
}

/* --- What follows from the facts -------------------------------------------------------------- */

static uint32_t group_of(const struct locals *locals, uint32_t ifindex)
{
	for (uint32_t i = 0; i < locals->n_ports; i++) {
		if (locals->ports[i].ifindex == ifindex)
			return locals->ports[i].group;
	}
	return SLUICE_NO_GROUP;
}

static bool is_same(const struct ip6_addr *a, bool a_is_ip6, const struct ip6_addr *b,
		    bool b_is_ip6)
{
	return a_is_ip6 == b_is_ip6 && memcmp(a, b, sizeof(*a)) == 0;
}

/* Is there a local route for it, and on whose device? An address beats what its route says. */
static bool judge(const struct locals *locals, bool is_ip6, const struct ip6_addr *addr,
		  uint32_t *ret_group)
{
	uint32_t group = SLUICE_NO_GROUP;
	bool is_local = false;

	for (const struct fact *fact = locals->facts[chain_of(is_ip6, addr)]; fact;
	     fact = fact->next) {
		if (fact->len || !is_same(&fact->addr, fact->is_ip6, addr, is_ip6))
			continue;
		is_local |= fact->is_route;
		if (group == SLUICE_NO_GROUP)
			group = group_of(locals, fact->ifindex);
	}
	*ret_group = group;
	return is_local;
}

static void address4_changed(struct locals *locals, be32 addr_be)
{
	locals->is_dirty = true;
	if (locals->slot_changed)
		locals->slot_changed(be32toh(addr_be) >> 8, locals->slot_arg);
}

static void tell_gate(struct locals *locals, struct local *local)
{
	int r = local->is_ip6 ? gate_add_local6(locals->gate, local->addr.octet, local->group) :
				gate_add_local4(locals->gate, addr4(&local->addr), local->group);

	locals->n_refused -= local->is_refused;
	local->is_refused = r < 0;
	locals->n_refused += local->is_refused;
}

static struct local *local_new(struct locals *locals, bool is_ip6, const struct ip6_addr *addr)
{
	struct local **head = &locals->locals[chain_of(is_ip6, addr)];
	struct local *local = calloc(1, sizeof(*local));

	if (!local)
		return NULL;
	*local = (struct local){.next = *head, .addr = *addr, .is_ip6 = is_ip6};
	*head = local;
	if (!is_ip6) {
		locals->n_local4++;
		address4_changed(locals, addr4(addr));
	}
	return local;
}

static void local_remove(struct locals *locals, struct local **slot)
{
	struct local *local = *slot;

	*slot = local->next;
	locals->n_refused -= local->is_refused;
	if (local->is_ip6) {
		(void)gate_delete_local6(locals->gate, local->addr.octet);
	} else {
		(void)gate_delete_local4(locals->gate, addr4(&local->addr));
		locals->n_local4--;
		address4_changed(locals, addr4(&local->addr));
	}
	free(local);
}

static void derive(struct locals *locals, bool is_ip6, const struct ip6_addr *addr)
{
	struct local **slot = &locals->locals[chain_of(is_ip6, addr)];
	struct local *local;
	uint32_t group;
	bool is_local = judge(locals, is_ip6, addr, &group);

	while (*slot && !is_same(&(*slot)->addr, (*slot)->is_ip6, addr, is_ip6))
		slot = &(*slot)->next;
	if (!is_local) {
		if (*slot)
			local_remove(locals, slot);
		return;
	}
	local = *slot;
	if (local && local->group == group && !local->is_refused)
		return;
	if (!local)
		local = local_new(locals, is_ip6, addr);
	if (!local) {
		/* The route in the FIB still says LOCAL, so the worker hands it back. */
		return;
	}
	local->group = group;
	tell_gate(locals, local);
}

/* --- Facts ------------------------------------------------------------------------------------ */

static bool is_same_fact(const struct fact *a, const struct fact *b)
{
	return a->is_route == b->is_route && a->len == b->len && a->ifindex == b->ifindex &&
	       a->table == b->table && is_same(&a->addr, a->is_ip6, &b->addr, b->is_ip6);
}

/* A fact came or went, and is where it is to be found, or is not. */
static void take_effect(struct locals *locals, const struct fact *fact, bool is_delete)
{
	if (fact->len)
		locals->n_prefixes4 += is_delete ? UINT32_MAX : 1;
	else
		derive(locals, fact->is_ip6, &fact->addr);
}

static void fact_apply(struct locals *locals, const struct fact *wanted, bool is_delete)
{
	struct fact **slot = &locals->facts[chain_of(wanted->is_ip6, &wanted->addr)];

	while (*slot && !is_same_fact(*slot, wanted))
		slot = &(*slot)->next;
	if (is_delete) {
		struct fact *fact = *slot;

		if (!fact)
			return;
		*slot = fact->next;
		free(fact);
	} else if (*slot) {
		(*slot)->mark = locals->mark;
		return;
	} else {
		struct fact *fact = malloc(sizeof(*fact));

		if (!fact)
			return;
		*fact = *wanted;
		fact->next = NULL;
		fact->mark = locals->mark;
		*slot = fact;
	}
	take_effect(locals, wanted, is_delete);
}

void locals_route(struct locals *locals, const struct rt_route *route, bool is_delete)
{
	struct fact fact = {
		.addr = route->dst,
		.is_ip6 = route->is_ip6,
		.is_route = true,
		.ifindex = route->n_nexthops > 0 ? route->nexthops[0].ifindex : 0,
		.table = route->table,
	};

	if (route->type != RTN_LOCAL)
		return;
	if (route->dst_len != (route->is_ip6 ? 128 : 32)) {
		/* From 127.0.0.0/8 nothing is forwarded, and IPv6 checks no source. */
		if (route->is_ip6 || (route->dst_len >= 8 && route->dst.octet[0] == 127))
			return;
		fact.len = route->dst_len ? route->dst_len : DEFAULT_LEN;
	}
	fact_apply(locals, &fact, is_delete);
}

void locals_address(struct locals *locals, const struct rt_address *address, bool is_delete)
{
	struct fact fact = {
		.addr = address->addr,
		.is_ip6 = address->is_ip6,
		.ifindex = address->ifindex,
	};

	fact_apply(locals, &fact, is_delete);
}

void locals_set_groups(struct locals *locals, const struct tables_port *ports, uint32_t n_ports)
{
	locals->n_ports = 0;
	for (uint32_t i = 0; i < MIN(n_ports, (uint32_t)ROUTE_MAX_PORTS); i++) {
		if (ports[i].bridge == UINT32_MAX || ports[i].ifindex == 0)
			continue;
		locals->ports[locals->n_ports].ifindex = ports[i].ifindex;
		locals->ports[locals->n_ports++].group = ports[i].group;
	}
	for (uint32_t i = 0; i < N_CHAINS; i++) {
		for (struct fact *fact = locals->facts[i]; fact; fact = fact->next) {
			if (!fact->len)
				derive(locals, fact->is_ip6, &fact->addr);
		}
	}
}

void locals_begin_sync(struct locals *locals)
{
	locals->mark++;
}

void locals_end_sync(struct locals *locals)
{
	for (uint32_t i = 0; i < N_CHAINS; i++) {
		struct fact **slot = &locals->facts[i];

		while (*slot) {
			struct fact *fact = *slot;

			if (fact->mark == locals->mark) {
				slot = &fact->next;
				continue;
			}
			*slot = fact->next;
			take_effect(locals, fact, true);
			free(fact);
		}
	}
}

void locals_on_slot24(struct locals *locals, void (*fn)(uint32_t slot24, void *arg), void *arg)
{
	locals->slot_changed = fn;
	locals->slot_arg = arg;
}

bool locals_in_slot24(const struct locals *locals, uint32_t slot24)
{
	const be32 first_be = htobe32(slot24 << 8);
	struct ip6_addr addr = {{0}};

	memcpy(addr.octet, &first_be, sizeof(first_be));
	for (const struct local *local = locals->locals[chain_of(false, &addr)]; local;
	     local = local->next) {
		if (!local->is_ip6 && be32toh(addr4(&local->addr)) >> 8 == slot24)
			return true;
	}
	return false;
}

uint32_t locals_n_prefixes4(const struct locals *locals)
{
	return locals->n_prefixes4;
}

bool locals_has_address4(const struct locals *locals, uint32_t ifindex)
{
	for (uint32_t i = 0; i < N_CHAINS; i++) {
		for (const struct fact *fact = locals->facts[i]; fact; fact = fact->next) {
			if (!fact->is_ip6 && !fact->is_route && fact->ifindex == ifindex)
				return true;
		}
	}
	return false;
}

uint32_t locals_n_refused(const struct locals *locals)
{
	return locals->n_refused;
}

/* --- For the workers -------------------------------------------------------------------------- */

static int compare_addrs(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

void locals_publish(struct locals *locals)
{
	const size_t bytes = sizeof(struct route_locals) +
			     locals->n_local4 * sizeof(((struct route_locals *)0)->addr[0]);
	const struct route_locals *old;
	struct route_locals *new;

	if (!locals->is_dirty)
		return;
	/* Without memory it stays dirty, and the old one in use, until the next batch. */
	new = calloc(1, bytes);
	if (!new)
		return;
	for (uint32_t i = 0; i < N_CHAINS; i++) {
		for (const struct local *local = locals->locals[i]; local; local = local->next) {
			uint32_t addr;

			if (local->is_ip6)
				continue;
			addr = be32toh(addr4(&local->addr));
			new->addr[new->n++] = addr;
			new->filter[(addr & 0xff) / 64] |= 1ULL << (addr % 64);
		}
	}
	qsort(new->addr, new->n, sizeof(new->addr[0]), compare_addrs);
	old = atomic_load_explicit(&locals->view->locals, memory_order_relaxed);
	/* pairs with the worker's acquire: the object is complete before it is seen */
	atomic_store_explicit(&locals->view->locals, new, memory_order_release);
	limbo_retire(locals->limbo, unconst(old), sizeof(*old) + old->n * sizeof(old->addr[0]));
	locals->is_dirty = false;
}
