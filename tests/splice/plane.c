/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice_plane: the splice room alone behind listeners with one server each, without control/: for
 * tests that reach where the daemon's interface does not (a flow's KERNEL/RELAY word, acceptors
 * taken out and put back), and for measuring an engine by itself.
 *
 *   splice_plane --listen 10.0.0.1:80 --server 10.1.0.2:8080 --engine sockmap --acceptors 2
 *
 * A second --listen with a second --server makes a second pair. --credit BYTES lets the verdict
 * park so much in the kernel, whether the peer has room or not (rule W; a fault, for tests that
 * must see it); --max-parked BYTES and --max-parked-per-flow BYTES are the bounds that the plane
 * watches.
 *
 * It says "ready", then answers one line on standard output for each on standard input:
 *
 *   report              counters of all acceptors as one JSON object
 *   words               what the verdict and the acceptor have counted of each flow
 *   toggle MS           for so long, flips the word of every flow in the kernel, again and again
 *   acceptor N open|close
 *   reload              the same configuration anew
 *
 * End of input ends it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "address.h"
#include "kern/reuseport.h"
#include "kern/splice_maps.h"
#include "splice/splice.h"
#include "util/clock.h"
#include "util/macros.h"

#define MAX_CONNS       8000
#define MAX_PAIRS       2
#define MAX_ACCEPTORS   8
#define TOGGLE_EVERY_NS (200 * NSEC_PER_USEC)
#define BACKLOG         4096

/* A listener and its server. */
struct pair {
	struct address listen, server;
	struct reuseport_group *group;
	struct listener_state *listener_state;
	struct backend_state *backend_state;
	struct server_state *server_state;
};

struct plane {
	struct pair pairs[MAX_PAIRS];
	uint32_t n_listens, n_servers;
	enum splice_engine engine;
	uint32_t n_acceptors, cpus[MAX_ACCEPTORS];
	bool has_cpus;
	uint32_t credit_bytes; /* 0: the plane's own, and its own rule */
	uint64_t max_parked_bytes, max_flow_parked_bytes;
	struct splice_maps *maps;
	struct splice *splice;
};

static const char *const engine_names[SPLICE_ENGINE_N] = {
	[SPLICE_AUTO] = "auto",
	[SPLICE_SOCKMAP] = "sockmap",
	[SPLICE_SPLICE] = "splice",
	[SPLICE_COPY] = "copy",
};

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "splice_plane: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void *new_object(size_t size)
{
	void *object = calloc(1, size);

	must(object ? 0 : -ENOMEM, "memory");
	return object;
}

/* --- Configuration -------------------------------------------------------------------------------
 */

static void fill_config(const struct plane *plane, struct splice_config *config, uint32_t i)
{
	const struct pair *pair = &plane->pairs[i];

	config->backends[i] = (struct backend_config){
		.state = pair->backend_state,
		.connect_timeout_ns = 5 * NSEC_PER_SEC,
		.passive_fall = UINT32_MAX,
		.servers = new_object(sizeof(struct backend_server)),
		.n_servers = 1,
	};
	config->backends[i].servers[0] =
		(struct backend_server){.state = pair->server_state, .weight = 1};
	config->listeners[i] = (struct listener_config){
		.state = pair->listener_state,
		.engine = plane->engine,
		.default_backend = i,
		.max_connections = MAX_CONNS,
		.max_per_source = MAX_CONNS,
		.sniff_timeout_ns = 5 * NSEC_PER_SEC,
		.idle_timeout_ns = 3600 * NSEC_PER_SEC,
		.half_closed_timeout_ns = 60 * NSEC_PER_SEC,
	};
	atomic_fetch_add(&pair->backend_state->refs, 1);
	atomic_fetch_add(&pair->server_state->refs, 1);
	atomic_fetch_add(&pair->listener_state->refs, 1);
}

static struct splice_config *new_config(struct plane *plane)
{
	struct splice_config *config = new_object(sizeof(*config));

	config->n_listeners = config->n_backends = plane->n_listens;
	config->listeners = new_object(plane->n_listens * sizeof(*config->listeners));
	config->backends = new_object(plane->n_listens * sizeof(*config->backends));
	for (uint32_t i = 0; i < plane->n_listens; i++)
		fill_config(plane, config, i);
	config->flow_log_every = 1;
	config->max_parked_bytes = plane->max_parked_bytes;
	config->max_flow_parked_bytes = plane->max_flow_parked_bytes;
	atomic_init(&config->refs, 1);
	return config;
}

static void apply(struct plane *plane)
{
	struct splice_config *config = new_config(plane);

	must(splice_apply(plane->splice, config), "splice_apply");
	splice_config_unref(config);
}

static void new_states(struct pair *pair, uint32_t number)
{
	pair->listener_state = new_object(sizeof(*pair->listener_state));
	pair->backend_state = new_object(sizeof(*pair->backend_state));
	pair->server_state = new_object(sizeof(*pair->server_state));
	pair->listener_state->number = number;
	atomic_init(&pair->listener_state->refs, 1);
	atomic_init(&pair->backend_state->refs, 1);
	atomic_init(&pair->server_state->refs, 1);
	atomic_init(&pair->server_state->is_up, true);
	pair->server_state->address = pair->server.storage;
	pair->server_state->address_len = pair->server.len;
}

/* --- Life ----------------------------------------------------------------------------------------
 */

static int listen_reuseport(const struct address *address)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 ||
	    listen(fd, BACKLOG) < 0)
		must(-errno, "listening");
	return fd;
}

static void open_listeners(struct plane *plane, struct pair *pair, uint32_t number)
{
	if (pair->listen.storage.ss_family == AF_UNIX) {
		int fd = address_listen(&pair->listen, BACKLOG);

		must(fd, "listening");
		must(splice_add_socket(plane->splice, number, 0, fd, NULL, true),
		     "splice_add_socket");
		return;
	}
	must(reuseport_group_new(plane->n_acceptors, &pair->group), "reuseport_group_new");
	for (uint32_t i = 0; i < plane->n_acceptors; i++) {
		struct splice_acceptor_load *load = reuseport_group_load(pair->group, i);
		int fd = listen_reuseport(&pair->listen);

		load->cpu = plane->cpus[i];
		must(reuseport_group_add(pair->group, i, fd), "reuseport_group_add");
		must(splice_add_socket(plane->splice, number, i, fd, load, false),
		     "splice_add_socket");
		reuseport_group_open(pair->group, i);
	}
}

static void open_plane(struct plane *plane)
{
	struct splice_maps_spec spec = {
		.n_conns = MAX_CONNS,
		.n_acceptors = plane->n_acceptors,
		.credit_bytes = plane->credit_bytes,
		.rule = plane->credit_bytes ? SPLICE_CREDIT_W : SPLICE_CREDIT_NB,
	};
	struct splice_options options = {.cpus = plane->has_cpus ? plane->cpus : NULL,
					 .n_acceptors = plane->n_acceptors,
					 .max_conns = MAX_CONNS};

	for (uint32_t i = 0; i < plane->n_listens; i++)
		new_states(&plane->pairs[i], i);
	if (plane->engine == SPLICE_SOCKMAP || plane->engine == SPLICE_AUTO)
		must(splice_maps_new(&spec, &plane->maps), "splice_maps_new");
	options.maps = plane->maps;
	must(splice_new(&options, &plane->splice), "splice_new");
	apply(plane);
	for (uint32_t i = 0; i < plane->n_listens; i++)
		open_listeners(plane, &plane->pairs[i], i);
	for (uint32_t i = 0; i < plane->n_acceptors; i++)
		must(splice_set_acceptor(plane->splice, i, true), "splice_set_acceptor");
}

/* --- Orders --------------------------------------------------------------------------------------
 */

/* How the latest connections ended (as many as the acceptors' rings keep), each with its bytes. */
static void print_ends(struct plane *plane)
{
	static struct splice_flow_record records[256];
	uint32_t n;

	(void)printf("\"ends\": [");
	n = splice_records_drain(plane->splice, records, 256);
	for (uint32_t i = 0; i < n; i++)
		(void)printf("%s[\"%s\", %" PRIu64 ", %" PRIu64 "]", i ? ", " : "", records[i].how,
			     records[i].row.bytes[0], records[i].row.bytes[1]);
	(void)printf("], ");
}

static void report(struct plane *plane)
{
	struct splice_report *all = new_object(sizeof(*all));
	struct acceptor_counters sum = {0};
	uint64_t *to = (uint64_t *)&sum;
	uint32_t n_conns = 0;

	splice_report(plane->splice, all);
	for (uint32_t i = 0; i < all->n_acceptors; i++) {
		const uint64_t *from = (const uint64_t *)&all->acceptors[i].counters;

		for (size_t j = 0; j < sizeof(sum) / sizeof(*to); j++)
			to[j] += from[j];
		n_conns += all->acceptors[i].n_conns;
	}
	(void)printf("{");
	print_ends(plane);
	(void)printf("\"conns\": %u, \"flows\": {", n_conns);
	for (unsigned i = 0; i < SPLICE_ENGINE_N; i++)
		(void)printf("%s\"%s\": %" PRIu64, i ? ", " : "", engine_names[i], sum.n_flows[i]);
	(void)printf("}, \"bytes\": {");
	for (unsigned i = 0; i < SPLICE_ENGINE_N; i++)
		(void)printf("%s\"%s\": %" PRIu64, i ? ", " : "", engine_names[i], sum.n_bytes[i]);
	(void)printf("}, \"promotions\": %" PRIu64 ", \"fallbacks\": [", sum.n_promotions);
	for (unsigned i = 0; i < SPLICE_FALLBACK_N; i++)
		(void)printf("%s%" PRIu64, i ? ", " : "", sum.n_fallbacks[i]);
	(void)printf("], \"parked\": %" PRIu64 ", \"resets_sent\": %" PRIu64
		     ", \"truncations\": %" PRIu64 ", \"accept_pauses\": %" PRIu64
		     ", \"killed\": %" PRIu64 ", \"unawaited\": %" PRIu64 ", \"turns\": %" PRIu64
		     ", \"acceptors\": [",
		     sum.parked_bytes, sum.n_resets_sent, sum.n_truncations, sum.n_accept_pauses,
		     sum.n_killed, sum.n_unawaited, sum.n_turns);
	for (uint32_t i = 0; i < all->n_acceptors; i++)
		(void)printf("%s%u", i ? ", " : "", all->acceptors[i].n_conns);
	(void)printf("]}\n");
	free(all);
}

/* The words of every side that has had a flow, for whoever looks for a hang. */
static void print_words(struct plane *plane)
{
	bool is_first = true;

	(void)printf("[");
	for (uint32_t side = 0; plane->maps && side < 2 * MAX_CONNS; side++) {
		const struct splice_flow *flow = splice_flow(plane->maps, side);

		if (flow->n_skbs == 0)
			continue;
		(void)printf("%s{\"side\": %u, \"redirected\": %llu, \"passed\": %llu, "
			     "\"consumed\": %llu, \"wish\": %u, \"in_kernel\": %u, "
			     "\"skbs\": %llu, \"credit_out\": %llu}",
			     is_first ? "" : ", ", side, flow->redirected, flow->passed,
			     flow->consumed, flow->wish, flow->in_kernel, flow->n_skbs,
			     flow->n_credit_out);
		is_first = false;
	}
	(void)printf("]\n");
}

/* Only words that the acceptor has set to KERNEL: before that, order is not the verdict's. */
static uint64_t flip(struct plane *plane, uint32_t *flipped)
{
	uint64_t n = 0;

	for (uint32_t side = 0; side < 2 * MAX_CONNS; side++) {
		struct splice_flow *flow = splice_flow(plane->maps, side);
		uint32_t generation = __atomic_load_n(&flow->generation, __ATOMIC_ACQUIRE);
		uint32_t wish = __atomic_load_n(&flow->wish, __ATOMIC_ACQUIRE);

		if (wish == SPLICE_KERNEL) {
			flipped[side] = generation + 1;
			__atomic_store_n(&flow->wish, SPLICE_RELAY, __ATOMIC_RELEASE);
		} else if (flipped[side] == generation + 1) {
			flipped[side] = 0;
			__atomic_store_n(&flow->wish, SPLICE_KERNEL, __ATOMIC_RELEASE);
		} else {
			continue;
		}
		n++;
	}
	return n;
}

static uint64_t count_toggles(struct plane *plane)
{
	uint64_t n = 0;

	for (uint32_t side = 0; side < 2 * MAX_CONNS; side++)
		n += __atomic_load_n(&splice_flow(plane->maps, side)->n_toggles, __ATOMIC_RELAXED);
	return n;
}

static void toggle(struct plane *plane, const char *text)
{
	uint64_t end_ns = clock_now_ns() + strtoull(text, NULL, 10) * NSEC_PER_MSEC, n = 0;
	_cleanup_free_ uint32_t *flipped = new_object(2 * MAX_CONNS * sizeof(*flipped));
	struct timespec pause = {.tv_nsec = TOGGLE_EVERY_NS};

	if (!plane->maps)
		must(-ENODEV, "no maps");
	while (clock_now_ns() < end_ns) {
		n += flip(plane, flipped);
		(void)nanosleep(&pause, NULL);
	}
	/* What is left in RELAY goes back. */
	for (uint32_t side = 0; side < 2 * MAX_CONNS; side++)
		if (flipped[side] == splice_flow(plane->maps, side)->generation + 1)
			splice_flow(plane->maps, side)->wish = SPLICE_KERNEL;
	(void)printf("{\"flips\": %" PRIu64 ", \"toggles\": %" PRIu64 "}\n", n,
		     count_toggles(plane));
}

static void set_acceptor(struct plane *plane, char *text)
{
	char *rest;
	uint32_t i = (uint32_t)strtoul(text, &rest, 10);
	bool is_open = strstr(rest, "open") != NULL;

	if (i >= plane->n_acceptors)
		must(-EINVAL, "acceptor");
	for (uint32_t p = 0; p < plane->n_listens; p++)
		if (is_open)
			reuseport_group_open(plane->pairs[p].group, i);
		else
			reuseport_group_close(plane->pairs[p].group, i);
	must(splice_set_acceptor(plane->splice, i, is_open), "splice_set_acceptor");
	(void)printf("{}\n");
}

static void serve(struct plane *plane)
{
	char line[128];

	(void)printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "report", 6) == 0)
			report(plane);
		else if (strncmp(line, "words", 5) == 0)
			print_words(plane);
		else if (strncmp(line, "toggle ", 7) == 0)
			toggle(plane, line + 7);
		else if (strncmp(line, "acceptor ", 9) == 0)
			set_acceptor(plane, line + 9);
		else if (strncmp(line, "reload", 6) == 0)
			apply(plane), (void)printf("{}\n");
		else
			must(-EINVAL, "no such order");
	}
}

static enum splice_engine engine_of(const char *name)
{
	for (unsigned i = 0; i < SPLICE_ENGINE_N; i++)
		if (strcmp(name, engine_names[i]) == 0)
			return i;
	must(-EINVAL, name);
	return 0;
}

static int take_address(struct plane *plane, const char *text, bool is_listen)
{
	uint32_t *n = is_listen ? &plane->n_listens : &plane->n_servers;
	struct pair *pair = &plane->pairs[*n];

	if (*n == MAX_PAIRS)
		return -E2BIG;
	(*n)++;
	return address_parse(text, is_listen ? &pair->listen : &pair->server);
}

static void parse(int argc, char **argv, struct plane *plane)
{
	static const struct option options[] = {
		{"listen", required_argument, NULL, 'l'},
		{"server", required_argument, NULL, 's'},
		{"engine", required_argument, NULL, 'e'},
		{"cpu", required_argument, NULL, 'c'},
		{"acceptors", required_argument, NULL, 'a'},
		{"credit", required_argument, NULL, 'w'},
		{"max-parked", required_argument, NULL, 'm'},
		{"max-parked-per-flow", required_argument, NULL, 'f'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'l':
		case 's':
			must(take_address(plane, optarg, option == 'l'), optarg);
			break;
		case 'e':
			plane->engine = engine_of(optarg);
			break;
		case 'a':
			plane->n_acceptors = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			plane->has_cpus = true;
			plane->cpus[0] = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			plane->credit_bytes = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			plane->max_parked_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			plane->max_flow_parked_bytes = strtoull(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	if (plane->n_listens == 0 || plane->n_listens != plane->n_servers ||
	    plane->n_acceptors - 1 >= MAX_ACCEPTORS)
		must(-EINVAL, "--listen, --server, --acceptors");
}

int main(int argc, char **argv)
{
	struct plane plane = {
		.n_acceptors = 1, .max_parked_bytes = 256 << 20, .max_flow_parked_bytes = 8 << 20};
	struct rlimit limit;

	parse(argc, argv, &plane);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (uint32_t i = 1; i < plane.n_acceptors; i++)
		plane.cpus[i] = i;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	open_plane(&plane);
	serve(&plane);
	splice_free(plane.splice);
	for (uint32_t i = 0; i < plane.n_listens; i++) {
		reuseport_group_free(plane.pairs[i].group);
		listener_state_unref(plane.pairs[i].listener_state);
		backend_state_unref(plane.pairs[i].backend_state);
		server_state_unref(plane.pairs[i].server_state);
	}
	splice_maps_free(plane.maps);
	return 0;
}
