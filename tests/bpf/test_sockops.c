// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What sock_ops writes of a connection, and to which cgroups it may be attached. Makes a cgroup of
 * its own, in which this process lives meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bpf_env.h"
#include "kern/sockops.h"
#include "splice_env.h"
#include "util/clock.h"
#include "util/macros.h"

/* A mount of ours: the namespace is private. */
#define ROOT "/sys/fs/bpf/cgroup2"

static char own[128], crowded[128], parent[64];

static void write_pid(const char *cgroup, pid_t pid)
{
	char path[160], text[16];
	_cleanup_close_ int fd = -1;
	int n = snprintf(text, sizeof(text), "%d", pid);

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fail_msg("%s: %s", path, strerror(errno));
}

static void remove_cgroups(void)
{
	write_pid(ROOT, getpid());
	(void)rmdir(own);
	(void)rmdir(crowded);
	(void)rmdir(parent);
}

static int make_cgroups(void **state)
{
	(void)snprintf(parent, sizeof(parent), ROOT "/sluice-test-%d", getpid());
	(void)snprintf(own, sizeof(own), "%s/own", parent);
	(void)snprintf(crowded, sizeof(crowded), "%s/crowded", parent);
	if (mkdir(parent, 0755) < 0 || mkdir(own, 0755) < 0 || mkdir(crowded, 0755) < 0)
		return -1;
	write_pid(own, getpid());
	return 0;
}

static int leave_cgroups(void **state)
{
	remove_cgroups();
	return 0;
}

/* --- Which cgroup ------------------------------------------------------------------------------
 */

static int attach_error(const char *cgroup)
{
	struct sockops *sockops = NULL;
	int error = 1;

	assert_int_equal(sockops_new(cgroup, &sockops, &error), 0);
	assert_true((sockops_events_fd(sockops) >= 0) == (error == 0));
	sockops_free(sockops);
	return error;
}

static pid_t start_other(const char *cgroup)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	write_pid(cgroup, pid);
	return pid;
}

static void test_only_a_cgroup_of_our_own(void **state)
{
	pid_t other = start_other(crowded);
	int in_parent = attach_error(parent), in_crowded = attach_error(crowded);

	assert_int_equal(kill(other, SIGKILL), 0);
	assert_int_equal(waitpid(other, NULL, 0), other);
	assert_int_equal(in_crowded, -EXDEV);
	assert_int_equal(in_parent, -EXDEV); /* Others live below it. */
	assert_int_equal(attach_error(ROOT), -EXDEV);
	assert_int_equal(attach_error("/proc"), -ENOENT);
	assert_int_equal(attach_error("/does-not-exist"), -ENOENT);
	assert_int_equal(attach_error(own), 0);
	assert_int_equal(attach_error(NULL), 0); /* Where this process is. */
}

/* --- Records -----------------------------------------------------------------------------------
 */

struct records {
	struct splice_event events[8];
	unsigned n;
};

static void keep(const struct splice_event *event, void *arg)
{
	struct records *records = arg;

	assert_true(records->n < ARRAY_SIZE(records->events));
	records->events[records->n++] = *event;
}

static void await_records(struct sockops *sockops, struct records *records, unsigned n)
{
	struct pollfd poller = {.fd = sockops_events_fd(sockops), .events = POLLIN};

	while (records->n < n) {
		if (poll(&poller, 1, ENV_DEADLINE_MS) != 1)
			fail_msg("%u records instead of %u", records->n, n);
		(void)sockops_events_drain(sockops, keep, records);
	}
}

/* A listener with metadata, and a client socket with its own. */
static void connect_marked(struct sockops *sockops, int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct splice_conn_meta of_listener = {
		.listener = 3, .backend = SPLICE_NONE, .acceptor = 1, .generation = 9};
	const struct splice_conn_meta of_server = {.listener = 3, .backend = 5, .acceptor = 1};
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(address);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(sockops_set(sockops, listener, &of_listener), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(sockops_set(sockops, fds[0], &of_server), 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&address, sizeof(address)), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
}

static void exchange(int from, int to, unsigned n_bytes)
{
	char bytes[1000] = "";

	for (unsigned n = 0; n < n_bytes; n += sizeof(bytes)) {
		assert_int_equal(send(from, bytes, sizeof(bytes), 0), sizeof(bytes));
		assert_int_equal(recv(to, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
	}
}

static const struct splice_conn_meta *record_of(const struct records *records, uint32_t backend)
{
	for (unsigned i = 0; i < records->n; i++) {
		if (records->events[i].meta.backend == backend)
			return &records->events[i].meta;
	}
	fail_msg("no record of backend %u", backend);
	return NULL;
}

static void test_the_last_record_has_the_last_values(void **state)
{
	const uint64_t started_ns = clock_now_ns();
	const struct splice_conn_meta *passive, *active;
	struct splice_conn_meta live = {};
	struct sockops *sockops = NULL;
	struct records records = {};
	int fds[2], error;
	char byte;

	assert_int_equal(sockops_new(own, &sockops, &error), 0);
	assert_int_equal(error, 0);
	connect_marked(sockops, fds);
	exchange(fds[0], fds[1], 10000);
	exchange(fds[1], fds[0], 20000);

	/* While it lives, through its fd. */
	assert_int_equal(sockops_get(sockops, fds[1], &live), 0);
	assert_int_equal(live.listener, 3);
	assert_int_equal(live.generation, 9);
	assert_int_equal(live.state, 1);
	assert_true(live.established_ns >= started_ns && live.established_ns < clock_now_ns());
	assert_true(live.srtt_us > 0 && live.bytes_received > 0);

	(void)sockops_events_drain(sockops, keep, &records);
	assert_int_equal(records.n, 0); /* None of the listener, which is closed. */
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
	(void)close(fds[1]);
	assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
	(void)close(fds[0]);
	await_records(sockops, &records, 2);
	passive = record_of(&records, SPLICE_NONE);
	active = record_of(&records, 5);
	assert_int_equal(passive->state, 7);
	/* As TCP counts: a FIN is a byte, and so is the SYN that was acknowledged. */
	assert_int_equal(passive->bytes_received, 10000 + 1);
	assert_int_equal(passive->bytes_acked, 20000 + 1);
	assert_int_equal(active->bytes_received, 20000 + 1);
	assert_int_equal(active->bytes_acked, 10000 + 2);
	assert_true(records.events[0].cookie != records.events[1].cookie);
	assert_true(records.events[0].cookie && records.events[1].cookie);
	sockops_free(sockops);
}

static void test_sockets_of_others_are_left_alone(void **state)
{
	struct sockops *sockops = NULL;
	struct splice_conn_meta meta;
	struct records records = {};
	int error, passive, active, fds[2];

	assert_int_equal(sockops_new(own, &sockops, &error), 0);
	active = connect_pair(&passive);
	assert_int_equal(sockops_get(sockops, active, &meta), -ENOENT);
	assert_int_equal(sockops_get(sockops, passive, &meta), -ENOENT);
	(void)close(active);
	(void)close(passive);
	/* A marked one behind them: its records come, theirs would have come before. */
	connect_marked(sockops, fds);
	env_reset(&fds[0]);
	env_reset(&fds[1]);
	await_records(sockops, &records, 2);
	for (unsigned i = 0; i < records.n; i++)
		assert_int_equal(records.events[i].meta.listener, 3);
	sockops_free(sockops);
}

static void test_metadata_is_there_without_a_cgroup(void **state)
{
	struct sockops *sockops = NULL;
	struct splice_conn_meta meta;
	int fds[2], error;

	assert_int_equal(sockops_new(ROOT, &sockops, &error), 0);
	assert_int_equal(error, -EXDEV);
	connect_marked(sockops, fds);
	assert_int_equal(sockops_get(sockops, fds[1], &meta), 0);
	assert_int_equal(meta.listener, 3);
	assert_int_equal(meta.magic, SPLICE_META_MAGIC);
	env_reset(&fds[0]);
	env_reset(&fds[1]);
	sockops_free(sockops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_cgroup_of_our_own),
		cmocka_unit_test(test_the_last_record_has_the_last_values),
		cmocka_unit_test(test_sockets_of_others_are_left_alone),
		cmocka_unit_test(test_metadata_is_there_without_a_cgroup),
	};

	splice_env_enter();
	if (mkdir(ROOT, 0755) < 0 || mount("none", ROOT, "cgroup2", 0, NULL) < 0) {
		(void)printf("SKIP: mount cgroup2: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, make_cgroups, leave_cgroups);
}
