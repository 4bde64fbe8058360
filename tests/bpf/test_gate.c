// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/gate.c against plain oracles: classes of /24s, the IPv6 filter, whose bits must come and go
 * exactly, addresses of this host; and that the programs of several ports read what it writes.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bpf_env.h"
#include "kern/gate.h"
#include "kern/load_log.h"
#include "redirect_env.h"
#include "util/clock.h"
#include "util/macros.h"

#define N_24S       (1u << 24)
#define GATE6_BYTES (SLUICE_GATE6_WORDS * sizeof(uint64_t))
#define MIB         (1u << 20)

static void gate_freep(struct gate **gate)
{
	gate_free(*gate);
}

static struct gate *new_gate(void)
{
	struct gate *gate;

	assert_int_equal(gate_new(&gate), 0);
	return gate;
}

static uint64_t random_state = 0x5eed;

/* splitmix64: the same on every run. */
static uint64_t random64(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* --- IPv4 ------------------------------------------------------------------------------------ */

static void test_classes_of_random_ranges(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	_cleanup_free_ uint8_t *oracle = calloc(N_24S, 1);

	assert_non_null(oracle);
	for (unsigned i = 0; i < 3000; i++) {
		/* Most are short, as prefixes are; some have any length. */
		uint32_t n = (uint32_t)(random64() % (1u << random64() % 25)), first;
		enum sluice_gate_class class = (enum sluice_gate_class)(random64() % 3);

		first = (uint32_t)(random64() % (N_24S - n + 1));
		gate_set4(gate, first, n, class);
		memset(oracle + first, (int)class, n);
	}
	for (uint32_t slot = 0; slot < N_24S; slot++) {
		if (gate_get4(gate, slot) != oracle[slot])
			fail_msg("slot %#x: %u, expected %u", slot, gate_get4(gate, slot),
				 oracle[slot]);
	}
	gate_set4(gate, 0, N_24S, SLUICE_GATE_OURS);
	for (uint32_t slot = 0; slot < N_24S; slot++)
		assert_true(gate_get4(gate, slot) == SLUICE_GATE_OURS);
}

static void test_ranges_end_where_they_end(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();

	for (uint32_t first = 0; first < 66; first++) {
		for (uint32_t n = 0; n < 100; n++) {
			gate_set4(gate, 0, 200, SLUICE_GATE_MIXED);
			gate_set4(gate, first, n, SLUICE_GATE_OURS);
			for (uint32_t slot = 0; slot < 200; slot++)
				assert_int_equal(gate_get4(gate, slot),
						 slot >= first && slot < first + n ?
							 SLUICE_GATE_OURS :
							 SLUICE_GATE_MIXED);
		}
	}
	assert_int_equal(gate_get4(gate, 200), SLUICE_GATE_PASS);
}

/* --- IPv6 ------------------------------------------------------------------------------------ */

struct prefix {
	uint8_t addr[16];
	unsigned len;
};

static const uint64_t *map_filter(const struct gate *gate)
{
	void *words = mmap(NULL, GATE6_BYTES, PROT_READ, MAP_SHARED, gate_fds(gate).gate6, 0);

	assert_true(words != MAP_FAILED);
	return words;
}

static void unmap_filter(const uint64_t *words)
{
	(void)munmap((void *)(uintptr_t)words, GATE6_BYTES);
}

static unsigned count_bits(const uint64_t *words)
{
	unsigned n = 0;

	for (size_t i = 0; i < SLUICE_GATE6_WORDS; i++)
		n += (unsigned)__builtin_popcountll(words[i]);
	return n;
}

static struct prefix random_prefix(void)
{
	/* What tables hold, and the lengths about the levels; short ones are rare, and dear. */
	static const uint8_t lens[] = {0,  3,  15, 16, 17, 20, 28, 29, 31, 32, 32, 32, 33,
				       36, 40, 44, 46, 47, 48, 48, 48, 48, 49, 56, 64, 128};
	struct prefix prefix = {.len = lens[random64() % ARRAY_SIZE(lens)]};

	if (prefix.len < 29 && random64() % 16)
		prefix.len = 48;
	for (unsigned i = 0; i < prefix.len; i++) {
		/* Few enough values that prefixes lie in each other, and come twice. */
		uint8_t bit = random64() % 4 == 0 && i > 2;

		prefix.addr[i / 8] |= (uint8_t)(bit << (7 - i % 8));
	}
	return prefix;
}

static bool is_probed(const uint64_t *words, const uint8_t addr[16])
{
	uint64_t top = 0;
	bool is_set = false;

	for (unsigned i = 0; i < 8; i++)
		top = top << 8 | addr[i];
	for (unsigned bits = 16; bits <= 48; bits += 16) {
		uint32_t bit = sluice_gate6_bit(top >> (64 - bits) << (64 - bits), bits);

		is_set |= words[bit / 64] >> bit % 64 & 1;
	}
	return is_set;
}

/* An address within: the rest of it is random. */
static void fill_address(const struct prefix *prefix, uint8_t addr[16])
{
	memcpy(addr, prefix->addr, 16);
	for (unsigned i = prefix->len; i < 128; i++)
		addr[i / 8] |= (uint8_t)((random64() & 1) << (7 - i % 8));
}

#define N_PREFIXES 2000

/* After each change of many, the filter is what it would be had the others never been. */
static void test_filter_holds_what_is_left_and_no_more(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	const uint64_t *words = map_filter(gate);
	static struct prefix prefixes[N_PREFIXES];
	uint8_t addr[16];
	size_t n = 0;

	for (unsigned turn = 0; turn < 10; turn++) {
		_cleanup_(gate_freep) struct gate *fresh = new_gate();
		const uint64_t *fresh_words = map_filter(fresh);

		while (n < N_PREFIXES) {
			prefixes[n] = random_prefix();
			assert_int_equal(gate_add6(gate, prefixes[n].addr, prefixes[n].len), 0);
			n++;
		}
		for (size_t i = 0; i < N_PREFIXES / 2; i++) {
			size_t victim = random64() % n;

			gate_delete6(gate, prefixes[victim].addr, prefixes[victim].len);
			prefixes[victim] = prefixes[--n];
		}
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(gate_add6(fresh, prefixes[i].addr, prefixes[i].len), 0);
			fill_address(&prefixes[i], addr);
			assert_true(is_probed(words, addr));
		}
		assert_memory_equal(words, fresh_words, GATE6_BYTES);
		unmap_filter(fresh_words);
	}
	while (n-- > 0)
		gate_delete6(gate, prefixes[n].addr, prefixes[n].len);
	assert_int_equal(count_bits(words), 0);
	unmap_filter(words);
}

static void test_each_length_sets_the_bits_of_its_level(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	const uint64_t *words = map_filter(gate);
	static const struct {
		unsigned len, n_bits;
	} lengths[] = {{0, 65536}, {1, 32768},  {15, 2}, {16, 1}, {17, 32768}, {31, 2},
		       {32, 1},    {33, 32768}, {47, 2}, {48, 1}, {49, 1},     {128, 1}};
	uint8_t addr[16] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		unsigned n_bits;

		assert_int_equal(gate_add6(gate, addr, lengths[i].len), 0);
		n_bits = count_bits(words);
		/* Probes may share a bit: of the 32768 of a /33, every third does. */
		assert_true(n_bits <= lengths[i].n_bits);
		assert_true(n_bits > lengths[i].n_bits / 2);
		gate_delete6(gate, addr, lengths[i].len);
		assert_int_equal(count_bits(words), 0);
	}
	unmap_filter(words);
}

/* --- A full table ---------------------------------------------------------------------------- */

#define N_FULL 250000

static void test_full_table_in_bounded_memory(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	const uint64_t *words = map_filter(gate);
	uint64_t begun_ns, spent_ns, seed = random_state;
	unsigned n_wrong = 0;

	assert_true(gate_bytes(gate) < 7 * MIB);
	begun_ns = clock_now_ns();
	for (unsigned i = 0; i < N_FULL; i++) {
		uint64_t top = htobe64(0x2000000000000000ULL | random64() >> 3);
		uint8_t addr[16] = {};

		memcpy(addr, &top, sizeof(top));
		assert_int_equal(gate_add6(gate, addr, i % 5 < 2 ? 32 : 48), 0);
	}
	spent_ns = clock_now_ns() - begun_ns;
	assert_true(gate_bytes(gate) < 23 * MIB);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t top = htobe64(0x4000000000000000ULL | random64() >> 3);
		uint8_t addr[16] = {};

		memcpy(addr, &top, sizeof(top));
		n_wrong += is_probed(words, addr);
	}
	/* (1 - 250,000 / 2^22)^3: three probes, each with 6 % of all bits set. */
	assert_true(n_wrong < 20000);
	(void)printf("%u IPv6 prefixes: %llu ns each, %zu KiB in all, %.1f %% of strangers pass\n",
		     N_FULL, (unsigned long long)(spent_ns / N_FULL), gate_bytes(gate) / 1024,
		     n_wrong / 1000.0);

	random_state = seed;
	for (unsigned i = 0; i < N_FULL; i++) {
		uint64_t top = htobe64(0x2000000000000000ULL | random64() >> 3);
		uint8_t addr[16] = {};

		memcpy(addr, &top, sizeof(top));
		gate_delete6(gate, addr, i % 5 < 2 ? 32 : 48);
	}
	assert_int_equal(count_bits(words), 0);
	unmap_filter(words);
}

/* --- Addresses of this host ------------------------------------------------------------------ */

static void test_local_addresses_come_and_go(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	const struct gate_fds fds = gate_fds(gate);
	const uint64_t *words = map_filter(gate);
	uint8_t addr[16] = {0x20, 0x01, 0x0d, 0xb8}, neighbour[16] = {0x20, 0x01, 0x0d, 0xb8};
	uint32_t group;

	neighbour[15] = 1;
	assert_int_equal(gate_delete_local4(gate, htonl(1)), -ENOENT);
	assert_int_equal(gate_delete_local6(gate, addr), -ENOENT);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(gate_add_local4(gate, htonl(1), i), 0);
		assert_int_equal(bpf_map_lookup_elem(fds.local4, &(uint32_t){htonl(1)}, &group), 0);
		assert_int_equal(group, i);
		assert_int_equal(gate_add_local6(gate, addr, i), 0);
		assert_int_equal(bpf_map_lookup_elem(fds.local6, addr, &group), 0);
		assert_int_equal(group, i);
		assert_int_equal(count_bits(words), 1);
	}
	/* Of one /64, so of one bit: it stays until the last has gone. */
	assert_int_equal(gate_add_local6(gate, neighbour, 0), 0);
	assert_int_equal(gate_delete_local6(gate, addr), 0);
	assert_int_equal(count_bits(words), 1);
	assert_int_equal(gate_delete_local6(gate, neighbour), 0);
	assert_int_equal(count_bits(words), 0);
	assert_int_equal(gate_delete_local4(gate, htonl(1)), 0);
	assert_int_equal(gate_delete_local4(gate, htonl(1)), -ENOENT);
	unmap_filter(words);
}

static void test_too_many_local_addresses_are_refused(void **state)
{
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	const uint64_t *words = map_filter(gate);
	uint8_t addr[16] = {0x20, 0x01};

	for (uint32_t i = 0; i < SLUICE_MAX_LOCALS; i++) {
		assert_int_equal(gate_add_local4(gate, htonl(i), 0), 0);
		memcpy(addr + 4, &i, sizeof(i));
		assert_int_equal(gate_add_local6(gate, addr, 0), 0);
	}
	assert_int_equal(gate_add_local4(gate, htonl(SLUICE_MAX_LOCALS), 0), -ENOSPC);
	assert_int_equal(gate_add_local4(gate, htonl(0), 7), 0);
	memset(addr + 8, 1, 8);
	assert_int_equal(gate_add_local6(gate, addr, 0), -ENOSPC);
	memset(addr + 8, 0, 8);
	for (uint32_t i = 0; i < SLUICE_MAX_LOCALS; i++) {
		memcpy(addr + 4, &i, sizeof(i));
		assert_int_equal(gate_delete_local6(gate, addr), 0);
	}
	assert_int_equal(count_bits(words), 0);
	unmap_filter(words);
}

/* --- What programs see ----------------------------------------------------------------------- */

static void port_prog_freep(struct port_prog **prog)
{
	port_prog_free(*prog);
}

static struct port_prog *load_router(const struct gate *gate)
{
	static const uint8_t mac[8] = {PORT_MAC};
	struct port_prog_spec spec = default_spec();
	struct port_prog *prog;
	int r;

	spec.config.forward = SLUICE_FORWARD_ROUTE;
	spec.gate = gate;
	r = port_prog_load(&spec, &prog);
	if (r < 0)
		fail_msg("load: %s\n%s", strerror(-r), load_log_text());
	memcpy(&port_prog_line(prog)->mac, mac, sizeof(mac));
	port_prog_line(prog)->routes = SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6;
	port_prog_line(prog)->max_packet_len = PORT_MTU;
	return prog;
}

/* No worker beats: what the gate lets through is STALE. */
static enum sluice_verdict verdict_of(struct port_prog *prog, const uint8_t *dst, bool is_ip6)
{
	uint8_t frame[74] = {PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00, 0x45, 0, 0, 60};
	enum sluice_verdict verdict = SLUICE_V_N;
	uint32_t action;

	frame[ETH_HLEN + 8] = 64;
	memcpy(frame + ETH_HLEN + 16, dst, 4);
	if (is_ip6) {
		frame[12] = 0x86;
		frame[13] = 0xdd;
		memset(frame + ETH_HLEN, 0, 60);
		frame[ETH_HLEN] = 0x60;
		frame[ETH_HLEN + 6] = 17;
		frame[ETH_HLEN + 7] = 64;
		memcpy(frame + ETH_HLEN + 24, dst, 16);
	}
	assert_int_equal(port_prog_explain(prog, frame, sizeof(frame), 0, &verdict, &action), 0);
	return verdict;
}

static void test_programs_of_all_ports_see_each_class(void **state)
{
	static const enum sluice_verdict expected[] = {
		[SLUICE_GATE_PASS] = SLUICE_V_NO_GATE,
		[SLUICE_GATE_OURS] = SLUICE_V_STALE,
		[SLUICE_GATE_MIXED] = SLUICE_V_STALE,
	};
	_cleanup_(gate_freep) struct gate *gate = new_gate();
	_cleanup_(port_prog_freep) struct port_prog *one = load_router(gate);
	_cleanup_(port_prog_freep) struct port_prog *other = load_router(gate);

	for (unsigned i = 0; i < 2000; i++) {
		/* Neighbours of each other, in words of their own, and anywhere. */
		uint32_t slot = i < 200 ? 0x0a0000 + i : (uint32_t)(random64() % 0xdf0000);
		enum sluice_gate_class class = (enum sluice_gate_class)(random64() % 3);
		uint8_t dst[4] = {(uint8_t)(slot >> 16), (uint8_t)(slot >> 8), (uint8_t)slot, 9};

		if (dst[0] == 127)
			continue;
		gate_set4(gate, slot, 1, class);
		assert_int_equal(verdict_of(i % 2 ? one : other, dst, false), expected[class]);
	}
}

static void test_program_finds_each_prefix_and_address(void **state)
{
	static const uint8_t unicast = 0x20;
	struct gate *gate = new_gate();
	_cleanup_(port_prog_freep) struct port_prog *prog = load_router(gate);
	const uint64_t *words = map_filter(gate);

	for (unsigned i = 0; i < 500; i++) {
		struct prefix prefix = random_prefix();
		uint8_t addr[16];

		prefix.len = MAX(prefix.len, 8);
		prefix.addr[0] = unicast;
		fill_address(&prefix, addr);
		assert_int_equal(verdict_of(prog, addr, true), SLUICE_V_NO_GATE);
		assert_int_equal(gate_add6(gate, prefix.addr, prefix.len), 0);
		assert_int_equal(verdict_of(prog, addr, true), SLUICE_V_STALE);
		assert_int_equal(gate_add_local6(gate, addr, SLUICE_NO_GROUP), 0);
		assert_int_equal(verdict_of(prog, addr, true), SLUICE_V_LOCAL);
		addr[15] ^= 1;
		assert_int_equal(verdict_of(prog, addr, true), SLUICE_V_STALE);
		addr[15] ^= 1;
		assert_int_equal(gate_delete_local6(gate, addr), 0);
		gate_delete6(gate, prefix.addr, prefix.len);
	}
	assert_int_equal(count_bits(words), 0);
	unmap_filter(words);

	/* A program that outlives the daemon keeps its tables. */
	gate_set4(gate, 0x0a0000, 1, SLUICE_GATE_OURS);
	gate_free(gate);
	assert_int_equal(verdict_of(prog, (const uint8_t[]){10, 0, 0, 9}, false), SLUICE_V_STALE);
	assert_int_equal(verdict_of(prog, (const uint8_t[]){10, 0, 1, 9}, false), SLUICE_V_NO_GATE);
}

static void test_nothing_is_routed_before_the_line_is_written(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load_router(port_gate());
	uint8_t frame[60] = {PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00, 0x45, 0, 0, 46};
	enum sluice_verdict verdict;
	uint32_t action;

	*port_prog_line(prog) = (struct sluice_heartbeat){};
	assert_int_equal(port_prog_explain(prog, frame, sizeof(frame), 0, &verdict, &action), 0);
	assert_int_equal(verdict, SLUICE_V_NOT_ROUTED);
	memset(frame, 0, ETH_ALEN);
	assert_int_equal(port_prog_explain(prog, frame, sizeof(frame), 0, &verdict, &action), 0);
	assert_int_equal(verdict, SLUICE_V_POLICY);
}

static uint32_t n_maps_of(uint32_t forward)
{
	struct port_prog_spec spec = default_spec();
	_cleanup_(port_prog_freep) struct port_prog *prog = NULL;
	_cleanup_close_ int fd = -1;
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	spec.config.forward = forward;
	spec.gate = port_gate();
	assert_int_equal(port_prog_load(&spec, &prog), 0);
	fd = bpf_prog_get_fd_by_id(port_prog_id(prog));
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	return info.nr_map_ids;
}

/* Constants, xsks, heartbeat, verdicts; of the gate each has what it asks. */
static void test_wire_has_no_gate(void **state)
{
	assert_int_equal(n_maps_of(SLUICE_FORWARD_PASS), 4);
	assert_int_equal(n_maps_of(SLUICE_FORWARD_WIRE), 4);
	assert_int_equal(n_maps_of(SLUICE_FORWARD_ROUTE), 8);
	assert_int_equal(n_maps_of(SLUICE_FORWARD_BRIDGE), 6);
}

static void test_explaining_nonsense_is_refused(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load_router(port_gate());
	enum sluice_verdict verdict = SLUICE_V_N;
	uint32_t action = 77;
	uint8_t frame[60] = {PORT_MAC};

	for (uint32_t len = 0; len < ETH_HLEN; len++)
		assert_int_equal(port_prog_explain(prog, frame, len, 0, &verdict, &action),
				 -EINVAL);
	assert_int_equal(port_prog_explain(prog, frame, 60, N_DEVICE_QUEUES, &verdict, &action),
			 -EINVAL);
	assert_int_equal(verdict, SLUICE_V_N);
	assert_int_equal(action, 77);
}

/* --- Rights ---------------------------------------------------------------------------------- */

/* Without CAP_PERFMON the verifier refuses more, without CAP_SYS_ADMIN nothing is found by id. */
static int route_and_bridge_as_service(void)
{
	const uint64_t mask = 1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW | 1ULL << CAP_BPF;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};
	struct gate *gate;

	for (unsigned i = 0; i < 2; i++)
		data[i].permitted = data[i].effective = (uint32_t)(mask >> 32 * i);
	if (syscall(SYS_capset, &header, data) < 0 || gate_new(&gate) < 0)
		return 2;
	for (uint32_t forward = 0; forward < SLUICE_FORWARD_N; forward++) {
		struct port_prog_spec spec = default_spec();
		enum sluice_verdict verdict;
		struct port_prog *prog;
		uint8_t frame[60] = {};
		uint32_t action;

		spec.config.forward = forward;
		spec.gate = forward >= SLUICE_FORWARD_ROUTE ? gate : NULL;
		if (port_prog_load(&spec, &prog) < 0) {
			(void)printf("%s\n", load_log_text());
			return 3;
		}
		if (port_prog_explain(prog, frame, sizeof(frame), 0, &verdict, &action) < 0)
			return 4;
		port_prog_free(prog);
	}
	gate_free(gate);
	return 0;
}

static void test_capabilities_of_the_service_suffice(void **state)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(route_and_bridge_as_service());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes_of_random_ranges),
		cmocka_unit_test(test_ranges_end_where_they_end),
		cmocka_unit_test(test_filter_holds_what_is_left_and_no_more),
		cmocka_unit_test(test_each_length_sets_the_bits_of_its_level),
		cmocka_unit_test(test_full_table_in_bounded_memory),
		cmocka_unit_test(test_local_addresses_come_and_go),
		cmocka_unit_test(test_too_many_local_addresses_are_refused),
		cmocka_unit_test(test_programs_of_all_ports_see_each_class),
		cmocka_unit_test(test_program_finds_each_prefix_and_address),
		cmocka_unit_test(test_nothing_is_routed_before_the_line_is_written),
		cmocka_unit_test(test_wire_has_no_gate),
		cmocka_unit_test(test_explaining_nonsense_is_refused),
		cmocka_unit_test(test_capabilities_of_the_service_suffice),
	};

	redirect_env_enter();
	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
