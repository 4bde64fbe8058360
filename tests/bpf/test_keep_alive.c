/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Neighbours that only workers use, against the real kernel: they stay, they are probed, a new MAC
 * is followed, one that is dead goes as fast as by Linux's own forwarding, and none is solicited
 * that nobody uses. With a base_reachable_time of two seconds, so that a test sees several.
 */
#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "tables_env.h"
#include "util/clock.h"
#include "util/macros.h"

static void speed_up(void)
{
	sh("sysctl -qw net.ipv4.neigh.p0.base_reachable_time_ms=2000 "
	   "net.ipv4.neigh.p0.delay_first_probe_time=1 net.ipv4.neigh.p0.retrans_time_ms=200");
	/* Answered by the peer, not permanent. */
	sh("ip neigh del 10.0.0.2 dev p0");
	sh("ip route add 11.0.0.0/8 via 10.0.0.2");
}

/* As a packet on the slow path would. */
static void hand_back(void)
{
	sh("ip neigh replace 10.0.0.2 dev p0 use nud none 2>/dev/null || "
	   "ip neigh add 10.0.0.2 dev p0 use");
}

static void resolve(void)
{
	hand_back();
	wait_for(leaves_by("11.1.2.3", 0));
}

/* A worker sends: true if it could. */
static bool use(void)
{
	struct adjacency *adjacency;

	tables_lock_take(&tables->lock);
	adjacency = look_up("11.1.2.3")->adjacency;
	if (adjacency)
		__atomic_store_n(&adjacency->used, 1, __ATOMIC_RELAXED);
	tables_lock_give(&tables->lock);
	return adjacency;
}

static void test_one_in_use_stays_usable_for_three_times_its_lifetime(void **state)
{
	const uint64_t end_ns = clock_now_ns() + 3 * 3 * NSEC_PER_SEC; /* ≤ 3 s each */
	uint64_t n_uses = 0;

	speed_up();
	configure();
	resolve();
	while (clock_now_ns() < end_ns) {
		assert_true(use());
		n_uses++;
		tables_env_pause();
	}
	assert_true(n_uses > 100);
	assert_true(report()->n_keepalives >= 4);
}

static bool has_mac_end(uint8_t end)
{
	const struct adjacency *adjacency;
	bool has;

	tables_lock_take(&tables->lock);
	adjacency = look_up("11.1.2.3")->adjacency;
	has = adjacency && adjacency->header[5] == end;
	tables_lock_give(&tables->lock);
	return has;
}

static bool use_until(bool (*is_over)(void), uint64_t seconds, uint64_t *ret_ns)
{
	const uint64_t start_ns = clock_now_ns();

	while (!is_over()) {
		if (clock_now_ns() - start_ns > seconds * NSEC_PER_SEC)
			return false;
		(void)use();
		tables_env_pause();
	}
	*ret_ns = clock_now_ns() - start_ns;
	return true;
}

static bool has_new_mac(void)
{
	return has_mac_end(0x77);
}

static bool is_unusable(void)
{
	return !use();
}

/* Linux's probes go to the old MAC: it fails, and the next packet asks everybody. */
static void test_a_mac_that_changes_without_a_word_is_followed(void **state)
{
	uint64_t took_ns;

	speed_up();
	configure();
	resolve();
	peer_sh("sysctl -qw net.ipv4.conf.all.arp_notify=0");
	peer_sh("ip link set q0 address 06:00:00:00:00:77");
	assert_true(use_until(is_unusable, 8, &took_ns));
	hand_back();
	wait_for(has_new_mac());
	(void)printf("an old MAC is left after %lu ms\n", (unsigned long)(took_ns / 1000000));
}

/* REACHABLE ≤ 3 s, DELAY 1 s, three probes of 200 ms: what Linux needs, and a tick of ours. */
static void test_one_that_is_dead_goes_as_fast_as_in_linux(void **state)
{
	uint64_t took_ns;

	speed_up();
	configure();
	resolve();
	peer_sh("ip link set q0 arp off");
	peer_sh("ip addr del 10.0.0.2/24 dev q0");
	assert_true(use_until(is_unusable, 8, &took_ns));
	(void)printf("a dead one goes after %lu ms\n", (unsigned long)(took_ns / 1000000));
	assert_true(took_ns < (3000 + 1000 + 3 * 200 + 250 + 500) * NSEC_PER_MSEC);
}

static bool is_stale(void)
{
	FILE *pipe = popen("ip neigh show dev p0 10.0.0.2 nud stale", "r");
	char line[128];
	bool is = fgets(line, sizeof(line), pipe);

	(void)pclose(pipe);
	return is;
}

static void test_one_that_nobody_uses_is_left_alone(void **state)
{
	uint64_t n_before;

	speed_up();
	configure();
	resolve();
	n_before = report()->n_keepalives;
	wait_for(is_stale());
	assert_int_equal(report()->n_keepalives, n_before);
	/* It is usable all the same, and the first use makes the kernel probe it. */
	assert_true(use());
	wait_for(!is_stale());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tables_test(test_one_in_use_stays_usable_for_three_times_its_lifetime),
		tables_test(test_a_mac_that_changes_without_a_word_is_followed),
		tables_test(test_one_that_is_dead_goes_as_fast_as_in_linux),
		tables_test(test_one_that_nobody_uses_is_left_alone),
	};

	return tables_env_run(tests, ARRAY_SIZE(tests));
}
