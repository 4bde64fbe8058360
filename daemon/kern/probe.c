/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking the kernel what it can do, by trying. */
#include "kern/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kern/port_prog.h"
#include "kern/splice_maps.h"
#include "kern/umem.h"
#include "util/macros.h"

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* linux/if_xdp.h of 6.18 */
#endif

int probe_af_xdp(void)
{
	_cleanup_close_ int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		return 1;
	return errno == EAFNOSUPPORT ? 0 : -errno;
}

static int probe_map(enum bpf_map_type type)
{
	_cleanup_close_ int fd = bpf_map_create(type, "sluice_probe", 4, 4, 1, NULL);

	if (fd >= 0)
		return 1;
	return fd == -EINVAL ? 0 : fd;
}

int probe_xskmap(void)
{
	return probe_map(BPF_MAP_TYPE_XSKMAP);
}

/* An unknown option of SOL_XDP answers ENOPROTOOPT, a known one on an unbound socket EACCES. */
int probe_tx_budget(void)
{
	_cleanup_close_ int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint32_t budget = 64;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)) == 0)
		return 1;
	return errno == ENOPROTOOPT ? 0 : 1;
}

int probe_huge_pages(void)
{
	const struct umem_spec spec = {
		.n_frames = 1024, .frame_size_bytes = 2048, .numa_node = -1, .want_huge = true};
	struct umem umem;
	int r = umem_init(&umem, &spec);

	if (r == 0)
		umem_fini(&umem);
	return r == 0 ? 1 : r == -ENOMEM ? 0 : r;
}

int probe_bpffs(void)
{
	return pin_dir_is_possible("");
}

int probe_splice(void)
{
	const char *what = "";
	int r = splice_selftest(&what);

	/* Without permission, or in a namespace without loopback. */
	if (r == -EPERM || r == -EACCES || r == -ENETUNREACH || r == -EADDRNOTAVAIL)
		return r;
	return r == 0;
}

int probe_reuseport(void)
{
	return probe_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
}

/* libbpf's own probe knows what BTF it takes, but not that it was refused for want of permission.
 */
int probe_sockops(void)
{
	int r = probe_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);

	return r < 0 ? r : libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL);
}

const char *probe_libbpf_version(void)
{
	return libbpf_version_string();
}
