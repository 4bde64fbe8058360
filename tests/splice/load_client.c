/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clients of splice_load. A message carries its connection and number, and the echo must be it,
 * whole and next.
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
#include "util/clock.h"
#include "util/macros.h"

#define EVENTS_N           256
#define CONNECT_AT_ONCE    256
#define ANSWER_PATIENCE_NS (10 * NSEC_PER_SEC)

struct client {
	int fd;
	uint32_t index;
	bool is_connected, is_waiting, is_ended; /* for an answer */
	uint64_t n_messages, n_sent, n_received; /* bytes of pushing */
	uint32_t n_echoed;                       /* bytes of this message's answer */
	uint64_t sent_ns, due_ns;
};

struct clients {
	struct load *load;
	struct client *all;
	uint32_t n_opened;
	uint32_t next_due; /* idle: whose turn it is; they come in order */
	int epoll_fd;
	uint8_t message[LOAD_MAX_MESSAGE], answer[LOAD_MAX_MESSAGE];
};

static void open_client(struct clients *clients, struct client *client)
{
	struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
	int on = 1;

	*client = (struct client){.index = (uint32_t)(client - clients->all),
				  .n_messages = client->n_messages};
	client->fd = address_connect(&clients->load->connect);
	if (client->fd < 0) {
		load_error(clients->load, "connect", -client->fd);
		return;
	}
	client->sent_ns = clock_now_ns();
	(void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void fail(struct clients *clients, struct client *client, const char *what, int error)
{
	if (client->is_ended)
		return;
	load_error(clients->load, what, error);
	(void)close(client->fd);
	client->fd = -1;
	client->is_ended = true;
	if (clients->load->mode == LOAD_CHURN)
		open_client(clients, client);
}

/* --- Messages ------------------------------------------------------------------------------------
 */

static void make_message(const struct client *client, uint8_t *data, uint32_t size)
{
	uint64_t words[2] = {client->index + 1, client->n_messages};

	load_fill(data, client->n_messages * 7 + client->index, size);
	memcpy(data, words, MIN(size, sizeof(words)));
}

static void send_message(struct clients *clients, struct client *client, uint64_t now_ns)
{
	uint32_t size = clients->load->size;

	make_message(client, clients->message, size);
	if (client->is_connected && clients->load->mode != LOAD_CHURN)
		client->sent_ns = now_ns;
	client->n_echoed = 0;
	client->is_waiting = true;
	if (send(client->fd, clients->message, size, MSG_NOSIGNAL) != (ssize_t)size)
		fail(clients, client, "client: send", errno);
}

static void note_latency(struct load *load, uint64_t ns)
{
	atomic_fetch_add_explicit(&load->n_answered, 1, memory_order_relaxed);
	if (load->n_latencies < load->max_latencies)
		load->latencies_us10[load->n_latencies++] = (uint32_t)MIN(ns / 100, UINT32_MAX);
}

static void answered(struct clients *clients, struct client *client, uint64_t now_ns)
{
	struct load *load = clients->load;

	make_message(client, clients->message, load->size);
	if (memcmp(clients->message, clients->answer, load->size) != 0)
		atomic_fetch_add(&load->n_wrong, 1);
	client->n_messages++;
	client->is_waiting = false;
	if (load->mode != LOAD_CHURN &&
	    atomic_load_explicit(&load->is_measuring, memory_order_relaxed))
		note_latency(load, now_ns - client->sent_ns);
	if (load->mode == LOAD_PINGPONG)
		send_message(clients, client, now_ns);
}

static void read_answer(struct clients *clients, struct client *client)
{
	struct load *load = clients->load;
	ssize_t n = recv(client->fd, clients->answer + client->n_echoed,
			 load->size - client->n_echoed, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !client->is_waiting) {
		fail(clients, client, n > 0 ? "more than was sent" : "an answer",
		     n < 0 ? errno : 0);
		return;
	}
	client->n_echoed += (uint32_t)n;
	if (client->n_echoed == load->size)
		answered(clients, client, clock_now_ns());
}

/* The server ends first, so that no port of the client waits. */
static void read_end(struct clients *clients, struct client *client)
{
	struct load *load = clients->load;
	uint8_t byte;
	ssize_t n = recv(client->fd, &byte, 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != 0) {
		fail(clients, client, "the server's end", n < 0 ? errno : 0);
		return;
	}
	if (atomic_load_explicit(&load->is_measuring, memory_order_relaxed))
		note_latency(load, clock_now_ns() - client->sent_ns);
	(void)close(client->fd);
	open_client(clients, client);
}

/* --- Pushing -------------------------------------------------------------------------------------
 */

static void push(struct clients *clients, struct client *client)
{
	struct load *load = clients->load;

	for (unsigned i = 0; load->mode == LOAD_STUCK || i < 8; i++) {
		ssize_t n;

		if (load->mode == LOAD_STUCK)
			load_fill(clients->message, client->n_sent, LOAD_MAX_MESSAGE);
		n = send(client->fd, clients->message, LOAD_MAX_MESSAGE, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			fail(clients, client, "pushing", errno);
		if (n <= 0)
			return;
		client->n_sent += (uint64_t)n;
		atomic_fetch_add_explicit(&load->n_sent_by_clients, (uint64_t)n,
					  memory_order_relaxed);
	}
}

static void take(struct clients *clients, struct client *client)
{
	for (;;) {
		ssize_t n = recv(client->fd, clients->answer, LOAD_MAX_MESSAGE, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fail(clients, client, "reading", n < 0 ? errno : 0);
			return;
		}
		if (!load_check(clients->answer, client->n_received, (uint32_t)n))
			atomic_fetch_add(&clients->load->n_wrong, 1);
		client->n_received += (uint64_t)n;
		atomic_fetch_add(&clients->load->n_answered, (uint64_t)n);
	}
}

/* --- Events --------------------------------------------------------------------------------------
 */

static uint32_t events_of(const struct load *load)
{
	switch (load->mode) {
	case LOAD_BULK:
		return EPOLLOUT;
	case LOAD_STUCK:
		return EPOLLOUT | EPOLLET;
	default:
		return EPOLLIN;
	}
}

static void connected(struct clients *clients, struct client *client)
{
	struct load *load = clients->load;
	struct epoll_event event = {.events = events_of(load), .data.ptr = client};
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		fail(clients, client, "connecting", error);
		return;
	}
	client->is_connected = true;
	atomic_fetch_add(&load->n_connected, 1);
	(void)epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
	/* One message at once in every mode: what is in between must have connected, too. */
	if (load->mode != LOAD_BULK && load->mode != LOAD_STUCK)
		send_message(clients, client, clock_now_ns());
}

static void on_event(struct clients *clients, struct client *client, uint32_t events)
{
	struct load *load = clients->load;

	if (client->is_ended)
		return;
	if (!client->is_connected)
		connected(clients, client);
	else if (load->mode == LOAD_STUCK && atomic_load(&load->is_reading))
		take(clients, client);
	else if (load->mode == LOAD_BULK || load->mode == LOAD_STUCK)
		push(clients, client);
	else if (load->mode == LOAD_CHURN && !client->is_waiting)
		read_end(clients, client);
	else
		read_answer(clients, client);
}

/* Those of `idle` whose time has come; they are spread over a period in order. */
static void send_due(struct clients *clients, uint64_t now_ns)
{
	struct load *load = clients->load;
	uint64_t period_ns = NSEC_PER_SEC / MAX(load->rate, 1);

	for (uint32_t i = 0; clients->all[0].due_ns == 0 && i < load->n_connections; i++)
		clients->all[i].due_ns = now_ns + period_ns * i / load->n_connections + 1;
	for (uint32_t i = 0; i < load->n_connections; i++) {
		struct client *client = &clients->all[clients->next_due];

		if (client->due_ns > now_ns)
			return;
		client->due_ns += period_ns;
		clients->next_due = (clients->next_due + 1) % load->n_connections;
		if (client->is_connected && !client->is_waiting && !client->is_ended)
			send_message(clients, client, now_ns);
	}
}

static void begin_reading(struct clients *clients)
{
	for (uint32_t i = 0; i < clients->n_opened; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients->all[i]};

		if (!clients->all[i].is_ended)
			(void)epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, clients->all[i].fd,
					&event);
	}
}

static void open_some(struct clients *clients)
{
	struct load *load = clients->load;

	while (clients->n_opened < load->n_connections &&
	       (load->mode == LOAD_CHURN ||
		clients->n_opened < atomic_load(&load->n_connected) + CONNECT_AT_ONCE)) {
		open_client(clients, &clients->all[clients->n_opened]);
		clients->n_opened++;
	}
}

static void run(struct clients *clients)
{
	struct load *load = clients->load;
	struct epoll_event events[EVENTS_N];
	bool is_reading = false;

	while (!atomic_load(&load->is_stopping)) {
		int n;

		open_some(clients);
		n = epoll_wait(clients->epoll_fd, events, EVENTS_N,
			       load->mode == LOAD_IDLE ? 1 : 20);
		for (int i = 0; i < n; i++)
			on_event(clients, events[i].data.ptr, events[i].events);
		if (load->mode == LOAD_IDLE &&
		    atomic_load(&load->n_connected) == load->n_connections)
			send_due(clients, clock_now_ns());
		if (!is_reading && atomic_load(&load->is_reading)) {
			is_reading = true;
			begin_reading(clients);
		}
	}
}

void *load_client_run(void *arg)
{
	struct clients *clients = calloc(1, sizeof(*clients));
	struct load *load = arg;

	if (!clients || address_enter_netns(load->client_netns) < 0)
		abort();
	clients->load = load;
	clients->all = calloc(load->n_connections, sizeof(*clients->all));
	clients->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!clients->all || clients->epoll_fd < 0)
		abort();
	load_pin(load);
	run(clients);
	free(clients->all);
	free(clients);
	return NULL;
}
