/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One probe per server: a timer that starts a connect, or ends one that takes too long. */
#include "control/health.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "splice/config.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "health"

#define TIMER_ACCURACY_US 1000

struct probe {
	struct probe *next;
	struct health *health;
	struct server_state *server; /* a reference */
	char backend[SPLICE_NAME_BYTES];
	uint64_t interval_ns, timeout_ns;
	uint32_t rise, fall;
	bool is_wanted; /* by the configuration that is being applied */
	bool has_result;
	uint32_t n_in_row; /* results that contradict server->is_up */
	struct health_counts counts;
	int fd; /* −1: no connect is under way */
	sd_event_source *io, *timer;
};

struct health {
	sd_event *event;
	struct probe *probes;
};

/* --- Results ------------------------------------------------------------------------------------
 */

static void set_up(struct probe *probe, bool is_up, const char *why)
{
	atomic_store_explicit(&probe->server->is_up, is_up, memory_order_relaxed);
	probe->n_in_row = 0;
	probe->counts.n_changes++;
	if (is_up)
		log_notice("server %s/%s is up", probe->backend, probe->server->name);
	else
		log_warning("server %s/%s is down: %s", probe->backend, probe->server->name, why);
}

/* Connects had failed in a row; this one did not, and says more than the time that has passed. */
static void forgive(struct server_state *server)
{
	atomic_store_explicit(&server->n_failed, 0, memory_order_relaxed);
	atomic_store_explicit(&server->out_until_ns, 0, memory_order_relaxed);
}

/* `why` NULL: it accepted. */
static void take_result(struct probe *probe, const char *why)
{
	bool was_up = atomic_load_explicit(&probe->server->is_up, memory_order_relaxed);
	bool is_up = why == NULL;
	bool is_first = !probe->has_result;

	probe->has_result = true;
	probe->counts.n_checks++;
	probe->counts.n_failures += !is_up;
	if (is_up)
		forgive(probe->server);
	if (is_up == was_up) {
		probe->n_in_row = 0;
		return;
	}
	if (is_first || ++probe->n_in_row >= (is_up ? probe->rise : probe->fall))
		set_up(probe, is_up, why);
}

/* --- Connecting ---------------------------------------------------------------------------------
 */

/* Without FIN and TIME_WAIT: a server sees a connection that was reset before it was used. */
static void close_probe(struct probe *probe)
{
	const struct linger linger = {.l_onoff = 1};

	probe->io = sd_event_source_disable_unref(probe->io);
	if (probe->fd >= 0)
		(void)setsockopt(probe->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close_fdp(&probe->fd);
}

static void set_timer(struct probe *probe, uint64_t delay_ns)
{
	(void)sd_event_source_set_time_relative(probe->timer, delay_ns / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(probe->timer, SD_EVENT_ONESHOT);
}

/* An interval, a tenth more or less, so that the checks of many servers do not come at once. */
static uint64_t next_delay_ns(const struct probe *probe)
{
	uint32_t random = 0;
	uint64_t tenth = probe->interval_ns / 10;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	return probe->interval_ns - tenth + random % (2 * tenth + 1);
}

static void finish(struct probe *probe, const char *why)
{
	close_probe(probe);
	take_result(probe, why);
	set_timer(probe, next_delay_ns(probe));
}

static int on_connected(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct probe *probe = arg;
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	finish(probe, error ? strerror(error) : NULL);
	return 0;
}

/* Our want of descriptors, memory or ports says nothing about the server. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       error == EADDRNOTAVAIL;
}

/* A unix socket whose backlog is full (EAGAIN) is alive. */
static void start(struct probe *probe)
{
	const struct server_state *server = probe->server;
	int r = 0;

	probe->fd =
		socket(server->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe->fd < 0)
		r = -errno;
	else if (connect(probe->fd, (const struct sockaddr *)&server->address,
			 server->address_len) < 0)
		r = -errno;
	if (r == -EINPROGRESS) {
		r = sd_event_add_io(probe->health->event, &probe->io, probe->fd, EPOLLOUT,
				    on_connected, probe);
		if (r >= 0) {
			set_timer(probe, probe->timeout_ns);
			return;
		}
		r = -ENOMEM;
	}
	if (is_ours(-r)) {
		close_probe(probe);
		set_timer(probe, next_delay_ns(probe));
	} else {
		finish(probe, r == 0 || r == -EAGAIN ? NULL : strerror(-r));
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct probe *probe = arg;

	if (probe->fd >= 0)
		finish(probe, "no answer in time");
	else
		start(probe);
	return 0;
}

/* --- Life ---------------------------------------------------------------------------------------
 */

static void free_probe(struct probe *probe)
{
	close_probe(probe);
	(void)sd_event_source_disable_unref(probe->timer);
	server_state_unref(probe->server);
	free(probe);
}

int health_new(sd_event *event, struct health **ret_health)
{
	struct health *health = calloc(1, sizeof(*health));

	if (!health)
		return -ENOMEM;
	health->event = sd_event_ref(event);
	*ret_health = health;
	return 0;
}

void health_free(struct health *health)
{
	if (!health)
		return;
	for (struct probe *probe = health->probes, *next; probe; probe = next) {
		next = probe->next;
		free_probe(probe);
	}
	sd_event_unref(health->event);
	free(health);
}

static struct probe *find(const struct health *health, const struct server_state *server)
{
	for (struct probe *probe = health->probes; probe; probe = probe->next)
		if (probe->server == server)
			return probe;
	return NULL;
}

/* The first check is at once: at start before a client can come. */
static int add_probe(struct health *health, struct server_state *server, struct probe **ret_probe)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	int r;

	if (!probe)
		return -ENOMEM;
	probe->fd = -1;
	probe->health = health;
	probe->server = server;
	atomic_fetch_add_explicit(&server->refs, 1, memory_order_relaxed);
	r = sd_event_add_time_relative(health->event, &probe->timer, CLOCK_MONOTONIC, 0,
				       TIMER_ACCURACY_US, on_timer, probe);
	if (r < 0) {
		free_probe(probe);
		return r;
	}
	probe->next = health->probes;
	health->probes = probe;
	*ret_probe = probe;
	return 0;
}

static int want(struct health *health, const struct backend_config *backend,
		struct server_state *server)
{
	struct probe *probe = find(health, server);
	int r = probe ? 0 : add_probe(health, server, &probe);

	if (r < 0)
		return r;
	memcpy(probe->backend, backend->state->name, sizeof(probe->backend));
	probe->interval_ns = backend->health_interval_ns;
	probe->timeout_ns = MIN(backend->health_interval_ns, backend->connect_timeout_ns);
	probe->rise = backend->health_rise;
	probe->fall = backend->health_fall;
	probe->is_wanted = true;
	return 0;
}

static void drop_unwanted(struct health *health)
{
	struct probe **link = &health->probes;

	while (*link) {
		struct probe *probe = *link;

		if (probe->is_wanted) {
			link = &probe->next;
			continue;
		}
		*link = probe->next;
		/* What the last check said is no longer news. */
		atomic_store_explicit(&probe->server->is_up, true, memory_order_relaxed);
		free_probe(probe);
	}
}

int health_apply(struct health *health, const struct splice_config *config)
{
	int r = 0;

	for (struct probe *probe = health->probes; probe; probe = probe->next)
		probe->is_wanted = false;
	for (uint32_t i = 0; i < config->n_backends && r == 0; i++) {
		const struct backend_config *backend = &config->backends[i];

		for (uint32_t j = 0; j < backend->n_servers && backend->has_health_check && r == 0;
		     j++)
			r = want(health, backend, backend->servers[j].state);
	}
	drop_unwanted(health);
	return r;
}

struct health_counts health_counts(const struct health *health, const struct server_state *server)
{
	const struct probe *probe = find(health, server);

	return probe ? probe->counts : (struct health_counts){0};
}
