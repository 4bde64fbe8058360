// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/port_prog.c and kern/pin.c: the life of an attachment with and without pins, across
 * processes, beside foreign programs, and from every state that a crash can leave behind.
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

/* cmocka.h relies on these being included before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "bpf_env.h"
#include "kern/grace.h"
#include "kern/pin.h"
#include "util/macros.h"

#define PORT "lan.0" /* a dot, which a bpf file system refuses in names */
#define PORT_PATH ENV_PIN_DIR "/lan%2e0"

static const uint8_t frame[60] = {0x02, 0, 0, 0, 0, 0x0a, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00};
static const uint16_t queue_worker[] = {0};

static void port_prog_freep(struct port_prog **prog)
{
	port_prog_free(*prog);
	*prog = NULL;
}

static struct port_prog *load(const char *ifname, bool generic)
{
	const struct port_prog_spec spec = {
		.port = PORT,
		.ifindex = env_ifindex(ifname),
		.generic = generic,
		.config = {.forwards = 1, .fallback = XDP_DROP, .stall_jiffies = 100},
		.queue_worker = queue_worker,
		.n_queues = ARRAY_SIZE(queue_worker),
		.n_workers = 1,
		.numa_node = -1,
	};
	struct port_prog *prog;
	int r = port_prog_load(&spec, &prog);

	if (r < 0)
		fail_msg("load: %s\n%s", strerror(-r), port_prog_load_log());
	return prog;
}

static int attach(struct port_prog *prog, const char *pin_dir, bool *ret_adopted)
{
	struct port_prog_conflict conflict;

	return port_prog_attach(prog, pin_dir, ret_adopted, &conflict);
}

/* Frames that count as NO_WORKER: a queue outside the plan. */
static void count_frames(const struct port_prog *prog, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(env_run_frame(prog, env_ifindex("lan"), 1, frame, sizeof(frame)),
				 XDP_PASS);
}

static uint64_t adopted_no_worker(const struct port_prog *prog)
{
	uint64_t counts[SLUICE_V_N];

	port_prog_adopted_verdicts(prog, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++) {
		if (v != SLUICE_V_NO_WORKER)
			assert_int_equal(counts[v], 0);
	}
	return counts[SLUICE_V_NO_WORKER];
}

static bool is_bare(void *arg)
{
	return env_prog_on(env_ifindex(arg)) == 0;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static uint32_t pinned_prog_id(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	assert_true(fd >= 0);
	return env_prog_id(fd);
}

/* The layout of a finished attachment, and nothing else in it. */
static void assert_pins_of(const struct port_prog *prog)
{
	_cleanup_(pin_close) struct pin pin = {.link_fd = -1};
	struct stat st;

	assert_int_equal(pin_open(PORT_PATH, &pin), 0);
	assert_int_equal(pin.state, PIN_ALIVE);
	assert_false(pin.is_staged);
	assert_int_equal(pin.prog_id, port_prog_id(prog));
	assert_int_equal(pinned_prog_id(PORT_PATH "/prog"), port_prog_id(prog));
	assert_true(exists(PORT_PATH "/xsks"));
	assert_true(exists(PORT_PATH "/heartbeat"));
	assert_true(exists(PORT_PATH "/verdicts"));
	assert_false(exists(PORT_PATH "/next"));
	assert_int_equal(stat(PORT_PATH, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* Runs fn(prog) in another process that has loaded and attached, and ends without cleaning up. */
static void in_another_process(const char *pin_dir, void (*fn)(struct port_prog *prog))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct port_prog *prog = load("lan", false);
		bool adopted;

		if (attach(prog, pin_dir, &adopted) < 0)
			_exit(1);
		if (fn)
			fn(prog);
		_exit(env_prog_on(env_ifindex("lan")) == port_prog_id(prog) ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void count_five(struct port_prog *prog)
{
	count_frames(prog, 5);
}

/* --- Without pins ------------------------------------------------------------------------------- */

static void test_unpinned_program_goes_with_its_process(void **state)
{
	in_another_process(NULL, NULL);
	assert_true(env_wait(is_bare, (char[]){"lan"}));
	assert_false(exists(PORT_PATH));
}

static void test_detach_and_free_take_the_program_off_at_once(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load("lan", false);
	bool adopted = true;

	assert_false(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(attach(prog, NULL, &adopted), 0);
	assert_false(adopted);
	assert_true(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));

	assert_int_equal(port_prog_detach(prog), 0);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(port_prog_detach(prog), 0);

	assert_int_equal(attach(prog, NULL, &adopted), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	port_prog_freep(&prog);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
}

static void test_device_that_went_is_not_attached(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = NULL;
	bool adopted;

	env_make_veth("gone", "gone-peer", 1);
	prog = load("gone", false);
	assert_int_equal(attach(prog, NULL, &adopted), 0);
	env_run("ip", "link", "del", "gone", NULL);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(port_prog_detach(prog), 0);
}

/* --- Foreign programs --------------------------------------------------------------------------- */

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
	assert_false(exists(PORT_PATH));
}

static void test_foreign_program_is_named_and_left_alone(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *native = load("lan", false);
	_cleanup_(port_prog_freep) struct port_prog *generic = load("lan", true);
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
	assert_int_equal(attach(native, NULL, &adopted), 0);
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
		prog = load("lan", false);
		assert_conflict(prog, NULL, -EBUSY, env_prog_id(foreign), false, "");
		if (bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL) < 0)
			_exit(2);
		if (grace_wait() < 0)
			_exit(4);
		_exit(attach(prog, ENV_PIN_DIR, &(bool){false}) == 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), 0);
}

/* --- Pins --------------------------------------------------------------------------------------- */

static void test_pinned_program_is_adopted_across_processes(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = NULL;
	uint64_t counts[SLUICE_V_N];
	uint32_t old_id;
	bool adopted = false;

	in_another_process(ENV_PIN_DIR, count_five);
	old_id = env_prog_on(env_ifindex("lan"));
	assert_int_not_equal(old_id, 0);

	prog = load("lan", false);
	assert_int_equal(env_prog_on(env_ifindex("lan")), old_id);
	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_true(adopted);
	assert_true(port_prog_is_attached(prog));
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	assert_pins_of(prog);
	assert_int_equal(adopted_no_worker(prog), 5);
	assert_int_equal(port_prog_verdicts(prog, counts), 0);
	assert_int_equal(counts[SLUICE_V_NO_WORKER], 0);

	/* A clean end leaves it in force; the totals of all predecessors go on to the third. */
	count_frames(prog, 2);
	port_prog_freep(&prog);
	assert_int_not_equal(env_prog_on(env_ifindex("lan")), 0);
	prog = load("lan", false);
	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_true(adopted);
	assert_int_equal(adopted_no_worker(prog), 7);

	assert_int_equal(port_prog_detach(prog), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(exists(PORT_PATH));
}

/* --- Totals under traffic ----------------------------------------------------------------------- */

/* Floods the interface until killed; tells once that it has begun. */
static pid_t start_flood(const char *ifname)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN,
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
			(void)sendto(fd, frame, sizeof(frame), 0, (const struct sockaddr *)&to,
				     sizeof(to));
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
	struct port_prog *prog = load("lan", false), *next;
	struct total total = {};
	uint64_t before, counts[SLUICE_V_N];
	bool adopted;
	pid_t flood;

	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	before = tx_packets("lan-peer");
	flood = start_flood("lan-peer");
	for (unsigned i = 0; i < n_adoptions; i++) {
		next = load("lan", false);
		assert_int_equal(attach(next, ENV_PIN_DIR, &adopted), 0);
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

/* --- Without a daemon --------------------------------------------------------------------------- */

struct seen {
	unsigned n;
	struct pin_info info;
	char port[64];
};

static int note_port(const struct pin_info *info, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	seen->info = *info;
	(void)snprintf(seen->port, sizeof(seen->port), "%s", info->port);
	return 0;
}

static int stop_with_42(const struct pin_info *info, void *arg)
{
	return 42;
}

static void test_pins_are_listed_and_removed_without_a_daemon(void **state)
{
	struct seen seen = {};
	uint32_t id;

	in_another_process(ENV_PIN_DIR, NULL);
	id = env_prog_on(env_ifindex("lan"));
	assert_int_equal(mkdir(ENV_PIN_DIR "/empty", 0700), 0);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.port, PORT);
	assert_true(seen.info.is_ours);
	assert_true(seen.info.is_alive);
	assert_int_equal(seen.info.ifindex, env_ifindex("lan"));
	assert_int_equal(seen.info.prog_id, id);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, stop_with_42, NULL), 42);

	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(exists(PORT_PATH));
	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), -ENOENT);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ""), -EINVAL);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 0);
	assert_int_equal(pin_for_each(ENV_PIN_DIR "/absent", note_port, &seen), -ENOENT);
	assert_int_equal(rmdir(ENV_PIN_DIR "/empty"), 0);
}

static void test_pins_are_removed_from_under_a_daemon(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load("lan", false);
	bool adopted;

	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(port_prog_detach(prog), 0);
}

static void test_defunct_pin_is_replaced_on_the_new_device(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = NULL;
	struct seen seen = {};
	bool adopted = true;

	env_make_veth("gone", "gone-peer", 1);
	prog = load("gone", false);
	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	port_prog_freep(&prog);
	env_run("ip", "link", "del", "gone", NULL);

	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_true(seen.info.is_ours);
	assert_false(seen.info.is_alive);

	env_make_veth("gone", "gone-peer", 1);
	prog = load("gone", false);
	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("gone")), port_prog_id(prog));
	assert_pins_of(prog);
	env_run("ip", "link", "del", "gone", NULL);
	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), 0);
	assert_false(exists(PORT_PATH));
}

static void test_pin_of_another_interface_or_mode_is_released(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *on_wan = NULL;
	_cleanup_(port_prog_freep) struct port_prog *generic = NULL;
	bool adopted = true;

	in_another_process(ENV_PIN_DIR, NULL);
	on_wan = load("wan", false);
	assert_int_equal(attach(on_wan, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(env_prog_on(env_ifindex("wan")), port_prog_id(on_wan));
	port_prog_freep(&on_wan);

	generic = load("wan", true);
	assert_int_equal(attach(generic, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("wan")), port_prog_id(generic));
	assert_pins_of(generic);
	assert_int_equal(port_prog_detach(generic), 0);
}

static void pin(int fd, const char *path)
{
	assert_int_equal(bpf_obj_pin(fd, path), 0);
}

/* Attaching, listing and removing leave foreign pins as they are. */
static void assert_refused(void)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load("lan", false);
	uint32_t on_interface = env_prog_on(env_ifindex("lan"));
	struct seen seen = {};
	bool adopted;

	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), -EPERM);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_false(seen.info.is_ours);
	assert_int_equal(pin_remove(ENV_PIN_DIR, PORT), -EPERM);
	assert_int_equal(env_prog_on(env_ifindex("lan")), on_interface);
}

static void test_foreign_pins_are_refused(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *other = load("lan", false);
	_cleanup_close_ int foreign = env_load_foreign();
	_cleanup_close_ int map =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, NULL);
	_cleanup_close_ int link = -1;
	_cleanup_close_ int ours = bpf_prog_get_fd_by_id(port_prog_id(other));
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);

	assert_int_equal(mkdir(PORT_PATH, 0700), 0);

	/* Maps with no program beside them. */
	pin(map, PORT_PATH "/verdicts");
	assert_refused();
	assert_true(exists(PORT_PATH "/verdicts"));
	assert_int_equal(unlink(PORT_PATH "/verdicts"), 0);

	/* A program of another name, then with its link. */
	link = bpf_link_create(foreign, (int)env_ifindex("lan"), BPF_XDP, &native);
	assert_true(link >= 0);
	pin(foreign, PORT_PATH "/prog");
	assert_refused();
	pin(link, PORT_PATH "/link");
	assert_refused();
	assert_int_equal(unlink(PORT_PATH "/prog"), 0);

	/* A link that holds another program than the one of our name beside it. */
	pin(ours, PORT_PATH "/prog");
	assert_refused();

	/* A link with no program beside it. */
	assert_int_equal(unlink(PORT_PATH "/prog"), 0);
	assert_refused();

	/* A map under the name of the link. */
	assert_int_equal(unlink(PORT_PATH "/link"), 0);
	pin(map, PORT_PATH "/link");
	assert_refused();
	assert_int_equal(unlink(PORT_PATH "/link"), 0);
	assert_int_equal(rmdir(PORT_PATH), 0);
}

/* --- Crashes ------------------------------------------------------------------------------------ */

static void stage_all(const struct port_prog *prog, unsigned n_objects)
{
	static const char *const names[] = {"next/prog", "next/xsks", "next/heartbeat",
					    "next/verdicts"};
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(port_prog_id(prog));
	struct bpf_prog_info info = {};
	__u32 map_ids[8] = {}, size = sizeof(info);
	char path[256];

	info.nr_map_ids = ARRAY_SIZE(map_ids);
	info.map_ids = (uintptr_t)map_ids;
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	(void)mkdir(PORT_PATH, 0700);
	assert_int_equal(mkdir(PORT_PATH "/next", 0700), 0);
	for (unsigned i = 0; i < n_objects; i++) {
		_cleanup_close_ int map = -1;

		(void)snprintf(path, sizeof(path), "%s/%s", PORT_PATH, names[i]);
		for (unsigned m = 0; i > 0 && m < info.nr_map_ids; m++) {
			struct bpf_map_info map_info = {};
			__u32 map_size = sizeof(map_info);

			close_fdp(&map);
			map = bpf_map_get_fd_by_id(map_ids[m]);
			assert_int_equal(bpf_obj_get_info_by_fd(map, &map_info, &map_size), 0);
			if (strcmp(map_info.name, names[i] + strlen("next/")) == 0)
				break;
		}
		pin(i == 0 ? fd : map, path);
	}
}

static void rename_out_of_stage(const char *name)
{
	char from[256], to[256];

	(void)snprintf(from, sizeof(from), "%s/next/%s", PORT_PATH, name);
	(void)snprintf(to, sizeof(to), "%s/%s", PORT_PATH, name);
	assert_int_equal(rename(from, to), 0);
}

/* From the state that a crash left: we come after, with the totals expected. */
static void assert_recovers(bool expect_adopted, uint64_t expect_no_worker)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load("lan", false);
	bool adopted = !expect_adopted;

	assert_int_equal(attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_int_equal(adopted, expect_adopted);
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	assert_pins_of(prog);
	assert_int_equal(adopted_no_worker(prog), expect_no_worker);
	assert_int_equal(port_prog_detach(prog), 0);
	assert_false(exists(PORT_PATH));
}

static void test_crash_while_staging_the_first_program(void **state)
{
	for (unsigned n = 0; n <= PIN_OBJECT_N; n++) {
		_cleanup_(port_prog_freep) struct port_prog *dead = load("lan", false);

		stage_all(dead, n);
		assert_recovers(false, 0);
	}
}

static void test_crash_while_staging_a_successor(void **state)
{
	for (unsigned n = 0; n <= PIN_OBJECT_N; n++) {
		_cleanup_(port_prog_freep) struct port_prog *dead = load("lan", false);

		in_another_process(ENV_PIN_DIR, count_five);
		stage_all(dead, n);
		assert_recovers(true, 5);
	}
}

/* The link holds the new program, `n_renamed` of whose objects are in place. */
static void test_crash_while_promoting_a_successor(void **state)
{
	static const char *const order[PIN_OBJECT_N] = {"verdicts", "heartbeat", "xsks", "prog"};

	for (unsigned n_renamed = 0; n_renamed <= PIN_OBJECT_N; n_renamed++) {
		_cleanup_(port_prog_freep) struct port_prog *dead = load("lan", false);
		_cleanup_close_ int prog_fd = bpf_prog_get_fd_by_id(port_prog_id(dead));
		_cleanup_close_ int link = -1;

		in_another_process(ENV_PIN_DIR, count_five);
		stage_all(dead, PIN_OBJECT_N);
		link = bpf_obj_get(PORT_PATH "/link");
		assert_int_equal(bpf_link_update(link, prog_fd, NULL), 0);
		for (unsigned i = 0; i < n_renamed; i++)
			rename_out_of_stage(order[i]);
		count_frames(dead, 3);
		/* The five were in the memory of the process that crashed. */
		assert_recovers(true, 3);
	}
}

static void test_crash_while_removing(void **state)
{
	static const char *const order[] = {"link", "verdicts", "heartbeat", "xsks", "prog"};

	for (size_t n_removed = 0; n_removed <= ARRAY_SIZE(order); n_removed++) {
		in_another_process(ENV_PIN_DIR, count_five);
		for (size_t i = 0; i < n_removed; i++) {
			char path[256];

			(void)snprintf(path, sizeof(path), "%s/%s", PORT_PATH, order[i]);
			assert_int_equal(unlink(path), 0);
		}
		if (n_removed > 0)
			assert_true(env_wait(is_bare, (char[]){"lan"}));
		assert_recovers(n_removed == 0, n_removed == 0 ? 5 : 0);
	}
}

/* --- Refusals ----------------------------------------------------------------------------------- */

static void test_pin_dir_must_be_on_a_bpf_file_system(void **state)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = load("lan", false);
	char dir[64] = "untouched";
	bool adopted;

	assert_int_equal(pin_dir_resolve("/tmp", dir, sizeof(dir)), -ENOENT);
	assert_int_equal(pin_dir_resolve("/tmp/absent-xdp-test", dir, sizeof(dir)), -ENOENT);
	assert_false(exists("/tmp/absent-xdp-test"));
	assert_int_equal(pin_dir_resolve(ENV_PIN_DIR, dir, 4), -ENAMETOOLONG);
	assert_string_equal(dir, "untouched");

	assert_int_equal(pin_dir_resolve(ENV_PIN_DIR "/made", dir, sizeof(dir)), 0);
	assert_string_equal(dir, ENV_PIN_DIR "/made");
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(pin_dir_resolve("", dir, sizeof(dir)), 0);
	assert_true(exists(dir));

	assert_true(attach(prog, "/tmp", &adopted) < 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
}

static void test_nonsense_is_refused_before_the_kernel_sees_it(void **state)
{
	static const uint16_t worker_1[] = {1};
	const struct port_prog_spec good = {
		.port = PORT, .ifindex = 1, .config.fallback = XDP_PASS,
		.queue_worker = queue_worker, .n_queues = 1, .n_workers = 1, .numa_node = -1};
	struct port_prog_spec bad[5] = {good, good, good, good, good};
	struct port_prog *prog = NULL;

	bad[0].n_queues = 0;
	bad[1].n_queues = SLUICE_MAX_QUEUES + 1;
	bad[2].queue_worker = worker_1;
	bad[3].config.fallback = XDP_ABORTED;
	bad[4].port = "";
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
		const struct port_prog_spec spec = {
			.port = PORT, .ifindex = 1, .config.fallback = XDP_PASS,
			.queue_worker = queue_worker, .n_queues = 1, .n_workers = 1,
			.numa_node = -1};
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct none[2] = {};
		struct port_prog *prog;

		if (syscall(SYS_capset, &header, none) < 0)
			_exit(1);
		if (port_prog_load(&spec, &prog) != -EPERM)
			_exit(2);
		_exit(strlen(port_prog_load_log()) > 0 ? 0 : 3);
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
		cmocka_unit_test(test_pins_are_listed_and_removed_without_a_daemon),
		cmocka_unit_test(test_pins_are_removed_from_under_a_daemon),
		cmocka_unit_test(test_defunct_pin_is_replaced_on_the_new_device),
		cmocka_unit_test(test_pin_of_another_interface_or_mode_is_released),
		cmocka_unit_test(test_foreign_pins_are_refused),
		cmocka_unit_test(test_crash_while_staging_the_first_program),
		cmocka_unit_test(test_crash_while_staging_a_successor),
		cmocka_unit_test(test_crash_while_promoting_a_successor),
		cmocka_unit_test(test_crash_while_removing),
		cmocka_unit_test(test_pin_dir_must_be_on_a_bpf_file_system),
		cmocka_unit_test(test_nonsense_is_refused_before_the_kernel_sees_it),
		cmocka_unit_test(test_load_without_capabilities_says_why),
	};

	env_enter();
	env_make_veth("lan", "lan-peer", 2);
	env_make_veth("wan", "wan-peer", 1);
	return cmocka_run_group_tests_name("port_prog", tests, NULL, NULL) ? EXIT_FAILURE :
									    EXIT_SUCCESS;
}
