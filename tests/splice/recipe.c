/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drawing recipes, and the bytes that follow from them. Pure.
 */
#include "recipe.h"

#include <string.h>

#include "util/macros.h"

#define GOLDEN 0x9e3779b97f4a7c15ULL
#define MAGIC  0x534c5554u /* "SLUT": upper half of word 0, less the role */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t recipe_next(uint64_t *state)
{
	*state += GOLDEN;
	return mix(*state);
}

/* --- Bytes ---------------------------------------------------------------------------------------
 */

uint64_t recipe_key(uint64_t seed, enum role role, uint32_t number)
{
	return mix(seed ^ mix((uint64_t)number << 1 | role));
}

uint64_t recipe_first_word(enum role role, uint32_t number)
{
	return (uint64_t)(MAGIC + role) << 32 | number;
}

bool recipe_read_first_word(uint64_t word, enum role role, uint32_t *ret_number)
{
	if (word >> 32 != MAGIC + role)
		return false;
	*ret_number = (uint32_t)word;
	return true;
}

static inline uint64_t word_at(uint64_t key, uint64_t i)
{
	return mix(key + i * GOLDEN);
}

/* Eight bytes from `offset` on, as they lie in memory (little endian, as all our machines are). */
static inline uint64_t bytes_at(uint64_t key, uint64_t offset)
{
	unsigned shift = offset % 8 * 8;
	uint64_t word = word_at(key, offset / 8);

	return shift ? word >> shift | word_at(key, offset / 8 + 1) << (64 - shift) : word;
}

void recipe_fill(const struct recipe *recipe, uint64_t offset, uint8_t *data, size_t n)
{
	uint64_t first = recipe_first_word(recipe->role, recipe->number);

	for (; n && offset < 8; offset++, n--)
		*data++ = (uint8_t)(first >> offset * 8);
	for (; n >= 8; offset += 8, data += 8, n -= 8) {
		uint64_t word = bytes_at(recipe->key, offset);

		memcpy(data, &word, 8);
	}
	if (n) {
		uint64_t word = bytes_at(recipe->key, offset);

		memcpy(data, &word, n);
	}
}

size_t recipe_check(uint64_t key, uint64_t offset, const uint8_t *data, size_t n)
{
	size_t i;

	for (i = 0; i < n; i += 8) {
		uint64_t expected = bytes_at(key, offset + i);
		size_t len = MIN(n - i, 8);

		if (memcmp(data + i, &expected, len) == 0)
			continue;
		while (data[i] == (uint8_t)expected) {
			expected >>= 8;
			i++;
		}
		return i;
	}
	return n;
}

/* --- Recipes -------------------------------------------------------------------------------------
 */

/* Sizes: from a byte to the maximum, small ones much more often. */
static uint64_t draw_len(uint64_t *rng, uint64_t max)
{
	static const struct {
		unsigned percent;
		uint64_t max;
	} classes[] = {{6, 7},        {24, 4 << 10}, {30, 64 << 10},
		       {28, 1 << 20}, {10, 8 << 20}, {2, 64 << 20}};
	uint64_t at = recipe_below(rng, 100);

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (at < classes[i].percent)
			return 1 + recipe_below(rng, MIN(classes[i].max, max));
		at -= classes[i].percent;
	}
	return 1;
}

/* From 1 to the maximum, each power of two as likely as the others. */
static uint64_t draw_log(uint64_t *rng, uint64_t max)
{
	unsigned bits = 64 - (unsigned)__builtin_clzll(MAX(max, 1));
	uint64_t n = 1ULL << recipe_below(rng, bits);

	return MIN(n + recipe_below(rng, n), max);
}

static bool draw_percent(uint64_t *rng, unsigned percent)
{
	return recipe_below(rng, 100) < percent;
}

static uint32_t draw_buffer(uint64_t *rng)
{
	static const uint32_t sizes[] = {0, 0, 0, 0, 4 << 10, 16 << 10, 64 << 10, 4 << 20};

	return sizes[recipe_below(rng, ARRAY_SIZE(sizes))];
}

static void draw_order(uint64_t *rng, struct recipe *recipe)
{
	if (draw_percent(rng, 20))
		recipe->start = recipe->role == ROLE_SERVER && draw_percent(rng, 50) ?
					START_AFTER_EOF :
					START_AFTER_BYTE;
	if (draw_percent(rng, 30))
		recipe->start_delay_ns = recipe_below(rng, 20 * NSEC_PER_MSEC);
	recipe->fin = draw_percent(rng, 30) ? FIN_AFTER_EOF : FIN_AT_ONCE;
}

static void draw_pauses(uint64_t *rng, struct recipe *recipe)
{
	if (draw_percent(rng, 30)) {
		recipe->write_pause_n = 1 + (uint32_t)recipe_below(rng, 16);
		recipe->write_pause_ns = draw_log(rng, 20 * NSEC_PER_MSEC);
	}
	if (draw_percent(rng, 30)) {
		recipe->read_pause_n = 1 + (uint32_t)recipe_below(rng, 16);
		recipe->read_pause_ns = draw_log(rng, 20 * NSEC_PER_MSEC);
	}
	if (draw_percent(rng, 20)) {
		recipe->stall_at = draw_log(rng, 4 << 20);
		recipe->stall_ns = recipe_below(rng, 500 * NSEC_PER_MSEC);
	}
}

static void draw_reset(uint64_t *rng, struct recipe *recipe)
{
	recipe->reset = 1 + (enum recipe_reset)recipe_below(rng, RESET_BY_CLOSE);
	switch (recipe->reset) {
	case RESET_AFTER_SENT:
		recipe->reset_at = draw_percent(rng, 25) ? recipe->len : draw_log(rng, recipe->len);
		break;
	case RESET_AFTER_RECEIVED:
	case RESET_BY_CLOSE:
		recipe->reset_at = draw_log(rng, 1 << 20);
		break;
	default:
		recipe->reset_at = draw_log(rng, 100 * NSEC_PER_MSEC);
	}
}

void recipe_draw(const struct recipe_options *options, enum role role, uint32_t number,
		 struct recipe *ret_recipe)
{
	uint64_t rng = ~recipe_key(options->seed, role, number);
	bool is_short = options->profile == PROFILE_SHORT;
	struct recipe recipe = {
		.role = role,
		.number = number,
		.key = recipe_key(options->seed, role, number),
		.len = draw_len(&rng,
				is_short ? MIN(options->max_bytes, 4 << 10) : options->max_bytes),
		.write_max = 256 << 10,
		.read_max = 256 << 10,
	};

	if (!is_short) {
		recipe.write_max = (uint32_t)draw_log(&rng, 256 << 10);
		recipe.read_max = (uint32_t)draw_log(&rng, 256 << 10);
		recipe.n_single = draw_percent(&rng, 25) ? (uint32_t)draw_log(&rng, 512) : 0;
		/* Small pieces of a large stream would only make it long. */
		recipe.write_max = MAX(recipe.write_max, (uint32_t)(recipe.len / 1024));
		recipe.rcvbuf = draw_buffer(&rng);
		recipe.sndbuf = draw_buffer(&rng);
		draw_order(&rng, &recipe);
		draw_pauses(&rng, &recipe);
		if (draw_percent(&rng, options->reset_percent))
			draw_reset(&rng, &recipe);
	}
	*ret_recipe = recipe;
}

const char *recipe_start_name(enum recipe_start start)
{
	static const char *const names[] = {"at once", "after a byte", "after EOF"};

	return names[start];
}

const char *recipe_reset_name(enum recipe_reset reset)
{
	static const char *const names[] = {"never",     "after sending", "after receiving",
					    "at a time", "after FIN",     "by close"};

	return names[reset];
}
