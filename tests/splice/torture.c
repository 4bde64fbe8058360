/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice_torture: many TCP connections at once from clients to servers of its own, whatever is in
 * between, and a verdict on every byte and on every end (judge.h). One JSON object on standard
 * output; exit status 1 if anything was wrong.
 *
 *   splice_torture --client-netns /run/netns/a --connect 10.0.0.1:80 \
 *                  --server-netns /run/netns/b --listen 10.1.0.2:8080 --connections 600 --seed 7
 *
 * A failure names `--client N --server M`: with these and the same --seed, --profile, --max-bytes
 * and
 * --resets, that one connection is played again (its times are as they happen to be).
 *
 * --hang: a stream without progress for so many seconds hangs (12). Before 6.6 the kernel's window
 * for a tiny receive buffer promises more than fits; what does not is dropped, and the sender's
 * timer doubles up to minutes: there it must be more.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "judge.h"
#include "side.h"
#include "util/clock.h"
#include "util/macros.h"

#define MAX_SHOWN 8

struct arguments {
	struct recipe_options recipes;
	const char *connect, *listen, *client_netns, *server_netns;
	uint32_t n_connections, n_at_once, client, server;
	uint64_t deadline_s;
};

static const struct option options[] = {
	{"connect", required_argument, NULL, 'c'},
	{"listen", required_argument, NULL, 'l'},
	{"client-netns", required_argument, NULL, 'C'},
	{"server-netns", required_argument, NULL, 'S'},
	{"connections", required_argument, NULL, 'n'},
	{"at-once", required_argument, NULL, 'a'},
	{"seed", required_argument, NULL, 's'},
	{"profile", required_argument, NULL, 'p'},
	{"max-bytes", required_argument, NULL, 'm'},
	{"resets", required_argument, NULL, 'r'},
	{"client", required_argument, NULL, 'x'},
	{"server", required_argument, NULL, 'y'},
	{"deadline", required_argument, NULL, 'd'},
	{"hang", required_argument, NULL, 'h'},
	{0},
};

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-' || n > max) {
		(void)fprintf(stderr, "splice_torture: not a number up to %" PRIu64 ": %s\n", max,
			      text);
		exit(2);
	}
	return n;
}

static void take_option(int option, const char *text, struct arguments *arguments)
{
	switch (option) {
	case 'c':
		arguments->connect = text;
		break;
	case 'l':
		arguments->listen = text;
		break;
	case 'C':
		arguments->client_netns = text;
		break;
	case 'S':
		arguments->server_netns = text;
		break;
	case 'n':
		arguments->n_connections = (uint32_t)number(text, 1000000);
		break;
	case 'a':
		arguments->n_at_once = (uint32_t)number(text, 100000);
		break;
	case 's':
		arguments->recipes.seed = number(text, UINT64_MAX);
		break;
	case 'm':
		arguments->recipes.max_bytes = number(text, 1ULL << 32);
		break;
	case 'r':
		arguments->recipes.reset_percent = (uint32_t)number(text, 100);
		break;
	case 'x':
		arguments->client = (uint32_t)number(text, UINT32_MAX);
		break;
	case 'y':
		arguments->server = (uint32_t)number(text, UINT32_MAX);
		break;
	case 'd':
		arguments->deadline_s = number(text, 86400);
		break;
	case 'h':
		arguments->recipes.hang_ns = number(text, 86400) * NSEC_PER_SEC;
		break;
	case 'p':
		arguments->recipes.profile =
			strcmp(text, "short") == 0 ? PROFILE_SHORT : PROFILE_MIXED;
		if (strcmp(text, "short") == 0 || strcmp(text, "mixed") == 0)
			break;
		/* fall through */
	default:
		exit(2);
	}
}

static void parse(int argc, char **argv, struct arguments *arguments)
{
	int option;

	*arguments = (struct arguments){
		.recipes = {.max_bytes = 64 << 20,
			    .reset_percent = 15,
			    .hang_ns = 12 * NSEC_PER_SEC},
		.n_connections = 100,
		.n_at_once = 48,
		.deadline_s = 300,
	};
	if (getrandom(&arguments->recipes.seed, 4, 0) != 4)
		exit(1);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(option, optarg, arguments);
	if (arguments->connect && arguments->listen && optind == argc)
		return;
	(void)fputs("usage: splice_torture --connect ADDRESS --listen ADDRESS [OPTION…]\n", stderr);
	exit(2);
}

static void make_side(struct side *side, enum role role, const struct arguments *arguments,
		      uint64_t now_ns)
{
	const char *text = role == ROLE_CLIENT ? arguments->connect : arguments->listen;

	*side = (struct side){
		.role = role,
		.options = arguments->recipes,
		.netns = role == ROLE_CLIENT ? arguments->client_netns : arguments->server_netns,
		.n_wanted = arguments->n_connections,
		.n_at_once = arguments->n_at_once,
		.first_number = role == ROLE_CLIENT ? arguments->client : arguments->server,
		.deadline_ns = now_ns + arguments->deadline_s * NSEC_PER_SEC,
	};
	if (address_parse(text, &side->address) < 0) {
		(void)fprintf(stderr, "splice_torture: not an address: %s\n", text);
		exit(2);
	}
}

static void start(struct side *side)
{
	int r = side_start(side);

	if (r < 0) {
		(void)fprintf(stderr, "splice_torture: %s: %s\n",
			      side->role == ROLE_CLIENT ? "clients" : "servers", strerror(-r));
		exit(1);
	}
}

static bool print_sum(const struct arguments *arguments, const struct judgement *sum,
		      const struct side *clients, const struct side *servers, uint64_t ns)
{
	uint64_t n_wrong = 0;

	(void)printf("],\n \"seed\": %" PRIu64 ", \"connections\": %u, \"accepted\": %u, "
		     "\"refused\": %u, \"unpaired\": %u, \"bytes\": %" PRIu64 ", \"seconds\": %.3f",
		     arguments->recipes.seed, clients->n_ends, servers->n_ends, clients->n_refused,
		     sum->n_unpaired, sum->n_bytes, (double)ns / 1e9);
	for (unsigned i = 0; i < VERDICT_N; i++) {
		(void)printf(", \"%s\": %" PRIu64, verdict_name(i), sum->n[i]);
		n_wrong += i >= VERDICT_DISGUISED ? sum->n[i] : 0;
	}
	n_wrong += clients->n_refused;
	(void)printf(", \"wrong\": %" PRIu64 "}\n", n_wrong);
	return n_wrong == 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct arguments arguments;
	struct side clients, servers;
	struct judgement sum;
	uint64_t start_ns = clock_now_ns(), ns;
	bool is_right;

	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	parse(argc, argv, &arguments);
	make_side(&servers, ROLE_SERVER, &arguments, start_ns);
	make_side(&clients, ROLE_CLIENT, &arguments, start_ns);
	servers.others = &clients;
	clients.others = &servers;
	start(&servers);
	start(&clients);
	side_join(&clients);
	side_join(&servers);
	ns = clock_now_ns() - start_ns;
	(void)printf("{\"failures\": [");
	judge(&clients, &servers, stdout, MAX_SHOWN, &sum);
	is_right = print_sum(&arguments, &sum, &clients, &servers, ns);
	side_free(&clients);
	side_free(&servers);
	return is_right ? 0 : 1;
}
