/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PROXY headers: no prefix may be answered otherwise than the whole, whatever version is accepted;
 * the header is as long as it was when it became certain; what was read can be written, and is read
 * again as the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_header.h"
#include "util/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() this stays in a release build, and it names what broke. */
static void require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fuzz_proxy: %s\n", what);
	abort();
}

/* Exactly as long, so that a sanitizer sees a read beyond it. */
static enum proxy_status parse(const uint8_t *data, size_t n, enum proxy_version accepted,
			       struct proxy_header *ret_header)
{
	_cleanup_free_ uint8_t *copy = malloc(n ? n : 1);

	require(copy != NULL, "no memory");
	if (n)
		memcpy(copy, data, n);
	memset(ret_header, 0xee, sizeof(*ret_header));
	return proxy_parse(copy, n, accepted, ret_header);
}

static bool is_same(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static void check_round_trip(const struct proxy_header *header)
{
	static const enum proxy_version versions[] = {PROXY_V1, PROXY_V2, PROXY_V2};
	uint8_t buf[PROXY_V1_MAX_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		struct proxy_header again;
		size_t n = proxy_write(versions[i], &header->src, &header->dst, i == 2, buf,
				       sizeof(buf));

		require(n > 0, "cannot be written");
		require(parse(buf, n, versions[i], &again) == PROXY_FOUND, "cannot be read again");
		require(again.n_bytes == n && again.is_local == header->is_local &&
				is_same(&again.src, &header->src) &&
				is_same(&again.dst, &header->dst),
			"read again as another");
	}
}

static void check_found(const struct proxy_header *header, enum proxy_version accepted, size_t size)
{
	require(header->version == PROXY_V1 || header->version == PROXY_V2, "no version");
	require(accepted == PROXY_ANY || accepted == header->version, "not accepted");
	require(header->n_bytes > 0 && header->n_bytes <= size, "longer than what there is");
	require(header->n_bytes <=
			(header->version == PROXY_V1 ? PROXY_V1_MAX_BYTES : PROXY_V2_MAX_BYTES),
		"longer than the longest");
	require(header->is_local == (header->src.family == 0), "local, but from somewhere");
	require(header->src.family == header->dst.family, "of two families");
	check_round_trip(header);
}

static void check_prefixes(const uint8_t *data, size_t size, enum proxy_version accepted)
{
	/* nothing beyond the longest header may be looked at, and few prefixes are interesting */
	size_t step = size > 600 ? 37 : 1, n_sure = size + 1;
	struct proxy_header whole, part;
	enum proxy_status status = parse(data, size, accepted, &whole), of_part;

	for (size_t n = 0; n < size; n += step) {
		of_part = parse(data, n, accepted, &part);
		if (of_part == PROXY_MORE) {
			require(n_sure > size, "was certain, and then was not");
			continue;
		}
		n_sure = MIN(n_sure, n);
		require(of_part == status && memcmp(&part, &whole, sizeof(part)) == 0,
			"changed its mind");
	}
	require(status != PROXY_MORE || size < PROXY_V2_MAX_BYTES, "more than the most");
	if (status != PROXY_FOUND)
		return;
	check_found(&whole, accepted, size);
	require(parse(data, whole.n_bytes - 1, accepted, &part) == PROXY_MORE, "certain too early");
	require(parse(data, whole.n_bytes, accepted, &part) == PROXY_FOUND, "certain too late");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (enum proxy_version accepted = PROXY_NONE; accepted <= PROXY_ANY; accepted++)
		check_prefixes(data, size, accepted);
	return 0;
}
