/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sluicectl: asks the running sluiced, and tells it. One row per command; what a command's answer
 * looks like to people is its row's function, with --json it is what the daemon said.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "util/macros.h"

#define DEFAULT_SOCKET     "/run/sluice/control.sock"
#define DEFAULT_TIMEOUT_MS 5000
/* A reload binds sockets, and may wait for queues that the kernel has not let go yet. */
#define RELOAD_TIMEOUT_MS 60000

/* Options that only some commands take. */
enum { TAKES_DRY_RUN = 1, TAKES_WATCH = 2, TAKES_COUNT = 4, TAKES_MAX = 8 };

struct command {
	const char *name;
	const char *object;    /* NULL: none */
	const char *request;   /* the daemon's verb; arguments are appended */
	const char *arguments; /* for people; "" = none */
	int n_min, n_max;      /* of them */
	int takes;
	const char *part; /* of the answer, that is shown; NULL: nothing that could be missing */
	enum json_type part_type;
	enum ctl_exit (*show)(const struct ctl *ctl, struct json_object *answer);
	const char *help;
};

static const struct command commands[] = {
	{"status", NULL, "status", "", 0, 0, 0, "status", json_type_object, show_status,
	 "one screen; exit status 0 good, 1 degraded or not ready, 3 not running"},
	{"show", "interfaces", "show interfaces", "", 0, 0, 0, "interfaces", json_type_array,
	 show_interfaces, "ports and devices"},
	{"show", "queues", "show queues", "", 0, 0, 0, "queues", json_type_array, show_queues,
	 "counters of every queue"},
	{"show", "workers", "show workers", "", 0, 0, 0, "workers", json_type_array, show_workers,
	 "threads and packet memory"},
	{"show", "plan", "show plan", "", 0, 0, 0, "text", json_type_string, show_text,
	 "which worker has which queue, and why"},
	{"show", "config", "show config", "", 0, 0, 0, "config", json_type_object, show_config,
	 "the running configuration"},
	{"show", "routes", "show routes", "[PREFIX]", 0, 1, TAKES_MAX, "routes", json_type_array,
	 show_routes, "routes followed; of an address, the one it goes by"},
	{"show", "neighbours", "show neighbours", "", 0, 0, TAKES_MAX, "neighbours",
	 json_type_array, show_neighbours, "neighbours on route ports"},
	{"show", "fdb", "show fdb", "[BRIDGE]", 0, 1, TAKES_MAX, "fdb", json_type_array, show_fdb,
	 "stations that bridges know"},
	{"show", "listeners", "show listeners", "", 0, 0, 0, "listeners", json_type_array,
	 show_listeners, "where connections are taken, and how many"},
	{"show", "backends", "show backends", "", 0, 0, 0, "backends", json_type_array,
	 show_backends, "servers and their health"},
	{"show", "flows", "show flows", "", 0, 0, TAKES_MAX, "flows", json_type_array, show_flows,
	 "connections that are open now"},
	{"explain", "packet", "explain packet", "PORT HEX|src=.. dst=..", 2, 10, 0, "explain",
	 json_type_object, show_explanation, "what the program and a worker would do"},
	{"drops", NULL, "drops", "", 0, 0, TAKES_WATCH, "drops", json_type_object, show_drops,
	 "every loss, by place and reason, with what to do"},
	{"top", NULL, NULL, "", 0, 0, TAKES_COUNT, NULL, 0, NULL,
	 "rates of every queue, once a second"},
	{"metrics", NULL, "metrics", "", 0, 0, 0, "text", json_type_string, show_text,
	 "the Prometheus page"},
	{"plan", NULL, "show plan", "", 0, 0, 0, "text", json_type_string, show_text,
	 "the same as show plan"},
	{"reload", NULL, "reload", "", 0, 0, TAKES_DRY_RUN, "text", json_type_string, show_text,
	 "read the configuration file again and apply it"},
	{"attach", NULL, "attach", "PORT", 1, 1, 0, NULL, 0, show_switch,
	 "let PORT (or '*') be forwarded again"},
	{"detach", NULL, "detach", "PORT", 1, 1, 0, NULL, 0, show_switch,
	 "give PORT (or '*') to the kernel, at once"},
	{"drain", NULL, "drain", "BACKEND[/SERVER]", 1, 1, 0, NULL, 0, show_drained,
	 "give it no new connections, until undrain"},
	{"undrain", NULL, "undrain", "BACKEND[/SERVER]", 1, 1, 0, NULL, 0, show_drained,
	 "give it connections again"},
	{"ping", NULL, "ping", "", 0, 0, 0, NULL, 0, show_ping, "is it there?"},
};

static void print_usage(FILE *out)
{
	(void)fputs("usage: sluicectl [OPTION]... COMMAND [ARGUMENT]\n\ncommands:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		char text[64];

		(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s%s", command->name,
			       command->object ? " " : "", command->object ? command->object : "",
			       command->arguments[0] ? " " : "", command->arguments,
			       command->takes & TAKES_MAX ? " [--max N]" : "",
			       command->takes & TAKES_DRY_RUN ? " [--dry-run]" : "",
			       command->takes & TAKES_WATCH ? " [--watch]" : "",
			       command->takes & TAKES_COUNT ? " [--once|--count N]" : "");
		(void)fprintf(out, "  %-37s %s\n", text, command->help);
	}
	(void)fputs(
		"\noptions:\n"
		"  --socket PATH    of the daemon (default " DEFAULT_SOCKET ")\n"
		"  --json           print the daemon's answer, one line of JSON\n"
		"  --timeout S      of one request (default 5, reload 60)\n"
		"  --no-color       as NO_COLOR in the environment\n"
		"  --help, --version\n\n"
		"exit status: 0 fine, 1 failed or degraded, 2 usage, 3 not running, 4 permission,\n"
		"5 timeout, 78 reload refused: bad configuration\n",
		out);
}

static const struct command *find_command(char *const words[], int n_words, int *ret_n_used)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];

		if (strcmp(command->name, words[0]) != 0)
			continue;
		if (!command->object) {
			*ret_n_used = 1;
			return command;
		}
		if (n_words > 1 && strcmp(command->object, words[1]) == 0) {
			*ret_n_used = 2;
			return command;
		}
	}
	return NULL;
}

/* A positive number of at most `max`; false for anything else. */
static bool parse_number(const char *text, unsigned long max, uint32_t *ret_n)
{
	char *end;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n == 0 || n > max)
		return false;
	*ret_n = (uint32_t)n;
	return true;
}

enum {
	OPT_SOCKET = 256,
	OPT_JSON,
	OPT_TIMEOUT,
	OPT_NO_COLOR,
	OPT_DRY_RUN,
	OPT_WATCH,
	OPT_ONCE,
	OPT_COUNT,
	OPT_MAX,
	OPT_HELP,
	OPT_VERSION
};

static const struct option options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"json", no_argument, NULL, OPT_JSON},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"no-color", no_argument, NULL, OPT_NO_COLOR},
	{"dry-run", no_argument, NULL, OPT_DRY_RUN},
	{"watch", no_argument, NULL, OPT_WATCH},
	{"once", no_argument, NULL, OPT_ONCE},
	{"count", required_argument, NULL, OPT_COUNT},
	{"max", required_argument, NULL, OPT_MAX},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

struct arguments {
	struct ctl ctl;
	int asked; /* TAKES_* that were given */
	bool wants_help;
	bool wants_version;
};

/* False: the message is written. */
static bool take_option(struct arguments *arguments, int option)
{
	struct ctl *ctl = &arguments->ctl;
	uint32_t seconds;

	switch (option) {
	case OPT_SOCKET:
		ctl->socket_path = optarg;
		return true;
	case OPT_JSON:
		ctl->as_json = true;
		return true;
	case OPT_TIMEOUT:
		if (!parse_number(optarg, 3600, &seconds))
			break;
		ctl->timeout_ms = seconds * 1000;
		return true;
	case OPT_NO_COLOR:
		ctl->has_color = false;
		return true;
	case OPT_DRY_RUN:
		ctl->is_dry_run = true;
		arguments->asked |= TAKES_DRY_RUN;
		return true;
	case OPT_WATCH:
		ctl->watches = true;
		arguments->asked |= TAKES_WATCH;
		return true;
	case OPT_ONCE:
		ctl->n_rounds = 1;
		arguments->asked |= TAKES_COUNT;
		return true;
	case OPT_COUNT:
		arguments->asked |= TAKES_COUNT;
		if (!parse_number(optarg, 1000000, &ctl->n_rounds))
			break;
		return true;
	case OPT_MAX:
		arguments->asked |= TAKES_MAX;
		if (!parse_number(optarg, 100000, &ctl->max_rows))
			break;
		return true;
	case OPT_HELP:
		arguments->wants_help = true;
		return true;
	case OPT_VERSION:
		arguments->wants_version = true;
		return true;
	default:
		return false; /* getopt has said it */
	}
	(void)fprintf(stderr, "sluicectl: '%s' is not a number that is possible here\n", optarg);
	return false;
}

/* An answer in which what was asked for is missing or is something else is none. */
static bool has_part(const struct command *command, struct json_object *answer)
{
	if (!command->part ||
	    json_object_is_type(json_at(answer, command->part), command->part_type))
		return true;
	(void)fprintf(stderr, "sluicectl: the answer is not one of sluiced: no \"%s\" in it\n",
		      command->part);
	return false;
}

static enum ctl_exit run_once(const struct ctl *ctl, const struct command *command,
			      const char *argument)
{
	struct json_object *answer = NULL;
	_cleanup_free_ char *request = NULL;
	enum ctl_exit status;

	if (asprintf(&request, "%s%s%s", command->request, argument ? " " : "",
		     argument ? argument : "") < 0) {
		request = NULL;
		return CTL_FAILED;
	}
	status = ctl_request(ctl, request, &answer);
	if (status != CTL_OK)
		return status;
	/* The status of "status" is in its answer, however it is shown. */
	if (!has_part(command, answer))
		status = CTL_FAILED;
	else if (ctl->as_json && command->show != show_status)
		ctl_print_json(answer);
	else
		status = command->show(ctl, answer);
	json_object_put(answer);
	return status;
}

static enum ctl_exit run_command(const struct ctl *ctl, const struct command *command,
				 const char *argument)
{
	enum ctl_exit status;

	if (!command->request)
		return top_run(ctl);
	do {
		if (ctl->watches && ctl->is_terminal && !ctl->as_json)
			(void)fputs("\033[H\033[J", stdout);
		status = run_once(ctl, command, argument);
		(void)fflush(stdout);
		if (ctl->watches && status == CTL_OK && !ferror(stdout))
			ctl_wait_second();
		else
			break;
	} while (true);
	return status;
}

/* What is appended to the request; NULL: nothing. */
static enum ctl_exit make_argument(const struct ctl *ctl, const struct command *command,
				   char *const words[], int n_words, char **ret_argument)
{
	_cleanup_free_ char *hex = NULL;
	enum ctl_exit status;
	int r = 0;

	if (command->show == show_explanation) {
		status = packet_from_words(ctl, words[0], words + 1, n_words - 1, &hex);
		if (status != CTL_OK)
			return status;
		r = asprintf(ret_argument, "%s %s", words[0], hex);
	} else if (ctl->max_rows != 0) {
		r = asprintf(ret_argument, "%s%smax=%u", n_words > 0 ? words[0] : "",
			     n_words > 0 ? " " : "", ctl->max_rows);
	} else if (n_words > 0) {
		r = asprintf(ret_argument, "%s", words[0]);
	} else if (ctl->is_dry_run) {
		r = asprintf(ret_argument, "dry-run");
	}
	if (r >= 0)
		return CTL_OK;
	*ret_argument = NULL;
	return CTL_FAILED;
}

/* Checks words and options against the row, and runs it. */
static enum ctl_exit run_words(struct arguments *arguments, char *words[], int n_words)
{
	struct ctl *ctl = &arguments->ctl;
	const struct command *command;
	_cleanup_free_ char *argument = NULL;
	enum ctl_exit status;
	int n_used;

	command = n_words > 0 ? find_command(words, n_words, &n_used) : NULL;
	if (!command) {
		if (n_words > 0)
			(void)fprintf(stderr, "sluicectl: unknown command '%s%s%s'\n\n", words[0],
				      n_words > 1 ? " " : "", n_words > 1 ? words[1] : "");
		print_usage(stderr);
		return CTL_USAGE;
	}
	if (n_words - n_used < command->n_min || n_words - n_used > command->n_max ||
	    (arguments->asked & ~command->takes)) {
		(void)fprintf(stderr, "sluicectl: %s takes %s; see sluicectl --help\n",
			      command->name,
			      command->arguments[0] ? command->arguments :
						      "no argument, or no such option");
		return CTL_USAGE;
	}
	if (!command->request && ctl->as_json) {
		(void)fputs("sluicectl: top has no JSON; see `sluicectl --json show queues`\n",
			    stderr);
		return CTL_USAGE;
	}
	if (ctl->timeout_ms == 0)
		ctl->timeout_ms = strcmp(command->name, "reload") == 0 ? RELOAD_TIMEOUT_MS :
									 DEFAULT_TIMEOUT_MS;
	status = make_argument(ctl, command, words + n_used, n_words - n_used, &argument);
	return status == CTL_OK ? run_command(ctl, command, argument) : status;
}

/* A full disk or a closed pipe is a failure to tell. */
static enum ctl_exit finish_output(enum ctl_exit status)
{
	/* What an earlier flush could not write only ferror() remembers. */
	if (fflush(stdout) != EOF && !ferror(stdout))
		return status;
	(void)fputs("sluicectl: cannot write to standard output\n", stderr);
	return status == CTL_OK ? CTL_FAILED : status;
}

int main(int argc, char *argv[])
{
	struct arguments arguments = {.ctl.socket_path = DEFAULT_SOCKET};
	const char *no_color = getenv("NO_COLOR");
	int option;

	arguments.ctl.is_terminal = isatty(STDOUT_FILENO);
	arguments.ctl.has_color = arguments.ctl.is_terminal && !(no_color && no_color[0]);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (!take_option(&arguments, option))
			return CTL_USAGE;
	}
	if (arguments.wants_help) {
		print_usage(stdout);
		return (int)finish_output(CTL_OK);
	}
	if (arguments.wants_version) {
		(void)printf("sluicectl %s (%s)\n", SLUICE_VERSION, SLUICE_REVISION);
		return (int)finish_output(CTL_OK);
	}
	return (int)finish_output(run_words(&arguments, argv + optind, argc - optind));
}
