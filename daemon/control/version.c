/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions and probes, one row each. */
#include "control/version.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json_c_version.h>
#include <linux/if_xdp.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "kern/port_prog.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "util/clock.h"
#include "util/macros.h"

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

void version_print(FILE *out)
{
	fprintf(out, "sluiced %s (%s)\n", SLUICE_VERSION, SLUICE_REVISION);
}

/* --- Probes: 1 yes, 0 no, -errno cannot be asked ------------------------------------------------ */

static int probe_af_xdp(void)
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

static int probe_xskmap(void)
{
	return probe_map(BPF_MAP_TYPE_XSKMAP);
}

/* An unknown option of SOL_XDP answers ENOPROTOOPT, a known one on an unbound socket EACCES. */
static int probe_tx_budget(void)
{
	_cleanup_close_ int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint32_t budget = 64;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)) == 0)
		return 1;
	return errno == ENOPROTOOPT ? 0 : 1;
}

static int probe_huge_pages(void)
{
	const struct umem_spec spec = {
		.n_frames = 1024, .frame_size_bytes = 2048, .numa_node = -1, .want_huge = true};
	struct umem umem;
	int r = umem_init(&umem, &spec);

	if (r == 0)
		umem_fini(&umem);
	return r == 0 ? 1 : r == -ENOMEM ? 0 : r;
}

static int probe_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static int probe_bpffs(void)
{
	char dir[108];
	int r = pin_dir_resolve("", dir, sizeof(dir));

	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static const struct probe {
	const char *name;
	int (*ask)(void);
	const char *without; /* what happens where the answer is no */
} probes[] = {
	{"AF_XDP sockets", probe_af_xdp, "no port can forward"},
	{"XSKMAP", probe_xskmap, "no port can forward"},
	{"tx budget of a wakeup (XDP_MAX_TX_SKB_BUDGET)", probe_tx_budget,
	 "copy mode sends 32 packets a system call"},
	{"huge pages free (2 MiB)", probe_huge_pages, "packet memory on small pages"},
	{"kernel BTF", probe_btf, "nothing, in this version"},
	{"bpf file system for pins", probe_bpffs, "on_failure = drop is refused"},
};

static void print_probe(const struct probe *probe, FILE *out)
{
	int r = probe->ask();

	fprintf(out, "  %-48s ", probe->name);
	if (r > 0)
		fputs("yes\n", out);
	else if (r == 0)
		fprintf(out, "no: %s\n", probe->without);
	else
		fprintf(out, "cannot be asked: %s\n", strerror(-r));
}

static void print_limit(const char *name, int resource, FILE *out)
{
	struct rlimit limit = {0};

	(void)getrlimit((__rlimit_resource_t)resource, &limit);
	fprintf(out, "  %-48s ", name);
	if (limit.rlim_cur == RLIM_INFINITY)
		fputs("unlimited\n", out);
	else
		fprintf(out, "%llu\n", (unsigned long long)limit.rlim_cur);
}

void version_print_long(FILE *out)
{
	struct utsname kernel = {0};

	version_print(out);
	(void)uname(&kernel);
	fprintf(out, "kernel: %s %s %s\n", kernel.sysname, kernel.release, kernel.machine);
	fprintf(out, "compiler: %s\n", __VERSION__);
	fprintf(out, "libraries, compiled against and loaded:\n");
	fprintf(out, "  %-16s %d.%d  %s\n", "libbpf", LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION,
		libbpf_version_string());
	fprintf(out, "  %-16s %x  %s\n", "libmicrohttpd", (unsigned)MHD_VERSION, MHD_get_version());
	fprintf(out, "  %-16s %s  %s\n", "json-c", JSON_C_VERSION, json_c_version());
	fprintf(out, "  %-16s %s  (headers only)\n", "libxdp", SLUICE_LIBXDP_VERSION);
	fprintf(out, "  %-16s %s\n", "inih", SLUICE_INIH_VERSION);
	fprintf(out, "  %-16s %s\n", "libmnl", SLUICE_LIBMNL_VERSION);
	fprintf(out, "  %-16s %s\n", "libsystemd", SLUICE_LIBSYSTEMD_VERSION);
	fprintf(out, "kernel features:\n");
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		print_probe(&probes[i], out);
	fprintf(out, "limits:\n");
	print_limit("RLIMIT_MEMLOCK (bytes of packet memory)", RLIMIT_MEMLOCK, out);
	print_limit("RLIMIT_NOFILE", RLIMIT_NOFILE, out);
	fprintf(out, "  %-48s %u\n", "timer frequency (Hz)", clock_kernel_hz());
}
