/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice_load MODE: clients and servers that load whatever is between them, for tools/bench splice
 * and the tests of stuck peers. One JSON object on standard output.
 *
 *   pingpong  a message of --size at a time on each connection: messages a second, latencies
 *   idle      --rate messages a second on each connection
 *   bulk      clients push, servers swallow: bits a second
 *   churn     connect, one message, its echo, FIN of the server; --connections at a time
 *   stuck     clients push (--both: servers, too), nobody reads; when all are stuck it says so, and
 *             goes on at a line on standard input: "read" reads all, end of input ends
 *
 * --cpu pins both threads, --soak-cpu says how busy another CPU was meanwhile (soak.h).
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"
#include "util/clock.h"
#include "util/macros.h"

#define BACKLOG         4096
#define MAX_LATENCIES   (4u << 20)
#define WARM_UP_NS      (300 * NSEC_PER_MSEC)
#define CONNECT_WAIT_NS (15 * NSEC_PER_SEC)
#define POLL_NS         (2 * NSEC_PER_MSEC)
#define STUCK_NS        (1500 * NSEC_PER_MSEC) /* longer than a zero-window probe takes to bring news */
#define READ_WAIT_NS    (30 * NSEC_PER_SEC)

static const char *const mode_names[LOAD_MODE_N] = {"pingpong", "idle", "bulk", "churn", "stuck"};

static void die(const char *what, int error)
{
	(void)fprintf(stderr, "splice_load: %s: %s\n", what, strerror(error));
	exit(1);
}

void load_error(struct load *load, const char *what, int error)
{
	if (atomic_fetch_add(&load->n_errors, 1) > 0)
		return;
	atomic_store(&load->first_errno, error);
	atomic_store(&load->first_error, what);
}

void load_pin(const struct load *load)
{
	cpu_set_t set;

	if (load->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)load->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
		die("--cpu", EINVAL);
}

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)((offset * 0x9e3779b97f4a7c15ULL) >> 56);
}

void load_fill(uint8_t *data, uint64_t offset, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		data[i] = byte_at(offset + i);
}

bool load_check(const uint8_t *data, uint64_t offset, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (data[i] != byte_at(offset + i))
			return false;
	return true;
}

static void nap(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / NSEC_PER_SEC),
			      .tv_nsec = (long)(ns % NSEC_PER_SEC)};

	(void)nanosleep(&ts, NULL);
}

/* --- Measuring -----------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_us(const struct load *load, double part)
{
	uint32_t n = load->n_latencies;

	return n ? load->latencies_us10[MIN((uint32_t)(part * n), n - 1)] / 10.0 : 0;
}

static void print_measured(struct load *load, double seconds, double busy)
{
	uint64_t n = atomic_load(&load->n_answered), bytes = atomic_load(&load->n_received);

	qsort(load->latencies_us10, load->n_latencies, sizeof(uint32_t), compare);
	(void)printf("{\"mode\": \"%s\", \"connections\": %" PRIu64
		     ", \"seconds\": %.4f, \"messages\": %" PRIu64 ", \"bytes\": %" PRIu64
		     ", \"errors\": %" PRIu64 ", \"wrong\": %" PRIu64,
		     mode_names[load->mode], atomic_load(&load->n_connected), seconds, n, bytes,
		     atomic_load(&load->n_errors), atomic_load(&load->n_wrong));
	if (atomic_load(&load->first_error))
		(void)printf(", \"first_error\": \"%s: %s\"", atomic_load(&load->first_error),
			     strerror(atomic_load(&load->first_errno)));
	if (load->mode == LOAD_BULK)
		(void)printf(", \"gbps\": %.4f", (double)bytes * 8 / seconds / 1e9);
	else
		(void)printf(", \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
			     "\"p999_us\": %.1f",
			     (double)n / seconds, percentile_us(load, 0.5),
			     percentile_us(load, 0.99), percentile_us(load, 0.999));
	if (load->soak_cpu >= 0)
		(void)printf(", \"busy\": %.5f", busy);
	(void)printf("}\n");
}

static void wait_connected(struct load *load)
{
	uint64_t deadline_ns = clock_now_ns() + CONNECT_WAIT_NS;

	while (atomic_load(&load->n_connected) < load->n_connections) {
		if (clock_now_ns() > deadline_ns)
			die("not all connected", ETIMEDOUT);
		nap(POLL_NS);
	}
}

static void measure(struct load *load, struct soak *soak)
{
	uint64_t start_ns, end_ns;
	double busy = 0;

	wait_connected(load);
	nap(WARM_UP_NS);
	if (soak)
		soak_begin(soak);
	start_ns = clock_now_ns();
	atomic_store(&load->n_received, 0);
	atomic_store(&load->is_measuring, true);
	nap(load->seconds_ns);
	atomic_store(&load->is_measuring, false);
	end_ns = clock_now_ns();
	if (soak)
		busy = soak_busy(soak);
	/* Only now, when nothing adds to them any more. */
	nap(POLL_NS);
	print_measured(load, (double)(end_ns - start_ns) / 1e9, busy);
}

/* --- Stuck ---------------------------------------------------------------------------------------
 */

/* Until the sum has not changed for so long, or all is there. */
static uint64_t wait_still(_Atomic uint64_t *a, _Atomic uint64_t *b, uint64_t wanted,
			   uint64_t still_ns)
{
	uint64_t last = 0, since_ns = clock_now_ns(), sum;

	do {
		nap(POLL_NS);
		sum = atomic_load(a) + atomic_load(b);
		if (sum != last)
			since_ns = clock_now_ns();
		last = sum;
	} while (sum < wanted && clock_now_ns() - since_ns < still_ns);
	return sum;
}

static void print_stuck(struct load *load, const char *state)
{
	(void)printf("{\"state\": \"%s\", \"connections\": %" PRIu64
		     ", \"sent_by_clients\": %" PRIu64 ", \"sent_by_servers\": %" PRIu64
		     ", \"received_by_servers\": %" PRIu64 ", \"received_by_clients\": %" PRIu64
		     ", \"errors\": %" PRIu64 ", \"wrong\": %" PRIu64 "}\n",
		     state, atomic_load(&load->n_connected), atomic_load(&load->n_sent_by_clients),
		     atomic_load(&load->n_sent_by_servers), atomic_load(&load->n_received),
		     atomic_load(&load->n_answered), atomic_load(&load->n_errors),
		     atomic_load(&load->n_wrong));
	(void)fflush(stdout);
}

static void be_stuck(struct load *load)
{
	char line[32];
	uint64_t sent;

	wait_connected(load);
	sent = wait_still(&load->n_sent_by_clients, &load->n_sent_by_servers, UINT64_MAX, STUCK_NS);
	print_stuck(load, "stuck");
	if (!fgets(line, sizeof(line), stdin) || strncmp(line, "read", 4) != 0)
		return;
	atomic_store(&load->is_reading, true);
	sent = atomic_load(&load->n_sent_by_clients) + atomic_load(&load->n_sent_by_servers);
	/* Where connections have been ended, what they had sent never comes. */
	(void)wait_still(&load->n_received, &load->n_answered, sent,
			 atomic_load(&load->n_errors) ? STUCK_NS : READ_WAIT_NS);
	print_stuck(load, "read");
	(void)!fgets(line, sizeof(line), stdin);
}

/* --- Options -------------------------------------------------------------------------------------
 */

static const struct option options[] = {
	{"connect", required_argument, NULL, 'c'},
	{"listen", required_argument, NULL, 'l'},
	{"client-netns", required_argument, NULL, 'C'},
	{"server-netns", required_argument, NULL, 'S'},
	{"connections", required_argument, NULL, 'n'},
	{"size", required_argument, NULL, 's'},
	{"rate", required_argument, NULL, 'r'},
	{"ms", required_argument, NULL, 'm'},
	{"cpu", required_argument, NULL, 'p'},
	{"soak-cpu", required_argument, NULL, 'k'},
	{"both", no_argument, NULL, 'b'},
	{0},
};

static uint32_t number(const char *text, uint32_t max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n > max)
		die(text, ERANGE);
	return (uint32_t)n;
}

static void take_option(struct load *load, int option, const char *text)
{
	int r = 0;

	switch (option) {
	case 'c':
		r = address_parse(text, &load->connect);
		break;
	case 'l':
		r = address_parse(text, &load->listen);
		break;
	case 'C':
		load->client_netns = text;
		break;
	case 'S':
		load->server_netns = text;
		break;
	case 'n':
		load->n_connections = number(text, 100000);
		break;
	case 's':
		load->size = number(text, LOAD_MAX_MESSAGE);
		break;
	case 'r':
		load->rate = number(text, 100000);
		break;
	case 'm':
		load->seconds_ns = number(text, 1 << 20) * NSEC_PER_MSEC;
		break;
	case 'p':
		load->cpu = (int)number(text, CPU_SETSIZE - 1);
		break;
	case 'k':
		load->soak_cpu = (int)number(text, CPU_SETSIZE - 1);
		break;
	case 'b':
		load->both = true;
		break;
	default:
		exit(2);
	}
	if (r < 0)
		die(text, -r);
}

static void parse(int argc, char **argv, struct load *load)
{
	int option;

	*load = (struct load){.mode = LOAD_MODE_N,
			      .n_connections = 1,
			      .size = 64,
			      .rate = 5,
			      .seconds_ns = NSEC_PER_SEC,
			      .cpu = -1,
			      .soak_cpu = -1};
	for (unsigned i = 0; argc > 1 && i < LOAD_MODE_N; i++)
		if (strcmp(argv[1], mode_names[i]) == 0)
			load->mode = i;
	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(load, option, optarg);
	if (load->mode == LOAD_MODE_N || !load->connect.len || !load->listen.len || !load->size ||
	    !load->n_connections)
		die("usage: splice_load MODE --connect ADDRESS --listen ADDRESS", EINVAL);
}

static void *open_listener(void *arg)
{
	struct load *load = arg;
	int r = address_enter_netns(load->server_netns);

	load->listen_fd = r < 0 ? r : address_listen(&load->listen, BACKLOG);
	return NULL;
}

static void start(pthread_t *thread, void *(*fn)(void *), struct load *load)
{
	int r = pthread_create(thread, NULL, fn, load);

	if (r != 0)
		die("pthread_create", r);
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct soak *soak = NULL;
	pthread_t server, client;
	struct load load;

	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	parse(argc, argv, &load);
	load.max_latencies = MAX_LATENCIES;
	load.latencies_us10 = malloc(sizeof(uint32_t) * MAX_LATENCIES);
	if (!load.latencies_us10)
		die("memory", ENOMEM);
	start(&server, open_listener, &load);
	(void)pthread_join(server, NULL);
	if (load.listen_fd < 0)
		die("listening", -load.listen_fd);
	if (load.soak_cpu >= 0)
		soak = soak_start((unsigned)load.soak_cpu);
	start(&server, load_server_run, &load);
	start(&client, load_client_run, &load);
	if (load.mode == LOAD_STUCK)
		be_stuck(&load);
	else
		measure(&load, soak);
	soak_stop(soak);
	(void)fflush(stdout);
	/* The sockets go with the process, at once and all together. */
	_exit(atomic_load(&load.n_errors) || atomic_load(&load.n_wrong) ? 1 : 0);
}
