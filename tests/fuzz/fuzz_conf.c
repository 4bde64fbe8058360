/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes are a configuration or a list of errors, and what is accepted survives being dumped
 * and loaded: the dump of the dump is the same dump.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "util/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() this stays in a release build, and it names what broke. */
static void require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fuzz_conf: %s\n", what);
	abort();
}

/* The configuration, or NULL; in that case there must be a reason. */
static struct conf *load(const void *data, size_t size)
{
	_cleanup_fclose_ FILE *stream = NULL;
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	int r;

	/* fmemopen() refuses a size of zero in some libraries; an empty stream is what it means. */
	stream = size ? fmemopen((void *)(uintptr_t)data, size, "r") : fopen("/dev/null", "re");
	require(stream != NULL, "no stream");
	r = conf_load_stream(stream, "fuzz.conf", &conf, &errors);
	require(r == 0 || r == -EINVAL, "neither accepted nor refused");
	require((r == 0) == (conf != NULL), "a configuration and a failure");
	require((r == 0) == (errors.n == 0), "refused without a reason, or accepted with one");
	for (unsigned i = 0; i < errors.n; i++)
		require(strncmp(errors.lines[i], "fuzz.conf:", 10) == 0 &&
				!strpbrk(errors.lines[i], "\n\r\033"),
			"an error that is not one line");
	conf_errors_fini(&errors);
	return conf;
}

static char *dump(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	require(out != NULL, "no memory");
	conf_dump_ini(conf, out);
	require(fclose(out) == 0, "no memory");
	return text;
}

static void dump_json(const struct conf *conf)
{
	_cleanup_fclose_ FILE *out = fopen("/dev/null", "we");

	require(out != NULL, "no /dev/null");
	require(conf_dump_json(conf, out) == 0, "no JSON");
}

/*
 * The first dump says "default" where the second names a line of the first: the second and the
 * third must be equal, and the third may not depend on anything but the values.
 */
static void check_dumps(const struct conf *conf)
{
	_cleanup_free_ char *first = dump(conf), *second = NULL, *third = NULL;
	struct conf *loaded = load(first, strlen(first));

	require(loaded != NULL, "a dump is refused");
	require(memcmp(&loaded->daemon, &conf->daemon, sizeof(conf->daemon)) == 0,
		"[daemon] is another after a dump");
	require(loaded->n_ports == conf->n_ports, "another number of ports after a dump");
	second = dump(loaded);
	conf_free(loaded);
	loaded = load(second, strlen(second));
	require(loaded != NULL, "the dump of a dump is refused");
	third = dump(loaded);
	conf_free(loaded);
	require(strcmp(second, third) == 0, "the dump of a dump is another dump");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf = load(data, size);

	if (!conf)
		return 0;
	check_dumps(conf);
	dump_json(conf);
	conf_free(conf);
	return 0;
}
