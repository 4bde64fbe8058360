// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_splice [--smoke] [-n CONNS] [-b BYTES] [-r ROUNDS]: what the verdict's credit rule costs.
 *
 *   client ns ──veth── this ns ──veth── server ns
 *   CPU 0              CPU 1 (RPS)      CPU 0
 *
 * 64 ping-pong connections that stay; the rule is exchanged under them (splice_maps_swap_verdict),
 * a slice of 100 ms each, in an order that is drawn anew every round: so neither the connections,
 * nor their places, nor the machine's mood make a difference between rules. One instance of NB is
 * there twice: what those two differ by is the error of the rest. Then: what entering and leaving
 * cost.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "kern/splice_maps_internal.h"
#include "splice_env.h"
#include "util/clock.h"
#include "util/macros.h"

/* Needs the types of splice_abi.h. */
#include <splice.skel.h>

enum { MAX_CONNS = 256, MAX_ROUNDS = 64 };

static struct {
	const char *name;
	struct splice_verdict_config config;
	int prog_fd;
	double rate[MAX_ROUNDS], busy[MAX_ROUNDS], run_ns[MAX_ROUNDS];
	uint64_t n_credit_out;
} rules[] = {
	{.name = "NB", .config = {.credit_bytes = 256 << 10, .rule = SPLICE_CREDIT_NB}},
	{.name = "W 256K", .config = {.credit_bytes = 256 << 10, .rule = SPLICE_CREDIT_W}},
	{.name = "W 4M", .config = {.credit_bytes = 4 << 20, .rule = SPLICE_CREDIT_W}},
	{.name = "NB again", .config = {.credit_bytes = 256 << 10, .rule = SPLICE_CREDIT_NB}},
	{.name = "relay", .config = {.credit_bytes = 0}},
};

static unsigned n_conns = 64, n_bytes = 64, n_rounds = 48;
static uint64_t slice_ns = 100 * NSEC_PER_MSEC;
static struct link links[MAX_CONNS];
static uint64_t n_messages;
static bool is_over;

/* --- Namespaces --------------------------------------------------------------------------------
 */

/* Where an interface's packets are received. A fresh sysfs shows this namespace's. */
static void receive_on(const char *interface, const char *cpus)
{
	env_run("sh", "-c",
		"mkdir -p /sys/fs/bpf/sys && mount -t sysfs sysfs /sys/fs/bpf/sys && "
		"echo $1 >/sys/fs/bpf/sys/class/net/$0/queues/rx-0/rps_cpus && "
		"umount /sys/fs/bpf/sys",
		interface, cpus, NULL);
}

/* A namespace behind a veth, 10.9.I.2; its packets are received on `cpus`, ours on CPU 1. */
static int make_far_ns(unsigned i, const char *near, const char *far)
{
	char path[64], address[32];
	int home = open("/proc/self/ns/net", O_RDONLY), ns;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	ns = open("/proc/self/ns/net", O_RDONLY);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	env_make_veth(near, far, 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), ns);
	(void)snprintf(address, sizeof(address), "10.9.%u.1/24", i);
	env_run("ip", "addr", "add", address, "dev", near, NULL);
	receive_on(near, "2");
	env_run("ip", "link", "set", far, "netns", path, NULL);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	receive_on(far, "1");
	(void)snprintf(address, sizeof(address), "10.9.%u.2/24", i);
	env_run("ip", "addr", "add", address, "dev", far, NULL);
	env_run("ip", "link", "set", far, "up", NULL);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	(void)close(home);
	return ns;
}

/* From this namespace's socket to one in `ns` at 10.9.I.2; *ret_far is that one. */
static int connect_far(int home, int ns, unsigned i, int *ret_far)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	const int one = 1;
	char text[16];
	int listener, near;

	(void)snprintf(text, sizeof(text), "10.9.%u.2", i);
	assert_int_equal(inet_pton(AF_INET, text, &address.sin_addr), 1);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	near = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(near, (struct sockaddr *)&address, sizeof(address)), 0);
	*ret_far = accept(listener, NULL, NULL);
	(void)close(listener);
	(void)setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(*ret_far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return near;
}

/* --- Threads -----------------------------------------------------------------------------------
 */

static void stay_on_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* Sends back what comes, or (client) sends the next when it has come back. */
static void *play(void *arg)
{
	const unsigned end = *(const unsigned *)arg; /* CLIENT or SERVER */
	int epoll_fd = epoll_create1(0);
	struct epoll_event events[64];
	static __thread char bytes[64 << 10];

	stay_on_cpu(0);
	for (unsigned i = 0; i < n_conns; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = links[i].fd[end]};

		assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event), 0);
		if (end == CLIENT)
			assert_int_equal(send(event.data.fd, bytes, n_bytes, 0), n_bytes);
	}
	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		int n = epoll_wait(epoll_fd, events, 64, 10);

		for (int i = 0; i < n; i++) {
			ssize_t got = recv(events[i].data.fd, bytes, n_bytes, MSG_DONTWAIT);

			if (got > 0)
				(void)send(events[i].data.fd, bytes, (size_t)got, MSG_NOSIGNAL);
			if (got > 0 && end == CLIENT)
				__atomic_fetch_add(&n_messages, 1, __ATOMIC_RELAXED);
		}
	}
	(void)close(epoll_fd);
	return NULL;
}

static void on_event(const struct splice_event *event, void *arg)
{
	struct way *way = &links[event->side / 2].way[event->side % 2];
	unsigned n = 0;

	/* The note may come before the bytes can be read. */
	while (splice_is_owed(way->flow) && n++ < 1000)
		(void)way_relay(way);
}

static double busy_s(unsigned cpu)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/stat", "re");
	unsigned long user, nice, system, idle, iowait, irq, softirq;
	char line[512], name[8];

	(void)snprintf(name, sizeof(name), "cpu%u ", cpu);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, 5) == 0 &&
		    sscanf(line + 5, "%lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle,
			   &iowait, &irq, &softirq) == 7)
			return (double)(user + nice + system + irq + softirq) / 100;
	}
	return 0;
}

/* What the verdict itself has taken, stub and all: of this machine's noise it sees little. */
static void read_runs(const struct splice_maps *maps, uint64_t *ret_n, uint64_t *ret_ns)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(maps->skel->progs.sluice_splice),
						&info, &size),
			 0);
	*ret_n = info.run_cnt;
	*ret_ns = info.run_time_ns;
}

static uint64_t n_credit_out(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < n_conns; i++)
		n += links[i].way[0].flow->n_credit_out + links[i].way[1].flow->n_credit_out;
	return n;
}

static void run_for(struct splice_maps *maps, uint64_t time_ns)
{
	const uint64_t end_ns = clock_now_ns() + time_ns;
	struct pollfd poller = {.fd = splice_events_fd(maps, 0), .events = POLLIN};

	while (clock_now_ns() < end_ns) {
		if (poll(&poller, 1, 5) == 1)
			(void)splice_events_drain(maps, 0, on_event, NULL);
	}
}

static void measure(struct splice_maps *maps, unsigned rule, unsigned round)
{
	uint64_t n, credit_out, started_ns, n_runs[2], runs_ns[2];
	double busy;

	assert_int_equal(splice_maps_swap_verdict(maps, rules[rule].prog_fd), 0);
	run_for(maps, 20 * NSEC_PER_MSEC); /* what the rule before has passed */
	credit_out = n_credit_out();
	busy = busy_s(1);
	n = __atomic_load_n(&n_messages, __ATOMIC_RELAXED);
	read_runs(maps, &n_runs[0], &runs_ns[0]);
	started_ns = clock_now_ns();
	run_for(maps, slice_ns);
	read_runs(maps, &n_runs[1], &runs_ns[1]);
	rules[rule].run_ns[round] =
		(double)(runs_ns[1] - runs_ns[0]) / (double)MAX(n_runs[1] - n_runs[0], 1u);
	n = __atomic_load_n(&n_messages, __ATOMIC_RELAXED) - n;
	rules[rule].rate[round] = (double)n * 1e9 / (double)(clock_now_ns() - started_ns);
	rules[rule].busy[round] = (busy_s(1) - busy) * 1e6 / (double)n;
	rules[rule].n_credit_out += n_credit_out() - credit_out;
}

/* --- Report ------------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned n)
{
	double sorted[MAX_ROUNDS];

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static void report(void)
{
	(void)printf("%u connections, %u bytes, %u rounds of %lu ms\n", n_conns, n_bytes, n_rounds,
		     (unsigned long)(slice_ns / NSEC_PER_MSEC));
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		double ratio[MAX_ROUNDS];

		for (unsigned r = 0; r < n_rounds; r++)
			ratio[r] = rules[i].rate[r] / rules[0].rate[r];
		qsort(ratio, n_rounds, sizeof(*ratio), compare);
		(void)printf("%-9s %8.0f msg/s  of NB: median %.3f (%.3f…%.3f)  verdict "
			     "%4.0f ns  CPU 1 %5.1f us/msg  out of credit %lu\n",
			     rules[i].name, median(rules[i].rate, n_rounds),
			     median(ratio, n_rounds), ratio[n_rounds / 4],
			     ratio[n_rounds - 1 - n_rounds / 4], median(rules[i].run_ns, n_rounds),
			     median(rules[i].busy, n_rounds), (unsigned long)rules[i].n_credit_out);
	}
}

static void bench_entering(struct splice_maps *maps, unsigned n)
{
	uint64_t enter_ns = 0, leave_ns = 0, start_ns;
	struct link link;

	for (unsigned i = 0; i < n; i++) {
		link_open(&link, maps, n_conns);
		start_ns = clock_now_ns();
		link_splice(&link);
		enter_ns += clock_now_ns() - start_ns;
		start_ns = clock_now_ns();
		splice_leave(maps, link.client_side);
		leave_ns += clock_now_ns() - start_ns;
		link_close(&link);
	}
	(void)printf("entering %.1f us, leaving %.1f us (mean of %u)\n", (double)enter_ns / n / 1e3,
		     (double)leave_ns / n / 1e3, n);
}

/* --- All ---------------------------------------------------------------------------------------
 */

static void open_link(struct splice_maps *maps, unsigned i, int home, const int ns[2])
{
	struct link *link = &links[i];

	*link = (struct link){.maps = maps, .client_side = 2 * i};
	link->fd[A] = connect_far(home, ns[0], 1, &link->fd[CLIENT]);
	link->fd[B] = connect_far(home, ns[1], 2, &link->fd[SERVER]);
	for (unsigned w = 0; w < 2; w++) {
		link->way[w].source = link->fd[w == 0 ? A : B];
		link->way[w].sink = link->fd[w == 0 ? B : A];
		link->way[w].flow = splice_flow(maps, link->client_side + w);
	}
	link_splice(link);
}

/* Each round in an order of its own. */
static void shuffle(unsigned *order, unsigned n)
{
	static uint32_t state = 2463534242;

	for (unsigned i = n - 1; i > 0; i--) {
		unsigned k, other;

		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		k = state % (i + 1);
		other = order[i];
		order[i] = order[k];
		order[k] = other;
	}
}

static void bench_rules(struct splice_maps *maps)
{
	_cleanup_close_ int stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	static const unsigned ends[] = {CLIENT, SERVER};
	unsigned order[ARRAY_SIZE(rules)];
	pthread_t threads[2];

	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		order[i] = i;
		assert_int_equal(
			splice_maps_load_verdict(maps, &rules[i].config, &rules[i].prog_fd), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, play, (void *)(uintptr_t)&ends[i]), 0);
	stay_on_cpu(1);
	run_for(maps, slice_ns);
	for (unsigned round = 0; round < n_rounds; round++) {
		shuffle(order, ARRAY_SIZE(order));
		for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
			measure(maps, order[i], round);
	}
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++)
		(void)pthread_join(threads[i], NULL);
	report();
}

static unsigned number(const char *text, unsigned max)
{
	unsigned long n = strtoul(text, NULL, 10);

	return n == 0 || n > max ? max : (unsigned)n;
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--smoke") == 0) {
			n_rounds = 1;
			slice_ns = 20 * NSEC_PER_MSEC;
		} else if (strcmp(argv[i], "-n") == 0) {
			n_conns = number(value, MAX_CONNS);
		} else if (strcmp(argv[i], "-b") == 0) {
			n_bytes = number(value, 64u << 10);
		} else if (strcmp(argv[i], "-r") == 0) {
			n_rounds = number(value, MAX_ROUNDS);
		}
	}
}

int main(int argc, char **argv)
{
	struct splice_maps *maps;
	int home, ns[2];

	parse(argc, argv);
	splice_env_enter();
	home = open("/proc/self/ns/net", O_RDONLY);
	ns[0] = make_far_ns(1, "near1", "far1");
	ns[1] = make_far_ns(2, "near2", "far2");
	maps = splice_env_maps(MAX_CONNS + 1);
	for (unsigned i = 0; i < n_conns; i++)
		open_link(maps, i, home, ns);
	bench_rules(maps);
	bench_entering(maps, n_rounds > 1 ? 500 : 5);
	for (unsigned i = 0; i < n_conns; i++)
		link_close(&links[i]);
	splice_maps_free(maps);
	return 0;
}
