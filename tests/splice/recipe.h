/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one end of a torture stream does, drawn from (seed, role, number) and nothing else, so that
 * one stream can be played again; and the bytes it sends, each of which depends on its position.
 *
 *   word 0   magic, role and number of the sender: tells the receiver what must follow
 *   word i   splitmix64 of the sender's key and i
 *
 * Both ends draw their own recipe: a proxy between them carries nothing that would pair them
 * beforehand. judge.c pairs them afterwards, by the numbers that arrived.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role { ROLE_CLIENT, ROLE_SERVER };

enum recipe_start {
	START_AT_ONCE,
	START_AFTER_BYTE, /* of the other end: who speaks first is the other */
	START_AFTER_EOF,  /* the other end has said all and FIN */
};

enum recipe_fin { FIN_AT_ONCE, FIN_AFTER_EOF };

enum recipe_reset {
	RESET_NEVER,
	RESET_AFTER_SENT,     /* reset_at bytes */
	RESET_AFTER_RECEIVED, /* reset_at bytes */
	RESET_AT_TIME,        /* reset_at ns after the connection */
	RESET_AFTER_FIN,      /* reset_at ns after its own FIN */
	RESET_BY_CLOSE,       /* close() after reset_at bytes received, whatever is unread */
};

enum recipe_profile {
	PROFILE_MIXED, /* everything below */
	PROFILE_SHORT, /* ≤ 4 KiB each way, no pause, no reset */
};

struct recipe {
	enum role role;
	uint32_t number;
	uint64_t key;
	uint64_t len; /* bytes it sends, ≥ 1 */
	uint32_t write_max, read_max;
	uint32_t n_single; /* so many bytes at first are written one by one */
	enum recipe_start start;
	enum recipe_fin fin;
	enum recipe_reset reset;
	uint64_t reset_at;
	uint64_t start_delay_ns;
	/* After each write or read, n in 1024 times, a pause of up to so much; and one long one. */
	uint32_t write_pause_n, read_pause_n;
	uint64_t write_pause_ns, read_pause_ns;
	uint64_t stall_at, stall_ns; /* of the reader, after so many bytes */
	uint32_t rcvbuf, sndbuf;     /* 0: the kernel's; made larger after SMALL_BUFFER_BYTES */
};

/* A tiny buffer carries no more than this: a large stream would take minutes. */
#define SMALL_BUFFER_BYTES (128u << 10)

struct recipe_options {
	uint64_t seed;
	enum recipe_profile profile;
	uint64_t max_bytes;
	uint32_t reset_percent;
	uint64_t hang_ns; /* without any progress: it hangs */
};

void recipe_draw(const struct recipe_options *options, enum role role, uint32_t number,
		 struct recipe *ret_recipe);

/* A generator whose next value depends on the ones before: sizes, pauses. */
uint64_t recipe_next(uint64_t *state);
static inline uint64_t recipe_below(uint64_t *state, uint64_t n)
{
	return n ? recipe_next(state) % n : 0;
}

/* The bytes offset … offset + n of what this end sends. */
void recipe_fill(const struct recipe *recipe, uint64_t offset, uint8_t *data, size_t n);

/* Key of a sender, and its first word. */
uint64_t recipe_key(uint64_t seed, enum role role, uint32_t number);
uint64_t recipe_first_word(enum role role, uint32_t number);
/* False: no sender of this role begins so. */
bool recipe_read_first_word(uint64_t word, enum role role, uint32_t *ret_number);

/* How many of these bytes are as they must be; offset ≥ 8. */
size_t recipe_check(uint64_t key, uint64_t offset, const uint8_t *data, size_t n);

const char *recipe_start_name(enum recipe_start start);
const char *recipe_reset_name(enum recipe_reset reset);
