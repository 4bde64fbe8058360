/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The servers of splice_load: echo, swallow, or be stuck.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"
#include "util/macros.h"

#define EVENTS_N 256

struct served {
	int fd;
	uint64_t n_received, n_sent;
};

static uint8_t buffer[1 << 20];

static void drop(struct served *served)
{
	(void)close(served->fd);
	free(served);
}

/* Churn: a whole message was answered; the server ends first. */
static void echo(struct load *load, struct served *served)
{
	for (;;) {
		ssize_t n = recv(served->fd, buffer, load->size, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			drop(served);
			return;
		}
		served->n_received += (uint64_t)n;
		/* One message is on its way at a time: the send buffer has room for it. */
		if (send(served->fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
			load_error(load, "server: send", errno);
		if (load->mode == LOAD_CHURN && served->n_received >= load->size) {
			(void)shutdown(served->fd, SHUT_WR);
			return;
		}
	}
}

static void swallow(struct load *load, struct served *served)
{
	for (unsigned i = 0; i < 8; i++) {
		ssize_t n = recv(served->fd, buffer, sizeof(buffer), MSG_TRUNC);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			drop(served);
			return;
		}
		atomic_fetch_add_explicit(&load->n_received, (uint64_t)n, memory_order_relaxed);
	}
}

static void push(struct load *load, struct served *served)
{
	for (;;) {
		ssize_t n;

		load_fill(buffer, served->n_sent, LOAD_MAX_MESSAGE);
		n = send(served->fd, buffer, LOAD_MAX_MESSAGE, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		served->n_sent += (uint64_t)n;
		atomic_fetch_add(&load->n_sent_by_servers, (uint64_t)n);
	}
}

static void take(struct load *load, struct served *served)
{
	for (;;) {
		ssize_t n = recv(served->fd, buffer, LOAD_MAX_MESSAGE, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			drop(served);
			return;
		}
		if (!load_check(buffer, served->n_received, (uint32_t)n))
			atomic_fetch_add(&load->n_wrong, 1);
		served->n_received += (uint64_t)n;
		atomic_fetch_add(&load->n_received, (uint64_t)n);
	}
}

static void serve(struct load *load, struct served *served, uint32_t events)
{
	switch (load->mode) {
	case LOAD_BULK:
		swallow(load, served);
		return;
	case LOAD_STUCK:
		if (load->both && events & EPOLLOUT && !atomic_load(&load->is_reading))
			push(load, served);
		if (atomic_load(&load->is_reading))
			take(load, served);
		return;
	default:
		echo(load, served);
		return;
	}
}

static void accept_all(struct load *load, int epoll_fd, struct served **all, uint32_t *n_all)
{
	for (;;) {
		int fd = accept4(load->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
		struct served *served = fd >= 0 ? calloc(1, sizeof(*served)) : NULL;
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = served};

		if (!served)
			return;
		served->fd = fd;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (load->mode == LOAD_STUCK) {
			event.events = load->both ? EPOLLOUT | EPOLLET : EPOLLET;
			all[(*n_all)++] = served;
		}
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	}
}

static void begin_reading(int epoll_fd, struct served **all, uint32_t n_all)
{
	for (uint32_t i = 0; i < n_all; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = all[i]};

		(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, all[i]->fd, &event);
	}
}

void *load_server_run(void *arg)
{
	struct load *load = arg;
	struct epoll_event events[EVENTS_N], listening = {.events = EPOLLIN};
	_cleanup_close_ int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_free_ struct served **all = calloc(2 * load->n_connections + 64, sizeof(*all));
	uint32_t n_all = 0;
	bool is_reading = false;

	if (epoll_fd < 0 || !all ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, load->listen_fd, &listening) < 0)
		abort();
	load_pin(load);
	while (!atomic_load(&load->is_stopping)) {
		int n = epoll_wait(epoll_fd, events, EVENTS_N, 50);

		for (int i = 0; i < n; i++)
			if (!events[i].data.ptr)
				accept_all(load, epoll_fd, all, &n_all);
			else
				serve(load, events[i].data.ptr, events[i].events);
		if (!is_reading && atomic_load(&load->is_reading)) {
			is_reading = true;
			begin_reading(epoll_fd, all, n_all);
		}
	}
	return NULL;
}
