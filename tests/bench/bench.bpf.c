/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The far end of a packet benchmark: counts what arrives and drops it, the same for every
 * candidate. Benchmarks use one queue, whose NAPI runs on one CPU at a time: a plain word, mapped
 * by user space, needs neither an atomic nor a system call to read.
 */
#include <linux/bpf.h>

/* A group of its own: the helpers use the types of <linux/bpf.h>. clang-format would sort it up. */
/* clang-format off */
#include <bpf/bpf_helpers.h>
/* clang-format on */

__u64 n_frames;

SEC("xdp")
int bench_count(__attribute__((unused)) struct xdp_md *ctx)
{
	n_frames++;
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
