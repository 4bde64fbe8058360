/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bind(2) makes the file with the mode of the socket's own inode less the umask. */
#include "control/unix_listen.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/macros.h"

#define BACKLOG 64

static int fill_address(const char *path, struct sockaddr_un *ret_address)
{
	size_t len = strlen(path);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, len);
	*ret_address = address;
	return 0;
}

/* Removes the socket file of a daemon that is gone. */
static int remove_stale(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A refused connection is the only proof of death; a full backlog (EAGAIN) is life. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_new_or_stale(int fd, const struct sockaddr_un *address)
{
	int r;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	r = remove_stale(address);
	if (r < 0)
		return r;
	return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

int unix_listen(const char *path, mode_t mode, struct unix_listener *ret_listener)
{
	struct unix_listener listener = UNIX_LISTENER_NONE;
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	struct stat st;
	int r;

	r = fill_address(path, &address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, mode) < 0)
		return -errno;
	r = bind_new_or_stale(fd, &address);
	if (r < 0)
		return r;
	/* The umask can only have narrowed it. */
	if (chmod(path, mode) < 0 || lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	memcpy(listener.path, address.sun_path, sizeof(listener.path));
	listener.dev = st.st_dev;
	listener.ino = st.st_ino;
	listener.fd = TAKE_FD(fd);
	*ret_listener = listener;
	return 0;
}

void unix_listener_close(struct unix_listener *listener)
{
	struct stat st;

	if (listener->fd < 0)
		return;
	/* Another daemon may have taken the path over: its file stays. */
	if (lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		(void)unlink(listener->path);
	(void)close(listener->fd);
	*listener = UNIX_LISTENER_NONE;
}
