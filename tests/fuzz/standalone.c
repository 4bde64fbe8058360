/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replays a corpus without libFuzzer: every file of the directories given, through the target that
 * this is linked with. A crash, a sanitizer report or an abort() of the target is the failure; a
 * directory without files is one too, for it would prove nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

#define INPUT_MAX_BYTES (4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ uint8_t *data = malloc(INPUT_MAX_BYTES), *exact = NULL;
	size_t size;

	if (!file || !data) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(data, 1, INPUT_MAX_BYTES, file);
	if (ferror(file)) {
		(void)fprintf(stderr, "%s: cannot be read\n", path);
		return -1;
	}
	/* As long as the input and no longer, so that a sanitizer sees a read beyond it. */
	exact = malloc(size ? size : 1);
	if (!exact)
		return -1;
	memcpy(exact, data, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
	return 0;
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Returns the number of files, or -1. The name is printed first: it is what a crash leaves. */
static int replay_directory(const char *directory)
{
	struct dirent **entries = NULL;
	int n = scandir(directory, &entries, is_input, alphasort), n_bad = 0;

	if (n < 0) {
		(void)fprintf(stderr, "%s: %s\n", directory, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[1024];

		(void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		(void)printf("%s\n", path);
		(void)fflush(stdout);
		n_bad += replay(path) < 0;
		free(entries[i]);
	}
	free(entries);
	return n_bad ? -1 : n;
}

int main(int argc, char *argv[])
{
	int n_inputs = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_directory(argv[i]);

		if (n <= 0) {
			(void)fprintf(stderr, "%s: no input replayed\n", argv[i]);
			return EXIT_FAILURE;
		}
		n_inputs += n;
	}
	(void)printf("%d inputs replayed\n", n_inputs);
	return n_inputs ? EXIT_SUCCESS : EXIT_FAILURE;
}
