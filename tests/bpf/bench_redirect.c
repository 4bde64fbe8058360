// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the XDP program costs a frame, by path: BPF_PROG_TEST_RUN with repeat, in turn with a
 * program that only returns XDP_PASS; the median difference is the cost. Once with the
 * capabilities of the packet plane and CAP_PERFMON, once without CAP_PERFMON (the verifier then
 * guards against speculation). `--smoke` runs one short round.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bpf_env.h"
#include "kern/gate.h"
#include "kern/load_log.h"
#include "util/clock.h"
#include "util/macros.h"

#define MAX_ROUNDS 15

struct path {
	const char *name;
	enum sluice_forward forward;
	bool is_detached, has_beat, has_socket;
	uint8_t dst_first; /* of the destination MAC; 01 makes it a pause frame, 0 is the port */
	uint16_t type;
	uint8_t dst[16]; /* of the IP packet */
};

#define ALIVE .has_beat = true, .has_socket = true
#define WIRE  .forward = SLUICE_FORWARD_WIRE
#define ROUTE .forward = SLUICE_FORWARD_ROUTE, ALIVE
#define IPV4  .type = ETH_P_IP
#define IPV6  .type = ETH_P_IPV6

static const struct path paths[] = {
	{.name = "redirect", WIRE, ALIVE},
	{.name = "no_socket", WIRE, .has_beat = true},
	{.name = "stale", WIRE, .has_socket = true},
	{.name = "pause", WIRE, .dst_first = 0x01},
	{.name = "pass_port", .forward = SLUICE_FORWARD_PASS},
	{.name = "detached", WIRE, .is_detached = true},
	{.name = "route4_ours", ROUTE, IPV4, .dst = {198, 51, 100, 1}},
	{.name = "route4_mixed", ROUTE, IPV4, .dst = {203, 0, 113, 9}},
	{.name = "route4_local", ROUTE, IPV4, .dst = {203, 0, 113, 1}},
	{.name = "route4_no_gate", ROUTE, IPV4, .dst = {192, 0, 2, 1}},
	{.name = "route_arp", ROUTE, .type = ETH_P_ARP},
	{.name = "route6", ROUTE, IPV6, .dst = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 9}},
	{.name = "route6_no_gate", ROUTE, IPV6, .dst = {0x20, 0x01, 0x0d, 0xb9}},
	{.name = "bridge", .forward = SLUICE_FORWARD_BRIDGE, ALIVE, .dst_first = 0x06},
	{.name = "bridge_local", .forward = SLUICE_FORWARD_BRIDGE, ALIVE},
};
#define N_PATHS ARRAY_SIZE(paths)

static void die(const char *what, int error)
{
	(void)fprintf(stderr, "%s: %s\n%s", what, strerror(error), load_log_text());
	exit(EXIT_FAILURE);
}

/* The rest as in a pause frame, whose first octet differs. */
#define MAC_REST(first) first, 0x80, 0xc2, 0, 0, 1

static struct gate *make_gate(void)
{
	static const uint8_t local[4] = {203, 0, 113, 1}, prefix[16] = {0x20, 0x01, 0x0d, 0xb8};
	struct gate *gate;
	uint32_t local_be;
	int r = gate_new(&gate);

	if (r < 0)
		die("gate_new", -r);
	memcpy(&local_be, local, sizeof(local_be));
	gate_set4(gate, 0xc63364, 1, SLUICE_GATE_OURS);
	gate_set4(gate, 0xcb0071, 1, SLUICE_GATE_MIXED);
	r = gate_add_local4(gate, local_be, SLUICE_NO_GROUP);
	if (r == 0)
		r = gate_add6(gate, prefix, 32);
	if (r < 0)
		die("gate", -r);
	return gate;
}

static uint32_t load_path(const struct path *path, const struct gate *gate)
{
	static const uint16_t queue_worker[] = {0};
	const struct port_prog_spec spec = {
		.port = "bench",
		.ifindex = 1,
		.config = {.forward = path->forward,
			   .fallback = XDP_PASS,
			   .stall_jiffies = 600 * clock_kernel_hz()},
		.queue_worker = queue_worker,
		.n_queues = 1,
		.n_workers = 1,
		.numa_node = -1,
		.gate = path->forward >= SLUICE_FORWARD_ROUTE ? gate : NULL,
	};
	static const uint8_t mac[8] = {MAC_REST(0x02)};
	struct port_prog *prog;
	int r = port_prog_load(&spec, &prog);

	if (r < 0)
		die("load", -r);
	if (path->has_beat)
		env_beat(prog, 0);
	memcpy(&port_prog_line(prog)->mac, mac, sizeof(mac));
	port_prog_line(prog)->routes = SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6;
	port_prog_line(prog)->max_packet_len = 1500;
	port_prog_set_detached(prog, path->is_detached);
	if (path->has_socket)
		r = port_prog_set_xsk(prog, 0, socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
	if (r < 0)
		die("set_xsk", -r);
	return port_prog_id(prog);
}

static void keep_capabilities(uint64_t mask)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	for (unsigned i = 0; i < 2; i++)
		data[i].permitted = data[i].effective = (uint32_t)(mask >> 32 * i);
	if (syscall(SYS_capset, &header, data) < 0)
		die("capset", errno);
}

/*
 * A process with these capabilities that has loaded the program for every path, and lives until
 * `until` is closed. Only we may open what it loaded by id (CAP_SYS_ADMIN).
 */
static pid_t start_loader(uint64_t capabilities, uint32_t ret_ids[N_PATHS], int *ret_until)
{
	int ids[2], until[2];
	pid_t pid;

	if (pipe(ids) < 0 || pipe(until) < 0)
		die("pipe", errno);
	pid = fork();
	if (pid < 0)
		die("fork", errno);
	if (pid == 0) {
		struct gate *gate;
		char byte;

		(void)close(until[1]);
		keep_capabilities(capabilities);
		gate = make_gate();
		for (size_t i = 0; i < N_PATHS; i++) {
			uint32_t id = load_path(&paths[i], gate);

			if (write(ids[1], &id, sizeof(id)) != sizeof(id))
				_exit(1);
		}
		_exit((int)read(until[0], &byte, 1));
	}
	(void)close(until[0]);
	(void)close(ids[1]);
	for (size_t i = 0; i < N_PATHS; i++) {
		if (read(ids[0], &ret_ids[i], sizeof(ret_ids[i])) != sizeof(ret_ids[i]))
			die("loader", EPIPE);
	}
	(void)close(ids[0]);
	*ret_until = until[1];
	return pid;
}

static void fill_packet(uint8_t *packet, const struct path *path)
{
	static const uint8_t ipv4[16] = {0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1};
	static const uint8_t ipv6[24] = {0x60, 0, 0, 0, 0, 20, 17, 64, 0x20, 0x01, 0x0d, 0xb8};

	if (path->type == ETH_P_IP) {
		memcpy(packet, ipv4, sizeof(ipv4));
		memcpy(packet + sizeof(ipv4), path->dst, 4);
	} else if (path->type == ETH_P_IPV6) {
		memcpy(packet, ipv6, sizeof(ipv6));
		memcpy(packet + sizeof(ipv6), path->dst, 16);
	}
}

static int run_ns(int prog_fd, const struct path *path, int repeat)
{
	uint8_t frame[74] = {MAC_REST(path->dst_first ? path->dst_first : 0x02),
			     0x02,
			     0,
			     0,
			     0,
			     0,
			     0x0b,
			     (uint8_t)(path->type >> 8),
			     (uint8_t)path->type};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = repeat);
	int r;

	fill_packet(frame + ETH_HLEN, path);
	r = bpf_prog_test_run_opts(prog_fd, &opts);

	if (r < 0)
		die("BPF_PROG_TEST_RUN", -r);
	return (int)opts.duration;
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void measure(const char *title, uint64_t capabilities, int n_rounds, int repeat)
{
	_cleanup_close_ int noop = env_load_foreign();
	uint32_t ids[N_PATHS];
	int until, status;
	pid_t loader = start_loader(capabilities, ids, &until);

	for (size_t i = 0; i < N_PATHS; i++) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(ids[i]);
		int noop_ns[MAX_ROUNDS], extra_ns[MAX_ROUNDS];

		if (fd < 0)
			die("bpf_prog_get_fd_by_id", -fd);
		for (int round = 0; round < n_rounds; round++) {
			noop_ns[round] = run_ns(noop, &paths[i], repeat);
			extra_ns[round] = run_ns(fd, &paths[i], repeat) - noop_ns[round];
		}
		qsort(noop_ns, (size_t)n_rounds, sizeof(*noop_ns), compare_ints);
		qsort(extra_ns, (size_t)n_rounds, sizeof(*extra_ns), compare_ints);
		(void)printf("%-16s %-14s %+d ns over a no-op of %d ns (median of %d; %d … %d)\n",
			     title, paths[i].name, extra_ns[n_rounds / 2], noop_ns[n_rounds / 2],
			     n_rounds, extra_ns[0], extra_ns[n_rounds - 1]);
	}
	(void)close(until);
	(void)waitpid(loader, &status, 0);
}

int main(int argc, char **argv)
{
	const bool is_smoke = argc > 1 && strcmp(argv[1], "--smoke") == 0;
	const int n_rounds = is_smoke ? 1 : MAX_ROUNDS, repeat = is_smoke ? 1000 : 500000;
	const uint64_t plane = 1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW | 1ULL << CAP_BPF;
	cpu_set_t cpu;

	env_enter();
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	(void)sched_setaffinity(0, sizeof(cpu), &cpu);
	measure("with PERFMON", plane | 1ULL << CAP_PERFMON, n_rounds, repeat);
	measure("without PERFMON", plane, n_rounds, repeat);
	return EXIT_SUCCESS;
}
