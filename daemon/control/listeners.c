/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From one configuration's addresses to the next one's: what is kept, bound, handed over, closed.
 */
#include "control/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control/listening.h"
#include "kern/reuseport.h"
#include "kern/sockops.h"
#include "splice/splice.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "listen"

struct listeners {
	struct listening *first;
	struct listening_passed *passed;
	unsigned n_passed;
};

/* An address of the next configuration, and the listener that it is to be of. */
struct wanted {
	struct listening *listening; /* one of listeners->first, or of next->opened */
	const char *listener;
};

struct listeners_next {
	struct listening *opened; /* new ones */
	struct wanted *wanted;
	unsigned n_wanted;
	struct listeners_acceptor acceptors[CONF_MAX_ACCEPTORS];
	uint32_t n_acceptors;
};

static void listeners_freep(struct listeners **listeners)
{
	listeners_free(*listeners);
}

static void abandonp(struct listeners_next **next)
{
	listeners_abandon(*next);
}

static void free_list(struct listening *listening)
{
	while (listening) {
		struct listening *next = listening->next;

		listening_free(listening);
		listening = next;
	}
}

/* --- Life ---------------------------------------------------------------------------------------
 */

static int take_passed(struct listeners *listeners)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0)
		return n;
	listeners->passed = calloc((size_t)MAX(n, 1), sizeof(*listeners->passed));
	for (int i = 0; i < n && listeners->passed; i++)
		listeners->passed[listeners->n_passed++] =
			(struct listening_passed){.name = names[i], .fd = SD_LISTEN_FDS_START + i};
	free(names); /* the array; the names have an owner now */
	return listeners->passed ? 0 : -ENOMEM;
}

int listeners_new(struct listeners **ret_listeners)
{
	_cleanup_(listeners_freep) struct listeners *listeners = calloc(1, sizeof(*listeners));
	int r;

	if (!listeners)
		return -ENOMEM;
	r = take_passed(listeners);
	if (r < 0)
		return r;
	*ret_listeners = TAKE_PTR(listeners);
	return 0;
}

void listeners_free(struct listeners *listeners)
{
	if (!listeners)
		return;
	free_list(listeners->first);
	for (unsigned i = 0; i < listeners->n_passed; i++) {
		close_fdp(&listeners->passed[i].fd);
		free(listeners->passed[i].name);
	}
	free(listeners->passed);
	free(listeners);
}

/* --- Preparing ----------------------------------------------------------------------------------
 */

/* [::]:443 and 0.0.0.0:443 both: then each takes its own, whatever bindv6only says. */
static bool wants_v6only(const struct conf *conf, const struct conf_address *address)
{
	const struct sockaddr_in6 *in6 =
		(const struct sockaddr_in6 *)(const void *)&address->socket;

	if (address->is_fd || address->socket.ss_family != AF_INET6)
		return false;
	if (!IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return true;
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const struct conf_bind *binds = conf->listeners[i].binds.items;

		for (unsigned j = 0; j < conf->listeners[i].binds.n; j++) {
			const struct sockaddr_in *in =
				(const struct sockaddr_in *)(const void *)&binds[j].address.socket;

			if (!binds[j].address.is_fd && in->sin_family == AF_INET &&
			    in->sin_addr.s_addr == htonl(INADDR_ANY) &&
			    in->sin_port == in6->sin6_port)
				return true;
		}
	}
	return false;
}

static struct listening *find(struct listening *first, const struct conf_address *address,
			      bool is_v6only)
{
	for (struct listening *l = first; l; l = l->next)
		if (strcmp(l->address.text, address->text) == 0 && l->is_v6only == is_v6only)
			return l;
	return NULL;
}

static int want(struct listeners *listeners, struct listeners_next *next, const struct conf *conf,
		const struct conf_address *address, const char *listener, char *text, size_t size)
{
	bool is_v6only = wants_v6only(conf, address);
	struct listening *listening = find(listeners->first, address, is_v6only);
	int r = 0;

	if (!listening) {
		if (address->is_fd)
			r = listening_new_passed(address, listeners->passed, listeners->n_passed,
						 &listening, text, size);
		else
			r = listening_new(address, is_v6only, next->n_acceptors, &listening, text,
					  size);
		if (r < 0)
			return r;
		listening->next = next->opened;
		next->opened = listening;
	}
	next->wanted[next->n_wanted++] = (struct wanted){listening, listener};
	return 0;
}

static size_t count_binds(const struct conf *conf)
{
	size_t n = 0;

	for (unsigned i = 0; i < conf->n_listeners; i++)
		n += conf->listeners[i].binds.n;
	return n;
}

int listeners_prepare(struct listeners *listeners, const struct conf *conf,
		      const struct listeners_acceptor *acceptors, uint32_t n_acceptors,
		      struct listeners_next **ret_next, char *text, size_t size)
{
	_cleanup_(abandonp) struct listeners_next *next = calloc(1, sizeof(*next));
	int r = 0;

	if (next)
		next->wanted = calloc(MAX(count_binds(conf), 1), sizeof(*next->wanted));
	if (!next || !next->wanted) {
		(void)snprintf(text, size, "out of memory");
		return -ENOMEM;
	}
	next->n_acceptors = n_acceptors;
	memcpy(next->acceptors, acceptors, n_acceptors * sizeof(*acceptors));
	for (unsigned i = 0; i < conf->n_listeners && r == 0; i++) {
		const struct conf_listener *listener = &conf->listeners[i];
		const struct conf_bind *binds = listener->binds.items;

		for (unsigned j = 0; j < listener->binds.n && r == 0; j++)
			r = want(listeners, next, conf, &binds[j].address, listener->name, text,
				 size);
	}
	if (r < 0)
		return r;
	*ret_next = TAKE_PTR(next);
	return 0;
}

void listeners_abandon(struct listeners_next *next)
{
	if (!next)
		return;
	free_list(next->opened);
	free(next->wanted);
	free(next);
}

/* --- Handing over -------------------------------------------------------------------------------
 */

static uint32_t number_of(const struct splice_config *config, const char *listener)
{
	for (uint32_t i = 0; i < config->n_listeners; i++)
		if (strcmp(config->listeners[i].state->name, listener) == 0)
			return config->listeners[i].state->number;
	return SPLICE_NONE;
}

/* SPLICE_NONE: nobody wants it any more. */
static uint32_t wanted_number(const struct listeners_next *next, const struct splice_config *config,
			      const struct listening *listening)
{
	for (unsigned i = 0; i < next->n_wanted; i++)
		if (next->wanted[i].listening == listening)
			return number_of(config, next->wanted[i].listener);
	return SPLICE_NONE;
}

/*
 * A listener that is to lose an address lets go of all of them; those it keeps are handed to it
 * again, and clients notice nothing, since the sockets stay open here.
 */
static int withdraw(struct listeners *listeners, const struct listeners_next *next,
		    struct splice *splice, const struct splice_config *config)
{
	int r = 0;

	for (struct listening *l = listeners->first; l; l = l->next) {
		uint32_t number = l->number;
		int removed;

		if (number == SPLICE_NONE ||
		    (wanted_number(next, config, l) == number && !l->is_partial))
			continue;
		removed = splice_remove_listener(splice, number);
		if (removed < 0) {
			/* An acceptor that hangs still has them: they, and their group, must stay.
			 */
			r = removed;
			continue;
		}
		for (struct listening *other = listeners->first; other; other = other->next)
			if (other->number == number) {
				other->number = SPLICE_NONE;
				other->is_partial = false;
			}
	}
	return r;
}

int listeners_withdraw(struct listeners *listeners, struct splice *splice)
{
	static const struct splice_config none;
	static const struct listeners_next nothing;

	return withdraw(listeners, &nothing, splice, &none);
}

static void set_meta(struct sockops *sockops, int fd, uint32_t number, uint32_t acceptor)
{
	struct splice_conn_meta meta = {
		.listener = number,
		.backend = SPLICE_NONE,
		.acceptor = acceptor,
	};

	/* Only reports lack it then. Each child has a copy, which is not free of cost. */
	if (sockops && sockops_is_attached(sockops))
		(void)sockops_set(sockops, fd, &meta);
}

/* Where it fails an acceptor may have it all the same, or take it up later: its memory is theirs
 * until they have let go of it. */
static int hand_over(struct listening *listening, uint32_t number, struct splice *splice,
		     struct sockops *sockops)
{
	listening->number = number;
	listening->is_partial = true;
	for (uint32_t i = 0; i < listening->n_fds; i++) {
		int fd = fcntl(listening->fds[i], F_DUPFD_CLOEXEC, 0), r;

		if (fd < 0)
			return -errno;
		set_meta(sockops, fd, number, listening->is_shared ? SPLICE_NONE : i);
		r = splice_add_socket(splice, number, i, fd,
				      listening->group ? reuseport_group_load(listening->group, i) :
							 NULL,
				      listening->is_shared);
		if (r < 0)
			return r;
	}
	listening->is_partial = false;
	return 0;
}

static int hand_over_all(const struct listeners_next *next, struct splice *splice,
			 const struct splice_config *config, struct sockops *sockops)
{
	int first_r = 0;

	for (unsigned i = 0; i < next->n_wanted; i++) {
		struct listening *listening = next->wanted[i].listening;
		int r;

		if (listening->number != SPLICE_NONE)
			continue;
		r = listening_open(listening, next->acceptors, next->n_acceptors);
		if (r == 0)
			r = hand_over(listening, number_of(config, next->wanted[i].listener),
				      splice, sockops);
		if (r < 0)
			(void)log_err_errno(r, "listener %s: cannot serve %s: %m",
					    next->wanted[i].listener, listening->address.text);
		else
			log_info("listener %s: on %s", next->wanted[i].listener,
				 listening->address.text);
		first_r = first_r ? first_r : r;
	}
	return first_r;
}

/* What nobody wants; the rest, with what is new. */
static void close_unwanted(struct listeners *listeners, struct listeners_next *next)
{
	struct listening *all[] = {listeners->first, TAKE_PTR(next->opened)};

	listeners->first = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		for (struct listening *l = all[i], *after; l; l = after) {
			after = l->next;
			if (l->number == SPLICE_NONE) {
				listening_free(l);
				continue;
			}
			l->next = listeners->first;
			listeners->first = l;
		}
	}
}

int listeners_commit(struct listeners *listeners, struct listeners_next *next,
		     struct splice *splice, struct splice_config *config, struct sockops *sockops)
{
	int withdrawn = withdraw(listeners, next, splice, config);
	int applied = splice_apply(splice, config);
	int handed = hand_over_all(next, splice, config, sockops);

	close_unwanted(listeners, next);
	listeners_abandon(next);
	if (withdrawn < 0)
		return withdrawn;
	return applied < 0 ? applied : handed;
}

const char *listeners_addresses(const struct listeners *listeners, uint32_t number, char *buf,
				size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (const struct listening *l = listeners->first; l; l = l->next)
		if (l->number == number && used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? " " : "",
						 l->address.text);
	return buf;
}
