/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers only: a name could resolve to anything, and resolving blocks. */
#include "control/tcp_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "util/macros.h"

#define BACKLOG 64

static int parse_port(const char *text, in_port_t *ret_port_be)
{
	uint32_t port = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(*text - '0');
		if (port > UINT16_MAX)
			return -EINVAL;
	}
	*ret_port_be = htons((uint16_t)port);
	return 0;
}

int tcp_loopback_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	in_port_t port_be;
	size_t len;

	if (!colon || (size_t)(colon - text) >= sizeof(host) || parse_port(colon + 1, &port_be) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	memcpy(host, text, len);
	host[len] = '\0';

	*ret_address = (struct sockaddr_storage){0};
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		v4.sin_port = port_be;
		memcpy(ret_address, &v4, sizeof(v4));
		*ret_len = sizeof(v4);
		return ntohl(v4.sin_addr.s_addr) >> 24 == 127 ? 0 : -EADDRNOTAVAIL;
	}
	if (len < 3 || host[0] != '[' || host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1)
		return -EINVAL;
	v6.sin6_port = port_be;
	memcpy(ret_address, &v6, sizeof(v6));
	*ret_len = sizeof(v6);
	return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ? 0 : -EADDRNOTAVAIL;
}

int tcp_listen_loopback(const char *text, int *ret_fd)
{
	struct sockaddr_storage address;
	_cleanup_close_ int fd = -1;
	const int on = 1;
	socklen_t len;
	int r;

	r = tcp_loopback_parse(text, &address, &len);
	if (r < 0)
		return r;
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A restart must not wait for the TIME_WAIT of the last scrapes. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
