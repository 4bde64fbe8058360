// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/pin.c: pins listed and removed without a daemon, pins that are not ours, and the way back
 * from every state that a crash can leave behind.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach_env.h"
#include "bpf_env.h"
#include "kern/pin.h"
#include "util/macros.h"

/* --- Without a daemon ------------------------------------------------------------------------ */

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

	env_in_another_process(ENV_PIN_DIR, NULL);
	id = env_prog_on(env_ifindex("lan"));
	assert_int_equal(mkdir(ENV_PIN_DIR "/empty", 0700), 0);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.port, ENV_PORT);
	assert_true(seen.info.is_ours);
	assert_true(seen.info.is_alive);
	assert_int_equal(seen.info.ifindex, env_ifindex("lan"));
	assert_int_equal(seen.info.prog_id, id);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, stop_with_42, NULL), 42);

	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(env_exists(ENV_PORT_PATH));
	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), -ENOENT);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ""), -EINVAL);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 0);
	assert_int_equal(pin_for_each(ENV_PIN_DIR "/absent", note_port, &seen), -ENOENT);
	assert_int_equal(rmdir(ENV_PIN_DIR "/empty"), 0);
}

static void test_pins_are_removed_from_under_a_daemon(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = env_load_port("lan", false);
	bool adopted;

	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_false(port_prog_is_attached(prog));
	assert_int_equal(port_prog_detach(prog), 0);
}

static void test_defunct_pin_is_replaced_on_the_new_device(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = NULL;
	struct seen seen = {};
	bool adopted = true;

	env_make_veth("gone", "gone-peer", 1);
	prog = env_load_port("gone", false);
	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	env_port_prog_freep(&prog);
	env_run("ip", "link", "del", "gone", NULL);

	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_true(seen.info.is_ours);
	assert_false(seen.info.is_alive);

	env_make_veth("gone", "gone-peer", 1);
	prog = env_load_port("gone", false);
	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("gone")), port_prog_id(prog));
	env_assert_pins_of(prog);
	env_run("ip", "link", "del", "gone", NULL);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), 0);
	assert_false(env_exists(ENV_PORT_PATH));
}

static void test_pin_of_another_interface_or_mode_is_released(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *on_wan = NULL;
	_cleanup_(env_port_prog_freep) struct port_prog *generic = NULL;
	bool adopted = true;

	env_in_another_process(ENV_PIN_DIR, NULL);
	on_wan = env_load_port("wan", false);
	assert_int_equal(env_attach(on_wan, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
	assert_int_equal(env_prog_on(env_ifindex("wan")), port_prog_id(on_wan));
	env_port_prog_freep(&on_wan);

	generic = env_load_port("wan", true);
	assert_int_equal(env_attach(generic, ENV_PIN_DIR, &adopted), 0);
	assert_false(adopted);
	assert_int_equal(env_prog_on(env_ifindex("wan")), port_prog_id(generic));
	env_assert_pins_of(generic);
	assert_int_equal(port_prog_detach(generic), 0);
}

static void pin(int fd, const char *path)
{
	assert_int_equal(bpf_obj_pin(fd, path), 0);
}

/* Attaching, listing and removing leave foreign pins as they are. */
static void assert_refused(void)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = env_load_port("lan", false);
	uint32_t on_interface = env_prog_on(env_ifindex("lan"));
	struct seen seen = {};
	bool adopted;

	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), -EPERM);
	assert_int_equal(pin_for_each(ENV_PIN_DIR, note_port, &seen), 1);
	assert_false(seen.info.is_ours);
	assert_int_equal(pin_remove(ENV_PIN_DIR, ENV_PORT), -EPERM);
	assert_int_equal(env_prog_on(env_ifindex("lan")), on_interface);
}

static void test_foreign_pins_are_refused(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *other = env_load_port("lan", false);
	_cleanup_close_ int foreign = env_load_foreign();
	_cleanup_close_ int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, NULL);
	_cleanup_close_ int link = -1;
	_cleanup_close_ int ours = bpf_prog_get_fd_by_id(port_prog_id(other));
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);

	assert_int_equal(mkdir(ENV_PORT_PATH, 0700), 0);

	/* Maps with no program beside them. */
	pin(map, ENV_PORT_PATH "/verdicts");
	assert_refused();
	assert_true(env_exists(ENV_PORT_PATH "/verdicts"));
	assert_int_equal(unlink(ENV_PORT_PATH "/verdicts"), 0);

	/* A program of another name, then with its link. */
	link = bpf_link_create(foreign, (int)env_ifindex("lan"), BPF_XDP, &native);
	assert_true(link >= 0);
	pin(foreign, ENV_PORT_PATH "/prog");
	assert_refused();
	pin(link, ENV_PORT_PATH "/link");
	assert_refused();
	assert_int_equal(unlink(ENV_PORT_PATH "/prog"), 0);

	/* A link that holds another program than the one of our name beside it. */
	pin(ours, ENV_PORT_PATH "/prog");
	assert_refused();

	/* A link with no program beside it. */
	assert_int_equal(unlink(ENV_PORT_PATH "/prog"), 0);
	assert_refused();

	/* A map under the name of the link. */
	assert_int_equal(unlink(ENV_PORT_PATH "/link"), 0);
	pin(map, ENV_PORT_PATH "/link");
	assert_refused();
	assert_int_equal(unlink(ENV_PORT_PATH "/link"), 0);
	assert_int_equal(rmdir(ENV_PORT_PATH), 0);
}

/* --- Crashes --------------------------------------------------------------------------------- */

/*
 * A process that dies in the middle of pin.c: the linker hands us its changes to the file system
 * (meson.build), and from the one after `changes_left` on none happens any more, tidying up
 * included. So the order in which things are done is that of the code.
 */
static unsigned changes_left = UINT_MAX;

static void die_after(unsigned n_changes)
{
	changes_left = n_changes;
}

static void revive(void)
{
	changes_left = UINT_MAX;
}

static int change(int result)
{
	if (result >= 0 && changes_left != UINT_MAX)
		changes_left--;
	return result;
}

static int refuse(void)
{
	errno = EIO;
	return -1;
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
	return changes_left ? change(__real_mkdir(path, mode)) : refuse();
}

int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_rmdir(const char *path)
{
	return changes_left ? change(__real_rmdir(path)) : refuse();
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
	return changes_left ? change(__real_rename(from, to)) : refuse();
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
	return changes_left ? change(__real_unlink(path)) : refuse();
}

int __real_bpf_obj_pin(int fd, const char *path);
int __wrap_bpf_obj_pin(int fd, const char *path);
int __wrap_bpf_obj_pin(int fd, const char *path)
{
	return changes_left ? change(__real_bpf_obj_pin(fd, path)) : -EIO;
}

static int map_of(const struct bpf_prog_info *info, const __u32 *map_ids, const char *name)
{
	for (unsigned m = 0; m < info->nr_map_ids; m++) {
		struct bpf_map_info map_info = {};
		__u32 size = sizeof(map_info);
		_cleanup_close_ int fd = bpf_map_get_fd_by_id(map_ids[m]);

		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map_info, &size), 0);
		if (strcmp(map_info.name, name) == 0)
			return TAKE_FD(fd);
	}
	fail_msg("the program has no map %s", name);
	return -1;
}

/* pin_stage() of a program, cut short behind `n_changes` changes. Returns whether it was. */
static bool stage(const struct port_prog *prog, unsigned n_changes)
{
	int fds[PIN_OBJECT_N] = {bpf_prog_get_fd_by_id(port_prog_id(prog))};
	__u32 map_ids[8] = {}, size = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = {.nr_map_ids = ARRAY_SIZE(map_ids),
				     .map_ids = (uintptr_t)map_ids};
	int r;

	assert_int_equal(bpf_obj_get_info_by_fd(fds[PIN_PROG], &info, &size), 0);
	fds[PIN_XSKS] = map_of(&info, map_ids, "xsks");
	fds[PIN_HEARTBEAT] = map_of(&info, map_ids, "heartbeat");
	fds[PIN_VERDICTS] = map_of(&info, map_ids, "verdicts");
	die_after(n_changes);
	r = pin_stage(ENV_PORT_PATH, fds);
	revive();
	for (unsigned i = 0; i < PIN_OBJECT_N; i++)
		close_fdp(&fds[i]);
	assert_true(r == 0 || r == -EIO);
	return r < 0;
}

/* From the state that a crash left: we come after, with the totals expected. */
static void assert_recovers(bool expect_adopted, uint64_t expect_no_worker)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = env_load_port("lan", false);
	bool adopted = !expect_adopted;

	assert_int_equal(env_attach(prog, ENV_PIN_DIR, &adopted), 0);
	assert_int_equal(adopted, expect_adopted);
	assert_int_equal(env_prog_on(env_ifindex("lan")), port_prog_id(prog));
	env_assert_pins_of(prog);
	assert_int_equal(env_adopted_no_worker(prog), expect_no_worker);
	assert_int_equal(port_prog_detach(prog), 0);
	assert_false(env_exists(ENV_PORT_PATH));
}

/* Each test goes on until nothing is cut short: then every step has been the last one once. */

static void test_crash_while_staging_the_first_program(void **state)
{
	unsigned n = 0;
	bool is_cut = true;

	for (; is_cut; n++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);

		is_cut = stage(dead, n);
		assert_recovers(false, 0);
	}
	assert_int_equal(n - 1, 2 + PIN_OBJECT_N); /* directory, next/ */
}

static void test_crash_while_staging_a_successor(void **state)
{
	unsigned n = 0;
	bool is_cut = true;

	for (; is_cut; n++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);

		env_in_another_process(ENV_PIN_DIR, env_count_five);
		is_cut = stage(dead, n);
		assert_recovers(true, 5);
	}
	assert_int_equal(n - 1, 1 + PIN_OBJECT_N); /* next/ */
}

static void test_crash_while_promoting_a_successor(void **state)
{
	unsigned n = 0;
	int r = -EIO;

	for (; r == -EIO; n++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);
		_cleanup_close_ int prog_fd = bpf_prog_get_fd_by_id(port_prog_id(dead));
		_cleanup_close_ int link = -1;

		env_in_another_process(ENV_PIN_DIR, env_count_five);
		assert_false(stage(dead, UINT_MAX));
		link = bpf_obj_get(ENV_PORT_PATH "/link");
		assert_int_equal(bpf_link_update(link, prog_fd, NULL), 0);
		die_after(n);
		r = pin_promote(ENV_PORT_PATH);
		revive();
		env_count_frames(dead, 3);
		/* The five were in the memory of the process that crashed. */
		assert_recovers(true, 3);
	}
	assert_int_equal(r, 0);
	assert_int_equal(n - 1, PIN_OBJECT_N + 1); /* and next/ goes */
}

static void test_crash_while_removing(void **state)
{
	unsigned n = 0;
	int r = -EIO;

	for (; r == -EIO; n++) {
		env_in_another_process(ENV_PIN_DIR, env_count_five);
		die_after(n);
		r = pin_clear(ENV_PORT_PATH);
		revive();
		if (n > 0)
			assert_true(env_wait(env_is_bare, (char[]){"lan"}));
		assert_recovers(n == 0, n == 0 ? 5 : 0);
	}
	assert_int_equal(r, 0);
	assert_int_equal(n - 1, 1 + PIN_OBJECT_N + 1); /* the link before, the directory behind */
}

static void test_pin_dir_must_be_on_a_bpf_file_system(void **state)
{
	_cleanup_(env_port_prog_freep) struct port_prog *prog = env_load_port("lan", false);
	char dir[64] = "untouched";
	bool adopted;

	assert_int_equal(pin_dir_resolve("/tmp", dir, sizeof(dir)), -ENOENT);
	assert_int_equal(pin_dir_resolve("/tmp/absent-xdp-test", dir, sizeof(dir)), -ENOENT);
	assert_false(env_exists("/tmp/absent-xdp-test"));
	assert_int_equal(pin_dir_resolve(ENV_PIN_DIR, dir, 4), -ENAMETOOLONG);
	assert_string_equal(dir, "untouched");

	assert_int_equal(pin_dir_resolve(ENV_PIN_DIR "/made", dir, sizeof(dir)), 0);
	assert_string_equal(dir, ENV_PIN_DIR "/made");
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(pin_dir_resolve("", dir, sizeof(dir)), 0);
	assert_true(env_exists(dir));

	assert_true(env_attach(prog, "/tmp", &adopted) < 0);
	assert_int_equal(env_prog_on(env_ifindex("lan")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	env_enter();
	env_make_veth("lan", "lan-peer", 2);
	env_make_veth("wan", "wan-peer", 1);
	return cmocka_run_group_tests_name("pin", tests, NULL, NULL) ? EXIT_FAILURE : EXIT_SUCCESS;
}
