/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the tests of the sniffers: fixtures, a writer of hellos, and the law of prefixes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/sniff.h"

#define BYTES_MAX   (1U << 17)
#define LENGTHS_MAX 32

typedef void (*sniff_fn)(const uint8_t *data, size_t len, struct sniff *ret_sniff);

/* Bytes in the making; where the lengths are, is remembered. */
struct bytes {
	uint8_t data[BYTES_MAX];
	size_t len;
	struct {
		const char *name;
		size_t at;
		unsigned n_bytes;
	} lengths[LENGTHS_MAX];
	unsigned n_lengths;
};

void put(struct bytes *bytes, unsigned n_bytes, uint32_t number);
void put_bytes(struct bytes *bytes, const void *data, size_t len);
void put_string(struct bytes *bytes, const char *string);

/* A vector: its length is written when it is closed. */
unsigned open_length(struct bytes *bytes, unsigned n_bytes, const char *name);
void close_length(struct bytes *bytes, unsigned length);

/* Everything before the extensions, in one record, every vector open that is still to come; close
 * with hello_end(). */
void hello_begin(struct bytes *bytes);
void hello_end(struct bytes *bytes);
void put_extension(struct bytes *bytes, uint16_t type, const void *body, size_t len);
void put_server_name(struct bytes *bytes, const void *name, size_t len);

/* The same handshake message in records of `n_fragment` bytes. */
void split_records(const uint8_t *hello, size_t len, size_t n_fragment, struct bytes *ret_bytes);

/* tests/unit/data/NAME, appended. */
void load(struct bytes *bytes, const char *name);

/* Every prefix, each in memory of its own: MORE, and from one byte on the same answer for ever.
 * Returns how many bytes it took, len + 1 if it was never certain. */
size_t check_prefixes(sniff_fn sniff, const uint8_t *data, size_t len);

/* The same, and says what the answer was. */
struct sniff sniff_all(sniff_fn sniff, const void *data, size_t len);
