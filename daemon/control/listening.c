/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the sockets of one address. What the kernel says no to is told with its remedy. */
#include "control/listening.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kern/reuseport.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "listen"

/* The kernel has net.core.somaxconn below it. */
#define BACKLOG   4096
#define UNIX_MODE 0660

static void listening_freep(struct listening **listening)
{
	listening_free(*listening);
}

/* `text` becomes "bind ADDRESS: why"; returns r. */
static int refuse(int r, const struct conf_address *address, const char *why, char *text,
		  size_t size)
{
	(void)snprintf(text, size, "cannot listen on %s: %s", address->text, why);
	return r;
}

static int refuse_errno(int r, const struct conf_address *address, char *text, size_t size)
{
	switch (r) {
	case -EACCES:
		return refuse(
			r, address,
			address->socket.ss_family == AF_UNIX ?
				"the directory may not be written to" :
				"a port below 1024 needs CAP_NET_BIND_SERVICE (add it to "
				"AmbientCapabilities= and CapabilityBoundingSet= of the unit), "
				"or a socket unit and fd:NAME",
			text, size);
	case -EADDRINUSE:
		return refuse(r, address, "another program listens there; `ss -ltnpx` shows which",
			      text, size);
	case -EEXIST:
		return refuse(r, address, "there is a file that is no socket", text, size);
	default:
		return refuse(r, address, strerror(-r), text, size);
	}
}

static struct listening *new_listening(const struct conf_address *address)
{
	struct listening *listening = calloc(1, sizeof(*listening));

	if (!listening)
		return NULL;
	listening->address = *address;
	listening->number = SPLICE_NONE;
	listening->file = UNIX_LISTENER_NONE;
	return listening;
}

void listening_free(struct listening *listening)
{
	if (!listening)
		return;
	unix_listener_close(&listening->file);
	for (uint32_t i = 0; i < listening->n_fds && !listening->is_borrowed; i++)
		close_fdp(&listening->fds[i]);
	reuseport_group_free(listening->group);
	free(listening);
}

/* --- Own sockets --------------------------------------------------------------------------------
 */

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The daemon starts before the network: an address may come later, as it may go and come back. */
static int bind_even_if_absent(int fd, const struct conf_address *address, bool is_first)
{
	bool is_ip6 = address->socket.ss_family == AF_INET6;
	const struct sockaddr *socket = (const struct sockaddr *)&address->socket;
	int r;

	if (bind(fd, socket, address->socket_len) == 0)
		return 0;
	if (errno != EADDRNOTAVAIL)
		return -errno;
	r = set_option(fd, is_ip6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ip6 ? IPV6_FREEBIND : IP_FREEBIND,
		       1);
	if (r < 0)
		return r;
	if (bind(fd, socket, address->socket_len) < 0)
		return -errno;
	if (is_first)
		log_warning("%s is not an address of this host now: listening for when it is",
			    address->text);
	return 0;
}

/* SO_REUSEPORT before bind(2), for the group; SO_REUSEADDR for connections of an earlier run. */
static int bind_one(const struct conf_address *address, bool is_v6only, bool is_first, int *ret_fd)
{
	int family = address->socket.ss_family, r;
	_cleanup_close_ int fd =
		socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0)
		r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0 && family == AF_INET6)
		r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_v6only);
	if (r == 0)
		r = bind_even_if_absent(fd, address, is_first);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int make_sockets(struct listening *listening, uint32_t n_acceptors)
{
	int r = 0;

	for (uint32_t i = 0; i < n_acceptors && r == 0; i++) {
		r = bind_one(&listening->address, listening->is_v6only, i == 0, &listening->fds[i]);
		if (r == 0)
			listening->n_fds++;
	}
	return r;
}

static int make_file(struct listening *listening)
{
	int r = unix_listen(listening->address.text + strlen("unix:"), UNIX_MODE, &listening->file);

	if (r < 0)
		return r;
	/* The copy is what acceptors get copies of; the file's own goes with the file. */
	listening->fds[0] = fcntl(listening->file.fd, F_DUPFD_CLOEXEC, 0);
	if (listening->fds[0] < 0)
		return -errno;
	listening->n_fds = 1;
	listening->is_shared = true;
	return 0;
}

int listening_new(const struct conf_address *address, bool is_v6only, uint32_t n_acceptors,
		  struct listening **ret_listening, char *text, size_t size)
{
	_cleanup_(listening_freep) struct listening *listening = new_listening(address);
	int r;

	if (!listening)
		return refuse(-ENOMEM, address, strerror(ENOMEM), text, size);
	listening->is_v6only = is_v6only;
	if (address->socket.ss_family == AF_UNIX)
		r = make_file(listening);
	else
		r = make_sockets(listening, n_acceptors);
	if (r < 0)
		return refuse_errno(r, address, text, size);
	*ret_listening = TAKE_PTR(listening);
	return 0;
}

/* --- systemd's ----------------------------------------------------------------------------------
 */

static int get_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

/* NULL if it can be served. */
static const char *check_passed(int fd)
{
	int domain = get_option(fd, SO_DOMAIN);

	if (get_option(fd, SO_TYPE) != SOCK_STREAM)
		return "what systemd handed over is no stream socket (ListenStream=)";
	if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
		return "what systemd handed over is neither TCP nor a unix socket";
	if (domain != AF_UNIX && get_option(fd, SO_PROTOCOL) != IPPROTO_TCP)
		return "what systemd handed over is not TCP; MPTCP cannot be spliced (remove "
		       "SocketProtocol=mptcp)";
	if (get_option(fd, SO_ACCEPTCONN) != 1)
		return "what systemd handed over does not listen (Accept=no is needed)";
	return NULL;
}

int listening_new_passed(const struct conf_address *address, const struct listening_passed *passed,
			 unsigned n_passed, struct listening **ret_listening, char *text,
			 size_t size)
{
	_cleanup_(listening_freep) struct listening *listening = new_listening(address);
	const char *name = address->text + strlen("fd:"), *wrong;

	if (!listening)
		return refuse(-ENOMEM, address, strerror(ENOMEM), text, size);
	listening->is_shared = listening->is_borrowed = true;
	for (unsigned i = 0; i < n_passed && listening->n_fds < CONF_MAX_ACCEPTORS; i++) {
		if (strcmp(passed[i].name, name) != 0)
			continue;
		wrong = check_passed(passed[i].fd);
		if (wrong)
			return refuse(-EPROTONOSUPPORT, address, wrong, text, size);
		listening->fds[listening->n_fds++] = passed[i].fd;
	}
	if (listening->n_fds == 0)
		return refuse(
			-ENOENT, address,
			"systemd handed over no socket of that name (FileDescriptorName= of the "
			"socket unit)",
			text, size);
	*ret_listening = TAKE_PTR(listening);
	return 0;
}

/* --- Listening ----------------------------------------------------------------------------------
 */

/* Without it the kernel's hash chooses, which is worse and works. */
static void make_group(struct listening *listening, const struct listeners_acceptor *acceptors,
		       uint32_t n_acceptors)
{
	int r = reuseport_group_new(n_acceptors, &listening->group);

	for (uint32_t i = 0; i < n_acceptors && r == 0; i++) {
		struct splice_acceptor_load *load = reuseport_group_load(listening->group, i);

		load->cpu = acceptors[i].cpu;
		load->node = acceptors[i].node;
		r = reuseport_group_add(listening->group, i, listening->fds[i]);
	}
	if (r == 0)
		return;
	log_notice("%s: acceptors are chosen by the kernel's hash, not by CPU and load: %s",
		   listening->address.text, strerror(-r));
	reuseport_group_free(TAKE_PTR(listening->group));
}

int listening_open(struct listening *listening, const struct listeners_acceptor *acceptors,
		   uint32_t n_acceptors)
{
	if (listening->is_open)
		return 0;
	for (uint32_t i = 0; i < listening->n_fds && !listening->is_borrowed; i++)
		if (listen(listening->fds[i], BACKLOG) < 0)
			return -errno;
	if (!listening->is_shared)
		make_group(listening, acceptors, n_acceptors);
	listening->is_open = true;
	return 0;
}
