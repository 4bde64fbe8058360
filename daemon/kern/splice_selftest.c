// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does this kernel splice to the byte? Real connections over loopback, client–[a b]–server, with
 * maps of their own, and the traps of splice.md §1.2 that can be provoked without harm. Run once at
 * start, before any acceptor; the answer decides whether `sockmap` may be used at all. No check
 * takes more than PATIENCE_NS. Thread: control.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "kern/splice_maps_internal.h"
#include "util/clock.h"
#include "util/macros.h"

/*
 * Of the thread's CPU time, for one check. Each waits by looking, so that a kernel that does not
 * answer uses it up; on a machine that is busy, as at boot, time passes and proves nothing: with
 * ten runnable threads per CPU a check of 10 ms took 1.6 s. But between two looks the others have
 * their turn, so that there 500 ms of CPU time may be minutes: the start does not wait so long.
 */
#define PATIENCE_NS      (500 * NSEC_PER_MSEC)
#define PATIENCE_WALL_NS (5 * NSEC_PER_SEC)

/* A sink that takes nothing for so many looks, and so long, is blocked. */
#define BLOCKED_LOOKS 16
#define BLOCKED_NS    NSEC_PER_MSEC

enum { CLIENT, A, B, SERVER, N_SOCKETS };

/* One direction: what was sent, relayed and received; byte i of it is pattern(i). */
struct way {
	int from, source, sink, to; /* fds: far end, ours, ours, far end */
	struct splice_flow *flow;
	uint64_t sink_base;
	uint64_t n_sent, n_relayed, n_received;
	char held[4096];
	size_t n_held, held_at;
};

struct test {
	struct splice_maps *maps;
	uint64_t late_cpu_ns, late_ns;
	int fd[N_SOCKETS];
	struct way way[2];
};

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 151 + (i >> 8) * 7);
}

static bool is_late(const struct test *test)
{
	return clock_thread_cpu_ns() > test->late_cpu_ns || clock_now_ns() > test->late_ns;
}

/* --- Connections -------------------------------------------------------------------------------
 */

static void close_all(struct test *test)
{
	/* Resets: nothing may stay behind in TIME_WAIT. */
	const struct linger now = {.l_onoff = 1};

	splice_leave(test->maps, 0);
	for (unsigned i = 0; i < N_SOCKETS; i++) {
		if (test->fd[i] >= 0)
			(void)setsockopt(test->fd[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close_fdp(&test->fd[i]);
	}
}

/* A connection over loopback: *ret_active connected to *ret_passive, neither blocks. */
static int connect_pair(int *ret_active, int *ret_passive)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int active = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(address);
	const int one = 1;
	int passive;

	if (listener < 0 || active < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
	    connect(active, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	passive = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (passive < 0)
		return -errno;
	(void)setsockopt(active, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(passive, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*ret_active = TAKE_FD(active);
	*ret_passive = passive;
	return 0;
}

static int connect_both(struct test *test)
{
	int r = connect_pair(&test->fd[CLIENT], &test->fd[A]);

	return r < 0 ? r : connect_pair(&test->fd[B], &test->fd[SERVER]);
}

static int start_ways(struct test *test)
{
	const int *fd = test->fd;
	int r;

	test->way[0] = (struct way){.from = fd[CLIENT],
				    .source = fd[A],
				    .sink = fd[B],
				    .to = fd[SERVER],
				    .flow = splice_flow(test->maps, 0)};
	test->way[1] = (struct way){.from = fd[SERVER],
				    .source = fd[B],
				    .sink = fd[A],
				    .to = fd[CLIENT],
				    .flow = splice_flow(test->maps, 1)};
	r = splice_base(fd[B], &test->way[0].sink_base);
	return r < 0 ? r : splice_base(fd[A], &test->way[1].sink_base);
}

static void wish(struct test *test, enum splice_wish what)
{
	for (unsigned i = 0; i < 2; i++)
		__atomic_store_n(&test->way[i].flow->wish, what, __ATOMIC_RELEASE);
}

/* In the maps, and redirecting. */
static int enter(struct test *test)
{
	int r = start_ways(test);

	if (r == 0)
		r = splice_enter(test->maps, 0, (int[]){test->fd[A], test->fd[B]});
	if (r != 0)
		return r < 0 ? r : -EOPNOTSUPP;
	wish(test, SPLICE_KERNEL);
	(void)splice_kick(test->fd[A]);
	(void)splice_kick(test->fd[B]);
	return 0;
}

/* --- Moving bytes ------------------------------------------------------------------------------
 */

/* From the far end, as much as it takes of up to n. */
static int feed(struct way *way, uint64_t n)
{
	uint8_t bytes[4096];
	size_t size = MIN(n, sizeof(bytes));
	ssize_t sent;

	for (size_t i = 0; i < size; i++)
		bytes[i] = pattern(way->n_sent + i);
	sent = send(way->from, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN ? 0 : -errno;
	way->n_sent += (uint64_t)sent;
	return 0;
}

/* At the far end; -EBADMSG: not the bytes that were sent. *ret_eof may be NULL. */
static int drain(struct way *way, bool *ret_eof)
{
	uint8_t bytes[16384];
	ssize_t n = recv(way->to, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != pattern(way->n_received + (uint64_t)i))
			return -EBADMSG;
	}
	way->n_received += (uint64_t)n;
	if (n == 0 && ret_eof)
		*ret_eof = true;
	return 0;
}

/* Has the sink been given all that was redirected and relayed? */
static bool is_taken(const struct way *way)
{
	uint64_t taken;

	return splice_taken(way->sink, way->sink_base, &taken) == 0 &&
	       taken == __atomic_load_n(&way->flow->redirected, __ATOMIC_ACQUIRE) + way->n_relayed;
}

/* User space's share: passed bytes, in order. *ret_eof: recv() says so and nothing is owed. */
static int relay(struct way *way, bool *ret_eof)
{
	ssize_t n;

	if (way->n_held == 0) {
		if (!is_taken(way))
			return 0;
		n = recv(way->source, way->held, sizeof(way->held), MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		*ret_eof = n == 0 && !splice_is_owed(way->flow);
		way->n_held = (size_t)n;
		way->held_at = 0;
	}
	n = send(way->sink, way->held + way->held_at, way->n_held, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	way->held_at += (size_t)n;
	way->n_held -= (size_t)n;
	way->n_relayed += (uint64_t)n;
	(void)splice_consume(way->flow, (uint64_t)n);
	return 0;
}

/* The kernel's share only: until n bytes have arrived. */
static int expect(struct test *test, struct way *way, uint64_t n)
{
	int r = 0;

	while (r == 0 && way->n_received < n) {
		if (is_late(test))
			return -ETIMEDOUT;
		r = drain(way, NULL);
		(void)sched_yield();
	}
	return r;
}

static int feed_all(struct test *test, struct way *way, uint64_t n)
{
	int r = 0;

	while (r == 0 && way->n_sent < n) {
		if (is_late(test))
			return -ETIMEDOUT;
		r = feed(way, n - way->n_sent);
	}
	return r;
}

/* --- Checks ------------------------------------------------------------------------------------
 */

/* T2: what waited at insertion moves with the kick. */
static int check_kick(struct test *test)
{
	int r = feed(&(struct way){.from = test->fd[CLIENT]}, 500);
	char byte;

	/* Blocking: until it has arrived at a. */
	if (r == 0 && recv(test->fd[A], &byte, 1, MSG_PEEK) != 1)
		r = -EIO;
	if (r == 0)
		r = enter(test);
	if (r == 0)
		r = expect(test, &test->way[0], 500);
	return r == 0 && test->way[0].flow->redirected != 500 ? -EIO : r;
}

/* T6: a FIN alone must not reach b as an error; the other direction goes on. */
static int check_bare_fin(struct test *test)
{
	int error = 0, r = enter(test);
	socklen_t size = sizeof(error);
	bool is_eof = false;

	if (r < 0)
		return r;
	if (shutdown(test->fd[CLIENT], SHUT_WR) < 0)
		return -errno;
	while (r == 0 && !is_eof) {
		if (is_late(test))
			return -ETIMEDOUT;
		r = relay(&test->way[0], &is_eof);
	}
	if (r == 0)
		r = feed_all(test, &test->way[1], 200);
	if (r == 0)
		r = expect(test, &test->way[1], 200);
	if (r == 0 && getsockopt(test->fd[B], SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		r = -errno;
	return r < 0 ? r : -error;
}

/* T7: without a peer, the bytes stay readable. */
static int check_missing_peer(struct test *test)
{
	const uint32_t server_side = 1;
	uint8_t bytes[100];
	ssize_t n;
	int r = enter(test);

	if (r == 0)
		r = bpf_map_delete_elem(test->maps->out_fd, &server_side);
	if (r == 0)
		r = feed(&test->way[0], sizeof(bytes));
	if (r < 0)
		return r;
	do {
		n = recv(test->fd[A], bytes, sizeof(bytes), MSG_DONTWAIT);
	} while (n < 0 && errno == EAGAIN && !is_late(test));
	if (n != sizeof(bytes) || test->way[0].flow->redirected != 0)
		return -EIO;
	return bytes[99] == pattern(99) ? 0 : -EBADMSG;
}

/* Both ways, while the word of each flow changes all the time; then FIN, behind the last byte. */
static int check_toggling(struct test *test)
{
	const uint64_t n_bytes = 256 << 10;
	bool source_eof[2] = {}, is_shut[2] = {}, far_eof[2] = {};
	uint32_t round = 0;
	int r = enter(test);

	while (r == 0 && !(far_eof[0] && far_eof[1])) {
		if (is_late(test))
			return -ETIMEDOUT;
		wish(test, ++round % 3 ? SPLICE_KERNEL : SPLICE_RELAY);
		for (unsigned i = 0; i < 2 && r == 0; i++) {
			struct way *way = &test->way[i];

			if (way->n_sent < n_bytes)
				r = feed(way, MIN(1 + round * 37 % 4096, n_bytes - way->n_sent));
			else if (!is_shut[i])
				is_shut[i] = shutdown(way->from, SHUT_WR) == 0;
			if (r == 0 && !source_eof[i])
				r = relay(way, &source_eof[i]);
			if (r == 0 && source_eof[i] && is_taken(way))
				(void)shutdown(way->sink, SHUT_WR);
			if (r == 0)
				r = drain(way, &far_eof[i]);
		}
	}
	if (r == 0 && (test->way[0].n_received != n_bytes || test->way[1].n_received != n_bytes))
		r = -ENODATA;
	/* The test means something only if both have moved bytes. */
	if (r == 0 && (!test->way[0].flow->redirected || !test->way[0].flow->passed))
		r = -ENOTSUP;
	return r;
}

/* Until the sink takes no more of what was redirected. */
static int wait_blocked(const struct test *test, const struct way *way)
{
	uint64_t taken = 0, before, since_ns = 0;
	unsigned n_looks = 0;

	do {
		before = taken;
		if (is_late(test))
			return -ETIMEDOUT;
		if (splice_taken(way->sink, way->sink_base, &taken) < 0)
			return -EIO;
		if (taken != before || taken == 0) {
			since_ns = clock_now_ns();
			n_looks = 0;
		}
		(void)sched_yield();
	} while (++n_looks < BLOCKED_LOOKS || clock_now_ns() - since_ns < BLOCKED_NS);
	/* The test means something only if the kernel had to stop. */
	return taken < splice_redirected(way->flow) ? 0 : -ENOTSUP;
}

/*
 * A peer that blocks in the middle of an skb, which is to be sent on from there: kernels before
 * 6.1.142, 6.6.94 and 6.12.34 send all of it again, or forget where it was to go. The credit rule
 * avoids that; memory pressure does not, nor a limit of unsent bytes, of which the rule knows
 * nothing.
 */
static int check_blocked_peer(struct test *test)
{
	/* Whatever the sysctls are: the rule sees room, the window is 64 KiB, an skb as much. */
	const struct {
		int at, level, name, value;
	} options[] = {
		{B, SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20},
		{B, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096},
		{SERVER, SOL_SOCKET, SO_RCVBUF, 64 << 10},
	};
	const uint64_t n_bytes = 192 << 10; /* less than the credit */
	int r = enter(test);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(options); i++) {
		if (setsockopt(test->fd[options[i].at], options[i].level, options[i].name,
			       &options[i].value, sizeof(options[i].value)) < 0)
			r = -errno;
	}
	if (r == 0)
		r = feed_all(test, &test->way[0], n_bytes);
	if (r == 0)
		r = wait_blocked(test, &test->way[0]);
	if (r == 0)
		r = expect(test, &test->way[0], n_bytes);
	return r == 0 && !is_taken(&test->way[0]) ? -EBADMSG : r;
}

/* A reset arrives as one at a spliced socket, not as an end. */
static int check_reset(struct test *test)
{
	const struct linger now = {.l_onoff = 1};
	int r = enter(test);
	char byte;

	if (r < 0)
		return r;
	(void)setsockopt(test->fd[CLIENT], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fdp(&test->fd[CLIENT]);
	while (recv(test->fd[A], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
		if (is_late(test))
			return -ETIMEDOUT;
	}
	return errno == ECONNRESET ? 0 : -EIO;
}

/* --- All ---------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	int (*fn)(struct test *test);
} checks[] = {
	{"bytes queued at insertion", check_kick},
	{"a bare FIN", check_bare_fin},
	{"a missing peer", check_missing_peer},
	{"order and drain while toggling", check_toggling},
	{"a peer that blocks", check_blocked_peer},
	{"a reset", check_reset},
};

int splice_selftest(const char **ret_what)
{
	const struct splice_maps_spec spec = {.n_conns = 1, .n_acceptors = 1};
	struct test test = {.fd = {-1, -1, -1, -1}};
	const char *what = "loading the verdict";
	int r = splice_maps_new(&spec, &test.maps);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++) {
		what = checks[i].name;
		r = connect_both(&test);
		test.late_cpu_ns = clock_thread_cpu_ns() + PATIENCE_NS;
		test.late_ns = clock_now_ns() + PATIENCE_WALL_NS;
		if (r == 0)
			r = checks[i].fn(&test);
		close_all(&test);
	}
	splice_maps_free(test.maps);
	if (r < 0)
		*ret_what = what;
	return r;
}
