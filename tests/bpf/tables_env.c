/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tables_env.h. */
#include "tables_env.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "net/fib4.h"
#include "net/fib6.h"
#include "util/clock.h"
#include "util/macros.h"

#define EXIT_SKIPPED 77

struct tables *tables;
struct sluice_heartbeat lines[2];
struct worker reader;

/* --- A policy that allows everything ---------------------------------------------------------- */

static int peers_fd = -1; /* the peers' namespace; also what stands for a policy */

int policy_open(struct policy **ret_policy)
{
	*ret_policy = (void *)&peers_fd;
	return 0;
}

void policy_close(struct policy *policy)
{
}

void policy_configure(struct policy *policy, const struct policy_port ports[ROUTE_MAX_PORTS],
		      uint32_t table, const char *vrf, bool bypass_netfilter)
{
}

unsigned policy_fds(const struct policy *policy, int fds[POLICY_MAX_FDS])
{
	return 0;
}

bool policy_drain(struct policy *policy)
{
	return false;
}

void policy_refresh(struct policy *policy, struct policy_state *ret_state)
{
	memset(ret_state, 0, sizeof(*ret_state));
}

uint64_t policy_routes(const struct policy_state *state, unsigned port)
{
	return SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6;
}

enum route_rpf policy_rpf(const struct policy *policy, unsigned port)
{
	return ROUTE_RPF_LOOSE;
}

/* --- World ------------------------------------------------------------------------------------ */

static void run(const char *command)
{
	int status = system(command);

	if (status != 0)
		fail_msg("%s: status %d", command, status);
}

void sh(const char *fmt, ...)
{
	char command[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	run(command);
}

void peer_sh(const char *fmt, ...)
{
	char inner[512], command[600];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(inner, sizeof(inner), fmt, args);
	va_end(args);
	(void)snprintf(command, sizeof(command), "nsenter --net=/proc/%d/fd/%d %s", getpid(),
		       peers_fd, inner);
	run(command);
}

void write_batch(const char *path, const char *verb, const char *rest, uint32_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (uint32_t i = 0; i < n; i++) {
		char net[16];

		(void)snprintf(net, sizeof(net), "%u.%u.%u", 11 + (i >> 16), i >> 8 & 255, i & 255);
		(void)fprintf(file, "%s %s.%s\n", verb, net, rest);
	}
	assert_int_equal(fclose(file), 0);
}

void write_batch6(const char *path, uint32_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (uint32_t i = 0; i < n; i++)
		(void)fprintf(file, "route add 2a00:%x:%x::/48 via 2001:db8:0::2\n", i >> 16,
			      i & 0xffff);
	assert_int_equal(fclose(file), 0);
}

/* The peers' namespace has no name: it goes with the last fd. */
static int make_namespaces(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	peers_fd = fd;
	return 0;
}

static void make_port(unsigned i)
{
	sh("ip link add p%u type veth peer name q%u netns /proc/%d/fd/%d", i, i, getpid(),
	   peers_fd);
	sh("ip link set p%u up", i);
	peer_sh("ip link set q%u up", i);
	sh("ip addr add 10.0.%u.1/24 dev p%u", i, i);
	sh("ip -6 addr add 2001:db8:%u::1/64 dev p%u nodad", i, i);
	peer_sh("ip addr add 10.0.%u.2/24 dev q%u", i, i);
	sh("ip neigh replace 10.0.%u.2 lladdr 06:00:00:00:00:0%u dev p%u nud permanent", i, i, i);
	sh("ip neigh replace 2001:db8:%u::2 lladdr 06:00:00:00:00:0%u dev p%u nud permanent", i, i,
	   i);
}

void configure(void)
{
	struct worker *const workers[1] = {&reader};
	struct tables_port ports[2] = {
		{.is_route = true, .bridge = UINT32_MAX, .name = "a", .line = &lines[0]},
		{.is_route = true, .bridge = UINT32_MAX, .name = "b", .line = &lines[1]},
	};
	struct tables_config config = {
		.table = 254, .ports = ports, .n_ports = 2, .workers = workers, .n_workers = 1};

	ports[0].ifindex = if_nametoindex("p0");
	ports[1].ifindex = if_nametoindex("p1");
	assert_int_equal(tables_configure(tables, &config), 0);
}

int tables_env_enter(void **state)
{
	memset(lines, 0, sizeof(lines));
	memset(&reader, 0, sizeof(reader));
	atomic_init(&reader.tables_seen, WORKER_NOT_READING);
	if (make_namespaces() < 0)
		return -1;
	sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	make_port(0);
	make_port(1);
	return tables_new(&tables);
}

int tables_env_leave(void **state)
{
	tables_free(TAKE_PTR(tables));
	close_fdp(&peers_fd);
	return 0;
}

void tables_env_pause(void)
{
	(void)poll(NULL, 0, 1);
}

/* --- What there is ---------------------------------------------------------------------------- */

const struct nexthop *look_up(const char *addr)
{
	struct route_view *view = tables_view(tables);
	struct ip6_addr key;
	uint16_t nh;

	if (strchr(addr, ':')) {
		assert_int_equal(inet_pton(AF_INET6, addr, &key), 1);
		fib6_lookup_burst(view->fib6, &key, &nh, 1);
	} else {
		be32 key4;

		assert_int_equal(inet_pton(AF_INET, addr, &key4), 1);
		fib4_lookup_burst(view->fib4, &key4, &nh, 1);
	}
	return atomic_load(&view->nexthops[nh]);
}

static bool hop_leaves_by(const struct nexthop *hop, const char *addr, uint16_t port)
{
	struct ip6_addr key = {{0}};
	const struct adjacency *adjacency = hop->adjacency;

	if (hop->kind != NEXTHOP_VIA && hop->kind != NEXTHOP_CONNECTED)
		return false;
	if (hop->kind == NEXTHOP_CONNECTED) {
		(void)inet_pton(strchr(addr, ':') ? AF_INET6 : AF_INET, addr, &key);
		adjacency = adjacency_find(atomic_load(&tables_view(tables)->adjacencies),
					   hop->ifindex, strchr(addr, ':'), &key);
	}
	return adjacency && adjacency->out_port == port;
}

/* Under the lock: what is found is not freed meanwhile. */
bool leaves_by(const char *addr, uint16_t port)
{
	bool leaves;

	tables_lock_take(&tables->lock);
	leaves = hop_leaves_by(look_up(addr), addr, port);
	tables_lock_give(&tables->lock);
	return leaves;
}

bool passes(const char *addr)
{
	bool passes;

	tables_lock_take(&tables->lock);
	passes = look_up(addr)->kind == NEXTHOP_PASS;
	tables_lock_give(&tables->lock);
	return passes;
}

struct report_tables *report(void)
{
	static struct report_tables page;

	tables_report(tables, &page);
	return &page;
}

bool is_quiet(void)
{
	struct pollfd fd = {.fd = tables->rtnl.event_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 0 && report()->is_synced;
}

/* --- Against the kernel ----------------------------------------------------------------------- */

struct prefixes {
	char (*text)[48];
	size_t n, room;
};

static void prefixes_add(struct prefixes *prefixes, const char *text)
{
	if (prefixes->n == prefixes->room) {
		prefixes->room = prefixes->room ? 2 * prefixes->room : 1024;
		prefixes->text = realloc(prefixes->text, prefixes->room * sizeof(*prefixes->text));
		assert_non_null(prefixes->text);
	}
	(void)snprintf(prefixes->text[prefixes->n++], sizeof(*prefixes->text), "%s", text);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void add_word(struct prefixes *prefixes, const char *word, bool is_ip6)
{
	char text[80];

	if (strcmp(word, "default") == 0)
		(void)snprintf(text, sizeof(text), is_ip6 ? "::/0" : "0.0.0.0/0");
	else
		(void)snprintf(text, sizeof(text), "%s%s", word,
			       strchr(word, '/') ? "" :
			       is_ip6            ? "/128" :
						   "/32");
	prefixes_add(prefixes, text);
}

/* Dumps of the kernel's and of ours may differ while changes go on: there must be none. */
static void read_kernel(struct prefixes *prefixes, bool is_ip6)
{
	static const char types[] = " unicast blackhole unreachable prohibit ";
	FILE *pipe =
		popen(is_ip6 ? "ip -6 route show table main" : "ip -4 route show table main", "r");
	char line[512], first[64], second[64], padded[70];

	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe)) {
		if (line[0] == '\t' || sscanf(line, "%63s %63s", first, second) < 1)
			continue;
		(void)snprintf(padded, sizeof(padded), " %s ", first);
		add_word(prefixes, strstr(types, padded) ? second : first, is_ip6);
	}
	assert_int_equal(pclose(pipe), 0);
}

static void read_ours(struct prefixes *prefixes)
{
	int error = 0;
	struct json_object *rows = tables_routes_json(tables, NULL, UINT32_MAX, &error);

	assert_non_null(rows);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (json_object_get_int(json_object_object_get(row, "table")) == 254)
			prefixes_add(prefixes,
				     json_object_get_string(json_object_object_get(row, "prefix")));
	}
	json_object_put(rows);
}

void assert_same_as_kernel(void)
{
	struct prefixes kernel = {0}, ours = {0};

	read_kernel(&kernel, false);
	read_kernel(&kernel, true);
	read_ours(&ours);
	qsort(kernel.text, kernel.n, sizeof(*kernel.text), compare_text);
	qsort(ours.text, ours.n, sizeof(*ours.text), compare_text);
	for (size_t i = 0; i < MIN(kernel.n, ours.n); i++)
		assert_string_equal(ours.text[i], kernel.text[i]);
	assert_int_equal(ours.n, kernel.n);
	free(kernel.text);
	free(ours.text);
}

int tables_env_run(const struct CMUnitTest *tests, size_t n_tests)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)printf("SKIP: namespaces: %s\n", strerror(errno));
		return EXIT_SKIPPED;
	}
	return _cmocka_run_group_tests("tables", tests, n_tests, NULL, NULL);
}
