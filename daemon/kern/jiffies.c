// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the kernel's tick count and keeps the origin of CLOCK_MONOTONIC in it; see jiffies.h. */
#include "kern/jiffies.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "util/clock.h"
#include "util/macros.h"

#define N_READINGS  4
#define DRIFT_SHIFT 10 /* a timer and the clock disagree by less than 1/1024 */

/*
 * *(u64 *)ctx = bpf_jiffies64(). A program of type SYSCALL, because its context comes back to user
 * space; running one of type XDP waits for grace periods (bpf_prog_change_xdp()).
 */
static int load_reader(void)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_jiffies64},
		{.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE);

	return bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "sluice_jiffies", "GPL", insns,
			     ARRAY_SIZE(insns), &opts);
}

int jiffies_read(const struct jiffies *jiffies, uint64_t *ret_count)
{
	uint64_t count = 0;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &count, .ctx_size_in = sizeof(count));
	int r = bpf_prog_test_run_opts(jiffies->prog_fd, &opts);

	if (r < 0)
		return r;
	*ret_count = count;
	return 0;
}

/* An upper bound of the origin, as close as a few readings get. */
static int read_origin(const struct jiffies *jiffies, uint64_t *ret_origin_ns, uint64_t *ret_at_ns)
{
	const uint64_t tick_ns = clock_tick_ns();
	uint64_t least_ns = 0, at_ns = 0, count;

	for (unsigned i = 0; i < N_READINGS; i++) {
		uint64_t origin_ns;
		int r = jiffies_read(jiffies, &count);

		if (r < 0)
			return r;
		at_ns = clock_now_ns();
		origin_ns = at_ns - count * tick_ns;
		/* Signed: the origin is long before the clock's zero. */
		if (i == 0 || (int64_t)(origin_ns - least_ns) < 0)
			least_ns = origin_ns;
	}
	*ret_origin_ns = least_ns;
	*ret_at_ns = at_ns;
	return 0;
}

int jiffies_calibrate(struct jiffies *jiffies)
{
	uint64_t origin_ns, now_ns, kept_ns;
	int r;

	if (jiffies->prog_fd < 0) {
		r = load_reader();
		if (r < 0)
			return r;
		jiffies->prog_fd = r;
	}
	r = read_origin(jiffies, &origin_ns, &now_ns);
	if (r < 0)
		return r;
	kept_ns = jiffies->origin_ns + ((now_ns - jiffies->calibrated_at_ns) >> DRIFT_SHIFT);
	if (jiffies->calibrated_at_ns != 0 && (int64_t)(kept_ns - origin_ns) < 0)
		origin_ns = kept_ns;
	jiffies->origin_ns = origin_ns;
	jiffies->calibrated_at_ns = now_ns;
	return 0;
}

void jiffies_fini(struct jiffies *jiffies)
{
	close_fdp(&jiffies->prog_fd);
}
