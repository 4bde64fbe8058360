/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What makes a dump of routes agree with the notifications that are applied while it runs.
 *
 * Dump and notifications come by two sockets and in no order: an entry of the dump may be older
 * than a notification that has been applied already, and would bring a deleted route back. So each
 * notification about a route is recorded while routes are dumped; and where the dump then tells
 * of a route of the same prefix, table, TOS and metric, what was recorded about these is applied
 * once more, in order, behind the entry. Whatever the entry was, old or new, the end is that of the
 * last notification. A notification that was not read yet is applied later anyway.
 *
 * Thread: tables.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include "control/tables_thread.h"
#include "util/macros.h"

#define N_CHAINS 65536
/* 200 000 messages: twice the burst that the issue names. Beyond, the dump is done again. */
#define MAX_BYTES (32U << 20)
/* Notes are cut from blocks, so that a hundred thousand of them are forgotten at once. */
#define BLOCK_BYTES (1U << 20)

struct replay_key {
	struct ip6_addr dst;
	uint32_t table, metric;
	uint8_t is_ip6, dst_len, tos, zero;
};
_Static_assert(sizeof(struct replay_key) == 28, "no padding: compared as bytes");

struct note {
	struct note *next;
	struct replay_key key;
	uint32_t len;
	_Alignas(8) char message[];
};

struct block {
	struct block *next;
	size_t used;
	_Alignas(8) char bytes[BLOCK_BYTES];
};

struct replay {
	struct block *blocks; /* the first is being filled */
	struct chain {
		struct note *first, **last; /* last: where the next one is hung */
	} chains[N_CHAINS];
	uint32_t n;
	size_t bytes;
};

int replay_new(struct replay **ret_replay)
{
	struct replay *replay = calloc(1, sizeof(*replay));

	if (!replay)
		return -ENOMEM;
	*ret_replay = replay;
	return 0;
}

void replay_clear(struct replay *replay)
{
	while (replay->blocks) {
		struct block *block = replay->blocks;

		replay->blocks = block->next;
		free(block);
	}
	if (replay->n > 0)
		memset(replay->chains, 0, sizeof(replay->chains));
	replay->n = 0;
	replay->bytes = 0;
}

void replay_free(struct replay *replay)
{
	if (!replay)
		return;
	replay_clear(replay);
	free(replay);
}

static struct replay_key key_of(const struct rt_route *route)
{
	return (struct replay_key){
		.dst = route->dst,
		.table = route->table,
		.metric = route->metric,
		.is_ip6 = route->is_ip6,
		.dst_len = route->dst_len,
		.tos = route->tos,
	};
}

/* FNV-1a, folded. */
static uint32_t hash_of(const struct replay_key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return (uint32_t)(hash ^ hash >> 32) % N_CHAINS;
}

static struct note *note_new(struct replay *replay, size_t bytes)
{
	struct block *block = replay->blocks;
	struct note *note;

	bytes = (bytes + 7) & ~(size_t)7;
	if (replay->bytes + bytes > MAX_BYTES || bytes > BLOCK_BYTES)
		return NULL;
	if (!block || block->used + bytes > BLOCK_BYTES) {
		block = malloc(sizeof(*block));
		if (!block)
			return NULL;
		block->next = replay->blocks;
		block->used = 0;
		replay->blocks = block;
	}
	note = (void *)(block->bytes + block->used);
	block->used += bytes;
	replay->bytes += bytes;
	return note;
}

bool replay_record(struct replay *replay, const struct rt_route *route,
		   const struct nlmsghdr *message)
{
	const struct replay_key key = key_of(route);
	struct chain *chain = &replay->chains[hash_of(&key)];
	struct note *note = note_new(replay, sizeof(*note) + message->nlmsg_len);

	if (!note)
		return false;
	note->next = NULL;
	note->key = key;
	note->len = message->nlmsg_len;
	memcpy(note->message, message, message->nlmsg_len);
	if (!chain->first)
		chain->last = &chain->first;
	*chain->last = note;
	chain->last = &note->next;
	replay->n++;
	return true;
}

void replay_run(const struct replay *replay, const struct rt_route *route,
		void (*fn)(const struct nlmsghdr *message, void *arg), void *arg)
{
	struct replay_key key;
	const struct note *note;

	if (replay->n == 0)
		return;
	key = key_of(route);
	for (note = replay->chains[hash_of(&key)].first; note; note = note->next) {
		if (memcmp(&note->key, &key, sizeof(key)) == 0)
			fn((const void *)note->message, arg);
	}
}

uint32_t replay_count(const struct replay *replay)
{
	return replay->n;
}
