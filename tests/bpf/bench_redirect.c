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
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bpf_env.h"
#include "util/clock.h"
#include "util/macros.h"

#define MAX_ROUNDS 15

struct path {
	const char *name;
	bool is_pass_port, is_detached, has_beat, has_socket;
	uint8_t dst_first; /* of the destination MAC; 01 makes it a pause frame */
};

static const struct path paths[] = {
	{.name = "redirect", .has_beat = true, .has_socket = true, .dst_first = 0x02},
	{.name = "no_socket", .has_beat = true, .dst_first = 0x02},
	{.name = "stale", .has_socket = true, .dst_first = 0x02},
	{.name = "pause", .dst_first = 0x01},
	{.name = "pass_port", .is_pass_port = true, .dst_first = 0x02},
	{.name = "detached", .is_detached = true, .dst_first = 0x02},
};
#define N_PATHS ARRAY_SIZE(paths)

static void die(const char *what, int error)
{
	(void)fprintf(stderr, "%s: %s\n%s", what, strerror(error), port_prog_load_log());
	exit(EXIT_FAILURE);
}

static uint32_t load_path(const struct path *path)
{
	static const uint16_t queue_worker[] = {0};
	const struct port_prog_spec spec = {
		.port = "bench",
		.ifindex = 1,
		.config = {.forward =
				   path->is_pass_port ? SLUICE_FORWARD_PASS : SLUICE_FORWARD_WIRE,
			   .fallback = XDP_PASS,
			   .stall_jiffies = 600 * clock_kernel_hz()},
		.queue_worker = queue_worker,
		.n_queues = 1,
		.n_workers = 1,
		.numa_node = -1,
	};
	struct port_prog *prog;
	int r = port_prog_load(&spec, &prog);

	if (r < 0)
		die("load", -r);
	if (path->has_beat)
		env_beat(prog, 0);
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
		char byte;

		(void)close(until[1]);
		keep_capabilities(capabilities);
		for (size_t i = 0; i < N_PATHS; i++) {
			uint32_t id = load_path(&paths[i]);

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

static int run_ns(int prog_fd, const struct path *path, int repeat)
{
	uint8_t frame[60] = {path->dst_first, 0x80, 0xc2, 0, 0, 1, 0x02, 0, 0, 0, 0, 0x0b, 0x08};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = repeat);
	int r = bpf_prog_test_run_opts(prog_fd, &opts);

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
		(void)printf("%-16s %-10s %+d ns over a no-op of %d ns (median of %d; %d … %d)\n",
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
