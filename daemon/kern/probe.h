/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel offers, asked by trying, never by its version: each answers 1 (yes), 0 (no) or
 * -errno (cannot be asked: a capability is missing). Nothing is left behind.
 *
 * Thread: main, control. Syscalls: socket, bpf, memfd_create, access.
 */
#pragma once

int probe_af_xdp(void);     /* CONFIG_XDP_SOCKETS; needs CAP_NET_RAW */
int probe_xskmap(void);     /* needs CAP_BPF and CAP_NET_ADMIN */
int probe_tx_budget(void);  /* XDP_MAX_TX_SKB_BUDGET, 6.18 */
int probe_huge_pages(void); /* 2 MiB of them are free now */
int probe_bpffs(void);      /* is there, or can be made, a directory for pins */

int probe_splice(void);    /* the self-test, over loopback; needs CAP_PERFMON, too */
int probe_reuseport(void); /* a map of listening sockets; needs CAP_BPF and CAP_NET_ADMIN */
int probe_sockops(void);   /* storage of sockets that children inherit; the same */

/* Of the library that was loaded. */
const char *probe_libbpf_version(void);
