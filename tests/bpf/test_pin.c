// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/pin.c: pins listed and removed without a daemon, pins that are not ours, and the way back
 * from every state that a crash can leave behind.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
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
	(void)mkdir(ENV_PORT_PATH, 0700);
	assert_int_equal(mkdir(ENV_PORT_PATH "/next", 0700), 0);
	for (unsigned i = 0; i < n_objects; i++) {
		_cleanup_close_ int map = -1;

		(void)snprintf(path, sizeof(path), "%s/%s", ENV_PORT_PATH, names[i]);
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

	(void)snprintf(from, sizeof(from), "%s/next/%s", ENV_PORT_PATH, name);
	(void)snprintf(to, sizeof(to), "%s/%s", ENV_PORT_PATH, name);
	assert_int_equal(rename(from, to), 0);
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

static void test_crash_while_staging_the_first_program(void **state)
{
	for (unsigned n = 0; n <= PIN_OBJECT_N; n++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);

		stage_all(dead, n);
		assert_recovers(false, 0);
	}
}

static void test_crash_while_staging_a_successor(void **state)
{
	for (unsigned n = 0; n <= PIN_OBJECT_N; n++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);

		env_in_another_process(ENV_PIN_DIR, env_count_five);
		stage_all(dead, n);
		assert_recovers(true, 5);
	}
}

/* The link holds the new program, `n_renamed` of whose objects are in place. */
static void test_crash_while_promoting_a_successor(void **state)
{
	static const char *const order[PIN_OBJECT_N] = {"verdicts", "heartbeat", "xsks", "prog"};

	for (unsigned n_renamed = 0; n_renamed <= PIN_OBJECT_N; n_renamed++) {
		_cleanup_(env_port_prog_freep) struct port_prog *dead = env_load_port("lan", false);
		_cleanup_close_ int prog_fd = bpf_prog_get_fd_by_id(port_prog_id(dead));
		_cleanup_close_ int link = -1;

		env_in_another_process(ENV_PIN_DIR, env_count_five);
		stage_all(dead, PIN_OBJECT_N);
		link = bpf_obj_get(ENV_PORT_PATH "/link");
		assert_int_equal(bpf_link_update(link, prog_fd, NULL), 0);
		for (unsigned i = 0; i < n_renamed; i++)
			rename_out_of_stage(order[i]);
		env_count_frames(dead, 3);
		/* The five were in the memory of the process that crashed. */
		assert_recovers(true, 3);
	}
}

static void test_crash_while_removing(void **state)
{
	static const char *const order[] = {"link", "verdicts", "heartbeat", "xsks", "prog"};

	for (size_t n_removed = 0; n_removed <= ARRAY_SIZE(order); n_removed++) {
		env_in_another_process(ENV_PIN_DIR, env_count_five);
		for (size_t i = 0; i < n_removed; i++) {
			char path[256];

			(void)snprintf(path, sizeof(path), "%s/%s", ENV_PORT_PATH, order[i]);
			assert_int_equal(unlink(path), 0);
		}
		if (n_removed > 0)
			assert_true(env_wait(env_is_bare, (char[]){"lan"}));
		assert_recovers(n_removed == 0, n_removed == 0 ? 5 : 0);
	}
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
