/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of one end. A socket tells its error once, to whichever call comes first, and
 * after that recv() says 0: so `saw_error` wins over every later 0.
 */
#include "end.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/macros.h"

#define SCRATCH_BYTES      (256 << 10)
#define PATIENCE_NS        (300 * NSEC_PER_MSEC) /* for the other end's part of an order */
#define MAX_PAUSES         50
#define LARGE_BUFFER_BYTES (1 << 20)

static _Thread_local uint8_t scratch[SCRATCH_BYTES];

static void set_int(int fd, int name, int value)
{
	(void)setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value));
}

/* The other side's thread looks at it. */
static void progress(struct end *end, uint64_t now_ns)
{
	__atomic_store_n(&end->progress_ns, now_ns, __ATOMIC_RELAXED);
}

static void finish(struct end *end)
{
	(void)close(end->fd);
	end->fd = -1;
	end->is_done = true;
}

static void reset(struct end *end)
{
	struct linger linger = {.l_onoff = 1};

	(void)setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	end->has_reset = true;
	finish(end);
}

void end_open(struct end *end, const struct recipe_options *options, enum role role,
	      uint32_t number, int fd, int epoll_fd, uint64_t now_ns)
{
	*end = (struct end){
		.fd = fd, .epoll_fd = epoll_fd, .seed = options->seed, .hang_ns = options->hang_ns};
	recipe_draw(options, role, number, &end->recipe);
	end->rng = end->recipe.key ^ 1;
	end->opened_ns = end->progress_ns = now_ns;
	end->write_at_ns = now_ns + end->recipe.start_delay_ns;
	end->wait_until_ns = now_ns + PATIENCE_NS;
	if (end->recipe.rcvbuf)
		set_int(fd, SO_RCVBUF, (int)end->recipe.rcvbuf);
	if (end->recipe.sndbuf)
		set_int(fd, SO_SNDBUF, (int)end->recipe.sndbuf);
}

/* --- Reading ------------------------------------------------------------------------------------
 */

static void corrupt(struct end *end, uint64_t at)
{
	end->is_corrupt = true;
	end->corrupt_at = at;
	reset(end);
}

/* The first word: false if no sender begins so. */
static bool take_prefix(struct end *end, const uint8_t *data, size_t n)
{
	enum role from = end->recipe.role == ROLE_CLIENT ? ROLE_SERVER : ROLE_CLIENT;
	uint64_t word;

	memcpy(end->prefix + end->n_received, data, n);
	if (end->n_received + n < 8)
		return true;
	memcpy(&word, end->prefix, 8);
	end->has_peer = recipe_read_first_word(word, from, &end->peer);
	return end->has_peer;
}

static void check(struct end *end, const uint8_t *data, size_t n)
{
	enum role from = end->recipe.role == ROLE_CLIENT ? ROLE_SERVER : ROLE_CLIENT;
	size_t n_prefix = end->n_received < 8 ? MIN(n, 8 - end->n_received) : 0, good;

	if (n_prefix && !take_prefix(end, data, n_prefix)) {
		corrupt(end, 0);
		return;
	}
	end->n_received += n_prefix;
	if (n == n_prefix)
		return;
	good = recipe_check(recipe_key(end->seed, from, end->peer), end->n_received,
			    data + n_prefix, n - n_prefix);
	end->n_received += good;
	if (good < n - n_prefix)
		corrupt(end, end->n_received);
}

static bool may_pause(struct end *end, uint32_t n_of_1024)
{
	return recipe_below(&end->rng, 1024) < n_of_1024 && end->n_pauses++ < MAX_PAUSES;
}

static void pause_reading(struct end *end, uint64_t now_ns)
{
	const struct recipe *recipe = &end->recipe;

	if (recipe->stall_ns && !end->has_stalled && end->n_received >= recipe->stall_at) {
		end->has_stalled = true;
		end->read_at_ns = now_ns + recipe->stall_ns;
	} else if (may_pause(end, recipe->read_pause_n)) {
		end->read_at_ns = now_ns + recipe_below(&end->rng, recipe->read_pause_ns);
	}
}

static void grow(struct end *end)
{
	if (end->has_grown || MAX(end->n_received, end->n_sent) < SMALL_BUFFER_BYTES)
		return;
	end->has_grown = true;
	if (end->recipe.rcvbuf)
		set_int(end->fd, SO_RCVBUF, LARGE_BUFFER_BYTES);
	if (end->recipe.sndbuf)
		set_int(end->fd, SO_SNDBUF, LARGE_BUFFER_BYTES);
}

static void read_some(struct end *end, uint64_t now_ns)
{
	size_t max = 1 + recipe_below(&end->rng, end->recipe.read_max);
	ssize_t n = recv(end->fd, scratch, MIN(max, sizeof(scratch)), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	progress(end, now_ns);
	if (n < 0) {
		end->saw_error = end->saw_error ? end->saw_error : errno;
		finish(end);
	} else if (n == 0 && end->saw_error) {
		finish(end);
	} else if (n == 0) {
		end->saw_eof = true;
	} else {
		check(end, scratch, (size_t)n);
		if (end->is_done)
			return;
		pause_reading(end, now_ns);
		/* Whoever reads a long stream byte by byte would be at it for minutes. */
		end->recipe.read_max =
			MAX(end->recipe.read_max, (uint32_t)(end->n_received / 1024));
		grow(end);
	}
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static bool may_begin(const struct end *end, uint64_t now_ns)
{
	if (end->n_sent || now_ns >= end->wait_until_ns || end->recipe.start == START_AT_ONCE)
		return true;
	if (end->recipe.start == START_AFTER_BYTE)
		return end->n_received || end->saw_eof;
	return end->saw_eof;
}

static bool has_more(const struct end *end)
{
	return end->n_sent < end->recipe.len && !end->saw_error;
}

static bool wants_write(const struct end *end, uint64_t now_ns)
{
	return end->is_connected && has_more(end) && now_ns >= end->write_at_ns &&
	       may_begin(end, now_ns);
}

static size_t chunk_of(struct end *end)
{
	const struct recipe *recipe = &end->recipe;
	uint64_t left = recipe->len - end->n_sent, n;

	if (end->n_sent < recipe->n_single)
		return 1;
	if (recipe->reset == RESET_AFTER_SENT)
		left = MIN(left, recipe->reset_at - end->n_sent);
	n = 1 + recipe_below(&end->rng, recipe->write_max);
	return MIN(MIN(n, left), sizeof(scratch));
}

static void write_some(struct end *end, uint64_t now_ns)
{
	const struct recipe *recipe = &end->recipe;
	size_t n = chunk_of(end);
	ssize_t sent;

	recipe_fill(recipe, end->n_sent, scratch, n);
	sent = send(end->fd, scratch, n, MSG_NOSIGNAL);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	progress(end, now_ns);
	if (sent < 0) {
		end->saw_error = errno;
		return;
	}
	end->n_sent += (uint64_t)sent;
	if (recipe->reset == RESET_AFTER_SENT && end->n_sent >= recipe->reset_at) {
		reset(end);
		return;
	}
	if (may_pause(end, recipe->write_pause_n))
		end->write_at_ns = now_ns + recipe_below(&end->rng, recipe->write_pause_ns);
	if (end->n_sent == recipe->len)
		end->wait_until_ns = now_ns + PATIENCE_NS;
	grow(end);
}

static void send_fin(struct end *end, uint64_t now_ns)
{
	if (end->fin_sent || end->saw_error || end->n_sent < end->recipe.len)
		return;
	if (end->recipe.fin == FIN_AFTER_EOF && !end->saw_eof && now_ns < end->wait_until_ns)
		return;
	if (shutdown(end->fd, SHUT_WR) < 0) {
		end->saw_error = errno;
		return;
	}
	end->fin_sent = true;
	end->fin_ns = now_ns;
	progress(end, now_ns);
}

/* --- Turns --------------------------------------------------------------------------------------
 */

static void maybe_reset(struct end *end, uint64_t now_ns)
{
	const struct recipe *recipe = &end->recipe;

	if ((recipe->reset == RESET_AT_TIME && now_ns >= end->opened_ns + recipe->reset_at) ||
	    (recipe->reset == RESET_AFTER_FIN && end->fin_sent &&
	     now_ns >= end->fin_ns + recipe->reset_at) ||
	    (recipe->reset == RESET_AFTER_RECEIVED && end->n_received >= recipe->reset_at)) {
		reset(end);
	} else if (recipe->reset == RESET_BY_CLOSE && end->n_received >= recipe->reset_at) {
		end->has_closed = true;
		finish(end);
	}
}

static void look_connected(struct end *end, uint32_t events, uint64_t now_ns)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		end->saw_error = error ? error : errno;
		finish(end);
		return;
	}
	end->is_connected = true;
	progress(end, now_ns);
	end->wait_until_ns = now_ns + PATIENCE_NS;
}

static uint32_t wanted_events(const struct end *end, uint64_t now_ns)
{
	uint32_t events = 0;

	if (!end->is_connected)
		return EPOLLOUT;
	if (!end->saw_eof && now_ns >= end->read_at_ns)
		events |= EPOLLIN;
	if (wants_write(end, now_ns))
		events |= EPOLLOUT;
	return events;
}

static void watch(struct end *end, uint64_t now_ns)
{
	uint32_t wanted = wanted_events(end, now_ns);
	struct epoll_event event = {.events = wanted, .data.ptr = end};
	int op = !wanted ? EPOLL_CTL_DEL : end->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (wanted == end->events)
		return;
	if (epoll_ctl(end->epoll_fd, op, end->fd, &event) < 0)
		abort();
	end->events = wanted;
}

static uint64_t sooner(uint64_t at_ns, uint64_t now_ns, uint64_t next_ns)
{
	return at_ns > now_ns ? MIN(at_ns, next_ns) : next_ns;
}

static uint64_t next_turn(const struct end *end, uint64_t now_ns)
{
	uint64_t next_ns = MAX(end->progress_ns + end->hang_ns, now_ns + NSEC_PER_SEC);

	next_ns = sooner(end->read_at_ns, now_ns, next_ns);
	next_ns = sooner(end->write_at_ns, now_ns, next_ns);
	next_ns = sooner(end->wait_until_ns, now_ns, next_ns);
	if (end->recipe.reset == RESET_AT_TIME)
		next_ns = sooner(end->opened_ns + end->recipe.reset_at, now_ns, next_ns);
	if (end->recipe.reset == RESET_AFTER_FIN && end->fin_sent)
		next_ns = sooner(end->fin_ns + end->recipe.reset_at, now_ns, next_ns);
	return next_ns;
}

/* Of both ends, the later: whoever writes waits for one that reads byte by byte. */
static uint64_t pair_progress_ns(const struct end *end)
{
	const uint32_t i = end->peer - end->first_other;

	if (!end->has_peer || i >= end->n_others)
		return end->progress_ns;
	return MAX(end->progress_ns,
		   __atomic_load_n(&end->others[i].progress_ns, __ATOMIC_RELAXED));
}

/*
 * Nothing for hang_ns; and where a window was shut or segments were dropped for want of a buffer,
 * for as long again as that lasted: the sender's timers have backed off to no more. With nothing
 * between the ends, and 24 others for a CPU, that was 27 s.
 */
static bool is_hanging(const struct end *end, uint64_t now_ns)
{
	/* The other thread's time may be ahead of this turn's. */
	const uint64_t progress_ns = pair_progress_ns(end);
	const uint64_t quiet_ns = now_ns > progress_ns ? now_ns - progress_ns : 0;
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	uint64_t silent_ns;

	if (quiet_ns < end->hang_ns)
		return false;
	if (getsockopt(end->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return true;
	silent_ns = info.tcpi_last_data_recv * NSEC_PER_MSEC;
	if (end->n_received == 0 || end->saw_eof || silent_ns < quiet_ns)
		return true;
	return quiet_ns >= end->hang_ns + (silent_ns - quiet_ns);
}

void end_turn(struct end *end, uint32_t events, uint64_t now_ns)
{
	if (!end->is_connected)
		look_connected(end, events, now_ns);
	if (!end->is_done && end->is_connected)
		maybe_reset(end, now_ns);
	if (!end->is_done && end->is_connected && !end->saw_eof && now_ns >= end->read_at_ns)
		read_some(end, now_ns);
	if (!end->is_done && wants_write(end, now_ns))
		write_some(end, now_ns);
	if (!end->is_done && end->is_connected)
		send_fin(end, now_ns);
	if (!end->is_done && end->is_connected)
		maybe_reset(end, now_ns);
	if (!end->is_done && end->saw_eof &&
	    (end->saw_error || (end->fin_sent && end->recipe.reset != RESET_AFTER_FIN)))
		finish(end);
	if (!end->is_done && is_hanging(end, now_ns))
		end_give_up(end);
	if (end->is_done)
		return;
	watch(end, now_ns);
	end->next_ns = next_turn(end, now_ns);
}

/* Is it TCP that waits, for a timer that has backed off, or is there nothing to wait for? */
static void describe_tcp(struct end *end)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	int n_in = 0, n_out = 0;

	if (getsockopt(end->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	(void)ioctl(end->fd, SIOCINQ, &n_in);
	(void)ioctl(end->fd, SIOCOUTQ, &n_out);
	(void)snprintf(end->tcp, sizeof(end->tcp),
		       "state %u, %d in, %d out (%u not sent), %u unacked, backoff %u, probes %u, "
		       "rto %u ms, retransmits %u of %u, silent for %u ms, peer's window %u",
		       info.tcpi_state, n_in, n_out, info.tcpi_notsent_bytes, info.tcpi_unacked,
		       info.tcpi_backoff, info.tcpi_probes, info.tcpi_rto / 1000,
		       info.tcpi_retransmits, info.tcpi_total_retrans, info.tcpi_last_data_recv,
		       info.tcpi_snd_wnd);
}

void end_give_up(struct end *end)
{
	describe_tcp(end);
	end->is_hung = true;
	reset(end);
}
