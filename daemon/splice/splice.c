/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plane as control sees it: threads, configurations, commands, reports. Waiting is by one
 * eventfd that every acceptor writes when it has done something asked of it, and bounded.
 *
 * Thread: control.
 */
#include "splice/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splice/acceptor.h"
#include "splice/flows_request.h"
#include "util/clock.h"

#define WAIT_NS      NSEC_PER_SEC
#define FREE_WAIT_NS (3 * NSEC_PER_SEC)

/* --- Life ----------------------------------------------------------------------------------------
 */

/* SIGPIPE too: splice(2) to a socket raises it. Signals are control's. */
static int start_thread(struct acceptor *acceptor, uint32_t cpu, bool is_pinned)
{
	char name[16];
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&acceptor->thread, NULL, acceptor_run, acceptor);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return -r;
	acceptor->is_running = true;
	(void)snprintf(name, sizeof(name), "acceptor-%u", acceptor->index);
	(void)pthread_setname_np(acceptor->thread, name);
	if (is_pinned) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		/* A cpuset may have taken it away: then it runs where it may. */
		(void)pthread_setaffinity_np(acceptor->thread, sizeof(set), &set);
	}
	return 0;
}

static int build(struct splice *splice, const struct splice_options *options)
{
	int r;

	splice->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (splice->done_fd < 0)
		return -errno;
	splice->records_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (splice->records_fd < 0)
		return -errno;
	r = sources_new(options->max_conns, &splice->sources);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		r = acceptor_new(splice, i, &splice->acceptors[i]);
		if (r < 0)
			return r;
	}
	/* Only now: whoever could not be made has no threads to stop. */
	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		r = start_thread(splice->acceptors[i], splice->cpus[i], options->cpus != NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int splice_new(const struct splice_options *options, struct splice **ret_splice)
{
	struct splice *splice;
	int r;

	if (options->n_acceptors == 0 || options->n_acceptors > ACCEPTOR_MAX_CPUS ||
	    options->max_conns < options->n_acceptors)
		return -EINVAL;
	pool_set_up_process();
	splice = calloc(1, sizeof(*splice));
	if (!splice)
		return -ENOMEM;
	splice->maps = options->maps;
	splice->sockops = options->sockops;
	splice->max_conns = options->max_conns;
	splice->n_acceptors = options->n_acceptors;
	splice->done_fd = splice->records_fd = -1;
	for (uint32_t i = 0; options->cpus && i < options->n_acceptors; i++)
		splice->cpus[i] = options->cpus[i];
	r = build(splice, options);
	if (r < 0) {
		(void)splice_free(splice);
		return r;
	}
	*ret_splice = splice;
	return 0;
}

/* False: it hangs; its memory must stay. */
static bool join(struct acceptor *acceptor, uint64_t deadline_ns)
{
	struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
				    .tv_nsec = (long)(deadline_ns % NSEC_PER_SEC)};

	return !acceptor->is_running ||
	       pthread_clockjoin_np(acceptor->thread, NULL, CLOCK_MONOTONIC, &deadline) == 0;
}

int splice_free(struct splice *splice)
{
	uint64_t deadline_ns = clock_now_ns() + FREE_WAIT_NS;
	bool is_all_joined = true;

	if (!splice)
		return 0;
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		if (splice->acceptors[i]) {
			atomic_store_explicit(&splice->acceptors[i]->is_stopping, true,
					      memory_order_relaxed);
			acceptor_wake(splice->acceptors[i]);
		}
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		if (splice->acceptors[i] && !join(splice->acceptors[i], deadline_ns))
			is_all_joined = false;
	/* One that hangs may still reach the others: the process ends soon, by the watchdog. */
	if (!is_all_joined)
		return -ETIMEDOUT;
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		acceptor_free(splice->acceptors[i]);
	sources_free(splice->sources);
	close_fdp(&splice->done_fd);
	close_fdp(&splice->records_fd);
	free(splice);
	return 0;
}

/* --- Asking --------------------------------------------------------------------------------------
 */

/* What acceptor `i` is to have done: a ticket of its ring, or a number of a configuration. */
struct wait {
	bool (*is_done)(const struct acceptor *acceptor, uint64_t ticket);
	uint64_t tickets[ACCEPTOR_MAX_CPUS];
	uint64_t asked[ACCEPTOR_MAX_CPUS / 64]; /* a bit per acceptor */
};

static void wait_add(struct wait *wait, uint32_t acceptor, uint64_t ticket)
{
	wait->tickets[acceptor] = ticket;
	wait->asked[acceptor / 64] |= 1ULL << acceptor % 64;
}

static bool is_all_done(const struct splice *splice, const struct wait *wait)
{
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		if (wait->asked[i / 64] >> i % 64 & 1 &&
		    !wait->is_done(splice->acceptors[i], wait->tickets[i]))
			return false;
	return true;
}

static int wait_for(struct splice *splice, const struct wait *wait)
{
	uint64_t deadline_ns = clock_now_ns() + WAIT_NS, now_ns, n;

	while (!is_all_done(splice, wait)) {
		struct pollfd pollfd = {.fd = splice->done_fd, .events = POLLIN};

		now_ns = clock_now_ns();
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		(void)poll(&pollfd, 1, (int)((deadline_ns - now_ns) / NSEC_PER_MSEC) + 1);
		(void)!read(splice->done_fd, &n, sizeof(n));
	}
	return 0;
}

static bool has_done_command(const struct acceptor *acceptor, uint64_t ticket)
{
	/* pairs with the release in commands_run() */
	uint32_t done = atomic_load_explicit(&acceptor->done, memory_order_acquire);

	return (int32_t)(done - (uint32_t)ticket) >= 0;
}

/* -EBUSY: it does not take what it has been given. */
static int submit(struct acceptor *acceptor, const struct command *command, uint64_t *ret_ticket)
{
	uint32_t head = atomic_load_explicit(&acceptor->head, memory_order_relaxed);
	uint32_t done = atomic_load_explicit(&acceptor->done, memory_order_acquire);

	if (head - done == COMMANDS_N)
		return -EBUSY;
	acceptor->ring[head % COMMANDS_N] = *command;
	atomic_store_explicit(&acceptor->head, head + 1, memory_order_release);
	acceptor_wake(acceptor);
	*ret_ticket = head + 1;
	return 0;
}

static int ask_one(struct splice *splice, uint32_t acceptor, const struct command *command)
{
	struct wait wait = {.is_done = has_done_command};
	uint64_t ticket;
	int r = submit(splice->acceptors[acceptor], command, &ticket);

	if (r < 0)
		return r;
	wait_add(&wait, acceptor, ticket);
	return wait_for(splice, &wait);
}

static bool has_seen_config(const struct acceptor *acceptor, uint64_t ticket)
{
	return atomic_load_explicit(&acceptor->config_seen, memory_order_acquire) >= ticket;
}

int splice_apply(struct splice *splice, struct splice_config *config)
{
	struct wait wait = {.is_done = has_seen_config};

	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		struct acceptor *acceptor = splice->acceptors[i];
		uint64_t number =
			atomic_load_explicit(&acceptor->config_wanted, memory_order_relaxed) + 1;

		splice_config_ref(config);
		/* One that it never took up is ours to let go. */
		splice_config_unref(atomic_exchange_explicit(&acceptor->next_config, config,
							     memory_order_acq_rel));
		atomic_store_explicit(&acceptor->config_wanted, number, memory_order_release);
		wait_add(&wait, i, number);
		acceptor_wake(acceptor);
	}
	return wait_for(splice, &wait);
}

/* A socket of MPTCP oopses old kernels in a sockmap, and splices nowhere. */
static int check_socket(int fd)
{
	int domain = 0, protocol = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return -errno;
	len = sizeof(protocol);
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0)
		return -errno;
	if (domain == AF_UNIX)
		return 0;
	return protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
}

/* An inherited one may block, and accept4() with it. */
static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

/* The acceptor's from the moment that it is in its ring. */
static int give_socket(struct splice *splice, uint32_t acceptor, const struct command *command)
{
	int r = ask_one(splice, acceptor, command);

	if (r == -EBUSY)
		(void)close(command->fd);
	return r;
}

static int add_shared(struct splice *splice, uint32_t listener, int fd)
{
	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		struct command command = {
			.kind = COMMAND_ADD_SOCKET, .listener = listener, .is_shared = true};
		int r;

		/* A number of its own for each, so that each can close it. */
		command.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (command.fd < 0)
			return -errno;
		r = give_socket(splice, i, &command);
		if (r < 0)
			return r;
	}
	return 0;
}

int splice_add_socket(struct splice *splice, uint32_t listener, uint32_t acceptor, int fd,
		      struct splice_acceptor_load *load, bool is_shared)
{
	struct command command = {.kind = COMMAND_ADD_SOCKET,
				  .listener = listener,
				  .fd = fd,
				  .load = is_shared ? NULL : load};
	int r = check_socket(fd);

	if (r == 0 && !is_shared && acceptor >= splice->n_acceptors)
		r = -EINVAL;
	if (r == 0)
		r = set_nonblocking(fd);
	if (r < 0 || is_shared) {
		if (r == 0)
			r = add_shared(splice, listener, fd);
		(void)close(fd);
		return r;
	}
	return give_socket(splice, acceptor, &command);
}

static int ask_all(struct splice *splice, const struct command *command)
{
	struct wait wait = {.is_done = has_done_command};
	int r = 0;

	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		uint64_t ticket;
		int submitted = submit(splice->acceptors[i], command, &ticket);

		if (submitted == 0)
			wait_add(&wait, i, ticket);
		else
			r = submitted;
	}
	return wait_for(splice, &wait) < 0 ? -ETIMEDOUT : r;
}

int splice_remove_listener(struct splice *splice, uint32_t listener)
{
	struct command command = {.kind = COMMAND_REMOVE_LISTENER, .listener = listener};

	return ask_all(splice, &command);
}

int splice_set_acceptor(struct splice *splice, uint32_t acceptor, bool is_open)
{
	struct command command = {.kind = COMMAND_SET_OPEN, .is_open = is_open};

	return acceptor < splice->n_acceptors ? ask_one(splice, acceptor, &command) : -EINVAL;
}

void splice_drain(struct splice *splice, uint64_t deadline_ns)
{
	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		atomic_store_explicit(&splice->acceptors[i]->drain_at_ns, MAX(deadline_ns, 1),
				      memory_order_relaxed);
		acceptor_wake(splice->acceptors[i]);
	}
}

bool splice_is_drained(const struct splice *splice)
{
	for (uint32_t i = 0; i < splice->n_acceptors; i++)
		if (!atomic_load_explicit(&splice->acceptors[i]->is_drained, memory_order_acquire))
			return false;
	return true;
}

uint32_t splice_n_conns(const struct splice *splice)
{
	return atomic_load_explicit(&splice->n_conns, memory_order_relaxed);
}

/* --- Reports -------------------------------------------------------------------------------------
 */

static void read_counters(const struct acceptor_counters *counters,
			  struct acceptor_counters *ret_counters)
{
	const uint64_t *from = (const uint64_t *)(const void *)counters;
	uint64_t *to = (uint64_t *)(void *)ret_counters;

	for (size_t i = 0; i < sizeof(*counters) / sizeof(uint64_t); i++)
		to[i] = counter_read(&from[i]);
}

void splice_report(const struct splice *splice, struct splice_report *ret_report)
{
	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->sockmap_is_on = splice->maps != NULL;
	ret_report->n_acceptors = splice->n_acceptors;
	for (uint32_t i = 0; i < splice->n_acceptors; i++) {
		const struct acceptor *acceptor = splice->acceptors[i];
		struct acceptor_report *report = &ret_report->acceptors[i];

		report->cpu = splice->cpus[i];
		report->tid = atomic_load_explicit(&acceptor->tid, memory_order_relaxed);
		report->beat = atomic_load_explicit(&acceptor->beat, memory_order_relaxed);
		report->n_conns = atomic_load_explicit(&acceptor->n_live, memory_order_relaxed);
		read_counters(&acceptor->counters, &report->counters);
	}
}

static uint32_t ask_flows(struct splice *splice, uint32_t acceptor, struct splice_flow_row *rows,
			  uint32_t max)
{
	struct command command = {.kind = COMMAND_FLOWS};
	struct flows_request *request =
		calloc(1, sizeof(*request) + (size_t)max * sizeof(request->rows[0]));
	uint32_t n = 0;
	int r;

	if (!request)
		return 0;
	atomic_init(&request->refs, 2);
	request->max = max;
	command.flows = request;
	r = ask_one(splice, acceptor, &command);
	if (r == 0) {
		n = request->n;
		memcpy(rows, request->rows, n * sizeof(*rows));
	} else if (r == -EBUSY) {
		flows_request_unref(request); /* the acceptor's, which never got it */
	}
	flows_request_unref(request);
	return n;
}

uint32_t splice_flows(struct splice *splice, struct splice_flow_row *rows, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < splice->n_acceptors && n < max; i++)
		n += ask_flows(splice, i, rows + n, max - n);
	return n;
}
