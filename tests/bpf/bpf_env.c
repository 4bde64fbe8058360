// SPDX-License-Identifier: GPL-2.0-or-later
/* Namespaces, interfaces and BPF_PROG_TEST_RUN for the bpf tests; see bpf_env.h. */
#include "bpf_env.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kern/jiffies.h"
#include "util/clock.h"
#include "util/macros.h"

#define EXIT_SKIP 77

static void skip_all(const char *what)
{
	(void)printf("SKIP: %s: %s\n", what, strerror(errno));
	exit(EXIT_SKIP);
}

int env_load_foreign(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "foreigner", "GPL", insns, ARRAY_SIZE(insns), NULL);
}

static void no_ipv6(void)
{
	/* Else the kernel's own frames (router solicitations) mix with the test's. */
	_cleanup_close_ int fd =
		open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "1", 1) != 1)
		skip_all("disable_ipv6");
}

void env_enter(void)
{
	_cleanup_close_ int fd = -1;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		skip_all("unshare(CLONE_NEWNET | CLONE_NEWNS)");
	fd = env_load_foreign();
	if (fd < 0)
		skip_all("bpf(BPF_PROG_LOAD)");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0755") < 0)
		skip_all("mount bpffs on /sys/fs/bpf");
	if (mkdir(ENV_PIN_DIR, 0700) < 0)
		skip_all("mkdir " ENV_PIN_DIR);
	no_ipv6();
}

void env_run(const char *program, ...)
{
	const char *argv[32] = {program};
	unsigned n = 1;
	va_list args;
	int status;
	pid_t pid;

	va_start(args, program);
	while ((argv[n] = va_arg(args, const char *)))
		assert_true(++n < ARRAY_SIZE(argv));
	va_end(args);

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* execvp() writes to none of them; its prototype is older than const. */
		(void)execvp(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s %s %s …: status %#x", argv[0], argv[1], n > 2 ? argv[2] : "", status);
}

void env_make_veth(const char *name, const char *peer, unsigned n_queues)
{
	char n[16];

	(void)snprintf(n, sizeof(n), "%u", n_queues);
	env_run("ip", "link", "add", name, "numrxqueues", n, "numtxqueues", n, "type", "veth",
		"peer", "name", peer, "numrxqueues", n, "numtxqueues", n, NULL);
	env_run("ip", "link", "set", name, "up", NULL);
	env_run("ip", "link", "set", peer, "up", NULL);
}

uint32_t env_ifindex(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);

	assert_int_not_equal(ifindex, 0);
	return ifindex;
}

bool env_wait(bool (*done)(void *arg), void *arg)
{
	uint64_t deadline_ns = clock_now_ns() + ENV_DEADLINE_MS * NSEC_PER_MSEC;

	while (!done(arg)) {
		if (clock_now_ns() > deadline_ns)
			return false;
		(void)sched_yield();
	}
	return true;
}

uint32_t env_prog_on(uint32_t ifindex)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)ifindex, 0, &id), 0);
	return id;
}

uint32_t env_prog_id(int prog_fd)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(prog_fd, &info, &size), 0);
	return info.id;
}

uint64_t env_jiffies(void)
{
	static struct jiffies jiffies = {.prog_fd = -1}; /* as long as the process */
	uint64_t count;

	if (jiffies.prog_fd < 0)
		assert_int_equal(jiffies_calibrate(&jiffies), 0);
	assert_int_equal(jiffies_read(&jiffies, &count), 0);
	return count;
}

void env_beat(struct port_prog *prog, unsigned worker)
{
	*port_prog_beat(prog, worker) = env_jiffies();
}

uint32_t env_run_frame(const struct port_prog *prog, uint32_t ifindex, uint32_t queue,
		       const void *frame, uint32_t size_bytes)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(port_prog_id(prog));
	struct xdp_md ctx = {
		.data_end = size_bytes, .ingress_ifindex = ifindex, .rx_queue_index = queue};
	uint8_t out[9000];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = size_bytes,
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int r;

	assert_true(fd >= 0);
	r = bpf_prog_test_run_opts(fd, &opts);
	if (r < 0)
		fail_msg("BPF_PROG_TEST_RUN: queue %u, %u bytes: %s", queue, size_bytes,
			 strerror(-r));
	assert_int_equal(opts.data_size_out, size_bytes);
	assert_memory_equal(out, frame, size_bytes);
	return opts.retval;
}
