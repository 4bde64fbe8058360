// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/port_prog.c: the life of an attachment with and without pins, across processes, beside
 * foreign programs, and with the capabilities of the service.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "attach_env.h"
#include "bpf_env.h"
#include "kern/gate.h"
#include "kern/grace.h"
#include "kern/load_log.h"
#include "util/macros.h"

static const uint16_t queue_worker[] = {0};

/* --- Without pins ---------------------------------------------------------------------------- */

static void test_unpinned_program_goes_with_its_process(void **state)
{
	env_in_another_process(NULL, NULL);
	assert_true(env_wait(env_is_bare, (char[]){"lan"}));
	assert_false(env_exists(ENV_PORT_PATH));
}

static void test_detach_and_free_take_the_program_off_at_once(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = env_load_port("lan", false);
	bool adopted = true;

	assert_false(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(env_attach(prog, NULL, &adopted), 0);
	assert_false(adopted);
	assert_true(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));

	assert_int_equal(port_prog_detach(prog), 0);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(port_prog_detach(prog), 0);

	assert_int_equal(env_attach(prog, NULL, &adopted), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	env_port_prog_freep(&prog);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
}

static void test_device_that_went_is_not_attached(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = NULL;
	bool adopted;

	env_make_veth("gone", "gone-peer", 1);
	prog = env_load_port("gone", false);
	assert_int_equal(env_attach(prog, NULL, &adopted), 0);
	env_run("ip", "link", "del", "gone", NULL);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(port_prog_detach(prog), 0);
}

/* --- Foreign programs ------------------------------------------------------------------------ */

static void assert_conflict(struct port_prog *prog, const char *pin_dir, int error, uint32_t id,
			    bool generic, const char *name)
{
	struct port_prog_conflict conflict;
	bool adopted;

	assert_int_equal(port_prog_attach(prog, pin_dir, &adopted, &conflict), error);
	assert_int_equal(conflict.prog_id, id);
	assert_int_equal(conflict.generic, generic);
	assert_string_equal(conflict.name, name);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), id);
	assert_false(env_exists(ENV_PORT_PATH));
}

static void test_foreign_program_is_named_and_left_alone(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *native = env_load_port("lan", false);
	_cleanup_(env_port_prog_freep) struct port_prog *generic = env_load_port("lan", true);
	_cleanup_close_ int foreign = env_load_foreign();
	int ifindex = (int)env_ifindex("lan");
	uint32_t id = env_prog_id(foreign);
	bool adopted;

	assert_int_equal(bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_DRV_MODE, NULL), 0);
	assert_conflict(native, NULL, -EBUSY, id, false, "foreigner");
	assert_conflict(native, ENV_PIN_DIR, -EBUSY, id, false, "foreigner");
	assert_conflict(generic, NULL, -EEXIST, id, false, "foreigner");
	assert_int_equal(bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL), 0);

	assert_int_equal(bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_SKB_MODE, NULL), 0);
	assert_conflict(native, NULL, -EEXIST, id, true, "foreigner");
	assert_conflict(generic, NULL, -EBUSY, id, true, "foreigner");
	assert_int_equal(bpf_xdp_detach(ifindex, XDP_FLAGS_SKB_MODE, NULL), 0);

	/* The refusals leave the object fit for the next attempt. */
	assert_int_equal(env_attach(native, NULL, &adopted), 0);
	assert_conflict(generic, NULL, -EEXIST, port_prog_id(native), false, SLUICE_PROG_NAME);
}

static int drop_sys_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};
	const unsigned kept[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		data[kept[i] / 32].permitted |= 1u << kept[i] % 32;
		data[kept[i] / 32].effective |= 1u << kept[i] % 32;
	}
	return (int)syscall(SYS_capset, &header, data);
}

/* As the service runs: a program is loaded and attached, but strangers have no name. */
static void test_three_capabilities_suffice(void **state)
{
	_cleanup_close_ int foreign = env_load_foreign();
	int ifindex = (int)env_ifindex("lan"), status;
	pid_t pid;

	assert_int_equal(bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_DRV_MODE, NULL), 0);
	pid = fork();
	if (pid == 0) {
		struct port_prog *prog;

		if (drop_sys_admin() < 0)
			_exit(1);
		prog = env_load_port("lan", false);
		assert_conflict(prog, NULL, -EBUSY, env_prog_id(foreign), false, "");
		if (bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL) < 0)
			_exit(2);
		if (grace_wait() < 0)
			_exit(4);
		_exit(env_attach(prog, ENV_PIN_DIR, &(bool){false}) == 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), 0);
}

/* --- Pins ------------------------------------------------------------------------------------ */

static void test_pinned_program_is_adopted_across_processes(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = NULL;
	uint64_t counts[SLUICE_V_N];
	uint32_t old_id;
	bool adopted = false;

	env_in_another_process(ENV_PIN_DIR, env_count_five);
	old_id = env_prog_on(env_ifindex("lan"));
	assert_int_not_equal(old_id, 0);

	prog = env_load_port("lan", false);
	assert_int_equal(env_prog_on(env_ifindex("lan")), old_id);
	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_true(adopted);
	assert_true(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	env_assert_pins_of(prog);
	assert_int_equal(env_adopted_no_worker(prog), 5);
	assert_int_equal(port_prog_verdicts(prog, counts), 0);
	assert_int_equal(counts[SLUICE_V_NO_WORKER], 0);

	/* A clean end leaves it in force; the totals of all predecessors go on to the third. */
	env_count_frames(prog, 2);
	env_port_prog_freep(&prog);
	assert_int_not_equal(env_prog_on(env_ifindex("lan")), 0);
	prog = env_load_port("lan", false);
	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_true(adopted);
	assert_int_equal(env_adopted_no_worker(prog), 7);

	assert_int_equal(port_prog_detach(prog), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(env_exists(ENV_PORT_PATH));
}

/* --- Totals under traffic -------------------------------------------------------------------- */

/* Floods the interface until killed; tells once that it has begun. */
static pid_t start_flood(const char *ifname)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET,
				       .sll_halen = ETH_ALEN,
				       .sll_ifindex = (int)env_ifindex(ifname)};
	int begun[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(begun), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (uint64_t i = 0;; i++) {
			(void)sendto(fd, env_frame, sizeof(env_frame), 0,
				     (const struct sockaddr *)&to, sizeof(to));
			if (i == 1000 && write(begun[1], "b", 1) != 1)
				_exit(1);
		}
	}
	assert_int_equal(read(begun[0], &byte, 1), 1);
	(void)close(begun[0]);
	(void)close(begun[1]);
	return pid;
}

/* Packets that left an interface, by the kernel's count. Dropped ones are not among them. */
static uint64_t tx_packets(const char *ifname)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/net/dev", "re");
	unsigned long long packets = 0;
	char line[512], name[32];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %31[^:]: %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", name,
			   &packets) == 2 &&
		    strcmp(name, ifname) == 0)
			return packets;
	}
	fail_msg("%s is not in /proc/self/net/dev", ifname);
	return 0;
}

struct total {
	struct port_prog *prog;
	uint64_t adopted, expected;
};

static bool is_total(void *arg)
{
	struct total *total = arg;
	uint64_t counts[SLUICE_V_N], sum = total->adopted;

	assert_int_equal(port_prog_verdicts(total->prog, counts), 0);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		sum += counts[v];
	return sum == total->expected;
}

static void test_totals_are_exact_over_adoptions_under_traffic(void **state)
{
	const unsigned n_adoptions = 10;
	struct port_prog *prog = env_load_port("lan", false), *next;
	struct total total = {};
	uint64_t before, counts[SLUICE_V_N];
	bool adopted;
	pid_t flood;

	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	before = tx_packets("lan-peer");
	flood = start_flood("lan-peer");
	for (unsigned i = 0; i < n_adoptions; i++) {
		next = env_load_port("lan", false);
		assert_int_equal(env_attach(next, ENV_PIN_DIR, &adopted), 0);
		assert_true(adopted);
		port_prog_free(prog);
		prog = next;
	}
	assert_int_equal(kill(flood, SIGKILL), 0);
	assert_int_equal(waitpid(flood, NULL, 0), flood);

	port_prog_adopted_verdicts(prog, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		total.adopted += counts[v];
	total.prog = prog;
	total.expected = tx_packets("lan-peer") - before;
	assert_true(total.expected > 1000);
	if (!env_wait(is_total, &total))
		fail_msg("%llu sent, %llu adopted", (unsigned long long)total.expected,
			 (unsigned long long)total.adopted);
	assert_int_equal(port_prog_detach(prog), 0);
	port_prog_free(prog);
}

/* What a port does may change from one daemon to the next; the link stays, and so do the totals. */
static void test_program_of_another_mode_is_adopted(void **state)
{
	static const uint32_t modes[] = {SLUICE_FORWARD_WIRE, SLUICE_FORWARD_ROUTE,
					 SLUICE_FORWARD_BRIDGE, SLUICE_FORWARD_PASS,
					 SLUICE_FORWARD_ROUTE};
	struct port_prog *prog = NULL;
	bool adopted;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct port_prog_spec spec = {
			.port = ENV_PORT,
			.ifindex = env_ifindex("lan"),
			.config = {.forward = modes[i], .fallback = XDP_DROP, .stall_jiffies = 100},
			.queue_worker = queue_worker,
			.n_queues = 1,
			.n_workers = 1,
			.numa_node = -1};
		struct port_prog *next;
		struct gate *gate;

		assert_int_equal(gate_new(&gate), 0);
		spec.gate = gate;
		assert_int_equal(port_prog_load(&spec, &next), 0);
		assert_int_equal(env_attach(next, ENV_PIN_DIR, &adopted), 0);
		assert_int_equal(adopted, i > 0);
		/* As the daemon does when it ends: the program keeps what it needs. */
		gate_free(gate);
		port_prog_free(prog);
		prog = next;
		env_assert_pins_of(prog);
	}
	assert_int_equal(port_prog_detach(prog), 0);
	port_prog_free(prog);
}

/* --- Refusals -------------------------------------------------------------------------------- */

static void test_nonsense_is_refused_before_the_kernel_sees_it(void **state)
{
	static const uint16_t worker_1[] = {1};
	const struct port_prog_spec good = {.port = ENV_PORT,
					    .ifindex = 1,
					    .config.fallback = XDP_PASS,
					    .queue_worker = queue_worker,
					    .n_queues = 1,
					    .n_workers = 1,
					    .numa_node = -1};
	struct port_prog_spec bad[8] = {good, good, good, good, good, good, good, good};
	struct port_prog *prog = NULL;

	bad[0].n_queues = 0;
	bad[1].n_queues = SLUICE_MAX_QUEUES + 1;
	bad[2].queue_worker = worker_1;
	bad[3].config.fallback = XDP_ABORTED;
	bad[4].port = "";
	bad[5].config.forward = SLUICE_FORWARD_ROUTE; /* without a gate */
	bad[6].config.forward = SLUICE_FORWARD_BRIDGE;
	bad[7].config.forward = SLUICE_FORWARD_N;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(port_prog_load(&bad[i], &prog), -EINVAL);
	assert_null(prog);
	assert_int_equal(port_prog_load(&good, &prog), 0);
	port_prog_free(prog);
	port_prog_free(NULL);
}

static void test_load_without_capabilities_says_why(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		const struct port_prog_spec spec = {.port = ENV_PORT,
						    .ifindex = 1,
						    .config.fallback = XDP_PASS,
						    .queue_worker = queue_worker,
						    .n_queues = 1,
						    .n_workers = 1,
						    .numa_node = -1};
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct none[2] = {};
		struct port_prog *prog;

		if (syscall(SYS_capset, &header, none) < 0)
			_exit(1);
		if (port_prog_load(&spec, &prog) != -EPERM)
			_exit(2);
		_exit(strlen(load_log_text()) > 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unpinned_program_goes_with_its_process),
		cmocka_unit_test(test_detach_and_free_take_the_program_off_at_once),
		cmocka_unit_test(test_device_that_went_is_not_attached),
		cmocka_unit_test(test_foreign_program_is_named_and_left_alone),
		cmocka_unit_test(test_three_capabilities_suffice),
		cmocka_unit_test(test_pinned_program_is_adopted_across_processes),
		cmocka_unit_test(test_totals_are_exact_over_adoptions_under_traffic),
		cmocka_unit_test(test_program_of_another_mode_is_adopted),
		cmocka_unit_test(test_nonsense_is_refused_before_the_kernel_sees_it),
		cmocka_unit_test(test_load_without_capabilities_says_why),
	};

	env_enter();
	env_make_veth("lan", "lan-peer", 2);
	env_make_veth("wan", "wan-peer", 1);
	return cmocka_run_group_tests_name("port_prog", tests, NULL, NULL) ? EXIT_FAILURE :
									     EXIT_SUCCESS;
}
