/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things said to sockets. Thread: acceptor. */
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "splice/acceptor.h"

/* Seconds between keepalive probes, and how many may stay unanswered. */
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES     4

struct ip_endpoint endpoint_of(const struct sockaddr_storage *address)
{
	struct ip_endpoint endpoint = {.family = 0};

	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

		endpoint.family = 4;
		endpoint.port = ntohs(in->sin_port);
		memcpy(endpoint.addr.octet, &in->sin_addr, 4);
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
		const uint8_t *octets = in6->sin6_addr.s6_addr;

		endpoint.port = ntohs(in6->sin6_port);
		/* A dual-stack listener's IPv4 client is an IPv4 client. */
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			endpoint.family = 4;
			memcpy(endpoint.addr.octet, octets + 12, 4);
		} else {
			endpoint.family = 6;
			memcpy(endpoint.addr.octet, octets, 16);
		}
	}
	return endpoint;
}

static void set(int fd, int option, int value)
{
	(void)setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value));
}

void socket_tune(int fd, const struct listener_config *listener)
{
	int on = 1;

	/* On an AF_UNIX socket each of these fails, and nothing is lost by it. */
	set(fd, TCP_NODELAY, 1);
	if (listener->user_timeout_ns)
		set(fd, TCP_USER_TIMEOUT, (int)(listener->user_timeout_ns / NSEC_PER_MSEC));
	if (listener->keepalive_ns) {
		int idle_s = (int)((listener->keepalive_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);

		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		set(fd, TCP_KEEPIDLE, idle_s);
		set(fd, TCP_KEEPINTVL, MIN(idle_s, KEEPALIVE_INTERVAL_S));
		set(fd, TCP_KEEPCNT, KEEPALIVE_PROBES);
	}
}

void socket_close_by_reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	(void)close(fd);
}

uint32_t socket_unacked(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 || n < 0 ? 0 : (uint32_t)n;
}
