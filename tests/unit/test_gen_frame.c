/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sink that misses a damaged byte would let every loss test lie: each byte is damaged here. */
#include <arpa/inet.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "tools/gen/crc32.h"
#include "tools/gen/frame.h"
#include "util/macros.h"

#define FLOW    0x01020304
#define SEQ     0x1122334455667788ULL
#define SENT_NS 987654321ULL

enum kind { PLAIN, TAGGED, IPV4, IPV6, KIND_N };

static struct frame_builder builder_of(enum kind kind)
{
	struct frame_spec spec = {
		.dst_mac = {2, 0, 0, 0, 0, 0xb},
		.src_mac = {2, 0, 0, 0, 0, 0xa},
		.vlan = kind == TAGGED ? 100 : FRAME_NO_VLAN,
		.ethertype = GEN_ETHERTYPE,
		.family = kind == IPV4 ? AF_INET :
			  kind == IPV6 ? AF_INET6 :
					 AF_UNSPEC,
		.run = 77,
	};
	struct frame_builder b;

	assert_int_equal(inet_pton(AF_INET, "198.18.0.1", &spec.src4), 1);
	assert_int_equal(inet_pton(AF_INET, "198.19.0.1", &spec.dst4), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:2::1", &spec.src6), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:2::2", &spec.dst6), 1);
	frame_builder_init(&b, &spec);
	return b;
}

static enum frame_fate verify(const uint8_t *buf, size_t size)
{
	struct frame_info info;

	return frame_verify(buf, size, GEN_ETHERTYPE, &info);
}

static void test_crc_is_the_ieee_one_in_any_pieces(void **state)
{
	const char *text = "123456789";

	assert_int_equal(crc32_update(0, text, 9), 0xcbf43926);
	for (size_t cut = 0; cut <= 9; cut++)
		assert_int_equal(crc32_update(crc32_update(0, text, cut), text + cut, 9 - cut),
				 0xcbf43926);
}

static void test_every_size_is_intact_and_tells_what_was_sent(void **state)
{
	for (enum kind kind = 0; kind < KIND_N; kind++) {
		struct frame_builder b = builder_of(kind);

		for (size_t size = frame_min_size(&b); size <= 1514; size++) {
			uint8_t buf[1514];
			struct frame_info info = {0};

			frame_build(&b, buf, size, FLOW, SEQ, SENT_NS);
			assert_int_equal(frame_verify(buf, size, GEN_ETHERTYPE, &info),
					 FRAME_INTACT);
			assert_int_equal(info.run, 77);
			assert_int_equal(info.flow, FLOW);
			assert_int_equal(info.seq, SEQ);
			assert_int_equal(info.sent_ns, SENT_NS);
		}
	}
}

static void test_sixty_bytes_hold_the_header_also_with_a_tag(void **state)
{
	struct frame_builder b = builder_of(TAGGED);

	assert_true(frame_min_size(&b) <= 60);
}

/* Bytes that nothing in the frame vouches for: a router rewrites them, or no checksum has them. */
static bool is_unprotected(enum kind kind, size_t at)
{
	if (kind == IPV4)
		return at < 12;
	if (kind == IPV6)
		return at < 12 || (at >= 14 && at < 18) || at == 21; /* class, label, hop limit */
	return false;
}

/* All values of one byte where `thorough`, else each single bit. */
static void damage_byte(uint8_t *buf, size_t size, size_t at, bool thorough)
{
	uint8_t right = buf[at];

	for (unsigned i = 1; i < 256; i = thorough ? i + 1 : i * 2) {
		buf[at] = (uint8_t)(right ^ i);
		if (verify(buf, size) == FRAME_INTACT)
			fail_msg("byte %zu of %zu: %#x instead of %#x is not seen", at, size,
				 buf[at], right);
	}
	buf[at] = right;
}

static void test_every_damaged_byte_is_seen(void **state)
{
	static const size_t sizes[] = {60, 61, 64, 67, 128, 255, 590, 1023, 1514};

	for (enum kind kind = 0; kind < KIND_N; kind++) {
		struct frame_builder b = builder_of(kind);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			size_t size = MAX(sizes[i], frame_min_size(&b));
			uint8_t buf[1514];

			frame_build(&b, buf, size, FLOW, SEQ, SENT_NS);
			for (size_t at = 0; at < size; at++) {
				if (!is_unprotected(kind, at))
					damage_byte(buf, size, at, size <= 128);
			}
			assert_int_equal(verify(buf, size), FRAME_INTACT);
		}
	}
}

static void test_a_changed_ethernet_header_is_told_from_a_damaged_payload(void **state)
{
	struct frame_builder b = builder_of(TAGGED);
	uint8_t buf[64];

	frame_build(&b, buf, sizeof(buf), FLOW, SEQ, SENT_NS);
	buf[0] ^= 1; /* destination */
	assert_int_equal(verify(buf, sizeof(buf)), FRAME_ALTERED_L2);
	buf[0] ^= 1;
	buf[15] ^= 1; /* VLAN id */
	assert_int_equal(verify(buf, sizeof(buf)), FRAME_ALTERED_L2);
	buf[15] ^= 1;
	buf[63] ^= 1;
	assert_int_equal(verify(buf, sizeof(buf)), FRAME_CORRUPTED);
}

static void test_a_stripped_tag_is_seen(void **state)
{
	struct frame_builder b = builder_of(TAGGED);
	uint8_t buf[64];

	frame_build(&b, buf, sizeof(buf), FLOW, SEQ, SENT_NS);
	memmove(buf + 12, buf + 16, sizeof(buf) - 16);
	assert_int_not_equal(verify(buf, sizeof(buf) - 4), FRAME_INTACT);
}

static void test_a_cut_or_grown_frame_has_the_wrong_length(void **state)
{
	for (enum kind kind = 0; kind < KIND_N; kind++) {
		struct frame_builder b = builder_of(kind);
		uint8_t buf[300] = {0};

		frame_build(&b, buf, 256, FLOW, SEQ, SENT_NS);
		for (size_t size = frame_min_size(&b); size <= sizeof(buf); size++) {
			if (size != 256)
				assert_int_equal(verify(buf, size), FRAME_WRONG_LENGTH);
		}
	}
}

static void test_runts_are_built_and_have_the_wrong_length(void **state)
{
	struct frame_builder b = builder_of(PLAIN);

	for (size_t size = FRAME_MIN_BYTES; size < frame_min_size(&b); size++) {
		uint8_t buf[64];

		memset(buf, 0xee, sizeof(buf));
		frame_build(&b, buf, size, FLOW, SEQ, SENT_NS);
		assert_int_equal(buf[size], 0xee);
		assert_int_equal(verify(buf, size), FRAME_WRONG_LENGTH);
	}
}

static void test_frames_that_are_not_ours_are_foreign(void **state)
{
	struct frame_builder b = builder_of(PLAIN);
	uint8_t buf[128] = {0};

	assert_int_equal(verify(buf, sizeof(buf)), FRAME_FOREIGN);
	assert_int_equal(verify(buf, 13), FRAME_FOREIGN);
	frame_build(&b, buf, sizeof(buf), FLOW, SEQ, SENT_NS);
	struct frame_info info;
	assert_int_equal(frame_verify(buf, sizeof(buf), 0x88b6, &info), FRAME_FOREIGN);
}

static void test_a_router_may_rewrite_addresses_and_ttl(void **state)
{
	struct frame_builder b = builder_of(IPV4);
	uint8_t buf[128];
	uint32_t sum;

	frame_build(&b, buf, sizeof(buf), FLOW, SEQ, SENT_NS);
	memset(buf, 0x42, 12);
	buf[22]--; /* TTL: the checksum grows by 0x0100 */
	sum = (uint32_t)(buf[24] << 8 | buf[25]) + 0x100;
	sum = (sum & 0xffff) + (sum >> 16);
	buf[24] = (uint8_t)(sum >> 8);
	buf[25] = (uint8_t)sum;
	assert_int_equal(verify(buf, sizeof(buf)), FRAME_INTACT);
}

/* What gen.bpf.c does to each frame. */
static void stamp(uint8_t *header, const struct frame_builder *b, uint32_t flow, uint64_t seq,
		  uint64_t sent_ns, const uint32_t delta[GEN_STAMP_BYTES][256], uint32_t crc)
{
	struct gen_header h;

	memcpy(&h, header, sizeof(h));
	h.flow = htobe32(flow);
	h.seq = htobe64(seq);
	h.sent_ns = htobe64(sent_ns);
	for (size_t i = 0; i < GEN_STAMP_BYTES; i++)
		crc ^= delta[i][((const uint8_t *)&h)[GEN_STAMP_OFFSET + i]];
	h.crc = htobe32(crc);
	memcpy(header, &h, sizeof(h));
}

static void test_a_stamped_flood_frame_is_intact(void **state)
{
	static const size_t sizes[] = {60, 64, 65, 1514};
	static uint32_t delta[GEN_STAMP_BYTES][256];

	for (enum kind kind = PLAIN; kind <= TAGGED; kind++) {
		struct frame_builder b = builder_of(kind);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint8_t buf[1514];
			struct frame_info info;
			uint32_t crc;

			/* Not from a stamp of zeros: the tables must not depend on the template. */
			frame_build(&b, buf, sizes[i], 5, 6, 7);
			frame_flood_tables(&b, buf, sizes[i], delta, &crc);
			stamp(buf + b.header_offset, &b, FLOW, SEQ, SENT_NS, delta, crc);
			assert_int_equal(frame_verify(buf, sizes[i], GEN_ETHERTYPE, &info),
					 FRAME_INTACT);
			assert_int_equal(info.seq, SEQ);
			stamp(buf + b.header_offset, &b, FLOW, SEQ + 1, SENT_NS, delta, crc ^ 1);
			assert_int_equal(verify(buf, sizes[i]), FRAME_CORRUPTED);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_is_the_ieee_one_in_any_pieces),
		cmocka_unit_test(test_every_size_is_intact_and_tells_what_was_sent),
		cmocka_unit_test(test_sixty_bytes_hold_the_header_also_with_a_tag),
		cmocka_unit_test(test_every_damaged_byte_is_seen),
		cmocka_unit_test(test_a_changed_ethernet_header_is_told_from_a_damaged_payload),
		cmocka_unit_test(test_a_stripped_tag_is_seen),
		cmocka_unit_test(test_a_cut_or_grown_frame_has_the_wrong_length),
		cmocka_unit_test(test_runts_are_built_and_have_the_wrong_length),
		cmocka_unit_test(test_frames_that_are_not_ours_are_foreign),
		cmocka_unit_test(test_a_router_may_rewrite_addresses_and_ttl),
		cmocka_unit_test(test_a_stamped_flood_frame_is_intact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
