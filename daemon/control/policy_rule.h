/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy rules (ip rule) as values, and whether a packet from a port finds its route in the table
 * that the FIB holds. Pure. Thread: tables.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct nlmsghdr;

struct policy_rule {
	uint32_t priority;
	uint32_t table;
	uint8_t action; /* FR_ACT_* */
	bool is_inverted;
	bool is_l3mdev;
	bool has_selector;   /* of the packet: addresses, DSCP, protocol, ports, … */
	bool is_for_sockets; /* oif or uid: packets of this host alone */
	bool has_mark;       /* wants a mark, which a packet just received does not bear */
	bool is_suppressing; /* takes only some of the table's routes */
	char iif[IF_NAMESIZE];
};

/* What becomes of a port's packets. */
enum policy_rule_fate {
	POLICY_RULE_REACHED, /* the table (after `local`, which the FIB holds too) */
	POLICY_RULE_OTHER,   /* some or all go by another table or action */
	POLICY_RULE_MISSED,  /* only the default rules apply, and they lead elsewhere */
};

/* -EBADMSG. */
int policy_rule_parse(const struct nlmsghdr *message, struct policy_rule *ret_rule);

/*
 * Walks rules in the order of the kernel's dump. `vrf`: whose member the port is; "" = none.
 * *ret_rule: index of the rule that decided; n if none did.
 */
enum policy_rule_fate policy_rule_walk(const struct policy_rule *rules, unsigned n,
				       const char *interface, const char *vrf, uint32_t table,
				       unsigned *ret_rule);
