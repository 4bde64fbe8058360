/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's next-hop objects, and which numbers follow them. An object may be named by a route
 * or a group before it is known; when it comes, changes or goes, exactly the numbers that watch it
 * are made anew. Owns the objects. Thread: tables.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/nexthops_internal.h"
#include "util/macros.h"

/* --- objects by id -----------------------------------------------------------------------------
 */

static struct nh_object **object_link(struct nexthops *nexthops, uint32_t id)
{
	struct nh_object **link = &nexthops->objects[id * 2654435761U % NH_HASH_HEADS];

	while (*link && (*link)->id != id)
		link = &(*link)->hash_next;
	return link;
}

/* Made if need be, unknown then; NULL: no memory. */
static struct nh_object *want_object(struct nexthops *nexthops, uint32_t id)
{
	struct nh_object **link = object_link(nexthops, id);

	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (*link)
			(*link)->id = id;
	}
	return *link;
}

/* Nobody knows it and nobody asks for it. */
static void drop_if_idle(struct nexthops *nexthops, uint32_t id)
{
	struct nh_object **link = object_link(nexthops, id), *object = *link;

	if (!object || object->is_known || object->watches)
		return;
	*link = object->hash_next;
	free(object->members);
	free(object);
}

void nh_free_objects(struct nexthops *nexthops)
{
	for (size_t i = 0; i < NH_HASH_HEADS; i++) {
		while (nexthops->objects[i]) {
			struct nh_object *object = nexthops->objects[i];

			nexthops->objects[i] = object->hash_next;
			free(object->members);
			free(object);
		}
	}
}

/* --- watches -----------------------------------------------------------------------------------
 */

static void watch(struct nh_watch *watch, struct nh_object *object, uint16_t number)
{
	*watch = (struct nh_watch){
		.next = object->watches,
		.prev = &object->watches,
		.number = number,
	};
	if (watch->next)
		watch->next->prev = &watch->next;
	object->watches = watch;
}

static void unwatch(struct nh_watch *watch)
{
	if (!watch->prev)
		return;
	*watch->prev = watch->next;
	if (watch->next)
		watch->next->prev = watch->prev;
	watch->prev = NULL;
	watch->next = NULL;
}

static void unwatch_members(struct nh_entry *entry)
{
	for (uint32_t i = 0; i < entry->n_watches; i++)
		unwatch(&entry->watches[i]);
	free(entry->watches);
	entry->watches = NULL;
	entry->n_watches = 0;
}

void nh_forget_object(struct nexthops *nexthops, struct nh_entry *entry)
{
	if (!entry->object_id)
		return;
	/* Objects that this was the last to ask for stay until the next sync ends. */
	unwatch_members(entry);
	unwatch(&entry->own);
	drop_if_idle(nexthops, entry->object_id);
}

/* --- from an object to an entry ----------------------------------------------------------------
 */

/* An unknown object, and one that is not ours to understand, is the kernel's. */
static struct nh_leg leg_of_object(const struct nh_object *object, const struct nh_leg *route)
{
	struct nh_leg leg = *route;

	if (!object || !object->is_known || object->is_kernels || object->is_group)
		leg.is_kernels = true;
	else
		leg = nh_leg_of(&object->nexthop, route);
	return leg;
}

/* The members' numbers, counted, and a watch on each of them. -ENOMEM: nothing is done. */
static int take_group(struct nexthops *nexthops, struct nh_entry *entry,
		      const struct nh_object *object, struct nh_member **ret_members)
{
	_cleanup_free_ struct nh_member *members = calloc(object->n_members, sizeof(*members));
	_cleanup_free_ struct nh_watch *watches = calloc(object->n_members, sizeof(*watches));

	if (!members || !watches)
		return -ENOMEM;
	for (uint32_t i = 0; i < object->n_members; i++) {
		struct nh_object *member = want_object(nexthops, object->members[i].id);
		struct nh_leg leg = leg_of_object(member, &entry->key);

		members[i].number = nh_get_leg(nexthops, &leg);
		members[i].weight = object->members[i].weight;
		if (member)
			watch(&watches[i], member, entry->number);
	}
	entry->n_watches = object->n_members;
	entry->watches = TAKE_PTR(watches);
	*ret_members = TAKE_PTR(members);
	return 0;
}

/* Anew from the object; without memory for its members it passes. */
static void remake(struct nexthops *nexthops, struct nh_entry *entry,
		   const struct nh_object *object)
{
	struct nh_leg leg = leg_of_object(object, &entry->key);
	struct nh_member *members = NULL;
	uint32_t n_members = 0;

	unwatch_members(entry);
	if (object->is_known && object->is_group && !object->is_kernels &&
	    take_group(nexthops, entry, object, &members) == 0)
		n_members = object->n_members;
	nh_set(nexthops, entry, &leg, members, n_members);
}

int nh_follow_object(struct nexthops *nexthops, struct nh_entry *entry)
{
	struct nh_object *object = want_object(nexthops, entry->object_id);

	if (!object)
		return -ENOMEM;
	watch(&entry->own, object, entry->number);
	remake(nexthops, entry, object);
	return 0;
}

/* Each that watches the object, once: what is made anew leaves the list that is gone through. */
static void remake_all(struct nexthops *nexthops, struct nh_object *object)
{
	struct nh_watch *todo = object->watches;

	object->watches = NULL;
	if (todo)
		todo->prev = &todo;
	while (todo) {
		struct nh_entry *entry = nexthops->entries[todo->number];

		/* `todo` is the entry's own watch, or it is among those that remake() removes */
		if (todo == &entry->own) {
			unwatch(&entry->own);
			watch(&entry->own, object, entry->number);
		}
		remake(nexthops, entry, *object_link(nexthops, entry->object_id));
	}
}

/* --- changes -----------------------------------------------------------------------------------
 */

static bool is_same_group(const struct nh_object *object, const struct rt_nexthop_object *message)
{
	if (object->n_members != message->n_members)
		return false;
	for (uint32_t i = 0; i < object->n_members; i++) {
		if (object->members[i].id != message->members[i].id ||
		    object->members[i].weight != message->members[i].weight)
			return false;
	}
	return true;
}

/* Links' state is asked elsewhere: flags do not count. */
static bool is_same(const struct nh_object *object, const struct rt_nexthop_object *message)
{
	const struct rt_nexthop *a = &object->nexthop, *b = &message->nexthop;
	bool is_kernels = message->is_blackhole || message->is_fdb || message->too_many;

	return object->is_known && object->is_group == message->is_group &&
	       object->is_kernels == is_kernels && a->ifindex == b->ifindex &&
	       a->has_gateway == b->has_gateway && a->gateway_is_ip6 == b->gateway_is_ip6 &&
	       a->has_encap == b->has_encap &&
	       memcmp(&a->gateway, &b->gateway, sizeof(a->gateway)) == 0 &&
	       is_same_group(object, message);
}

/* Without memory it is as if it were unknown: what follows it passes. */
static void learn(struct nh_object *object, const struct rt_nexthop_object *message)
{
	struct nh_object_member *members = NULL;

	if (message->n_members > 0)
		members = calloc(message->n_members, sizeof(*members));
	free(object->members);
	object->members = members;
	object->n_members = members ? message->n_members : 0;
	for (uint32_t i = 0; i < object->n_members; i++) {
		object->members[i].id = message->members[i].id;
		object->members[i].weight = message->members[i].weight;
	}
	object->is_known = members || message->n_members == 0;
	object->is_group = message->is_group;
	object->is_kernels = message->is_blackhole || message->is_fdb || message->too_many;
	object->nexthop = message->nexthop;
}

static void unlearn(struct nexthops *nexthops, struct nh_object *object)
{
	object->is_known = false;
	remake_all(nexthops, object);
	drop_if_idle(nexthops, object->id);
}

bool nexthops_object(struct nexthops *nexthops, const struct rt_nexthop_object *message,
		     bool is_delete)
{
	struct nh_object *object = is_delete ? *object_link(nexthops, message->id) :
					       want_object(nexthops, message->id);

	nexthops->is_ours_changed = false;
	if (!object)
		return false;
	object->mark = nexthops->sync_mark;
	if (is_delete) {
		unlearn(nexthops, object);
	} else if (!is_same(object, message)) {
		learn(object, message);
		remake_all(nexthops, object);
	}
	return nexthops->is_ours_changed;
}

void nexthops_begin_sync(struct nexthops *nexthops)
{
	nexthops->sync_mark++;
}

bool nexthops_end_sync(struct nexthops *nexthops)
{
	nexthops->is_ours_changed = false;
	for (size_t i = 0; i < NH_HASH_HEADS; i++) {
		struct nh_object *next, *object = nexthops->objects[i];

		for (; object; object = next) {
			next = object->hash_next;
			if (object->is_known && object->mark != nexthops->sync_mark)
				unlearn(nexthops, object);
			else
				drop_if_idle(nexthops, object->id);
		}
	}
	return nexthops->is_ours_changed;
}
