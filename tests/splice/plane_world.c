/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See the header. */
#include "tests/splice/plane_world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "kern/splice_maps.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

/* Longer than the first zero-window probes, which may find a grown buffer. */
#define FILL_QUIET_MS 700
#define WAIT_NS       (WORLD_WAIT_MS * NSEC_PER_MSEC)

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* --- Configuration -------------------------------------------------------------------------------
 */

static void fill_backend(struct world *world, struct backend_config *backend)
{
	const struct world_options *options = &world->options;
	uint32_t n = options->n_servers;

	*backend = (struct backend_config){
		.state = world->backend,
		.balance = options->balance,
		.send_proxy = options->send_proxy,
		.connect_timeout_ns = options->connect_timeout_ns,
		.max_connections = options->max_backend_connections,
		.n_retries = options->n_retries,
		.passive_fall = 3,
		.passive_out_ns = 10 * NSEC_PER_SEC,
		.servers = calloc(n, sizeof(struct backend_server)),
		.n_servers = n,
	};
	assert_non_null(backend->servers);
	atomic_fetch_add(&world->backend->refs, 1);
	for (uint32_t i = 0; i < n; i++) {
		backend->servers[i].state = world->servers[i];
		backend->servers[i].weight = 1;
		atomic_fetch_add(&world->servers[i]->refs, 1);
	}
}

static void fill_listener(struct world *world, struct listener_config *listener)
{
	const struct world_options *options = &world->options;

	*listener = (struct listener_config){
		.state = world->listener,
		.sniff = options->sniff,
		.engine = options->engine,
		.proxy_protocol = options->proxy_protocol,
		.default_backend = options->has_no_default ? SPLICE_NONE : 0,
		.max_connections = options->max_connections,
		.max_per_source = options->max_per_source,
		.sniff_timeout_ns = options->sniff_timeout_ns,
		.idle_timeout_ns = options->idle_timeout_ns,
		.half_closed_timeout_ns = options->half_closed_timeout_ns,
		.keepalive_ns = options->keepalive_ns == UINT64_MAX ? 0 : options->keepalive_ns,
		.user_timeout_ns = 30 * NSEC_PER_SEC,
		.routes = calloc(1, sizeof(struct listener_route)),
		.n_routes = 1,
	};
	assert_non_null(listener->routes);
	strcpy(listener->routes[0].pattern, "*.example.org");
	if (options->is_proxy_from_here) {
		listener->proxy_from = calloc(1, sizeof(struct splice_prefix));
		assert_non_null(listener->proxy_from);
		listener->proxy_from[0].addr.family = 4;
		listener->proxy_from[0].addr.addr.octet[0] = 127;
		listener->proxy_from[0].len = 8;
		listener->n_proxy_from = 1;
	}
	atomic_fetch_add(&world->listener->refs, 1);
}

static struct splice_config *new_config(struct world *world)
{
	struct splice_config *config = calloc(1, sizeof(*config));

	assert_non_null(config);
	atomic_init(&config->refs, 1);
	config->listeners = calloc(1, sizeof(struct listener_config));
	config->backends = calloc(1, sizeof(struct backend_config));
	assert_non_null(config->listeners);
	assert_non_null(config->backends);
	config->n_listeners = config->n_backends = 1;
	config->flow_log_every = world->options.flow_log_every;
	config->max_flow_parked_bytes = world->options.max_flow_parked_bytes;
	fill_listener(world, &config->listeners[0]);
	fill_backend(world, &config->backends[0]);
	return config;
}

void world_reload(struct world *world)
{
	splice_config_unref(world->config);
	world->config = new_config(world);
	assert_int_equal(splice_apply(world->splice, world->config), 0);
}

/* --- Life ----------------------------------------------------------------------------------------
 */

int listen_on_loopback(int backlog, struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	*ret_len = sizeof(*ret_address);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, ret_len), 0);
	return fd;
}

/* In the abstract namespace: no file is left. */
static int listen_on_unix(struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "sluice-splice-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 128), 0);
	memcpy(ret_address, &un, sizeof(un));
	*ret_len = sizeof(un);
	return fd;
}

static void new_states(struct world *world)
{
	world->listener = calloc(1, sizeof(*world->listener));
	world->backend = calloc(1, sizeof(*world->backend));
	assert_non_null(world->listener);
	assert_non_null(world->backend);
	strcpy(world->listener->name, "web");
	strcpy(world->backend->name, "app");
	world->listener->number = 7;
	atomic_init(&world->listener->refs, 1);
	atomic_init(&world->backend->refs, 1);
	for (uint32_t i = 0; i < world->options.n_servers; i++) {
		struct server_state *server = calloc(1, sizeof(*server));

		assert_non_null(server);
		(void)snprintf(server->name, sizeof(server->name), "s%u", i);
		atomic_init(&server->refs, 1);
		atomic_init(&server->is_up, true);
		world->server_fds[i] =
			listen_on_loopback(128, &server->address, &server->address_len);
		world->servers[i] = server;
	}
}

static void set_defaults(struct world_options *options)
{
	options->n_acceptors = MAX(options->n_acceptors, 1);
	options->n_servers = MAX(options->n_servers, 1);
	if (options->max_conns == 0)
		options->max_conns = 1000;
	if (options->keepalive_ns == 0)
		options->keepalive_ns = 60 * NSEC_PER_SEC;
	if (options->sniff_timeout_ns == 0)
		options->sniff_timeout_ns = 20 * NSEC_PER_SEC;
	if (options->idle_timeout_ns == 0)
		options->idle_timeout_ns = 60 * NSEC_PER_SEC;
	if (options->half_closed_timeout_ns == 0)
		options->half_closed_timeout_ns = 20 * NSEC_PER_SEC;
	if (options->connect_timeout_ns == 0)
		options->connect_timeout_ns = 20 * NSEC_PER_SEC;
}

static void open_maps(struct world *world)
{
	struct splice_maps_spec spec = {.n_conns = world->options.max_conns,
					.n_acceptors = world->options.n_acceptors};
	int r;

	if (world->options.engine != SPLICE_SOCKMAP && world->options.engine != SPLICE_AUTO)
		return;
	r = splice_maps_new(&spec, &world->maps);
	if (r == -EPERM) {
		print_message("no CAP_BPF, CAP_NET_ADMIN or CAP_PERFMON\n");
		exit(77);
	}
	assert_int_equal(r, 0);
}

void world_open(struct world *world, const struct world_options *options)
{
	struct splice_options splice_options;
	int fd;

	memset(world, 0, sizeof(*world));
	world->n_fds = count_fds();
	world->options = *options;
	set_defaults(&world->options);
	new_states(world);
	open_maps(world);
	splice_options = (struct splice_options){.n_acceptors = world->options.n_acceptors,
						 .max_conns = world->options.max_conns,
						 .maps = world->maps};
	assert_int_equal(splice_new(&splice_options, &world->splice), 0);
	world->config = new_config(world);
	assert_int_equal(splice_apply(world->splice, world->config), 0);
	fd = options->is_unix ? listen_on_unix(&world->address, &world->address_len) :
				listen_on_loopback(4096, &world->address, &world->address_len);
	assert_int_equal(splice_add_socket(world->splice, world->listener->number, 0, fd, NULL,
					   options->is_unix || options->n_acceptors > 1),
			 0);
}

void world_close(struct world *world)
{
	struct acceptor_counters counters;

	world_wait_no_conns(world);
	counters = world_counters(world);
	for (unsigned i = 0; i < SPLICE_ENGINE_N; i++)
		assert_int_equal(counters.n_flows[i], 0);
	assert_int_equal(counters.parked_bytes, 0);
	assert_int_equal(counters.n_unawaited, 0);
	assert_int_equal(sources_count(world->splice->sources), 0);
	assert_int_equal(atomic_load(&world->listener->n_sniffing), 0);
	assert_int_equal(atomic_load(&world->backend->n_active), 0);
	splice_drain(world->splice, 1);
	for (uint64_t until = clock_now_ns() + WAIT_NS; !splice_is_drained(world->splice);)
		assert_true(clock_now_ns() < until);
	for (uint32_t i = 0; i < world->options.n_acceptors; i++) {
		const struct pool *pool = &world->splice->acceptors[i]->pool;

		/* Its connections are gone, and with is_drained it has said so. */
		assert_int_equal(pool->small.n_used, 0);
		assert_int_equal(pool->large.n_used, 0);
		assert_int_equal(pool->n_used_pipes, 0);
	}
	splice_free(world->splice);
	splice_maps_free(world->maps);
	splice_config_unref(world->config);
	for (uint32_t i = 0; i < world->options.n_servers; i++) {
		close_fdp(&world->server_fds[i]);
		assert_int_equal(atomic_load(&world->servers[i]->refs), 1);
		assert_int_equal(atomic_load(&world->servers[i]->n_active), 0);
		server_state_unref(world->servers[i]);
	}
	assert_int_equal(atomic_load(&world->backend->refs), 1);
	assert_int_equal(atomic_load(&world->listener->refs), 1);
	backend_state_unref(world->backend);
	listener_state_unref(world->listener);
	assert_int_equal(count_fds(), world->n_fds);
}

/* --- Waiting -------------------------------------------------------------------------------------
 */

void world_wait_u32(const _Atomic uint32_t *word, uint32_t value)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (atomic_load(word) != value) {
		if (clock_now_ns() >= until_ns)
			fail_msg("%u, not %u", atomic_load(word), value);
		(void)poll(NULL, 0, 1);
	}
}

void world_wait_no_conns(struct world *world)
{
	world_wait_u32(&world->splice->n_conns, 0);
}

struct acceptor_counters world_counters(const struct world *world)
{
	static struct splice_report report;
	struct acceptor_counters sum = {.n_turns = 0};
	uint64_t *to = (uint64_t *)(void *)&sum;

	splice_report(world->splice, &report);
	for (uint32_t i = 0; i < report.n_acceptors; i++) {
		const uint64_t *from =
			(const uint64_t *)(const void *)&report.acceptors[i].counters;

		for (size_t j = 0; j < sizeof(sum) / sizeof(uint64_t); j++)
			to[j] += from[j];
	}
	return sum;
}

uint64_t world_turns_while_quiet(const struct world *world, int fd, short events, int ms)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	uint64_t before = world_counters(world).n_turns;

	assert_int_equal(poll(&pollfd, 1, ms), 0);
	return world_counters(world).n_turns - before;
}

void world_wait_rejected(const struct world *world, enum splice_reject reason, uint64_t n)
{
	const _Atomic uint64_t *count = &world->listener->n_rejected[reason];
	uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (atomic_load(count) < n)
		assert_true(clock_now_ns() < until_ns);
	assert_int_equal(atomic_load(count), n);
}

/* --- Peers ---------------------------------------------------------------------------------------
 */

static void wait_ready(int fd, short events)
{
	struct pollfd pollfd = {.fd = fd, .events = events};

	assert_int_equal(poll(&pollfd, 1, WORLD_WAIT_MS), 1);
}

int world_connect(const struct world *world)
{
	int fd = socket(world->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&world->address, world->address_len),
			 0);
	return fd;
}

int world_accept(const struct world *world, unsigned server)
{
	int fd;

	wait_ready(world->server_fds[server], POLLIN);
	fd = accept4(world->server_fds[server], NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void world_pair(const struct world *world, int *ret_client, int *ret_server)
{
	*ret_client = world_connect(world);
	*ret_server = world_accept(world, 0);
}

void pattern_fill(uint8_t *data, size_t len, uint32_t seed, uint64_t at)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t x = (at + i + 1) * 0x9e3779b97f4a7c15ULL + seed;

		data[i] = (uint8_t)(x >> 56 ^ x >> 31);
	}
}

void peer_send(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n;

		wait_ready(fd, POLLOUT);
		n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		assert_true(n > 0);
		at += n;
		len -= (size_t)n;
	}
}

void peer_send_pattern(int fd, uint32_t seed, uint64_t at, size_t len)
{
	uint8_t data[16384];

	while (len) {
		size_t n = MIN(len, sizeof(data));

		pattern_fill(data, n, seed, at);
		peer_send(fd, data, n);
		at += n;
		len -= n;
	}
}

void peer_expect(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint8_t got[16384];

	while (len) {
		ssize_t n;

		wait_ready(fd, POLLIN);
		n = recv(fd, got, MIN(len, sizeof(got)), MSG_DONTWAIT);
		assert_true(n > 0);
		assert_memory_equal(got, at, n);
		at += n;
		len -= (size_t)n;
	}
}

void peer_expect_pattern(int fd, uint32_t seed, uint64_t at, size_t len)
{
	uint8_t data[16384];

	while (len) {
		size_t n = MIN(len, sizeof(data));

		pattern_fill(data, n, seed, at);
		peer_expect(fd, data, n);
		at += n;
		len -= n;
	}
}

bool peer_ends_by_reset(int fd, uint64_t *ret_n)
{
	uint8_t data[16384];

	*ret_n = 0;
	for (;;) {
		ssize_t n;

		wait_ready(fd, POLLIN);
		n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			return n < 0;
		*ret_n += (uint64_t)n;
	}
}

void peer_expect_eof(int fd)
{
	uint64_t n;

	assert_false(peer_ends_by_reset(fd, &n));
	assert_int_equal(n, 0);
}

void peer_expect_reset(int fd)
{
	uint64_t n;

	assert_true(peer_ends_by_reset(fd, &n));
	assert_int_equal(n, 0);
}

void peer_finish(int fd)
{
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

void peer_reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	peer_close(fd);
}

void peer_close(int fd)
{
	assert_int_equal(close(fd), 0);
}

uint64_t peer_fill_on(int fd, uint32_t seed, uint64_t from)
{
	uint8_t data[16384];
	uint64_t at = from;

	for (;;) {
		struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
		ssize_t n;

		if (poll(&pollfd, 1, FILL_QUIET_MS) == 0)
			return at - from;
		pattern_fill(data, sizeof(data), seed, at);
		n = send(fd, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		assert_true(n > 0);
		at += (uint64_t)n;
	}
}

uint64_t peer_fill(int fd, uint32_t seed)
{
	return peer_fill_on(fd, seed, 0);
}

void peer_ping(int client, int server)
{
	peer_send(client, "ping", 4);
	peer_expect(server, "ping", 4);
	peer_send(server, "pong", 4);
	peer_expect(client, "pong", 4);
}

void peer_end_pair(int client, int server)
{
	peer_close(client);
	peer_expect_eof(server);
	peer_close(server);
}

void fill_queue(int *fds, unsigned n, const struct server_state *server)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
		(void)connect(fds[i], (const struct sockaddr *)&server->address,
			      server->address_len);
	}
}
