/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lifetime of configurations and of the states that outlive them. */
#include "splice/config.h"

#include <stdlib.h>

void splice_config_ref(struct splice_config *config)
{
	atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
}

/* Is it the last? acq_rel: what other holders wrote comes before the free. */
static bool drop(_Atomic uint32_t *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

void server_state_unref(struct server_state *state)
{
	if (state && drop(&state->refs))
		free(state);
}

void backend_state_unref(struct backend_state *state)
{
	if (state && drop(&state->refs))
		free(state);
}

void listener_state_unref(struct listener_state *state)
{
	if (state && drop(&state->refs))
		free(state);
}

static void free_backend(struct backend_config *backend)
{
	for (uint32_t i = 0; i < backend->n_servers; i++)
		server_state_unref(backend->servers[i].state);
	free(backend->servers);
	free(backend->maglev);
	backend_state_unref(backend->state);
}

static void free_listener(struct listener_config *listener)
{
	free(listener->proxy_from);
	free(listener->routes);
	listener_state_unref(listener->state);
}

void splice_config_unref(struct splice_config *config)
{
	if (!config || !drop(&config->refs))
		return;
	for (uint32_t i = 0; i < config->n_listeners; i++)
		free_listener(&config->listeners[i]);
	for (uint32_t i = 0; i < config->n_backends; i++)
		free_backend(&config->backends[i]);
	free(config->listeners);
	free(config->backends);
	free(config);
}
