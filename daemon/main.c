/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sluiced: command line, order of life, exit codes; nothing else.
 *
 * Exit status: 0 a clean stop or a question answered; 1 the environment said no; 2 usage;
 * 78 (EX_CONFIG) the configuration is wrong and nothing was applied.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "control/conf.h"
#include "control/life.h"
#include "control/version.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "conf"

#define EXIT_USAGE  2
#define EXIT_CONFIG 78 /* EX_CONFIG of sysexits.h; the unit's RestartPreventExitStatus= */

enum action {
	ACTION_RUN,
	ACTION_CHECK,
	ACTION_DRY_RUN,
	ACTION_DUMP,
	ACTION_DUMP_JSON,
	ACTION_LIST_KEYS,
	ACTION_LIST_KEYS_JSON,
	ACTION_DETACH,
	ACTION_VERSION,
	ACTION_VERSION_LONG,
	ACTION_HELP,
	ACTION_USAGE,
};

struct options {
	enum action action;
	const char *config_path;
	bool config_given;
	const char *port; /* of --detach; NULL = all */
	bool verbose;
};

static const char help_text[] =
	"usage: sluiced [-c FILE] [OPTION]\n"
	"\n"
	"  -c, --config FILE         configuration file (default " SLUICE_CONFIG_FILE ")\n"
	"  -v, --verbose             log debug messages too\n"
	"\n"
	"Instead of running:\n"
	"  -t, --check-config        check the file; every error, exit status 78 if there is one\n"
	"      --dry-run             print the plan: ports, queues, workers, CPUs, memory\n"
	"      --dump-config[=json]  print the effective configuration with the origin of each value\n"
	"      --list-keys[=json]    print every key: type, default, range, reload class, meaning\n"
	"      --detach [PORT]       remove pinned programs of on_failure = drop ports; no daemon needed\n"
	"  -V, --version             print the version; -VV also libraries and kernel features\n"
	"  -h, --help                print this\n"
	"\n"
	"Signals: SIGTERM, SIGINT stop; SIGHUP reload.\n";

enum { OPT_DRY_RUN = 256, OPT_DUMP, OPT_LIST_KEYS, OPT_DETACH };

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"verbose", no_argument, NULL, 'v'},
	{"check-config", no_argument, NULL, 't'},
	{"dry-run", no_argument, NULL, OPT_DRY_RUN},
	{"dump-config", optional_argument, NULL, OPT_DUMP},
	{"list-keys", optional_argument, NULL, OPT_LIST_KEYS},
	{"detach", optional_argument, NULL, OPT_DETACH},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static enum action text_or_json(enum action text, enum action json)
{
	if (!optarg)
		return text;
	return strcmp(optarg, "json") == 0 ? json : ACTION_USAGE;
}

static enum action action_of(int option, enum action before)
{
	switch (option) {
	case 't':
		return ACTION_CHECK;
	case 'V':
		return before == ACTION_VERSION ? ACTION_VERSION_LONG : ACTION_VERSION;
	case 'h':
		return ACTION_HELP;
	case OPT_DRY_RUN:
		return ACTION_DRY_RUN;
	case OPT_DUMP:
		return text_or_json(ACTION_DUMP, ACTION_DUMP_JSON);
	case OPT_LIST_KEYS:
		return text_or_json(ACTION_LIST_KEYS, ACTION_LIST_KEYS_JSON);
	case OPT_DETACH:
		return ACTION_DETACH;
	default:
		return ACTION_USAGE;
	}
}

static struct options parse_options(int argc, char **argv)
{
	struct options options = {.config_path = SLUICE_CONFIG_FILE};
	int option;

	while ((option = getopt_long(argc, argv, "c:vtVh", long_options, NULL)) != -1) {
		if (option == 'c') {
			options.config_path = optarg;
			options.config_given = true;
		} else if (option == 'v') {
			options.verbose = true;
		} else if (options.action != ACTION_USAGE) {
			options.action = action_of(option, options.action);
			if (option == OPT_DETACH)
				options.port = optarg;
		}
	}
	/* An optional argument after a blank: `--detach wan`. */
	if (options.action == ACTION_DETACH && !options.port && optind < argc)
		options.port = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "sluiced: unexpected argument '%s'\n", argv[optind]);
		options.action = ACTION_USAGE;
	}
	return options;
}

/*
 * Every error of the file, then the exit status that says that looping cannot help. A service's
 * errors are log messages, with the priority by which the journal shows them in red; who asked at
 * a terminal or from an editor gets FILE:LINE: in the first column.
 */
static struct conf *load(const char *path, bool is_service, int *ret_status)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	int r = conf_load(path, &conf, &errors);

	for (unsigned i = 0; i < errors.n; i++) {
		if (is_service)
			log_err("%s", errors.lines[i]);
		else
			fprintf(stderr, "%s\n", errors.lines[i]);
	}
	conf_errors_fini(&errors);
	*ret_status = r == 0 ? EXIT_SUCCESS : EXIT_CONFIG;
	return conf;
}

static int detach(const struct options *options)
{
	struct conf *conf = NULL;
	int status;

	/* Works without a configuration, and with one that is wrong: it is the way out. */
	if (options->config_given) {
		conf = load(options->config_path, false, &status);
		if (!conf)
			return status;
	}
	status = life_detach_pins(conf, options->port);
	conf_free(conf);
	return status;
}

static int with_config(const struct options *options)
{
	int status;
	struct conf *conf = load(options->config_path, options->action == ACTION_RUN, &status);

	if (!conf)
		return status;
	switch (options->action) {
	case ACTION_RUN:
		return life_run(conf);
	case ACTION_DRY_RUN:
		status = life_dry_run(conf);
		break;
	case ACTION_DUMP:
		conf_dump_ini(conf, stdout);
		break;
	case ACTION_DUMP_JSON:
		status = conf_dump_json(conf, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		break;
	default: /* ACTION_CHECK: loading it was the check */
		break;
	}
	conf_free(conf);
	return status;
}

static int act(const struct options *options)
{
	switch (options->action) {
	case ACTION_HELP:
		fputs(help_text, stdout);
		return EXIT_SUCCESS;
	case ACTION_USAGE:
		fputs("Try 'sluiced --help'.\n", stderr);
		return EXIT_USAGE;
	case ACTION_VERSION:
		version_print(stdout);
		return EXIT_SUCCESS;
	case ACTION_VERSION_LONG:
		version_print_long(stdout);
		return EXIT_SUCCESS;
	case ACTION_LIST_KEYS:
		conf_list_keys(stdout);
		return EXIT_SUCCESS;
	case ACTION_LIST_KEYS_JSON:
		return conf_list_keys_json(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case ACTION_DETACH:
		return detach(options);
	default:
		return with_config(options);
	}
}

/* A full disk must not look like a short but complete answer. */
static int finish_output(int status)
{
	bool failed = ferror(stdout);

	/* EBADF: it was closed before we started, as a service's may be; what was written failed.
	 */
	if (fclose(stdout) == EOF && errno != EBADF)
		failed = true;
	if (!failed)
		return status;
	fputs("sluiced: cannot write to standard output\n", stderr);
	return status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}

int main(int argc, char **argv)
{
	const struct options options = parse_options(argc, argv);

	log_init(options.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	return finish_output(act(&options));
}
