// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kern/tap.c: what is written to the TAP of a port is to Linux what the port has received, with
 * strict reverse path filtering and whatever XDP program is on the port; and what it costs nobody:
 * no address, no frame of its own, nothing left behind.
 *
 *	     TAP ──► p0 ═ p0-peer      10.1.0.0/24, drops all in native XDP
 *	  (router)   p1 ═ p1-peer      10.2.0.0/24
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bpf_env.h"
#include "kern/load_log.h"
#include "kern/tap.h"
#include "util/macros.h"

#define MTU       1500
#define N_WORKERS 4
#define P0_MAC    0x02, 0, 0, 0, 0, 0xa0
#define HOST0     10, 1, 0, 2
#define HOST1     10, 2, 0, 2

static void tap_closep(struct tap **tap)
{
	tap_close(*tap);
	*tap = NULL;
}

static struct tap *open_tap(unsigned n_queues)
{
	struct tap *tap;
	int r = tap_open(env_ifindex("p0"), n_queues, &tap);

	if (r < 0)
		fail_msg("tap_open: %s\n%s", strerror(-r), load_log_text());
	return tap;
}

/* --- Frames ---------------------------------------------------------------------------------- */

struct packet {
	uint8_t src[4], dst[4], ttl;
	uint16_t id;
	uint32_t len; /* of the IP packet */
	bool is_echo; /* a ping, else UDP to a port that nobody has */
};

static uint16_t sum16(const uint8_t *data, size_t bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Returns the length of the frame, which is as p0's peer would send it. */
static size_t build(const struct packet *packet, uint8_t frame[2048])
{
	static const uint8_t ethernet[ETH_HLEN] = {P0_MAC, 0x02, 0, 0, 0, 0, 0xb0, 0x08, 0x00};
	uint8_t *ip = frame + ETH_HLEN, *payload = ip + 20;
	uint32_t payload_len = packet->len - 20;

	memset(frame, 0, 2048);
	memcpy(frame, ethernet, sizeof(ethernet));
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)packet->len);
	put16(ip + 4, packet->id);
	put16(ip + 6, 0x4000); /* DF */
	ip[8] = packet->ttl;
	ip[9] = packet->is_echo ? IPPROTO_ICMP : IPPROTO_UDP;
	memcpy(ip + 12, packet->src, 4);
	memcpy(ip + 16, packet->dst, 4);
	put16(ip + 10, sum16(ip, 20));
	if (packet->is_echo) {
		payload[0] = 8;
		put16(payload + 2, sum16(payload, payload_len));
	} else {
		put16(payload, 1000);
		put16(payload + 2, 9);
		put16(payload + 4, (uint16_t)payload_len);
	}
	return ETH_HLEN + packet->len;
}

static void write_packet(const struct tap *tap, unsigned queue, const struct packet *packet)
{
	uint8_t frame[2048];
	size_t bytes = build(packet, frame);

	assert_int_equal(write(tap_fd(tap, queue), frame, bytes), bytes);
}

/* --- Watching a wire ------------------------------------------------------------------------- */

static int watch(const char *name)
{
	const struct sockaddr_ll address = {.sll_family = AF_PACKET,
					    .sll_protocol = htons(ETH_P_ALL),
					    .sll_ifindex = (int)env_ifindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

struct seen {
	uint8_t frame[2048];
	size_t bytes;
	int vlan; /* -1 = untagged */
};

/* The next IPv4 packet that came in there. */
static void next_ipv4(int fd, struct seen *seen)
{
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		struct iovec part = {.iov_base = seen->frame, .iov_len = sizeof(seen->frame)};
		struct sockaddr_ll from;
		_Alignas(struct cmsghdr) uint8_t control[256];
		struct msghdr message = {.msg_name = &from,
					 .msg_namelen = sizeof(from),
					 .msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		struct tpacket_auxdata aux;
		ssize_t n;

		assert_int_equal(poll(&ready, 1, ENV_DEADLINE_MS), 1);
		n = recvmsg(fd, &message, 0);
		assert_true(n >= ETH_HLEN);
		if (from.sll_pkttype == PACKET_OUTGOING || seen->frame[12] != 0x08 ||
		    seen->frame[13] != 0x00)
			continue;
		seen->bytes = (size_t)n;
		memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(aux));
		seen->vlan = aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : -1;
		return;
	}
}

static void assert_next_forwarded(int fd, const struct packet *packet)
{
	struct packet after = *packet;
	uint8_t expected[2048];
	struct seen seen;
	size_t bytes;

	after.ttl--;
	bytes = build(&after, expected);
	next_ipv4(fd, &seen);
	assert_int_equal(seen.bytes, bytes);
	assert_memory_equal(seen.frame + ETH_HLEN, expected + ETH_HLEN, bytes - ETH_HLEN);
}

static struct rtnl_link_stats stats_of(const char *name)
{
	struct rtnl_link_stats stats = {};
	struct ifaddrs *all;
	bool is_found = false;

	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_PACKET &&
		    strcmp(a->ifa_name, name) == 0) {
			memcpy(&stats, a->ifa_data, sizeof(stats));
			is_found = true;
		}
	}
	freeifaddrs(all);
	assert_true(is_found);
	return stats;
}

/* --- As if the port had received it ---------------------------------------------------------- */

static void test_frames_are_forwarded_with_strict_rp_filter(void **state)
{
	static const struct packet wrong_side = {
		.src = {10, 2, 0, 9}, .dst = {HOST1}, .ttl = 64, .id = 1, .len = 100};
	static const struct packet good = {
		.src = {HOST0}, .dst = {HOST1}, .ttl = 64, .id = 2, .len = 100};
	static const struct packet last = {
		.src = {HOST0}, .dst = {HOST1}, .ttl = 64, .id = 3, .len = 100};
	_cleanup_(tap_closep) struct tap *tap = open_tap(1);
	_cleanup_close_ int wire = watch("p1-peer"), sender = watch("p0-peer");
	uint8_t frame[2048];
	size_t bytes = build(&good, frame);

	/* The controls: what comes over the wire is dropped by XDP, and a source of elsewhere. */
	assert_int_equal(send(sender, frame, bytes, 0), bytes);
	write_packet(tap, 0, &wrong_side);
	write_packet(tap, 0, &good);
	write_packet(tap, 0, &last);
	assert_next_forwarded(wire, &good);
	assert_next_forwarded(wire, &last);
}

static void test_host_answers_from_the_port(void **state)
{
	static const uint8_t p0_addr[4] = {10, 1, 0, 1};
	static const struct packet ping = {
		.src = {HOST0}, .dst = {10, 1, 0, 1}, .ttl = 64, .len = 84, .is_echo = true};
	static const struct packet expired = {.src = {HOST0}, .dst = {HOST1}, .ttl = 1, .len = 100};
	_cleanup_(tap_closep) struct tap *tap = open_tap(1);
	_cleanup_close_ int wire = watch("p0-peer");
	struct seen seen;

	write_packet(tap, 0, &ping);
	next_ipv4(wire, &seen);
	assert_int_equal(seen.frame[ETH_HLEN + 20], 0); /* echo reply */
	assert_memory_equal(seen.frame + ETH_HLEN + 12, p0_addr, 4);

	write_packet(tap, 0, &expired);
	next_ipv4(wire, &seen);
	assert_int_equal(seen.frame[ETH_HLEN + 20], 11); /* time exceeded */
	assert_memory_equal(seen.frame + ETH_HLEN + 12, p0_addr, 4);
}

static void test_full_frames_go_through_tagged_too(void **state)
{
	static const struct packet full = {
		.src = {HOST0}, .dst = {HOST1}, .ttl = 64, .id = 3, .len = MTU};
	_cleanup_(tap_closep) struct tap *tap = open_tap(1);
	_cleanup_close_ int forwarded = watch("p1-peer"), received = watch("p0");
	uint8_t frame[2048], tagged[2048];
	size_t bytes = build(&full, frame);
	struct seen seen;

	write_packet(tap, 0, &full);
	assert_next_forwarded(forwarded, &full);
	next_ipv4(received, &seen);
	assert_int_equal(seen.vlan, -1);

	memcpy(tagged, frame, 12);
	put16(tagged + 12, ETH_P_8021Q);
	put16(tagged + 14, 100);
	memcpy(tagged + 16, frame + 12, bytes - 12);
	assert_int_equal(write(tap_fd(tap, 0), tagged, bytes + 4), bytes + 4);
	next_ipv4(received, &seen);
	assert_int_equal(seen.vlan, 100);
	assert_int_equal(seen.bytes, bytes);
	assert_memory_equal(seen.frame, frame, bytes);
}

/* --- From several workers -------------------------------------------------------------------- */

#define N_EACH 2000

struct writer {
	const struct tap *tap;
	unsigned queue;
	unsigned n_refused;
};

static void *write_many(void *arg)
{
	struct writer *writer = arg;
	const struct packet packet = {.src = {HOST0},
				      .dst = {HOST1},
				      .ttl = 64,
				      .id = (uint16_t)writer->queue,
				      .len = 60};
	uint8_t frame[2048];
	size_t bytes = build(&packet, frame);

	for (unsigned i = 0; i < N_EACH; i++)
		writer->n_refused += write(tap_fd(writer->tap, writer->queue), frame, bytes) < 0;
	return NULL;
}

struct forwarded {
	uint32_t n_before, n_dropped_before;
	uint32_t n_expected;
};

/* What a full backlog of a CPU drops is counted on the port: write(2) does not tell. */
static bool is_all_accounted(void *arg)
{
	const struct forwarded *forwarded = arg;
	uint32_t n = stats_of("p1-peer").rx_packets - forwarded->n_before;
	uint32_t n_dropped = stats_of("p0").rx_dropped - forwarded->n_dropped_before;

	return n + n_dropped == forwarded->n_expected && n > 0;
}

static void test_each_worker_writes_to_its_own_queue(void **state)
{
	_cleanup_(tap_closep) struct tap *tap = open_tap(N_WORKERS);
	struct forwarded forwarded = {
		.n_before = stats_of("p1-peer").rx_packets,
		.n_dropped_before = stats_of("p0").rx_dropped,
		.n_expected = N_WORKERS * N_EACH,
	};
	struct writer writers[N_WORKERS];
	pthread_t threads[N_WORKERS];

	for (unsigned w = 0; w < N_WORKERS; w++) {
		writers[w] = (struct writer){.tap = tap, .queue = w};
		assert_int_equal(pthread_create(&threads[w], NULL, write_many, &writers[w]), 0);
	}
	for (unsigned w = 0; w < N_WORKERS; w++) {
		assert_int_equal(pthread_join(threads[w], NULL), 0);
		assert_int_equal(writers[w].n_refused, 0);
	}
	assert_true(env_wait(is_all_accounted, &forwarded));
	(void)printf("%u of %u frames dropped by full backlogs\n",
		     stats_of("p0").rx_dropped - forwarded.n_dropped_before, forwarded.n_expected);
}

/* --- The device ------------------------------------------------------------------------------ */

static int transmit_queue_len(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFTXQLEN, &request), 0);
	return request.ifr_qlen;
}

static void write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static bool has_ipv6_address(const char *name)
{
	struct ifaddrs *all;
	bool is_found = false;

	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *a = all; a; a = a->ifa_next)
		is_found |= a->ifa_addr && a->ifa_addr->sa_family == AF_INET6 &&
			    strcmp(a->ifa_name, name) == 0;
	freeifaddrs(all);
	return is_found;
}

/* Whoever has no settings of IPv6 has no IPv6: no address, no group, nothing to say. */
static bool has_ipv6(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s", name);
	return access(path, F_OK) == 0;
}

static bool is_up_with_ipv6(void *arg)
{
	return has_ipv6_address(arg);
}

/* The control is a device of the same moment, which does get an address. A router's devices report
 * that they listen to ff02::2. */
static void test_device_says_nothing_by_itself(void **state)
{
	_cleanup_(tap_closep) struct tap *tap = NULL;
	uint8_t frame[2048];

	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0");
	tap = open_tap(1);
	env_make_veth("talks", "talks-peer", 1);
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	assert_true(env_wait(is_up_with_ipv6, (char[]){"talks"}));
	assert_true(has_ipv6("talks"));
	assert_false(has_ipv6(tap_name(tap)));
	assert_int_equal(transmit_queue_len(tap_name(tap)), 1);
	assert_int_equal(read(tap_fd(tap, 0), frame, sizeof(frame)), -1);
	assert_int_equal(errno, EAGAIN);
	env_run("ip", "link", "del", "talks", NULL);
}

static void test_each_port_has_its_own(void **state)
{
	_cleanup_(tap_closep) struct tap *tap = open_tap(1), *other = NULL;

	assert_int_equal(tap_open(env_ifindex("p1"), 1, &other), 0);
	assert_string_not_equal(tap_name(tap), tap_name(other));
	assert_int_equal(tap_ifindex(tap), env_ifindex(tap_name(tap)));
	assert_int_equal(tap_ifindex(other), env_ifindex(tap_name(other)));
	assert_memory_equal(tap_name(tap), "sluice", 6);
}

static bool is_gone(void *arg)
{
	return if_nametoindex(arg) == 0;
}

static void test_killed_process_leaves_nothing(void **state)
{
	char name[IF_NAMESIZE] = "";
	int pipe_fds[2], status;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct tap *tap = open_tap(2);

		if (write(pipe_fds[1], tap_name(tap), sizeof(name)) != sizeof(name))
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(pipe_fds[0], name, sizeof(name)), sizeof(name));
	assert_int_not_equal(if_nametoindex(name), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(env_wait(is_gone, name));
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

static void test_port_that_went_swallows_frames(void **state)
{
	static const struct packet packet = {.src = {HOST0}, .dst = {HOST1}, .ttl = 64, .len = 100};
	_cleanup_(tap_closep) struct tap *tap = NULL;
	uint8_t runt[ETH_HLEN - 1] = {P0_MAC};

	env_make_veth("gone", "gone-peer", 1);
	assert_int_equal(tap_open(env_ifindex("gone"), 1, &tap), 0);
	env_run("ip", "link", "set", "gone", "down", NULL);
	write_packet(tap, 0, &packet);
	env_run("ip", "link", "del", "gone", NULL);
	write_packet(tap, 0, &packet);
	assert_int_equal(write(tap_fd(tap, 0), runt, sizeof(runt)), -1);
	assert_int_equal(errno, EINVAL);
}

/* --- Rights ---------------------------------------------------------------------------------- */

/* As the service runs: a user of its own with the capabilities of the packet plane. */
static void become_service(void)
{
	const uint64_t mask = 1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW | 1ULL << CAP_BPF;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	for (unsigned i = 0; i < 2; i++)
		data[i].permitted = data[i].effective = (uint32_t)(mask >> 32 * i);
	if (syscall(SYS_setfsuid, 65534) < 0 || syscall(SYS_capset, &header, data) < 0)
		_exit(2);
}

static int status_in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int open_as_service(void)
{
	struct tap *tap;

	become_service();
	return tap_open(env_ifindex("p0"), 2, &tap) == 0 ? 0 : 1;
}

static int open_without_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};
	struct tap *tap;

	if (syscall(SYS_capset, &header, data) < 0)
		return 2;
	return tap_open(env_ifindex("p0"), 1, &tap) == -EPERM ? 0 : 1;
}

static int open_without_device_file(void)
{
	struct tap *tap;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/dev/net", "tmpfs", 0, NULL) < 0)
		return 2;
	return tap_open(env_ifindex("p0"), 1, &tap) == -ENOENT ? 0 : 1;
}

static void test_capabilities_of_the_service_suffice(void **state)
{
	assert_int_equal(status_in_child(open_as_service), 0);
	assert_int_equal(status_in_child(open_without_capabilities), 0);
}

static void test_missing_device_file_is_told(void **state)
{
	assert_int_equal(status_in_child(open_without_device_file), 0);
}

/* ---------------------------------------------------------------------------------------------- */

static int load_drop_all(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_DROP},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "drop_all", "GPL", insns, ARRAY_SIZE(insns), NULL);
}

static void make_router(void)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link_fd;

	env_make_veth("p0", "p0-peer", 1);
	env_make_veth("p1", "p1-peer", 1);
	env_run("ip", "link", "set", "p0", "address", "02:00:00:00:00:a0", NULL);
	env_run("ip", "addr", "add", "10.1.0.1/24", "dev", "p0", NULL);
	env_run("ip", "addr", "add", "10.2.0.1/24", "dev", "p1", NULL);
	env_run("ip", "neigh", "add", "10.1.0.2", "lladdr", "02:00:00:00:00:b0", "dev", "p0", NULL);
	env_run("ip", "neigh", "add", "10.2.0.2", "lladdr", "02:00:00:00:00:b1", "dev", "p1", NULL);
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	write_file("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
	/* As long as the process: what is handed back must not meet it. */
	link_fd = bpf_link_create(load_drop_all(), (int)env_ifindex("p0"), BPF_XDP, &opts);
	assert_true(link_fd >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_forwarded_with_strict_rp_filter),
		cmocka_unit_test(test_host_answers_from_the_port),
		cmocka_unit_test(test_full_frames_go_through_tagged_too),
		cmocka_unit_test(test_each_worker_writes_to_its_own_queue),
		cmocka_unit_test(test_device_says_nothing_by_itself),
		cmocka_unit_test(test_each_port_has_its_own),
		cmocka_unit_test(test_killed_process_leaves_nothing),
		cmocka_unit_test(test_port_that_went_swallows_frames),
		cmocka_unit_test(test_capabilities_of_the_service_suffice),
		cmocka_unit_test(test_missing_device_file_is_told),
	};

	env_enter();
	make_router();
	return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
