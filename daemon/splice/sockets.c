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

/* Handshakes that end while a listening socket is tuned: one a CPU, and some to spare. */
#define ALMOST_QUEUED_MAX 64

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

/*
 * close() is RST, or FIN after all that is still to be sent. RST from the start: the kernel closes
 * what a daemon leaves that is killed, and what is cut off then must not look like an end.
 */
static void set_end(int fd, bool by_reset)
{
	struct linger linger = {.l_onoff = by_reset, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void set_user_timeout(int fd, const struct listener_config *listener)
{
	set(fd, TCP_USER_TIMEOUT, (int)(listener->user_timeout_ns / NSEC_PER_MSEC));
}

void socket_keep_alive(int fd, const struct listener_config *listener)
{
	const int on = listener->keepalive_ns != 0;
	int idle_s = (int)((listener->keepalive_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (!on)
		return;
	/* The kernel counts from the last segment that came, not from now. */
	set(fd, TCP_KEEPIDLE, idle_s);
	set(fd, TCP_KEEPINTVL, MIN(idle_s, KEEPALIVE_INTERVAL_S));
	set(fd, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

void socket_tune_server(int fd, const struct listener_config *listener)
{
	set_end(fd, true);
	/* On an AF_UNIX socket each of these fails, and nothing is lost by it. */
	set(fd, TCP_NODELAY, 1);
	if (listener->user_timeout_ns)
		set_user_timeout(fd, listener);
}

/* Also what an older configuration has set and this one does not. */
void socket_tune(int fd, const struct listener_config *listener)
{
	set_end(fd, true);
	set(fd, TCP_NODELAY, 1);
	set_user_timeout(fd, listener);
	socket_keep_alive(fd, listener);
}

void socket_delay_ack(int fd, bool is_on)
{
	set(fd, TCP_QUICKACK, !is_on);
}

/* For a listening one: its queue's length. */
static uint32_t queued(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_unacked;
}

/*
 * Five system calls less for each connection. A shared one's options are not ours to change: other
 * processes may have it. A child has the options of the moment when its handshake ended; those that
 * wait to be accepted, and those that are just about to, were made before.
 */
void socket_tune_listening(struct listening *listening)
{
	if (listening->is_shared || !listening->config)
		return;
	socket_tune(listening->fd, listening->config);
	listening->n_untuned = queued(listening->fd) + ALMOST_QUEUED_MAX;
}

void socket_close_by_reset(int fd)
{
	set_end(fd, true);
	(void)close(fd);
}

void socket_close_in_peace(int fd)
{
	set_end(fd, false);
	(void)close(fd);
}

uint32_t socket_unacked(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 || n < 0 ? 0 : (uint32_t)n;
}

bool socket_is_closed(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}
