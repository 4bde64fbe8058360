/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening on a unix socket whose file mode is the access policy: created with its final mode
 * (never wider, not for a moment), a file left by a dead daemon is replaced, a living one's and
 * anything that is not a socket is left alone, and only our own file is removed at the end.
 *
 * Thread: control.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

struct unix_listener {
	int fd; /* non-blocking, close-on-exec; -1 = none */
	char path[108];
	dev_t dev; /* of the file that we made */
	ino_t ino;
};

#define UNIX_LISTENER_NONE ((struct unix_listener){.fd = -1})

/*
 * -EADDRINUSE: somebody listens there. -EEXIST: the path is something else than a socket.
 * -ENAMETOOLONG. Any other errno of bind(2).
 */
int unix_listen(const char *path, mode_t mode, struct unix_listener *ret_listener);

/* Closes, and removes the file if it is still ours. */
void unix_listener_close(struct unix_listener *listener);
