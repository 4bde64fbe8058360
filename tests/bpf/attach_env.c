// SPDX-License-Identifier: GPL-2.0-or-later
/* Ports attached by this process or another, for the tests of their life; see attach_env.h. */
#include "attach_env.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf_env.h"
#include "kern/load_log.h"
#include "kern/pin.h"
#include "util/macros.h"

const uint8_t env_frame[60] = {0x02, 0, 0, 0, 0, 0x0a, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00};
static const uint16_t queue_worker[] = {0};

void env_port_prog_freep(struct port_prog **prog)
{
	port_prog_free(*prog);
	*prog = NULL;
}

struct port_prog *env_load_port(const char *ifname, bool generic)
{
	const struct port_prog_spec spec = {
		.port = ENV_PORT,
		.ifindex = env_ifindex(ifname),
		.generic = generic,
		.config = {.forward = SLUICE_FORWARD_WIRE,
			   .fallback = XDP_DROP,
			   .stall_jiffies = 100},
		.queue_worker = queue_worker,
		.n_queues = ARRAY_SIZE(queue_worker),
		.n_workers = 1,
		.numa_node = -1,
	};
	struct port_prog *prog;
	int r = port_prog_load(&spec, &prog);

	if (r < 0)
		fail_msg("load: %s\n%s", strerror(-r), load_log_text());
	return prog;
}

int env_attach(struct port_prog *prog, const char *pin_dir, bool *ret_adopted)
{
	struct port_prog_conflict conflict;

	return port_prog_attach(prog, pin_dir, ret_adopted, &conflict);
}

void env_count_frames(const struct port_prog *prog, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(
			env_run_frame(prog, env_ifindex("lan"), 1, env_frame, sizeof(env_frame)),
			XDP_PASS);
}

uint64_t env_adopted_no_worker(const struct port_prog *prog)
{
	uint64_t counts[SLUICE_V_N];

	port_prog_adopted_verdicts(prog, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++) {
		if (v != SLUICE_V_NO_WORKER)
			assert_int_equal(counts[v], 0);
	}
	return counts[SLUICE_V_NO_WORKER];
}

bool env_is_bare(void *arg)
{
	return env_prog_on(env_ifindex(arg)) == 0;
}

bool env_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static uint32_t pinned_prog_id(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	assert_true(fd >= 0);
	return env_prog_id(fd);
}

void env_assert_pins_of(const struct port_prog *prog)
{
	_cleanup_(pin_close) struct pin pin = {.link_fd = -1};
	struct stat st;

	assert_int_equal(pin_open(ENV_PORT_PATH, &pin), 0);
	assert_int_equal(pin.state, PIN_ALIVE);
	assert_false(pin.is_staged);
	assert_int_equal(pin.prog_id, port_prog_id(prog));
	assert_int_equal(pinned_prog_id(ENV_PORT_PATH "/prog"), port_prog_id(prog));
	assert_true(env_exists(ENV_PORT_PATH "/xsks"));
	assert_true(env_exists(ENV_PORT_PATH "/heartbeat"));
	assert_true(env_exists(ENV_PORT_PATH "/verdicts"));
	assert_false(env_exists(ENV_PORT_PATH "/next"));
	assert_int_equal(stat(ENV_PORT_PATH, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

void env_in_another_process(const char *pin_dir, void (*fn)(struct port_prog *prog))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct port_prog *prog = env_load_port("lan", false);
		bool adopted;

		if (env_attach(prog, pin_dir, &adopted) < 0)
			_exit(1);
		if (fn)
			fn(prog);
		_exit(env_prog_on(env_ifindex("lan")) == port_prog_id(prog) ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

void env_count_five(struct port_prog *prog)
{
	env_count_frames(prog, 5);
}
