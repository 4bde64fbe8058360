/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first bytes of a connection: no prefix may be answered otherwise than the whole, nor may a
 * hello that comes in other records. What is found keeps to the promises of net/sniff.h, and
 * sniff_auto() agrees with the sniffer whose protocol it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/sniff.h"
#include "util/macros.h"

/* All prefixes of a short input, so many of a long one. */
#define ALL_PREFIXES_BYTES 600
#define N_CUTS             64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() this stays in a release build, and it names what broke. */
static void require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fuzz_sniff: %s\n", what);
	abort();
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005 + 1442695040888963407;
	return *state >> 33;
}

/* So that the same input is always cut alike. */
static uint64_t seed_of(const uint8_t *data, size_t size)
{
	uint64_t seed = 0xcbf29ce484222325;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	return seed;
}

static void check_result(const struct sniff *sniff, size_t size)
{
	size_t n = strnlen(sniff->name, SNIFF_NAME_BYTES);

	require(sniff->status <= SNIFF_TOO_LONG, "a status of none");
	require(n < SNIFF_NAME_BYTES, "a name without an end");
	require((n > 0) == (sniff->status == SNIFF_FOUND), "a name without being found");
	require(sniff->status != SNIFF_MORE || size < SNIFF_MAX_BYTES, "more than the most");
	require(sniff->status != SNIFF_OTHER || sniff->protocol == SNIFF_NOTHING, "other, but one");
	for (size_t i = 0; i < n; i++)
		require((sniff->name[i] >= 'a' && sniff->name[i] <= 'z') ||
				(sniff->name[i] && strchr("0123456789.:-_", sniff->name[i])),
			"a character that no name has");
	require(!n || (sniff->name[0] != '.' && sniff->name[n - 1] != '.'), "a dot too many");
	n = strnlen(sniff->alpn, SNIFF_ALPN_BYTES);
	require(n < SNIFF_ALPN_BYTES, "ALPN without an end");
	for (size_t i = 0; i < n; i++)
		require(sniff->alpn[i] > ' ' && sniff->alpn[i] < 0x7f, "ALPN that is no text");
}

typedef void (*sniff_fn)(const uint8_t *data, size_t len, struct sniff *ret_sniff);

/* Exactly as long, so that a sanitizer sees a read beyond it. */
static void sniff_prefix(sniff_fn sniff, const uint8_t *data, size_t n, struct sniff *ret_sniff)
{
	_cleanup_free_ uint8_t *copy = malloc(n ? n : 1);

	require(copy != NULL, "no memory");
	if (n)
		memcpy(copy, data, n);
	memset(ret_sniff, 0xee, sizeof(*ret_sniff));
	sniff(copy, n, ret_sniff);
	check_result(ret_sniff, n);
}

static void check_prefixes(sniff_fn sniff, const uint8_t *data, size_t size, uint64_t seed,
			   struct sniff *ret_whole)
{
	size_t n_cuts = size <= ALL_PREFIXES_BYTES ? size : N_CUTS, n_more = 0, n_sure = size;
	struct sniff part;

	sniff_prefix(sniff, data, size, ret_whole);
	for (size_t i = 0; i < n_cuts; i++) {
		size_t n = size <= ALL_PREFIXES_BYTES ? i : next_random(&seed) % size;

		sniff_prefix(sniff, data, n, &part);
		if (part.status == SNIFF_MORE) {
			n_more = MAX(n_more, n);
			continue;
		}
		n_sure = MIN(n_sure, n);
		require(memcmp(&part, ret_whole, sizeof(part)) == 0, "changed its mind");
	}
	require(n_more <= n_sure, "was certain, and then was not");
}

/* Out of its records, and into others of random size: as an answer does not depend on them. */
static void check_other_records(const uint8_t *data, size_t size, const struct sniff *whole,
				uint64_t seed)
{
	_cleanup_free_ uint8_t *stream = malloc(6 * SNIFF_MAX_BYTES);
	size_t n = 0, n_message = 4, n_taken = 0, n_left = 0, n_limit;
	struct sniff other;

	require(stream != NULL, "no memory");
	/* now and then tiny ones */
	n_limit = next_random(&seed) % 4 ? 3000 : 6;
	for (size_t at = 0, n_record = 0; n_taken < n_message && at < size; n_record--) {
		if (!n_record) {
			n_record = (size_t)data[at + 3] << 8 | data[at + 4];
			at += 5;
		}
		if (n_taken == 1)
			n_message = 4 + ((size_t)data[at] << 16);
		else if (n_taken == 2 || n_taken == 3)
			n_message += (size_t)data[at] << 8 * (3 - n_taken);
		if (!n_left) {
			n_left = next_random(&seed) % n_limit + 1;
			if (n_taken >= 4)
				n_left = MIN(n_left, n_message - n_taken);
			else
				n_left = 1;
			memcpy(stream + n, "\x16\x03\x02", 3);
			stream[n + 3] = (uint8_t)(n_left >> 8);
			stream[n + 4] = (uint8_t)n_left;
			n += 5;
		}
		stream[n++] = data[at++];
		n_left--;
		n_taken++;
	}
	sniff_prefix(sniff_tls, stream, n, &other);
	if (other.status == SNIFF_TOO_LONG)
		require(n > SNIFF_MAX_BYTES, "too long, but it is not");
	else
		require(memcmp(&other, whole, sizeof(other)) == 0, "other records, other answer");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed = seed_of(data, size);
	struct sniff tls, http, both;

	if (size > 2 * SNIFF_MAX_BYTES)
		return 0;
	check_prefixes(sniff_tls, data, size, seed, &tls);
	check_prefixes(sniff_http, data, size, seed, &http);
	check_prefixes(sniff_auto, data, size, seed, &both);
	require(memcmp(&both, tls.status == SNIFF_OTHER ? &http : &tls, sizeof(both)) == 0,
		"auto is neither");
	require(!size || tls.status == SNIFF_OTHER || http.status == SNIFF_OTHER,
		"both protocols at once");
	if (tls.status == SNIFF_FOUND || tls.status == SNIFF_NO_NAME)
		check_other_records(data, size, &tls, seed);
	return 0;
}
