/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values are copied, names become indexes and states. Nothing here can refuse a configuration that
 * conf_load() accepted; only memory can run out. */
#include "control/splice_conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/conf.h"
#include "net/maglev.h"
#include "util/macros.h"

/* Connects that fail in a row take a server out for a while, whatever its checks say. */
#define PASSIVE_FALL   3
#define PASSIVE_OUT_NS (10 * NSEC_PER_SEC)

static void config_unrefp(struct splice_config **config)
{
	splice_config_unref(*config);
}

/* An array that is never NULL, for the configuration that has none of them. */
static void *new_array(size_t n, size_t size)
{
	return calloc(MAX(n, 1), size);
}

/* --- States -------------------------------------------------------------------------------------
 */

const struct backend_config *splice_conf_backend(const struct splice_config *config,
						 const char *name)
{
	for (uint32_t i = 0; i < config->n_backends; i++)
		if (strcmp(config->backends[i].state->name, name) == 0)
			return &config->backends[i];
	return NULL;
}

struct server_state *splice_conf_server(const struct backend_config *backend, const char *name)
{
	for (uint32_t i = 0; i < backend->n_servers; i++)
		if (strcmp(backend->servers[i].state->name, name) == 0)
			return backend->servers[i].state;
	return NULL;
}

static struct listener_state *listener_state_of(const struct splice_config *previous,
						const char *name, uint32_t *next_number)
{
	struct listener_state *state;

	for (uint32_t i = 0; previous && i < previous->n_listeners; i++) {
		state = previous->listeners[i].state;
		if (strcmp(state->name, name) != 0)
			continue;
		atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
		return state;
	}
	state = calloc(1, sizeof(*state));
	if (!state)
		return NULL;
	(void)snprintf(state->name, sizeof(state->name), "%s", name);
	state->number = (*next_number)++;
	atomic_init(&state->refs, 1);
	return state;
}

static struct backend_state *backend_state_of(const struct backend_config *previous,
					      const char *name)
{
	struct backend_state *state = previous ? previous->state : calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	if (!previous)
		(void)snprintf(state->name, sizeof(state->name), "%s", name);
	atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
	return state;
}

static bool is_same_address(const struct server_state *state, const struct conf_address *address)
{
	return state->address_len == address->socket_len &&
	       memcmp(&state->address, &address->socket, address->socket_len) == 0;
}

/* A new one is up until a check says otherwise: connections find out themselves. */
static struct server_state *server_state_of(const struct backend_config *previous,
					    const struct conf_server *conf)
{
	struct server_state *state = previous ? splice_conf_server(previous, conf->name) : NULL;

	if (state && is_same_address(state, &conf->address)) {
		atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
		return state;
	}
	state = calloc(1, sizeof(*state));
	if (!state)
		return NULL;
	(void)snprintf(state->name, sizeof(state->name), "%s", conf->name);
	state->address = conf->address.socket;
	state->address_len = conf->address.socket_len;
	atomic_init(&state->refs, 1);
	atomic_init(&state->is_up, true);
	return state;
}

/* --- Backends -----------------------------------------------------------------------------------
 */

static int make_servers(const struct conf_backend *conf, const struct backend_config *previous,
			struct backend_config *backend)
{
	const struct conf_server *servers = conf->servers.items;

	backend->servers = new_array(conf->servers.n, sizeof(*backend->servers));
	if (!backend->servers)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->servers.n; i++) {
		struct server_state *state = server_state_of(previous, &servers[i]);

		if (!state)
			return -ENOMEM;
		backend->servers[i].state = state;
		backend->servers[i].weight = (uint16_t)servers[i].weight;
		backend->n_servers++;
	}
	return 0;
}

/* FNV-1a over name and address: the same server has the same place in every table. */
static uint64_t id_of(const struct server_state *state)
{
	const uint8_t *address = (const uint8_t *)&state->address;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (const char *c = state->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
	for (socklen_t i = 0; i < state->address_len; i++)
		hash = (hash ^ address[i]) * 0x100000001b3ULL;
	return hash;
}

static int make_maglev(uint32_t size, struct backend_config *backend)
{
	_cleanup_free_ struct maglev_member *members =
		new_array(backend->n_servers, sizeof(*members));

	backend->maglev = new_array(size, sizeof(*backend->maglev));
	if (!members || !backend->maglev)
		return -ENOMEM;
	backend->maglev_size = size;
	for (uint32_t i = 0; i < backend->n_servers; i++)
		members[i] = (struct maglev_member){.id = id_of(backend->servers[i].state),
						    .weight = backend->servers[i].weight};
	return maglev_fill(members, backend->n_servers, backend->maglev, size);
}

static int make_backend(const struct conf_backend *conf, const struct splice_config *previous,
			struct backend_config *ret_backend)
{
	const struct backend_config *before =
		previous ? splice_conf_backend(previous, conf->name) : NULL;
	int r;

	*ret_backend = (struct backend_config){
		.state = backend_state_of(before, conf->name),
		.balance = conf->balance,
		.send_proxy = conf->send_proxy,
		.connect_timeout_ns = conf->connect_timeout_ns,
		.max_connections = conf->max_connections,
		.n_retries = conf->retries,
		.passive_fall = PASSIVE_FALL,
		.passive_out_ns = PASSIVE_OUT_NS,
		.has_health_check = conf->health_check == CONF_HEALTH_TCP,
		.health_interval_ns = conf->health_interval_ns,
		.health_rise = conf->health_rise,
		.health_fall = conf->health_fall,
	};
	if (!ret_backend->state)
		return -ENOMEM;
	r = make_servers(conf, before, ret_backend);
	if (r == 0 && conf->balance == SPLICE_MAGLEV)
		r = make_maglev(conf->maglev_size, ret_backend);
	return r;
}

/* --- Listeners ----------------------------------------------------------------------------------
 */

/* conf_check() has seen to it that there is one of that name. */
static uint32_t backend_index(const struct splice_config *config, const char *name)
{
	const struct backend_config *backend = *name ? splice_conf_backend(config, name) : NULL;

	return backend ? (uint32_t)(backend - config->backends) : SPLICE_NONE;
}

static int make_routes(const struct conf_listener *conf, const struct splice_config *config,
		       struct listener_config *listener)
{
	const struct conf_name_route *routes = conf->routes.items;

	listener->routes = new_array(conf->routes.n, sizeof(*listener->routes));
	if (!listener->routes)
		return -ENOMEM;
	listener->n_routes = conf->routes.n;
	for (unsigned i = 0; i < conf->routes.n; i++) {
		memcpy(listener->routes[i].pattern, routes[i].pattern, sizeof(routes[i].pattern));
		listener->routes[i].backend = backend_index(config, routes[i].backend);
	}
	return 0;
}

static int make_proxy_from(const struct conf_listener *conf, struct listener_config *listener)
{
	const struct conf_prefix *prefixes = conf->proxy_from.items;

	listener->proxy_from = new_array(conf->proxy_from.n, sizeof(*listener->proxy_from));
	if (!listener->proxy_from)
		return -ENOMEM;
	listener->n_proxy_from = conf->proxy_from.n;
	for (unsigned i = 0; i < conf->proxy_from.n; i++)
		listener->proxy_from[i] = prefixes[i].prefix;
	return 0;
}

static int make_listener(const struct conf_listener *conf, const struct splice_config *config,
			 const struct splice_config *previous, uint32_t *next_number,
			 struct listener_config *ret_listener)
{
	int r;

	*ret_listener = (struct listener_config){
		.state = listener_state_of(previous, conf->name, next_number),
		.sniff = conf->sniff,
		.engine = conf->engine,
		.proxy_protocol = conf->proxy_protocol,
		.default_backend = backend_index(config, conf->default_backend),
		.max_connections = conf->max_connections,
		.max_per_source = conf->max_per_source,
		.sniff_timeout_ns = conf->sniff_timeout_ns,
		.idle_timeout_ns = conf->idle_timeout_ns,
		.half_closed_timeout_ns = conf->half_closed_timeout_ns,
		.keepalive_ns = conf->keepalive_ns,
		.user_timeout_ns = conf->user_timeout_ns,
	};
	if (!ret_listener->state)
		return -ENOMEM;
	r = make_routes(conf, config, ret_listener);
	return r < 0 ? r : make_proxy_from(conf, ret_listener);
}

/* A part that failed is counted too, so that the configuration frees it. */
static int make_parts(const struct conf *conf, const struct splice_config *previous,
		      uint32_t *next_number, struct splice_config *config)
{
	int r = 0;

	for (unsigned i = 0; i < conf->n_backends && r == 0; i++, config->n_backends++)
		r = make_backend(&conf->backends[i], previous, &config->backends[i]);
	for (unsigned i = 0; i < conf->n_listeners && r == 0; i++, config->n_listeners++)
		r = make_listener(&conf->listeners[i], config, previous, next_number,
				  &config->listeners[i]);
	return r;
}

int splice_conf_make(const struct conf *conf, const struct splice_config *previous,
		     uint32_t *next_number, struct splice_config **ret_config)
{
	_cleanup_(config_unrefp) struct splice_config *config = calloc(1, sizeof(*config));
	uint32_t number = *next_number;
	int r;

	if (!config)
		return -ENOMEM;
	atomic_init(&config->refs, 1);
	config->listeners = new_array(conf->n_listeners, sizeof(*config->listeners));
	config->backends = new_array(conf->n_backends, sizeof(*config->backends));
	if (!config->listeners || !config->backends)
		return -ENOMEM;
	config->max_parked_bytes = conf->daemon.max_parked_bytes;
	config->max_flow_parked_bytes = conf->daemon.max_parked_per_flow_bytes;
	config->flow_log_every = conf->daemon.flow_log_every;
	r = make_parts(conf, previous, &number, config);
	if (r < 0)
		return r;
	*next_number = number;
	*ret_config = TAKE_PTR(config);
	return 0;
}
