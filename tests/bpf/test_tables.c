/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables thread follows the real rtnetlink: routes, links, addresses, objects, neighbours. */
#include <endian.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/fib4.h"
#include "tables_env.h"
#include "util/clock.h"
#include "util/macros.h"

static char batch[2][40];

static void test_all_is_there_when_the_first_configuration_returns(void **state)
{
	const uint8_t octets = 6;
	char mac[32];
	uint64_t expected = 0;
	FILE *file;

	sh("ip link set p1 mtu 1400");
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	sh("ip -6 route add 2001:db8:f::/48 via 2001:db8:1::2");
	sh("ip route add blackhole 12.0.0.0/8");
	assert_true(lines[0].routes == 0);
	configure();
	assert_true(leaves_by("11.1.2.3", 0));
	assert_true(leaves_by("2001:db8:f::9", 1));
	assert_true(leaves_by("10.0.1.2", 1)); /* connected */
	assert_true(passes("12.1.2.3"));
	assert_true(passes("13.1.2.3"));
	assert_true(passes("10.0.0.1")); /* ours */
	assert_int_equal(lines[0].routes, SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6);
	assert_int_equal(lines[1].max_packet_len, 1400);
	assert_int_equal(lines[0].max_packet_len, 1400);
	assert_int_equal(atomic_load(&tables_view(tables)->rpf[1]),
			 (uint64_t)if_nametoindex("p1") << 8 | ROUTE_RPF_LOOSE);
	file = popen("ip -br link show p0 | awk '{print $3}'", "r");
	assert_non_null(fgets(mac, sizeof(mac), file));
	assert_int_equal(pclose(file), 0);
	for (unsigned i = 0; i < octets; i++) {
		unsigned octet = 0;

		assert_int_equal(sscanf(mac + 3 * i, "%2x", &octet), 1);
		expected |= (uint64_t)octet << (8 * i);
	}
	assert_true(lines[0].mac == expected);
	assert_same_as_kernel();
}

static void test_changes_of_routes_are_followed(void **state)
{
	configure();
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	wait_for(leaves_by("11.1.2.3", 0));
	sh("ip route replace 11.0.0.0/8 via 10.0.1.2");
	wait_for(leaves_by("11.1.2.3", 1));
	sh("ip route add 11.0.0.0/8 via 10.0.0.2 metric 5");
	sh("ip route add 11.1.0.0/16 via 10.0.0.2");
	wait_for(leaves_by("11.1.2.3", 0));
	assert_true(leaves_by("11.2.2.3", 1));
	sh("ip route del 11.1.0.0/16");
	wait_for(leaves_by("11.1.2.3", 1));
	sh("ip route del 11.0.0.0/8 metric 0");
	wait_for(leaves_by("11.1.2.3", 0));
	sh("ip route del 11.0.0.0/8");
	wait_for(passes("11.1.2.3"));
	sh("ip -6 route add 2001:db8:f::/48 via 2001:db8:1::2");
	wait_for(leaves_by("2001:db8:f::9", 1));
	sh("ip -6 route del 2001:db8:f::/48");
	wait_for(passes("2001:db8:f::9"));
	assert_int_equal(report()->n_resyncs, 0);
	assert_true(report()->n_route_changes >= 9);
	assert_same_as_kernel();
}

static void test_a_link_that_goes_down_takes_its_routes_along_silently(void **state)
{
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	sh("ip route add 11.1.0.0/16 via 10.0.1.2");
	configure();
	assert_true(leaves_by("11.1.2.3", 1));
	sh("ip link set p1 down");
	wait_for(leaves_by("11.1.2.3", 0));
	wait_for(is_quiet());
	assert_same_as_kernel();
	sh("ip link set p1 up");
	sh("ip route add 11.1.0.0/16 via 10.0.1.2");
	sh("ip neigh replace 10.0.1.2 lladdr 06:00:00:00:00:01 dev p1 nud permanent");
	wait_for(leaves_by("11.1.2.3", 1));
	/* Carrier is the peer's: the route stays, the kernel says what becomes of packets. */
	peer_sh("ip link set q1 down");
	wait_for(!leaves_by("11.1.2.3", 1));
	peer_sh("ip link set q1 up");
	sh("ip neigh replace 10.0.1.2 lladdr 06:00:00:00:00:01 dev p1 nud permanent");
	wait_for(leaves_by("11.1.2.3", 1));
	wait_for(is_quiet());
	assert_same_as_kernel();
}

/* With IPv6 its addresses go, too, which is told and would call for a sync by itself. */
static void test_a_link_that_goes_down_without_ipv6_is_noticed_as_well(void **state)
{
	sh("echo 1 >/proc/sys/net/ipv6/conf/p1/disable_ipv6");
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	sh("ip route add 11.1.0.0/16 via 10.0.1.2");
	configure();
	wait_for(is_quiet());
	assert_true(leaves_by("11.1.2.3", 1));
	sh("ip link set p1 down");
	wait_for(leaves_by("11.1.2.3", 0));
	wait_for(is_quiet());
	assert_same_as_kernel();
}

static void test_a_link_that_is_deleted_leaves_nothing(void **state)
{
	sh("ip route add 11.1.0.0/16 via 10.0.1.2");
	configure();
	sh("ip link del p1");
	wait_for(passes("11.1.2.3") && is_quiet());
	assert_same_as_kernel();
	assert_int_equal(lines[1].routes, 0);
}

static void test_an_address_comes_and_goes_with_what_hangs_on_it(void **state)
{
	sh("ip addr add 10.0.0.77/24 dev p0");
	sh("ip route add 11.0.0.0/8 via 10.0.0.2 src 10.0.0.77");
	configure();
	assert_true(passes("10.0.0.77"));
	assert_true(leaves_by("11.1.2.3", 0));
	sh("ip addr del 10.0.0.77/24 dev p0");
	wait_for(passes("11.1.2.3")); /* gone without a word */
	wait_for(!passes("10.0.0.77"));
	wait_for(is_quiet());
	assert_same_as_kernel();
	sh("ip addr add 10.0.0.78/24 dev p0");
	wait_for(passes("10.0.0.78"));
}

static bool is_group(const char *addr)
{
	bool is;

	tables_lock_take(&tables->lock);
	is = look_up(addr)->kind == NEXTHOP_GROUP;
	tables_lock_give(&tables->lock);
	return is;
}

static void test_objects_and_groups_are_followed(void **state)
{
	configure();
	sh("ip nexthop add id 1 via 10.0.0.2 dev p0");
	sh("ip nexthop add id 2 via 10.0.1.2 dev p1");
	sh("ip nexthop add id 10 group 1/2");
	sh("ip route add 11.0.0.0/8 nhid 10");
	sh("ip route add 12.0.0.0/8 nhid 1");
	wait_for(is_group("11.1.2.3"));
	wait_for(leaves_by("12.1.2.3", 0));
	sh("ip nexthop replace id 1 via 10.0.1.2 dev p1");
	wait_for(leaves_by("12.1.2.3", 1));
	/* The routes by it go without a word. */
	sh("ip nexthop del id 1");
	wait_for(passes("12.1.2.3"));
	sh("ip nexthop del id 10");
	wait_for(passes("11.1.2.3"));
	sh("ip route add 11.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2 weight 3");
	wait_for(is_group("11.1.2.3"));
	wait_for(is_quiet());
	assert_same_as_kernel();
}

static void test_neighbours_come_change_and_go(void **state)
{
	sh("ip route add 11.0.0.0/8 via 10.0.0.9");
	configure();
	assert_false(leaves_by("11.1.2.3", 0));
	assert_false(leaves_by("10.0.0.9", 0));
	sh("ip neigh add 10.0.0.9 lladdr 06:00:00:00:00:99 dev p0 nud reachable");
	wait_for(leaves_by("11.1.2.3", 0));
	wait_for(leaves_by("10.0.0.9", 0));
	assert_int_equal(report()->n_neighbours[0], 3);
	sh("ip neigh change 10.0.0.9 lladdr 06:00:00:00:00:99 dev p0 nud failed");
	wait_for(!leaves_by("11.1.2.3", 0));
	sh("ip neigh change 10.0.0.9 lladdr 06:00:00:00:00:98 dev p0 nud stale");
	wait_for(leaves_by("11.1.2.3", 0));
	sh("ip neigh del 10.0.0.9 dev p0");
	wait_for(!leaves_by("11.1.2.3", 0) && !leaves_by("10.0.0.9", 0));
}

static void test_another_place_of_a_port_is_known_when_configure_returns(void **state)
{
	struct worker *const workers[1] = {&reader};
	struct tables_port ports[2] = {
		{.is_route = true, .bridge = UINT32_MAX, .line = &lines[0]},
		{.is_route = false, .bridge = UINT32_MAX},
	};
	const struct tables_config config = {
		.table = 254, .ports = ports, .n_ports = 2, .workers = workers, .n_workers = 1};

	sh("ip route add 11.0.0.0/8 via 10.0.1.2");
	configure();
	assert_true(leaves_by("11.1.2.3", 1));
	ports[0].ifindex = if_nametoindex("p1");
	lines[1] = (struct sluice_heartbeat){0};
	assert_int_equal(tables_configure(tables, &config), 0);
	assert_true(leaves_by("11.1.2.3", 0));
	assert_true(passes("10.0.0.2")); /* p0 is no port any more */
	/* The line of the call before is not touched. */
	assert_int_equal(lines[1].routes, 0);
	assert_int_equal(lines[1].mac, 0);
}

static int configure_table(uint32_t table, const char *vrf)
{
	struct worker *const workers[1] = {&reader};
	struct tables_port ports[2] = {
		{.is_route = true, .bridge = UINT32_MAX, .line = &lines[0]},
		{.is_route = true, .bridge = UINT32_MAX, .line = &lines[1]},
	};
	struct tables_config config = {
		.table = table, .ports = ports, .n_ports = 2, .workers = workers, .n_workers = 1};

	(void)snprintf(config.vrf, sizeof(config.vrf), "%s", vrf);
	ports[0].ifindex = if_nametoindex("p0");
	ports[1].ifindex = if_nametoindex("p1");
	return tables_configure(tables, &config);
}

static void test_another_table_is_followed_from_the_return_of_configure_on(void **state)
{
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	sh("ip route add 11.0.0.0/8 via 10.0.1.2 table 1000");
	sh("ip route add 12.0.0.0/8 via 10.0.1.2 table 1000");
	assert_int_equal(configure_table(254, ""), 0);
	assert_true(leaves_by("11.1.2.3", 0));
	assert_true(passes("12.1.2.3"));
	assert_int_equal(configure_table(1000, ""), 0);
	assert_true(leaves_by("11.1.2.3", 1));
	assert_true(leaves_by("12.1.2.3", 1));
	assert_int_not_equal(lines[0].routes, 0);
	sh("ip route del 12.0.0.0/8 table 1000");
	wait_for(passes("12.1.2.3"));
	/* One that has no routes at all. */
	assert_int_equal(configure_table(1001, ""), 0);
	assert_true(passes("11.1.2.3"));
	assert_int_equal(configure_table(254, ""), 0);
	assert_true(leaves_by("11.1.2.3", 0));
}

static void test_nothing_is_forwarded_while_the_vrf_is_not_there(void **state)
{
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
	assert_int_equal(configure_table(254, ""), 0);
	assert_int_not_equal(lines[0].routes, 0);
	assert_int_equal(configure_table(0, "blue"), 0);
	assert_int_equal(lines[0].routes, 0);
	wait_for(passes("11.1.2.3"));
	assert_int_equal(configure_table(254, ""), 0);
	assert_int_not_equal(lines[0].routes, 0);
	assert_true(leaves_by("11.1.2.3", 0));
}

static void shrink_buffer(void)
{
	int bytes = 4096;

	assert_int_equal(setsockopt(tables->rtnl.event_fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
				    sizeof(bytes)),
			 0);
}

static void test_an_overflow_ends_in_what_the_kernel_has(void **state)
{
	configure();
	shrink_buffer();
	write_batch(batch[0], "route add", "0/24 via 10.0.0.2", 100000);
	write_batch(batch[1], "route del", "0/24", 50000);
	sh("ip -batch %s", batch[0]);
	wait_for_in(is_quiet() && report()->n_prefixes[0] > 100000, 20);
	assert_same_as_kernel();
	sh("ip -batch %s", batch[1]);
	wait_for_in(is_quiet() && report()->n_prefixes[0] < 60000, 20);
	assert_same_as_kernel();
	assert_true(report()->n_overflows > 0);
	assert_true(report()->n_resyncs > 0);
	assert_true(passes("11.0.7.1"));
	assert_true(leaves_by("11.200.7.1", 0));
}

/* --- A storm ---------------------------------------------------------------------------------- */

struct watch {
	_Atomic bool is_over;
	uint64_t n_looks, n_lost;
};

/* Looks as a worker does, without the lock: numbers of routes that nobody touches. */
static void *watch_stable_routes(void *arg)
{
	struct watch *watch = arg;
	const struct fib4 *fib = tables_view(tables)->fib4;

	while (!atomic_load(&watch->is_over)) {
		be32 addrs[FIB_BURST];
		uint16_t nh[FIB_BURST];

		for (unsigned i = 0; i < FIB_BURST; i++)
			addrs[i] = htobe32(0x14000001 + (i << 8)); /* 20.0.i.1 */
		fib4_lookup_burst(fib, addrs, nh, FIB_BURST);
		for (unsigned i = 0; i < FIB_BURST; i++)
			watch->n_lost += nh[i] == FIB_NO_ROUTE;
		watch->n_looks++;
		tables_env_pause();
	}
	return NULL;
}

static pid_t start_batches(void)
{
	char command[64];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		for (unsigned i = 0; i < 6; i++) {
			/* The routes are there: they go first. */
			(void)snprintf(command, sizeof(command), "ip -batch %s",
				       batch[(i + 1) % 2]);
			if (system(command) != 0)
				_exit(1);
		}
		_exit(0);
	}
	return pid;
}

static void want_resync(void)
{
	tables_lock_take(&tables->lock);
	sync_want(tables);
	tables_lock_give(&tables->lock);
}

/* Resyncs run one after another while routes come and go; control asks all the time. */
static void test_no_stable_route_vanishes_in_resyncs_during_a_storm(void **state)
{
	struct watch watch = {0};
	uint64_t longest_ns = 0;
	pthread_t thread;
	int status;
	pid_t pid;

	for (unsigned i = 0; i < FIB_BURST; i++)
		sh("ip route add 20.0.%u.0/24 via 10.0.0.2", i);
	write_batch(batch[0], "route add", "0/24 via 10.0.0.2", 20000);
	write_batch(batch[1], "route del", "0/24", 20000);
	sh("ip -batch %s", batch[0]);
	configure();
	assert_int_equal(pthread_create(&thread, NULL, watch_stable_routes, &watch), 0);
	pid = start_batches();
	while (waitpid(pid, &status, WNOHANG) == 0) {
		uint64_t start_ns = clock_now_ns();

		want_resync();
		longest_ns = MAX(longest_ns, clock_now_ns() - start_ns);
		tables_env_pause();
	}
	assert_int_equal(status, 0);
	wait_for_in(is_quiet(), 10);
	atomic_store(&watch.is_over, true);
	(void)pthread_join(thread, NULL);
	assert_true(watch.n_looks > 10);
	assert_int_equal(watch.n_lost, 0);
	assert_true(report()->n_resyncs >= 3);
	assert_same_as_kernel();
	(void)printf("storm: %lu resyncs, longest wait for the lock %lu us\n",
		     (unsigned long)report()->n_resyncs, (unsigned long)(longest_ns / 1000));
	assert_true(longest_ns < 200 * NSEC_PER_MSEC);
}

/* --- Flows of a group ------------------------------------------------------------------------- */

/* Else whoever reads the source chooses the member that its flows go by, on every router. */
static void test_flows_are_hashed_with_a_seed_of_this_start(void **state)
{
	struct tables *other = NULL;

	assert_int_equal(tables_new(&other), 0);
	assert_true(tables_view(tables)->hash_seed != 0);
	assert_true(tables_view(other)->hash_seed != tables_view(tables)->hash_seed);
	tables_free(other);
}

/* --- A worker that stands still --------------------------------------------------------------- */

static void test_a_stalled_worker_closes_the_gates_until_it_moves(void **state)
{
	configure();
	assert_int_not_equal(lines[0].routes, 0);
	atomic_store(&reader.tables_seen, 1);
	/* Each takes a place in a node that is replaced by a larger one. */
	write_batch6(batch[0], 30000);
	sh("ip -batch %s", batch[0]);
	wait_for(lines[0].routes == 0 && lines[1].routes == 0);
	assert_int_equal(report()->policy.ports[POLICY_TABLES_FULL], 3);
	assert_true(report()->retired_bytes > 0);
	atomic_store(&reader.tables_seen, WORKER_NOT_READING);
	/* What was owed is paid, of both families. */
	wait_for(lines[0].routes == (SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6));
	wait_for(lines[1].routes == lines[0].routes);
	assert_int_equal(report()->policy.ports[POLICY_TABLES_FULL], 0);
	wait_for(report()->retired_bytes == 0);
	assert_same_as_kernel();
	assert_true(leaves_by("2a00:0:7::1", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tables_test(test_all_is_there_when_the_first_configuration_returns),
		tables_test(test_changes_of_routes_are_followed),
		tables_test(test_a_link_that_goes_down_takes_its_routes_along_silently),
		tables_test(test_a_link_that_goes_down_without_ipv6_is_noticed_as_well),
		tables_test(test_a_link_that_is_deleted_leaves_nothing),
		tables_test(test_an_address_comes_and_goes_with_what_hangs_on_it),
		tables_test(test_objects_and_groups_are_followed),
		tables_test(test_neighbours_come_change_and_go),
		tables_test(test_another_place_of_a_port_is_known_when_configure_returns),
		tables_test(test_another_table_is_followed_from_the_return_of_configure_on),
		tables_test(test_nothing_is_forwarded_while_the_vrf_is_not_there),
		tables_test(test_an_overflow_ends_in_what_the_kernel_has),
		tables_test(test_no_stable_route_vanishes_in_resyncs_during_a_storm),
		tables_test(test_flows_are_hashed_with_a_seed_of_this_start),
		tables_test(test_a_stalled_worker_closes_the_gates_until_it_moves),
	};
	int r;

	for (unsigned i = 0; i < ARRAY_SIZE(batch); i++)
		(void)snprintf(batch[i], sizeof(batch[i]), "/tmp/sluice-tables-%d-%u", getpid(), i);
	r = tables_env_run(tests, ARRAY_SIZE(tests));
	for (unsigned i = 0; i < ARRAY_SIZE(batch); i++)
		(void)unlink(batch[i]);
	return r;
}
