/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/macros.h"

static int parse_unix(const char *path, struct address *address)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&address->storage;

	if (strlen(path) >= sizeof(sun->sun_path))
		return -EINVAL;
	sun->sun_family = AF_UNIX;
	(void)snprintf(sun->sun_path, sizeof(sun->sun_path), "%s", path);
	address->len = sizeof(*sun);
	return 0;
}

static bool parse_inet(const char *host, in_port_t port, struct address *address)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)&address->storage;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&address->storage;

	if (inet_pton(AF_INET, host, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		sin->sin_port = port;
		address->len = sizeof(*sin);
		return true;
	}
	if (inet_pton(AF_INET6, host, &sin6->sin6_addr) != 1)
		return false;
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = port;
	address->len = sizeof(*sin6);
	return true;
}

int address_parse(const char *text, struct address *ret_address)
{
	struct address address = {0};
	char host[128], *colon, *start = host, *end;
	unsigned long port;
	int r;

	if (strncmp(text, "unix:", 5) == 0) {
		r = parse_unix(text + 5, &address);
		if (r < 0)
			return r;
		*ret_address = address;
		return 0;
	}
	(void)snprintf(host, sizeof(host), "%s", text);
	colon = strrchr(host, ':');
	if (!colon)
		return -EINVAL;
	*colon = 0;
	port = strtoul(colon + 1, &end, 10);
	if (*end || end == colon + 1 || port > 65535)
		return -EINVAL;
	if (*start == '[' && colon > host && colon[-1] == ']') {
		colon[-1] = 0;
		start++;
	}
	if (!parse_inet(start, htons((uint16_t)port), &address))
		return -EINVAL;
	*ret_address = address;
	return 0;
}

int address_enter_netns(const char *path)
{
	_cleanup_close_ int fd = -1;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return -errno;
	return 0;
}

static int open_stream(const struct address *address)
{
	return socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int address_listen(const struct address *address, int backlog)
{
	_cleanup_close_ int fd = open_stream(address);
	int on = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 ||
	    listen(fd, backlog) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int address_connect(const struct address *address)
{
	_cleanup_close_ int fd = open_stream(address);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address->storage, address->len) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}
