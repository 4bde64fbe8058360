/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request over the control socket, with one deadline over all of it. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/clock.h"
#include "util/macros.h"

/* A page of 64 ports × 256 queues is below 10 MiB; more is not our daemon. */
#define ANSWER_MAX_BYTES (64U * 1024 * 1024)

static enum ctl_exit fail(enum ctl_exit status, const char *what, const char *why)
{
	(void)fputs("sluicectl: ", stderr);
	text_print(stderr, what);
	(void)fprintf(stderr, "%s%s\n", why ? ": " : "", why ? why : "");
	return status;
}

static enum ctl_exit fail_connect(const struct ctl *ctl, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		(void)fprintf(stderr, "sluicectl: sluiced is not running (nobody listens on %s)\n",
			      ctl->socket_path);
		return CTL_NOT_RUNNING;
	case EACCES:
	case EPERM:
		(void)fprintf(stderr,
			      "sluicectl: %s: not allowed; be root or a member of its group\n",
			      ctl->socket_path);
		return CTL_PERMISSION;
	case EAGAIN:
		return fail(CTL_TIMEOUT, ctl->socket_path, "the daemon accepts nobody in time");
	default:
		return fail(CTL_FAILED, ctl->socket_path, strerror(error));
	}
}

static enum ctl_exit open_socket(const struct ctl *ctl, int *ret_fd)
{
	const struct timeval timeout = {.tv_sec = ctl->timeout_ms / 1000,
					.tv_usec = (suseconds_t)(ctl->timeout_ms % 1000) * 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;

	if (strlen(ctl->socket_path) >= sizeof(address.sun_path))
		return fail(CTL_USAGE, ctl->socket_path, "too long for a socket's path");
	memcpy(address.sun_path, ctl->socket_path, strlen(ctl->socket_path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(CTL_FAILED, "socket", strerror(errno));
	/* connect(2) of a unix socket waits for room in the backlog; this bounds it, and send(2).
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return fail(CTL_FAILED, "setsockopt", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fail_connect(ctl, errno);
	*ret_fd = TAKE_FD(fd);
	return CTL_OK;
}

static enum ctl_exit send_request(int fd, const char *request)
{
	_cleanup_free_ char *line = NULL;
	int len = asprintf(&line, "%s\n", request);

	if (len < 0) {
		line = NULL;
		return fail(CTL_FAILED, "out of memory", NULL);
	}
	for (int sent = 0; sent < len;) {
		ssize_t n = send(fd, line + sent, (size_t)(len - sent), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return fail(CTL_TIMEOUT, "the daemon does not read the request", NULL);
		/* A daemon that turns us away may have answered already: read that. */
		if (n < 0 && errno != EINTR)
			return errno == EPIPE ? CTL_OK : fail(CTL_FAILED, "send", strerror(errno));
		sent += n > 0 ? (int)n : 0;
	}
	return CTL_OK;
}

/* Waits for something to read until the deadline. */
static enum ctl_exit wait_readable(int fd, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd pollfd = {.fd = fd, .events = POLLIN};
		uint64_t now_ns = clock_now_ns();
		int n;

		if (now_ns >= deadline_ns)
			return fail(CTL_TIMEOUT, "the daemon did not answer in time", NULL);
		n = poll(&pollfd, 1,
			 (int)((deadline_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
		if (n > 0)
			return CTL_OK;
		if (n < 0 && errno != EINTR)
			return fail(CTL_FAILED, "poll", strerror(errno));
	}
}

/* Reads up to the newline; the text is the caller's. */
static enum ctl_exit read_line(int fd, uint64_t deadline_ns, char **ret_line)
{
	_cleanup_free_ char *line = NULL;
	size_t len = 0, room = 0;

	for (;;) {
		enum ctl_exit status = wait_readable(fd, deadline_ns);
		ssize_t n;

		if (status != CTL_OK)
			return status;
		if (len + 1 >= room) {
			char *more;

			room = MAX(65536, 2 * room);
			more = room > ANSWER_MAX_BYTES ? NULL : realloc(line, room);
			if (!more)
				return fail(CTL_FAILED, "the answer is too long", NULL);
			line = more;
		}
		n = recv(fd, line + len, room - len - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return fail(CTL_FAILED, "the daemon closed the connection", NULL);
		line[len + (size_t)n] = '\0';
		if (memchr(line + len, '\n', (size_t)n))
			break;
		len += (size_t)n;
	}
	*ret_line = TAKE_PTR(line);
	return CTL_OK;
}

void ctl_print_json(struct json_object *answer)
{
	(void)puts(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN |
								  JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* What a refusal means for the exit status. */
static enum ctl_exit exit_of_code(const char *code)
{
	static const struct {
		const char *code;
		enum ctl_exit status;
	} codes[] = {
		{"usage", CTL_USAGE},
		{"config", CTL_BAD_CONFIG},
		{"permission", CTL_PERMISSION},
	};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].status;
	}
	return CTL_FAILED;
}

/* Takes `answer`. */
static enum ctl_exit judge(const struct ctl *ctl, struct json_object *answer,
			   struct json_object **ret_answer)
{
	enum ctl_exit status;

	if (!json_object_is_type(answer, json_type_object) || json_signed(answer, "api") != 1) {
		json_object_put(answer);
		return fail(CTL_FAILED, "the answer is not one of sluiced, API 1", NULL);
	}
	if (json_truth(answer, "ok")) {
		*ret_answer = answer;
		return CTL_OK;
	}
	status = exit_of_code(json_text(answer, "code"));
	if (ctl->as_json)
		ctl_print_json(answer);
	else
		(void)fail(status, json_text(answer, "error"), NULL);
	json_object_put(answer);
	return status;
}

enum ctl_exit ctl_request(const struct ctl *ctl, const char *request,
			  struct json_object **ret_answer)
{
	uint64_t deadline_ns = clock_now_ns() + ctl->timeout_ms * NSEC_PER_MSEC;
	_cleanup_free_ char *line = NULL;
	_cleanup_close_ int fd = -1;
	enum ctl_exit status;

	status = open_socket(ctl, &fd);
	if (status == CTL_OK)
		status = send_request(fd, request);
	if (status == CTL_OK)
		status = read_line(fd, deadline_ns, &line);
	if (status != CTL_OK)
		return status;
	return judge(ctl, json_tokener_parse(line), ret_answer);
}

void ctl_wait_second(void)
{
	(void)poll(NULL, 0, 1000);
}
