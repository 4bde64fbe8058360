/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's transport. Thread: control; owns the listener and at most MAX_CLIENTS
 * clients.
 *
 * A client is a small state machine on sd-event: reading until a newline, then writing until the
 * answer is gone, then closed; one absolute deadline over both. Nothing here waits: a client that
 * says nothing, or does not read, costs its slot and its timer.
 */
#include "control/ctlsock.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "control/ctlreq.h"
#include "control/ctlverb.h"
#include "control/unix_listen.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "control"

#define MAX_CLIENTS 16
#define DEADLINE_US (5 * 1000 * 1000ULL)
#define ACCURACY_US (100 * 1000ULL)
#define SOCKET_MODE 0660
/*
 * The listener is level-triggered: with no descriptor left (EMFILE) it would fire for ever. So many
 * wakeups a second are enough for anybody.
 */
#define ACCEPTS_PER_S 500

struct client {
	struct ctlsock *ctlsock;
	unsigned slot;
	int fd;
	struct ucred peer;
	sd_event_source *io;
	sd_event_source *timer;
	size_t n_read;
	char *answer; /* NULL while reading */
	size_t answer_bytes;
	size_t n_sent;
	char request[CTLREQ_MAX_BYTES];
};

struct ctlsock {
	const struct ctlsock_ops *ops;
	void *arg;
	sd_event *event;
	sd_event_source *accept;
	struct unix_listener listener;
	struct client *clients[MAX_CLIENTS];
};

static void client_free(struct client *client)
{
	client->ctlsock->clients[client->slot] = NULL;
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->timer);
	close_fdp(&client->fd);
	free(client->answer);
	free(client);
}

/* The answer as one line of text; NULL without memory. */
static char *answer_text(struct json_object *answer, size_t *ret_len)
{
	const char *json;
	size_t len;
	char *text;

	json = json_object_to_json_string_length(
		answer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	text = json ? malloc(len + 2) : NULL;
	if (!text)
		return NULL;
	memcpy(text, json, len);
	memcpy(text + len, "\n", 2);
	*ret_len = len + 1;
	return text;
}

/* Sends what the socket takes. True: there is nothing more to do for this client. */
static bool client_flush(struct client *client)
{
	while (client->n_sent < client->answer_bytes) {
		ssize_t n = send(client->fd, client->answer + client->n_sent,
				 client->answer_bytes - client->n_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno != EAGAIN;
		client->n_sent += (size_t)n;
	}
	return true;
}

/* Takes `answer` and starts sending it. True: the client is finished with. */
static bool client_answer(struct client *client, struct json_object *answer)
{
	bool ok = answer && ctlverb_is_ok(answer);

	client->ctlsock->ops->counted(client->ctlsock->arg, ok);
	if (answer)
		client->answer = answer_text(answer, &client->answer_bytes);
	json_object_put(answer);
	if (!client->answer) {
		log_err("no memory for an answer, closing the connection");
		return true;
	}
	if (client_flush(client))
		return true;
	/* Not one more byte is read: the request is complete. */
	return sd_event_source_set_io_events(client->io, EPOLLOUT) < 0;
}

static bool client_run(struct client *client, size_t line_bytes)
{
	struct ctlsock *ctlsock = client->ctlsock;
	struct ctlreq request;
	const char *why;

	if (ctlreq_parse(client->request, line_bytes, &request, &why) < 0)
		return client_answer(client, ctlverb_refuse("usage", "%s", why));
	return client_answer(client,
			     ctlverb_run(&request, ctlsock->ops, ctlsock->arg, &client->peer));
}

static bool client_read(struct client *client)
{
	char *start = client->request + client->n_read;
	const char *newline;
	ssize_t n;

	n = recv(client->fd, start, sizeof(client->request) - client->n_read, 0);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	if (n == 0) {
		if (client->n_read == 0)
			return true;
		return client_answer(
			client, ctlverb_refuse("usage", "the request has no newline at its end"));
	}
	client->n_read += (size_t)n;
	newline = memchr(start, '\n', (size_t)n);
	if (newline)
		return client_run(client, (size_t)(newline - client->request));
	if (client->n_read == sizeof(client->request))
		return client_answer(client,
				     ctlverb_refuse("usage", "the request is longer than %d bytes",
						    CTLREQ_MAX_BYTES));
	return false;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct client *client = arg;
	bool is_done;

	if (client->answer)
		is_done = (revents & (EPOLLHUP | EPOLLERR)) || client_flush(client);
	else
		is_done = client_read(client);
	if (is_done)
		client_free(client);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *client = arg;

	log_info("uid=%u pid=%d: %s within 5 seconds, closing the connection", client->peer.uid,
		 client->peer.pid, client->answer ? "did not read its answer" : "made no request");
	if (!client->answer)
		client->ctlsock->ops->counted(client->ctlsock->arg, false);
	client_free(client);
	return 0;
}

/* Takes fd in any case. */
static int client_new(struct ctlsock *ctlsock, unsigned slot, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	socklen_t len = sizeof(client->peer);
	int r;

	if (!client) {
		(void)close(fd);
		return -ENOMEM;
	}
	client->ctlsock = ctlsock;
	client->slot = slot;
	client->fd = fd;
	ctlsock->clients[slot] = client;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &client->peer, &len) < 0) {
		r = -errno;
		goto fail;
	}
	r = sd_event_add_io(ctlsock->event, &client->io, fd, EPOLLIN, on_client, client);
	if (r < 0)
		goto fail;
	r = sd_event_add_time_relative(ctlsock->event, &client->timer, CLOCK_MONOTONIC, DEADLINE_US,
				       ACCURACY_US, on_deadline, client);
	if (r < 0)
		goto fail;
	return 0;
fail:
	client_free(client);
	return r;
}

/* Says why in one attempt; a client that does not get it gets the end of the connection. */
static void turn_away(struct ctlsock *ctlsock, int fd)
{
	struct json_object *answer =
		ctlverb_refuse("busy", "%d clients are connected already", MAX_CLIENTS);
	_cleanup_free_ char *text = NULL;
	size_t len;

	ctlsock->ops->counted(ctlsock->arg, false);
	if (answer)
		text = answer_text(answer, &len);
	if (text)
		(void)!send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	json_object_put(answer);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *arg)
{
	struct ctlsock *ctlsock = arg;
	_cleanup_close_ int fd = -1;
	unsigned slot = 0;
	int r;

	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_warning("cannot accept a client: %m, continuing");
		return 0;
	}
	while (slot < MAX_CLIENTS && ctlsock->clients[slot])
		slot++;
	if (slot == MAX_CLIENTS) {
		turn_away(ctlsock, fd);
		return 0;
	}
	r = client_new(ctlsock, slot, TAKE_FD(fd));
	if (r < 0)
		(void)log_err_errno(r, "cannot serve a client: %m");
	return 0;
}

int ctlsock_open(sd_event *event, const char *path, const struct ctlsock_ops *ops, void *arg,
		 struct ctlsock **ret_ctlsock)
{
	struct ctlsock *ctlsock = calloc(1, sizeof(*ctlsock));
	int r;

	if (!ctlsock)
		return -ENOMEM;
	ctlsock->ops = ops;
	ctlsock->arg = arg;
	ctlsock->event = sd_event_ref(event);
	ctlsock->listener = UNIX_LISTENER_NONE;
	r = unix_listen(path, SOCKET_MODE, &ctlsock->listener);
	if (r < 0)
		goto fail;
	r = sd_event_add_io(event, &ctlsock->accept, ctlsock->listener.fd, EPOLLIN, on_accept,
			    ctlsock);
	if (r < 0)
		goto fail;
	r = sd_event_source_set_ratelimit(ctlsock->accept, 1000 * 1000, ACCEPTS_PER_S);
	if (r < 0)
		goto fail;
	*ret_ctlsock = ctlsock;
	return 0;
fail:
	ctlsock_close(ctlsock);
	return r;
}

void ctlsock_close(struct ctlsock *ctlsock)
{
	if (!ctlsock)
		return;
	for (unsigned i = 0; i < MAX_CLIENTS; i++) {
		if (ctlsock->clients[i])
			client_free(ctlsock->clients[i]);
	}
	sd_event_source_disable_unref(ctlsock->accept);
	unix_listener_close(&ctlsock->listener);
	sd_event_unref(ctlsock->event);
	free(ctlsock);
}
