// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way back to the kernel, second half: sits at the ingress of a port's TAP (kern/tap.c, which
 * loads it) and makes every frame that a worker writes there a frame that the port has received.
 * The kernel then treats it as such in all respects; only the port's XDP program, if native, does
 * not run again. A frame for a port that has gone is freed.
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

const volatile __u32 port_ifindex = 0;

SEC("tc")
int sluice_handback(struct __sk_buff *skb)
{
	(void)skb; /* whatever it is */
	return (int)bpf_redirect(port_ifindex, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
