// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tables of the XDP gate; see gate.h. A struct gate owns the four maps, the mappings of the two
 * that are written through memory, and the counts behind the filter's bits: a bit of gate6 is set
 * while any prefix wants it, so that taking a prefix out leaves exactly what the others need.
 *
 * The hashes are not preallocated: that would take 10.5 MiB instead of 2 and makes no lookup faster
 * (measured: a hit costs 20 ns either way).
 */
#include "kern/gate.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>

#include "util/macros.h"

#define PER_WORD    32 /* /24s in a word of gate4 */
#define N_24S       (SLUICE_GATE4_WORDS * PER_WORD)
#define GATE4_BYTES (SLUICE_GATE4_WORDS * sizeof(uint64_t))
#define GATE6_BYTES (SLUICE_GATE6_WORDS * sizeof(uint64_t))
#define COUNT_BYTES (SLUICE_GATE6_BITS * sizeof(uint32_t))

/* What the kernel takes for a hash of SLUICE_MAX_LOCALS: the heads of its chains. */
#define HASH_HEAD_BYTES 16

struct gate {
	struct gate_fds fds;
	uint64_t *words4; /* mapped; read by programs at any time, hence stored whole */
	uint64_t *words6;
	uint32_t *counts6; /* per bit: how many prefixes want it; pages come when touched */
};

static void gate_freep(struct gate **gate)
{
	gate_free(*gate);
}

static int make_table(const char *name, size_t bytes, int *ret_fd, uint64_t **ret_words)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t),
						(uint32_t)bytes, 1, &opts);
	void *words;

	if (fd < 0)
		return fd;
	words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	*ret_words = words;
	return 0;
}

static int make_hash(const char *name, uint32_t key_bytes, int *ret_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, name, key_bytes, sizeof(uint32_t),
				SLUICE_MAX_LOCALS, &opts);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int make_counts(uint32_t **ret_counts)
{
	void *counts = mmap(NULL, COUNT_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (counts == MAP_FAILED)
		return -errno;
	*ret_counts = counts;
	return 0;
}

int gate_new(struct gate **ret_gate)
{
	_cleanup_(gate_freep) struct gate *gate = calloc(1, sizeof(*gate));
	int r;

	if (!gate)
		return -ENOMEM;
	gate->fds = (struct gate_fds){-1, -1, -1, -1};
	r = make_table("sluice_gate4", GATE4_BYTES, &gate->fds.gate4, &gate->words4);
	if (r == 0)
		r = make_table("sluice_gate6", GATE6_BYTES, &gate->fds.gate6, &gate->words6);
	if (r == 0)
		r = make_hash("sluice_local4", 4, &gate->fds.local4);
	if (r == 0)
		r = make_hash("sluice_local6", 16, &gate->fds.local6);
	if (r == 0)
		r = make_counts(&gate->counts6);
	if (r < 0)
		return r;
	*ret_gate = TAKE_PTR(gate);
	return 0;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	if (gate->counts6)
		(void)munmap(gate->counts6, COUNT_BYTES);
	if (gate->words6)
		(void)munmap(gate->words6, GATE6_BYTES);
	if (gate->words4)
		(void)munmap(gate->words4, GATE4_BYTES);
	close_fdp(&gate->fds.local6);
	close_fdp(&gate->fds.local4);
	close_fdp(&gate->fds.gate6);
	close_fdp(&gate->fds.gate4);
	free(gate);
}

struct gate_fds gate_fds(const struct gate *gate)
{
	return gate->fds;
}

/* --- IPv4: classes of /24s ------------------------------------------------------------------- */

/* One writer, so load and store need not be one operation; the program sees the old or the new. */
static void store_bits(uint64_t *word, uint64_t mask, uint64_t bits)
{
	uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);
	uint64_t new = (old & ~mask) | (bits & mask);

	if (new != old)
		__atomic_store_n(word, new, __ATOMIC_RELAXED);
}

void gate_set4(struct gate *gate, uint32_t first24, uint32_t n, enum sluice_gate_class class)
{
	const uint64_t all = UINT64_MAX / 3 * class; /* the class 32 times */

	assert(first24 <= N_24S && n <= N_24S - first24);
	while (n > 0) {
		uint32_t first = first24 % PER_WORD, m = MIN(n, PER_WORD - first);
		uint64_t mask = UINT64_MAX >> (64 - 2 * m) << 2 * first;

		store_bits(&gate->words4[first24 / PER_WORD], mask, all);
		first24 += m;
		n -= m;
	}
}

enum sluice_gate_class gate_get4(const struct gate *gate, uint32_t slot24)
{
	uint64_t word;

	assert(slot24 < N_24S);
	word = __atomic_load_n(&gate->words4[slot24 / PER_WORD], __ATOMIC_RELAXED);
	return (enum sluice_gate_class)(word >> slot24 % PER_WORD * 2 & 3);
}

/* --- IPv6: the filter ------------------------------------------------------------------------ */

/* The probes of the program that a prefix has to answer: all of one level that lie in it. */
struct probes {
	uint64_t first;
	uint64_t step;
	uint32_t n;
	unsigned level; /* 16, 32 or 48 */
};

static uint64_t top_of(const uint8_t addr[16])
{
	uint64_t top = 0;

	for (unsigned i = 0; i < 8; i++)
		top = top << 8 | addr[i];
	return top;
}

static struct probes probes_of(const uint8_t addr[16], unsigned len)
{
	unsigned level = len <= 16 ? 16 : len <= 32 ? 32 : 48;
	unsigned significant = MIN(len, level);
	uint64_t top = top_of(addr);

	assert(len <= 128);
	return (struct probes){
		.first = significant ? top >> (64 - significant) << (64 - significant) : 0,
		.step = 1ULL << (64 - level),
		.n = 1u << (level - significant),
		.level = level,
	};
}

static void set_bit6(struct gate *gate, uint32_t bit, bool is_set)
{
	uint64_t mask = 1ULL << bit % 64;

	store_bits(&gate->words6[bit / 64], mask, is_set ? mask : 0);
}

static void want_bit6(struct gate *gate, uint32_t bit)
{
	if (gate->counts6[bit]++ == 0)
		set_bit6(gate, bit, true);
}

static void unwant_bit6(struct gate *gate, uint32_t bit)
{
	assert(gate->counts6[bit] > 0);
	if (--gate->counts6[bit] == 0)
		set_bit6(gate, bit, false);
}

int gate_add6(struct gate *gate, const uint8_t addr[16], unsigned len)
{
	const struct probes probes = probes_of(addr, len);

	for (uint32_t i = 0; i < probes.n; i++)
		want_bit6(gate, sluice_gate6_bit(probes.first + i * probes.step, probes.level));
	return 0;
}

void gate_delete6(struct gate *gate, const uint8_t addr[16], unsigned len)
{
	const struct probes probes = probes_of(addr, len);

	for (uint32_t i = 0; i < probes.n; i++)
		unwant_bit6(gate, sluice_gate6_bit(probes.first + i * probes.step, probes.level));
}

/* --- Addresses of this host ------------------------------------------------------------------ */

static int add_local(int fd, const void *addr, uint32_t group, uint64_t flags)
{
	int r = bpf_map_update_elem(fd, addr, &group, flags);

	return r == -E2BIG ? -ENOSPC : r;
}

int gate_add_local4(struct gate *gate, uint32_t addr_be, uint32_t group)
{
	return add_local(gate->fds.local4, &addr_be, group, BPF_ANY);
}

/* The filter first: it is what makes the program look. A /64 counts once per address in it. */
int gate_add_local6(struct gate *gate, const uint8_t addr[16], uint32_t group)
{
	uint32_t bit = sluice_gate6_bit(top_of(addr), 64);
	int r;

	want_bit6(gate, bit);
	r = add_local(gate->fds.local6, addr, group, BPF_NOEXIST);
	if (r == 0)
		return 0;
	unwant_bit6(gate, bit);
	return r == -EEXIST ? add_local(gate->fds.local6, addr, group, BPF_EXIST) : r;
}

int gate_delete_local4(struct gate *gate, uint32_t addr_be)
{
	return bpf_map_delete_elem(gate->fds.local4, &addr_be);
}

int gate_delete_local6(struct gate *gate, const uint8_t addr[16])
{
	int r = bpf_map_delete_elem(gate->fds.local6, addr);

	if (r == 0)
		unwant_bit6(gate, sluice_gate6_bit(top_of(addr), 64));
	return r;
}

size_t gate_bytes(const struct gate *gate)
{
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char is_resident[COUNT_BYTES / 4096];
	size_t n_pages = COUNT_BYTES / page_bytes, n_resident = 0;

	/* Of the counts only what was ever touched is memory. */
	if (mincore(gate->counts6, COUNT_BYTES, is_resident) == 0) {
		for (size_t i = 0; i < n_pages; i++)
			n_resident += is_resident[i] & 1;
	} else {
		n_resident = n_pages;
	}
	return sizeof(*gate) + GATE4_BYTES + GATE6_BYTES + n_resident * page_bytes +
	       2 * SLUICE_MAX_LOCALS * HASH_HEAD_BYTES;
}
