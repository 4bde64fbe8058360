/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing a server, and what becomes of it; see the header. */
#include "splice/backend.h"

#include "util/macros.h"

#define MAGLEV_REHASHES 16

static bool was_tried(uint32_t server, const uint16_t *tried, unsigned n_tried)
{
	for (unsigned i = 0; i < n_tried; i++)
		if (tried[i] == server)
			return true;
	return false;
}

/* What every balance asks of a server. */
struct choice {
	const struct backend_config *backend;
	const uint16_t *tried;
	unsigned n_tried;
	uint64_t now_ns;
};

static bool is_eligible(const struct choice *choice, uint32_t i)
{
	const struct backend_server *server = &choice->backend->servers[i];
	const struct server_state *state = server->state;

	return server->weight > 0 &&
	       (!choice->backend->has_health_check ||
		atomic_load_explicit(&state->is_up, memory_order_relaxed)) &&
	       !atomic_load_explicit(&state->is_draining, memory_order_relaxed) &&
	       atomic_load_explicit(&state->out_until_ns, memory_order_relaxed) <= choice->now_ns &&
	       !was_tried(i, choice->tried, choice->n_tried);
}

/*
 * Rounds: in round r each server with a weight above r has one turn, so that after as many rounds
 * as the largest weight everyone has had exactly its weight, and nobody many turns in a row.
 */
static int choose_round_robin(const struct choice *choice, struct backend_turn *turn)
{
	const struct backend_config *backend = choice->backend;
	uint32_t max_weight = 0;

	for (uint32_t i = 0; i < backend->n_servers; i++)
		if (is_eligible(choice, i))
			max_weight = MAX(max_weight, backend->servers[i].weight);
	if (max_weight == 0)
		return -1;
	/* Bounded: control may take the last one out meanwhile. */
	for (uint64_t n = 2ULL * backend->n_servers * (max_weight + 1); n > 0; n--) {
		uint32_t i;

		if (turn->next >= backend->n_servers) {
			turn->next = 0;
			turn->credit++;
		}
		if (turn->credit >= max_weight)
			turn->credit = 0;
		i = turn->next++;
		if (backend->servers[i].weight > turn->credit && is_eligible(choice, i))
			return (int)i;
	}
	return -1;
}

/* Fewest connections for its weight; of equals, the next in turn. */
static int choose_least_connections(const struct choice *choice, struct backend_turn *turn)
{
	const struct backend_config *backend = choice->backend;
	uint64_t best_n = 0, best_weight = 0;
	int best = -1;

	for (uint32_t k = 0; k < backend->n_servers; k++) {
		uint32_t i = (turn->next + k) % backend->n_servers;
		const struct backend_server *server = &backend->servers[i];
		/* The one that it would have with this connection: an idle heavy server wins. */
		uint64_t n = 1 + (uint64_t)atomic_load_explicit(&server->state->n_active,
								memory_order_relaxed);

		if (!is_eligible(choice, i))
			continue;
		if (best < 0 || n * best_weight < best_n * server->weight) {
			best = (int)i;
			best_n = n;
			best_weight = server->weight;
		}
	}
	if (best >= 0)
		turn->next = (uint32_t)best + 1;
	return best;
}

static uint64_t rehash(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebULL;
	return hash ^ hash >> 31;
}

/* A server that is out leaves its share to the others by their weights; theirs stay. */
static int choose_maglev(const struct choice *choice, uint64_t hash)
{
	const struct backend_config *backend = choice->backend;

	if (!backend->maglev || backend->maglev_size == 0)
		return -1;
	for (unsigned i = 0; i < MAGLEV_REHASHES; i++, hash = rehash(hash)) {
		uint16_t server = backend->maglev[hash % backend->maglev_size];

		if (server < backend->n_servers && is_eligible(choice, server))
			return server;
	}
	for (uint32_t i = 0; i < backend->n_servers; i++) {
		uint32_t server = (uint32_t)((hash + i) % backend->n_servers);

		if (is_eligible(choice, server))
			return (int)server;
	}
	return -1;
}

static int choose(const struct choice *choice, struct backend_turn *turn, uint64_t hash)
{
	switch (choice->backend->balance) {
	case SPLICE_ROUND_ROBIN:
		return choose_round_robin(choice, turn);
	case SPLICE_LEAST_CONNECTIONS:
		return choose_least_connections(choice, turn);
	case SPLICE_MAGLEV:
		return choose_maglev(choice, hash);
	}
	return -1;
}

int backend_choose(const struct backend_config *backend, struct backend_turn *turn, uint64_t hash,
		   const uint16_t *tried, unsigned n_tried, uint64_t now_ns)
{
	struct choice choice = {
		.backend = backend, .tried = tried, .n_tried = n_tried, .now_ns = now_ns};
	int server;

	if (backend->max_connections &&
	    atomic_load_explicit(&backend->state->n_active, memory_order_relaxed) >=
		    backend->max_connections)
		return -2;
	server = choose(&choice, turn, hash);
	/* A mark says "rather another". Where there is no other, a server that has failed may be
	 * asked: else a restart of the only one would cost its clients the whole time out. */
	if (server == -1 && backend->passive_fall) {
		choice.now_ns = UINT64_MAX;
		server = choose(&choice, turn, hash);
	}
	return server;
}

bool backend_begin(const struct backend_config *backend, struct server_state *server)
{
	struct backend_state *state = backend->state;
	uint32_t n = atomic_fetch_add_explicit(&state->n_active, 1, memory_order_relaxed);

	if (backend->max_connections && n >= backend->max_connections) {
		atomic_fetch_sub_explicit(&state->n_active, 1, memory_order_relaxed);
		return false;
	}
	atomic_fetch_add_explicit(&server->n_active, 1, memory_order_relaxed);
	return true;
}

void backend_tried(const struct backend_config *backend, struct server_state *server)
{
	atomic_fetch_add_explicit(&server->n_connections, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&backend->state->n_connections, 1, memory_order_relaxed);
}

void backend_end(const struct backend_config *backend, struct server_state *server)
{
	atomic_fetch_sub_explicit(&server->n_active, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&backend->state->n_active, 1, memory_order_relaxed);
}

void backend_connected(const struct backend_config *backend, struct server_state *server,
		       uint64_t connect_ns)
{
	struct backend_state *state = backend->state;

	atomic_store_explicit(&server->n_failed, 0, memory_order_relaxed);
	splice_time_observe(state->connect_time, &state->connect_time_sum_ns, connect_ns);
}

void backend_failed(const struct backend_config *backend, struct server_state *server,
		    uint64_t now_ns)
{
	uint32_t n = atomic_fetch_add_explicit(&server->n_failed, 1, memory_order_relaxed) + 1;

	atomic_fetch_add_explicit(&server->n_failures, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&backend->state->n_failures, 1, memory_order_relaxed);
	if (backend->passive_fall && n >= backend->passive_fall) {
		/* It begins anew: after its time out it may fail as often again. */
		atomic_store_explicit(&server->n_failed, 0, memory_order_relaxed);
		atomic_store_explicit(&server->out_until_ns, now_ns + backend->passive_out_ns,
				      memory_order_relaxed);
	}
}
