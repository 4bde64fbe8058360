/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What control asks of an acceptor, taken up between two turns. Thread: acceptor. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "splice/acceptor.h"

static void tell_done(struct acceptor *acceptor)
{
	uint64_t one = 1;

	(void)!write(acceptor->splice->done_fd, &one, sizeof(one));
}

/* --- Configuration -------------------------------------------------------------------------------
 */

static void bind_config(const struct splice_config *config, struct listening *listening)
{
	listening->config = NULL;
	for (uint32_t i = 0; config && i < config->n_listeners; i++)
		if (config->listeners[i].state->number == listening->number)
			listening->config = &config->listeners[i];
}

/* Turns begin anew with each configuration; its backends may be others. */
static void renew_turns(struct acceptor *acceptor)
{
	free(acceptor->turns);
	acceptor->n_turns = acceptor->config->n_backends;
	acceptor->turns =
		calloc(acceptor->n_turns ? acceptor->n_turns : 1, sizeof(*acceptor->turns));
	if (!acceptor->turns)
		acceptor->n_turns = 0; /* everyone's first server has more than its share */
}

static void take_config(struct acceptor *acceptor)
{
	uint64_t wanted = atomic_load_explicit(&acceptor->config_wanted, memory_order_acquire);
	struct splice_config *next;

	if (atomic_load_explicit(&acceptor->config_seen, memory_order_relaxed) == wanted)
		return;
	/* pairs with the release in splice_apply(); our reference comes with it */
	next = atomic_exchange_explicit(&acceptor->next_config, NULL, memory_order_acq_rel);
	if (next) {
		splice_config_unref(acceptor->config);
		acceptor->config = next;
		renew_turns(acceptor);
		for (struct listening *l = acceptor->listening; l; l = l->next) {
			bind_config(next, l);
			socket_tune_listening(l);
		}
	}
	atomic_store_explicit(&acceptor->config_seen, wanted, memory_order_release);
	tell_done(acceptor);
}

/* --- Listening sockets ---------------------------------------------------------------------------
 */

static void set_open(const struct listening *listening, bool is_open)
{
	if (listening->load)
		__atomic_store_n(&listening->load->is_open, is_open, __ATOMIC_RELAXED);
}

static void add_socket(struct acceptor *acceptor, const struct command *command)
{
	struct listening *listening = calloc(1, sizeof(*listening));

	if (!listening || acceptor->is_draining) {
		free(listening);
		(void)close(command->fd);
		return;
	}
	listening->number = command->listener;
	listening->fd = command->fd;
	listening->is_shared = command->is_shared;
	listening->load = command->load;
	listening->next = acceptor->listening;
	acceptor->listening = listening;
	bind_config(acceptor->config, listening);
	socket_tune_listening(listening);
	if (listening->load)
		__atomic_store_n(&listening->load->n_live, acceptor->n_conns, __ATOMIC_RELAXED);
	set_open(listening, acceptor->is_open);
	accept_watch(acceptor, listening);
}

/* Takes it out of `*link`. The queue of one's own socket is accepted first; what comes between that
 * and the close migrates to others of the group. A shared one's queue is the others' as well. */
static void drop_listening(struct acceptor *acceptor, struct listening **link)
{
	struct listening *listening = *link;

	set_open(listening, false);
	accept_all(acceptor, listening);
	if (listening->is_watched)
		(void)epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_DEL, listening->fd, NULL);
	*link = listening->next;
	(void)close(listening->fd);
	free(listening);
}

void commands_drop_listening(struct acceptor *acceptor)
{
	while (acceptor->listening)
		drop_listening(acceptor, &acceptor->listening);
}

static void remove_listener(struct acceptor *acceptor, const struct command *command)
{
	struct listening **link = &acceptor->listening;

	while (*link)
		if ((*link)->number == command->listener)
			drop_listening(acceptor, link);
		else
			link = &(*link)->next;
}

static void open_or_close(struct acceptor *acceptor, const struct command *command)
{
	acceptor->is_open = command->is_open;
	for (struct listening *l = acceptor->listening; l; l = l->next) {
		set_open(l, acceptor->is_open);
		accept_watch(acceptor, l);
	}
}

static void answer_flows(struct acceptor *acceptor, const struct command *command)
{
	report_flows(acceptor, command->flows);
}

static void (*const run[])(struct acceptor *, const struct command *) = {
	[COMMAND_ADD_SOCKET] = add_socket,
	[COMMAND_REMOVE_LISTENER] = remove_listener,
	[COMMAND_SET_OPEN] = open_or_close,
	[COMMAND_FLOWS] = answer_flows,
};

void commands_run(struct acceptor *acceptor)
{
	uint32_t done = atomic_load_explicit(&acceptor->done, memory_order_relaxed);

	take_config(acceptor);
	/* pairs with the release in submit(), splice.c */
	while (done != atomic_load_explicit(&acceptor->head, memory_order_acquire)) {
		const struct command *command = &acceptor->ring[done % COMMANDS_N];

		run[command->kind](acceptor, command);
		atomic_store_explicit(&acceptor->done, ++done, memory_order_release);
		tell_done(acceptor);
	}
}
