/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions and probes, one row each. */
#include "control/version.h"

#include <json-c/json_c_version.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "config.h"
#include "kern/probe.h"
#include "util/clock.h"
#include "util/macros.h"

void version_print(FILE *out)
{
	fprintf(out, "sluiced %s (%s)\n", SLUICE_VERSION, SLUICE_REVISION);
}

/* 1 yes, 0 no, -errno cannot be asked: kern/probe.h. */
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
	{"bpf file system for pins", probe_bpffs, "on_failure = drop is refused"},
	{"splicing in the kernel (self-test of sockmap)", probe_splice,
	 "connections by splice(2) and copying"},
	{"choice of acceptor (REUSEPORT_SOCKARRAY)", probe_reuseport,
	 "the kernel's hash chooses acceptors"},
	{"sock_ops and its storage (SK_STORAGE)", probe_sockops, "TCP_INFO tells of connections"},
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
	fprintf(out, "  %-16s %s  %s\n", "libbpf", SLUICE_LIBBPF_VERSION, probe_libbpf_version());
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
