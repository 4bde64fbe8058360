/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind control/nexthops.h share. */
#pragma once

#include "control/nexthops.h"

#define NH_HASH_HEADS 4096

/* A path by one device. Compared and hashed by its bytes: no padding, zeroed first. */
struct nh_leg {
	uint32_t ifindex; /* 0: none */
	uint32_t mtu;     /* of the route; 0: the link's */
	struct ip6_addr gateway;
	uint8_t type; /* RTN_* */
	bool is_ip6;  /* the route */
	bool has_gateway;
	bool gateway_is_ip6;
	bool is_kernels; /* encapsulated, or more than we take */
	uint8_t pad[3];
};
_Static_assert(sizeof(struct nh_leg) == 32, "no padding");

struct nh_member {
	uint16_t number; /* of a leg, counted */
	uint16_t weight;
};

/* A number follows an object: its own, and the members of its own. */
struct nh_watch {
	struct nh_watch *next, **prev; /* in nh_object.watches */
	uint16_t number;
};

struct nh_entry {
	uint32_t n_refs;
	uint32_t object_id; /* 0: of a value */
	/* An object's: type, is_ip6 and mtu of the route alone, the rest is as the object says. */
	struct nh_leg key;
	struct nh_leg leg;  /* what it is now, unless there are members */
	uint32_t n_members; /* 0: a leg */
	struct nh_member *members;
	struct nh_watch own;
	struct nh_watch *watches; /* n_watches, of the object's members */
	uint32_t n_watches;
	uint32_t hash;
	uint16_t number;
	uint16_t hash_next;
	uint16_t path_next, path_prev; /* of legs with one gateway, by (ifindex, gateway) */
	bool is_on_path;
};

struct nh_object {
	uint32_t id;
	bool is_known; /* else it is only watched */
	bool is_group;
	bool is_kernels; /* blackhole, fdb, too many */
	struct rt_nexthop nexthop;
	uint32_t n_members;
	struct nh_object_member {
		uint32_t id;
		uint16_t weight;
	} * members;
	uint32_t mark; /* of the sync that saw it last */
	struct nh_watch *watches;
	struct nh_object *hash_next;
};

struct nexthops {
	struct route_view *view;
	const struct link_table *links;
	struct limbo *limbo;
	uint16_t pass;
	uint32_t n_used;
	uint32_t n_ever; /* numbers up to this one were used before */
	bool is_ours_changed;
	uint64_t generation;
	uint32_t sync_mark;

	/* numbers that rest, oldest first, through rest_next[] */
	uint16_t rest_head, rest_tail;
	uint16_t free_head;
	uint16_t rest_next[FIB_NH_MAX + 1];
	uint64_t rest_since[FIB_NH_MAX + 1];

	uint8_t ours[FIB_NH_MAX + 1];
	uint16_t by_value[NH_HASH_HEADS]; /* heads of nh_entry.hash_next */
	uint16_t by_path[NH_HASH_HEADS];  /* heads of nh_entry.path_next */
	struct nh_object *objects[NH_HASH_HEADS];
	struct nh_entry *entries[FIB_NH_MAX + 1];
};

/* --- nexthops_publish.c: an entry as workers see it ------------------------------------------ */

extern const struct nexthop nexthop_no_route;

/* Computes it anew, publishes it if it differs, and notes whether it is ours. */
void nh_publish(struct nexthops *nexthops, const struct nh_entry *entry);

/* The same of a leg whose neighbour is known. */
void nh_publish_neighbour(struct nexthops *nexthops, const struct nh_entry *entry,
			  struct adjacency *adjacency);

/* Leads to no_route from now on. */
void nh_withdraw(struct nexthops *nexthops, uint16_t number);

/* --- nexthops_group.c: members to buckets ---------------------------------------------------- */

struct nh_candidate {
	uint64_t identity; /* of the path, the same before and after any change */
	uint32_t weight;
	uint16_t number;
};

/* Highest random weight. n ≥ 1. */
void nh_fill_buckets(const struct nh_candidate *candidates, uint32_t n, uint16_t *ret_buckets);

/* --- nexthops_object.c: the kernel's next-hop objects ---------------------------------------- */

/* The entry of an object as it is now: leg or members, and its watches. */
int nh_follow_object(struct nexthops *nexthops, struct nh_entry *entry);
void nh_forget_object(struct nexthops *nexthops, struct nh_entry *entry);
void nh_free_objects(struct nexthops *nexthops);

/* --- nexthops.c ------------------------------------------------------------------------------ */

/* A counted number of a leg. */
uint16_t nh_get_leg(struct nexthops *nexthops, const struct nh_leg *leg);

/* Gives an entry other contents; takes over `members` and their counts. */
void nh_set(struct nexthops *nexthops, struct nh_entry *entry, const struct nh_leg *leg,
	    struct nh_member *members, uint32_t n_members);

struct nh_leg nh_leg_of(const struct rt_nexthop *nexthop, const struct nh_leg *route);
