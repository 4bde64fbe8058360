/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See link_env.h. */
#include "link_env.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "util/macros.h"

#define EXIT_SKIPPED 77

static char sysfs[] = "/tmp/sluice-links-XXXXXX";
const char *const link_env_sysfs = sysfs;
struct links *links;

void sh(const char *fmt, ...)
{
	char command[512];
	va_list args;
	int status;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	status = system(command);
	if (status != 0)
		fail_msg("%s: status %d", command, status);
}

int link_env_enter(void **state)
{
	if (unshare(CLONE_NEWNET) < 0 || mount("sysfs", sysfs, "sysfs", 0, NULL) < 0)
		return -1;
	if (links_open(&links) < 0)
		return -1;
	links->sysfs_root = sysfs;
	return 0;
}

int link_env_leave(void **state)
{
	links_close(links);
	links = NULL;
	return umount2(sysfs, MNT_DETACH);
}

struct link read_link(const char *name)
{
	struct link link;

	assert_int_equal(link_read(links, name, &link), 0);
	return link;
}

int link_env_run(const struct CMUnitTest *tests, size_t n_tests)
{
	int r;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)printf("SKIP: namespaces: %s\n", strerror(errno));
		return EXIT_SKIPPED;
	}
	if (!mkdtemp(sysfs))
		return 1;
	r = _cmocka_run_group_tests("links", tests, n_tests, NULL, NULL);
	(void)rmdir(sysfs);
	return r;
}
