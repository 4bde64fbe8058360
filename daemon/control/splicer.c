/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From configuration to configuration, and what is asked of the plane while it runs. */
#include "control/splicer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/splice_conf.h"
#include "control/splicer_internal.h"
#include "kern/sockops.h"
#include "kern/splice_maps.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "splice"

struct splicer_next {
	struct splice_config *config;
	struct listeners_next *listeners;
	uint32_t next_number;
};

static void splicer_freep(struct splicer **splicer)
{
	splicer_free(*splicer);
}

static void abandonp(struct splicer_next **next)
{
	splicer_abandon(*next);
}

/* --- Life ---------------------------------------------------------------------------------------
 */

int splicer_new(sd_event *event, struct splicer **ret_splicer)
{
	_cleanup_(splicer_freep) struct splicer *splicer = calloc(1, sizeof(*splicer));
	int r;

	if (!splicer)
		return -ENOMEM;
	splicer->event = sd_event_ref(event);
	r = listeners_new(&splicer->listeners);
	if (r == 0)
		r = health_new(event, &splicer->health);
	if (r < 0)
		return r;
	*ret_splicer = TAKE_PTR(splicer);
	return 0;
}

/* Acceptors first; these here would go on taking connections into their queues. */
static void close_listeners(struct splicer *splicer)
{
	struct listeners *listeners = TAKE_PTR(splicer->listeners);

	if (!listeners || !splicer->splice || listeners_withdraw(listeners, splicer->splice) == 0)
		listeners_free(listeners);
}

void splicer_free(struct splicer *splicer)
{
	if (!splicer)
		return;
	close_listeners(splicer);
	health_free(splicer->health);
	splicer_log_finish(splicer);
	if (splice_free(splicer->splice) == 0) {
		splice_maps_free(splicer->maps);
		sockops_free(splicer->sockops);
	}
	splice_config_unref(splicer->config);
	sd_event_unref(splicer->event);
	free(splicer);
}

/* --- Configurations -----------------------------------------------------------------------------
 */

/*
 * Room for connections is measured once, when acceptors start, and that tells what it lacks. Of
 * later configurations those that want more than the one before.
 */
static void note_room(struct splicer *splicer, const struct conf *conf)
{
	uint64_t wanted = 0, before = splicer->n_wanted;

	for (unsigned i = 0; i < conf->n_listeners; i++)
		wanted += conf->listeners[i].max_connections;
	wanted = MIN(wanted, (uint64_t)CONF_MAX_CONNECTIONS);
	splicer->n_wanted = wanted;
	if (before == 0)
		splicer->lacks_files = wanted > splicer->max_conns;
	else if (wanted > before && wanted > splicer->max_conns)
		log_notice("listeners may have %llu connections, this run has room for %u: %s",
			   (unsigned long long)wanted, splicer->max_conns,
			   splicer->lacks_files ? "a higher LimitNOFILE= and a restart make more" :
						  "a restart makes more");
}

int splicer_prepare(struct splicer *splicer, const struct conf *conf, const struct plan *plan,
		    const struct topo *topo, struct splicer_next **ret_next, char *text,
		    size_t size)
{
	_cleanup_(abandonp) struct splicer_next *next = calloc(1, sizeof(*next));
	int r;

	if (!next) {
		(void)snprintf(text, size, "out of memory");
		return -ENOMEM;
	}
	next->next_number = splicer->next_number;
	r = splice_conf_make(conf, splicer->config, &next->next_number, &next->config);
	if (r < 0) {
		(void)snprintf(text, size, "cannot prepare listeners: %s", strerror(-r));
		return r;
	}
	if (!splicer->splice && conf->n_listeners > 0) {
		r = splicer_start(splicer, conf, plan, topo, text, size);
		if (r < 0)
			return r;
	}
	r = listeners_prepare(splicer->listeners, conf, splicer->acceptors, splicer->n_acceptors,
			      &next->listeners, text, size);
	if (r < 0)
		return r;
	note_room(splicer, conf);
	*ret_next = TAKE_PTR(next);
	return 0;
}

void splicer_abandon(struct splicer_next *next)
{
	if (!next)
		return;
	listeners_abandon(next->listeners);
	splice_config_unref(next->config);
	free(next);
}

int splicer_commit(struct splicer *splicer, struct splicer_next *next)
{
	_cleanup_(abandonp) struct splicer_next *own = next;
	int r = health_apply(splicer->health, next->config), committed = 0;

	if (splicer->splice)
		committed = listeners_commit(splicer->listeners, TAKE_PTR(own->listeners),
					     splicer->splice, own->config, splicer->sockops);
	splice_config_unref(splicer->config);
	splicer->config = TAKE_PTR(own->config);
	splicer->next_number = own->next_number;
	return committed < 0 ? committed : r;
}

/* --- The end ------------------------------------------------------------------------------------
 */

void splicer_drain(struct splicer *splicer, uint64_t deadline_ns)
{
	splicer->is_draining = true;
	close_listeners(splicer);
	if (splicer->splice)
		splice_drain(splicer->splice, deadline_ns);
}

bool splicer_is_drained(const struct splicer *splicer)
{
	return !splicer->splice || splice_is_drained(splicer->splice);
}

uint32_t splicer_n_conns(const struct splicer *splicer)
{
	/* Those of listeners that are gone, too. */
	return splicer->splice ? splice_n_conns(splicer->splice) : 0;
}

uint64_t splicer_n_killed(const struct splicer *splicer)
{
	_cleanup_free_ struct splice_report *report = NULL;
	uint64_t n = 0;

	if (!splicer->splice)
		return 0;
	report = calloc(1, sizeof(*report));
	if (!report)
		return 0;
	splice_report(splicer->splice, report);
	for (uint32_t i = 0; i < report->n_acceptors; i++)
		n += report->acceptors[i].counters.n_killed;
	return n;
}

/* --- Watching -----------------------------------------------------------------------------------
 */

bool splicer_all_beating(struct splicer *splicer, const char **ret_acceptor)
{
	_cleanup_free_ struct splice_report *report = NULL;
	bool all = true;

	if (!splicer->splice)
		return true;
	report = calloc(1, sizeof(*report));
	if (!report)
		return true;
	splice_report(splicer->splice, report);
	for (uint32_t i = 0; i < report->n_acceptors; i++) {
		uint64_t beat = report->acceptors[i].beat;

		if (beat == splicer->beats[i] && all) {
			all = false;
			snprintf(splicer->silent, sizeof(splicer->silent), "acceptor-%u", i);
			*ret_acceptor = splicer->silent;
		}
		splicer->beats[i] = beat;
	}
	return all;
}

/* --- What an operator asks ----------------------------------------------------------------------
 */

static unsigned set_servers(const struct backend_config *backend, const char *server,
			    bool is_draining)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < backend->n_servers; i++) {
		struct server_state *state = backend->servers[i].state;

		if (server && strcmp(state->name, server) != 0)
			continue;
		atomic_store_explicit(&state->is_draining, is_draining, memory_order_relaxed);
		log_notice("server %s/%s %s", backend->state->name, state->name,
			   is_draining ? "gets no new connections" : "gets connections again");
		n++;
	}
	return n;
}

int splicer_set_draining(struct splicer *splicer, const char *name, bool is_draining)
{
	const struct backend_config *backend;
	const char *slash = strchr(name, '/');
	char backend_name[CONF_NAME_BYTES];
	size_t n = slash ? (size_t)(slash - name) : strlen(name);

	if (n >= sizeof(backend_name) || !splicer->config)
		return -ENOENT;
	memcpy(backend_name, name, n);
	backend_name[n] = '\0';
	backend = splice_conf_backend(splicer->config, backend_name);
	if (!backend || set_servers(backend, slash ? slash + 1 : NULL, is_draining) == 0)
		return -ENOENT;
	return 0;
}

struct splice_flow_row *splicer_flows(struct splicer *splicer, uint32_t max, uint32_t *ret_n)
{
	struct splice_flow_row *rows = calloc(MAX(max, 1), sizeof(*rows));

	if (!rows)
		return NULL;
	*ret_n = splicer->splice ? splice_flows(splicer->splice, rows, max) : 0;
	return rows;
}
