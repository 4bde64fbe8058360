/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sniff_world.h. */
#include "tests/unit/sniff_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "util/macros.h"

void put_bytes(struct bytes *bytes, const void *data, size_t len)
{
	assert_true(len <= BYTES_MAX - bytes->len);
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
}

void put(struct bytes *bytes, unsigned n_bytes, uint32_t number)
{
	while (n_bytes--) {
		uint8_t byte = (uint8_t)(number >> 8 * n_bytes);

		put_bytes(bytes, &byte, 1);
	}
}

void put_string(struct bytes *bytes, const char *string)
{
	put_bytes(bytes, string, strlen(string));
}

unsigned open_length(struct bytes *bytes, unsigned n_bytes, const char *name)
{
	unsigned length = bytes->n_lengths++;

	assert_true(length < LENGTHS_MAX);
	bytes->lengths[length].name = name;
	bytes->lengths[length].at = bytes->len;
	bytes->lengths[length].n_bytes = n_bytes;
	put(bytes, n_bytes, 0);
	return length;
}

void close_length(struct bytes *bytes, unsigned length)
{
	size_t at = bytes->lengths[length].at, end = bytes->len;
	unsigned n_bytes = bytes->lengths[length].n_bytes;

	bytes->len = at;
	put(bytes, n_bytes, (uint32_t)(end - at - n_bytes));
	bytes->len = end;
}

void hello_begin(struct bytes *bytes)
{
	unsigned length;

	memset(bytes, 0, sizeof(*bytes));
	put(bytes, 3, 0x160301);
	(void)open_length(bytes, 2, "record");
	put(bytes, 1, 1);
	(void)open_length(bytes, 3, "handshake");
	put(bytes, 2, 0x0303);
	for (unsigned i = 0; i < 32; i++)
		put(bytes, 1, 0xa0 + i);
	length = open_length(bytes, 1, "session id");
	for (unsigned i = 0; i < 32; i++)
		put(bytes, 1, i);
	close_length(bytes, length);
	length = open_length(bytes, 2, "cipher suites");
	put(bytes, 4, 0x3a3a1301);
	put(bytes, 4, 0x1302c02f);
	close_length(bytes, length);
	length = open_length(bytes, 1, "compressions");
	put(bytes, 1, 0);
	close_length(bytes, length);
	(void)open_length(bytes, 2, "extensions");
}

void hello_end(struct bytes *bytes)
{
	close_length(bytes, 5);
	close_length(bytes, 1);
	close_length(bytes, 0);
}

void put_extension(struct bytes *bytes, uint16_t type, const void *body, size_t len)
{
	unsigned length;

	put(bytes, 2, type);
	length = open_length(bytes, 2, "extension");
	put_bytes(bytes, body, len);
	close_length(bytes, length);
}

void put_server_name(struct bytes *bytes, const void *name, size_t len)
{
	unsigned extension, list, length;

	put(bytes, 2, 0);
	extension = open_length(bytes, 2, "server_name");
	list = open_length(bytes, 2, "server_name list");
	put(bytes, 1, 0);
	length = open_length(bytes, 2, "host_name");
	put_bytes(bytes, name, len);
	close_length(bytes, length);
	close_length(bytes, list);
	close_length(bytes, extension);
}

void split_records(const uint8_t *hello, size_t len, size_t n_fragment, struct bytes *ret_bytes)
{
	size_t n_record;

	ret_bytes->len = 0;
	/* out of the records that it is in, one fragment after the other */
	for (size_t at = 0, n_open = 0; at < len; at += 5 + n_record) {
		n_record = (size_t)hello[at + 3] << 8 | hello[at + 4];
		for (size_t i = 0; i < n_record; i++) {
			if (n_open++ % n_fragment == 0) {
				put(ret_bytes, 3, 0x160303);
				put(ret_bytes, 2, (uint32_t)n_fragment);
			}
			put(ret_bytes, 1, hello[at + 5 + i]);
		}
		/* the last record is as long as it came to be */
		if (at + 5 + n_record == len && n_open % n_fragment) {
			size_t n_last = n_open % n_fragment, end = ret_bytes->len;

			ret_bytes->len = end - n_last - 2;
			put(ret_bytes, 2, (uint32_t)n_last);
			ret_bytes->len = end;
		}
	}
}

void load(struct bytes *bytes, const char *name)
{
	const char *root = getenv("SLUICE_SOURCE_ROOT");
	_cleanup_fclose_ FILE *file = NULL;
	char path[1024];
	size_t n;

	assert_non_null(root);
	(void)snprintf(path, sizeof(path), "%s/tests/unit/data/%s", root, name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s: cannot be read", path);
	n = fread(bytes->data + bytes->len, 1, BYTES_MAX - bytes->len, file);
	assert_true(n > 0 && feof(file));
	bytes->len += n;
}

size_t check_prefixes(sniff_fn sniff, const uint8_t *data, size_t len)
{
	struct sniff whole, part;
	size_t n_needed = len + 1;

	sniff(data, len, &whole);
	for (size_t n = 0; n <= len; n++) {
		/* exactly as long, so that a sanitizer sees a read beyond it */
		_cleanup_free_ uint8_t *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, data, n);
		memset(&part, 0xee, sizeof(part));
		sniff(copy, n, &part);
		if (part.status == SNIFF_MORE && n_needed > len)
			continue;
		if (n_needed > len)
			n_needed = n;
		if (memcmp(&part, &whole, sizeof(whole)) != 0)
			fail_msg("after %zu bytes of %zu it is %d '%s', in the end %d '%s'", n, len,
				 part.status, part.name, whole.status, whole.name);
	}
	return n_needed;
}

struct sniff sniff_all(sniff_fn sniff, const void *data, size_t len)
{
	struct sniff result;

	(void)check_prefixes(sniff, data, len);
	sniff(data, len, &result);
	return result;
}
