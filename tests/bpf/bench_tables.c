/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the tables take to read a full table, and until a worker would see a change of it.
 * bench_tables [--smoke]: a million IPv4 routes, or twenty thousand.
 */
#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/fib4.h"
#include "tables_env.h"
#include "util/clock.h"
#include "util/macros.h"

#define N_CHANGES 400

static uint32_t n_routes = 1000000;
static uint32_t ifindex;

/* Adds or deletes 100.0.i.0/24 and returns when the kernel has done it. */
static void change(struct mnl_socket *socket, uint32_t i, bool is_delete)
{
	_Alignas(struct nlmsghdr) char buffer[8192];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct rtmsg *rtm;

	nlh->nlmsg_type = is_delete ? RTM_DELROUTE : RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (is_delete ? 0 : NLM_F_CREATE);
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = 24;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = RTPROT_STATIC;
	rtm->rtm_scope = is_delete ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_DST, htobe32(100U << 24 | i << 8));
	if (!is_delete) {
		mnl_attr_put_u32(nlh, RTA_OIF, ifindex);
		mnl_attr_put_u32(nlh, RTA_GATEWAY, htobe32(0x0a000002));
	}
	assert_true(mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) > 0);
	assert_true(mnl_socket_recvfrom(socket, buffer, sizeof(buffer)) > 0);
	assert_int_equal(((struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error, 0);
}

static bool is_there(uint32_t i)
{
	const be32 addr = htobe32(100U << 24 | i << 8 | 1);
	uint16_t nh;

	fib4_lookup_burst(tables_view(tables)->fib4, &addr, &nh, 1);
	return nh != FIB_NO_ROUTE;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static void measure_changes(void)
{
	struct mnl_socket *socket = mnl_socket_open(NETLINK_ROUTE);
	static uint64_t took_ns[N_CHANGES];

	assert_non_null(socket);
	assert_int_equal(mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID), 0);
	ifindex = if_nametoindex("p0");
	for (uint32_t i = 0; i < N_CHANGES; i++) {
		const bool is_delete = i % 2;
		const uint64_t start_ns = clock_now_ns();

		change(socket, i / 2, is_delete);
		while (is_there(i / 2) == is_delete)
			assert_true(clock_now_ns() - start_ns < NSEC_PER_SEC);
		took_ns[i] = clock_now_ns() - start_ns;
	}
	(void)mnl_socket_close(socket);
	qsort(took_ns, N_CHANGES, sizeof(took_ns[0]), compare);
	(void)printf(
		"a change is visible after %lu us (median), %lu us (99 %%), %lu us (longest)\n",
		(unsigned long)(took_ns[N_CHANGES / 2] / 1000),
		(unsigned long)(took_ns[N_CHANGES * 99 / 100] / 1000),
		(unsigned long)(took_ns[N_CHANGES - 1] / 1000));
}

static void measure_resync(void)
{
	const uint64_t n_before = report()->n_resyncs;
	uint64_t longest_ns = 0;

	tables_lock_take(&tables->lock);
	sync_want(tables);
	tables_lock_give(&tables->lock);
	while (report()->n_resyncs == n_before || !report()->is_synced) {
		const uint64_t start_ns = clock_now_ns();

		(void)report();
		longest_ns = MAX(longest_ns, clock_now_ns() - start_ns);
		tables_env_pause();
	}
	(void)printf("resync: %lu ms; control waited for the lock %lu us at most\n",
		     (unsigned long)(report()->last_sync_ns / 1000000),
		     (unsigned long)(longest_ns / 1000));
}

static void bench_full_table(void **state)
{
	char batch[48];
	uint64_t start_ns;

	(void)snprintf(batch, sizeof(batch), "/tmp/sluice-bench-tables-%d", getpid());
	write_batch(batch, "route add", "0/24 via 10.0.0.2", n_routes);
	sh("ip -batch %s", batch);
	(void)unlink(batch);
	start_ns = clock_now_ns();
	configure();
	(void)printf("%u routes: tables_configure() took %lu ms, the dump %lu ms\n", n_routes,
		     (unsigned long)((clock_now_ns() - start_ns) / 1000000),
		     (unsigned long)(report()->last_sync_ns / 1000000));
	assert_true(report()->n_prefixes[0] > n_routes);
	measure_changes();
	measure_resync();
	assert_true(report()->n_prefixes[0] > n_routes);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {tables_test(bench_full_table)};

	if (argc > 1 && strcmp(argv[1], "--smoke") == 0)
		n_routes = 20000;
	return tables_env_run(tests, ARRAY_SIZE(tests));
}
