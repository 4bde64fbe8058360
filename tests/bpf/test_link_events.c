/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control/link on real devices: what links_drain() tells when they change. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "link_env.h"
#include "util/clock.h"
#include "util/macros.h"

#define EVENT_NS (5 * NSEC_PER_SEC)

static struct {
	char text[1024]; /* "va vb " */
	unsigned n_everything;
} told;

static void tell(const char *interface, void *arg)
{
	if (!interface) {
		told.n_everything++;
		return;
	}
	(void)snprintf(told.text + strlen(told.text), sizeof(told.text) - strlen(told.text), "%s ",
		       interface);
}

static void hear_more(void)
{
	int n;

	do {
		n = links_drain(links, tell, NULL);
		assert_in_range(n, 0, 1 << 20);
	} while (n > 0);
}

/*
 * Most notifications are queued before the command that caused them returns, and those of links and
 * routes always.
 */
static void hear(void)
{
	memset(&told, 0, sizeof(told));
	hear_more();
}

static bool heard(const char *name)
{
	char word[64];

	(void)snprintf(word, sizeof(word), "%s ", name);
	return strstr(told.text, word);
}

static void expect_event(const char *command, const char *name)
{
	uint64_t until_ns = clock_now_ns() + EVENT_NS;
	struct pollfd fd = {.fd = links_event_fd(links), .events = POLLIN};

	hear();
	sh("%s", command);
	hear();
	/* An IPv6 address is told of by a work queue (addrconf_dad_work, net/ipv6/addrconf.c). */
	while (!heard(name) && clock_now_ns() < until_ns) {
		(void)poll(&fd, 1, 100);
		hear_more();
	}
	if (!heard(name))
		fail_msg("after \"%s\" nothing about %s: %s", command, name, told.text);
}

static void test_changes_are_told_by_name(void **state)
{
	expect_event("ip link add va numrxqueues 4 numtxqueues 4 type veth peer name vb", "va");
	assert_true(heard("vb"));
	(void)read_link("va");
	expect_event("ip link set va up", "va");
	expect_event("ip link set vb up", "va"); /* carrier */
	expect_event("ip link set va mtu 1400", "va");
	expect_event("ip link set va address 02:00:00:00:00:01", "va");
	expect_event("ip addr add 10.0.0.1/24 dev va", "va");
	expect_event("ip addr del 10.0.0.1/24 dev va", "va");
	expect_event("ip addr add 2001:db8::1/64 dev va nodad", "va");
	expect_event("ip link add br0 type bridge && ip link set va master br0", "va");
	expect_event("ip link set va nomaster", "va");
	expect_event("ethtool -K va rx-vlan-hw-parse off", "va");
	expect_event("ethtool -L va rx 2", "va");
	expect_event("ip link del va", "va");
	assert_true(heard("vb"));
	assert_int_equal(told.n_everything, 0);
}

static void test_a_rename_is_told_under_both_names(void **state)
{
	sh("ip link add va type veth peer name vb");
	(void)read_link("va");
	expect_event("ip link set va name wan0", "va");
	assert_true(heard("wan0"));
	assert_false(read_link("va").exists);
	assert_true(read_link("wan0").exists);
	expect_event("ip link set wan0 name va", "wan0");
	assert_true(heard("va"));
	/* A new device under the name of one that went. */
	expect_event("ip link del va && ip link add va type veth peer name vb", "va");
}

static void test_one_drain_tells_an_interface_once(void **state)
{
	sh("ip link add va type veth peer name vb");
	(void)read_link("va");
	hear();
	for (unsigned i = 0; i < 20; i++)
		sh("ip link set va mtu %u", 1400 + i);
	memset(&told, 0, sizeof(told));
	assert_in_range(links_drain(links, tell, NULL), 20, 1 << 20);
	assert_string_equal(told.text, "va ");
}

/* A default route concerns whatever has been read: the one that it left by before is not named. */
static void test_only_default_routes_are_told(void **state)
{
	sh("ip link add va type veth peer name vb");
	sh("ip link set va up && ip link set vb up");
	(void)read_link("va");
	(void)read_link("vb");
	hear();
	sh("i=0; while [ $i -lt 250 ]; do echo route add 10.0.$i.0/24 dev va; i=$((i+1)); done"
	   " | ip -batch -");
	sh("ip -6 route add 2001:db8::/32 dev va");
	hear();
	assert_false(heard("va") || heard("vb") || told.n_everything);
	expect_event("ip route add default dev va", "va");
	assert_true(heard("vb"));
	expect_event("ip route del default dev va", "va");
	expect_event("ip -6 route add default dev va", "vb");
	assert_int_equal(told.n_everything, 0);
}

static void test_a_stacked_device_is_told_of_what_is_below(void **state)
{
	sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	(void)read_link("va");
	expect_event("ip link add mv1 link va type macvlan", "va");
	(void)read_link("va");
	expect_event("ip link set mv1 up", "va");
	expect_event("ip addr add 10.0.0.1/24 dev mv1", "va");
	expect_event("ip link add mv0 link mv1 type macvlan", "va");
	(void)read_link("va");
	expect_event("ip link add br0 type bridge && ip link set mv0 master br0", "va");
	expect_event("ip link del mv0", "va");
	(void)read_link("va");
	hear();
	sh("ip link add da type bridge && ip link set da up && ip addr add 10.1.0.1/24 dev da");
	hear();
	assert_false(heard("va"));
}

static void test_an_overflow_means_read_all_again(void **state)
{
	int size_bytes = 4096;

	sh("ip link add va type veth peer name vb");
	(void)read_link("va");
	hear();
	assert_int_equal(setsockopt(links_event_fd(links), SOL_SOCKET, SO_RCVBUF, &size_bytes,
				    sizeof(size_bytes)),
			 0);
	sh("i=0; while [ $i -lt 100 ]; do echo link set va mtu $((1300+i)); i=$((i+1)); done"
	   " | ip -batch -");
	hear();
	assert_in_range(told.n_everything, 1, 100);
	/* The connection is whole again. */
	expect_event("ip link set va mtu 1280", "va");
	assert_int_equal(told.n_everything, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		link_test(test_changes_are_told_by_name),
		link_test(test_a_rename_is_told_under_both_names),
		link_test(test_one_drain_tells_an_interface_once),
		link_test(test_only_default_routes_are_told),
		link_test(test_a_stacked_device_is_told_of_what_is_below),
		link_test(test_an_overflow_means_read_all_again),
	};

	return link_env_run(tests, ARRAY_SIZE(tests));
}
