/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a torture stream: a socket, the recipe that it follows, and what it has seen. Driven
 * by its side's loop (side.c). An end reports what it saw; judge.c says whether that was right.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "recipe.h"

struct end {
	struct recipe recipe;
	uint64_t seed, rng, hang_ns;
	int fd, epoll_fd;
	uint32_t events; /* as registered; 0: not registered, since ERR and HUP always come */
	bool is_connected, is_done;
	/* What it has seen and done. */
	uint64_t n_sent, n_received;
	/* Of the other side: all that there may be. Of them only progress_ns is looked at. */
	const struct end *others;
	uint32_t first_other, n_others;
	bool has_peer;     /* the first word has arrived … */
	uint32_t peer;     /* … and names this sender */
	uint8_t prefix[8]; /* the first bytes received */
	bool fin_sent;     /* all was sent, and shutdown() */
	bool has_reset;    /* it has reset the connection, by its recipe */
	bool has_closed;   /* it has closed as RESET_BY_CLOSE says */
	bool saw_eof;      /* recv() = 0 with no error before */
	int saw_error;     /* of connect, send or recv: the abort was seen */
	bool is_corrupt, is_hung;
	char tcp[256]; /* of a hung one: what its socket waits for */
	uint64_t corrupt_at;
	/* Times. */
	uint64_t opened_ns, progress_ns, write_at_ns, read_at_ns, fin_ns;
	uint64_t next_ns; /* when it must have its turn without an event */
	unsigned n_pauses;
	uint64_t wait_until_ns; /* for what the other end may never do */
	bool has_stalled, has_grown;
};

/* The socket is connecting or accepted, and non-blocking; the end owns it. */
void end_open(struct end *end, const struct recipe_options *options, enum role role,
	      uint32_t number, int fd, int epoll_fd, uint64_t now_ns);

/* Reads, writes and ends as the recipe says; is_done when nothing more will happen. */
void end_turn(struct end *end, uint32_t events, uint64_t now_ns);

/* It is called hung: the run is over. Without progress of either for hang_ns it does so by
 * itself. */
void end_give_up(struct end *end);
