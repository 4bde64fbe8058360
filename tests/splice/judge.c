/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pairs and verdicts. An end that reset before its first eight bytes arrived, or sent fewer, can
 * not be paired by number; then what it can have done is taken from all that are unpaired, in
 * favour of whoever is between the ends: a stream is never called wrong that may be right.
 */
#include "judge.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "util/macros.h"

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {"identical", "aborted",  "own", "disguised",
					    "corrupt",   "uncaused", "hang"};

	return names[verdict];
}

/* Where a FIN of this end belongs; UINT64_MAX: it has sent none. */
static uint64_t fin_at(const struct end *end)
{
	if (end->fin_sent)
		return end->recipe.len;
	return end->has_closed ? end->n_sent : UINT64_MAX;
}

static bool has_aborted(const struct end *end)
{
	return end->has_reset || end->has_closed;
}

static enum verdict judge_paired(const struct end *from, const struct end *to)
{
	if (to->is_corrupt || (from->has_peer && from->peer != to->recipe.number))
		return VERDICT_CORRUPT;
	if (to->is_hung || from->is_hung)
		return VERDICT_HANG;
	if (to->saw_eof)
		return to->n_received == fin_at(from) ? VERDICT_IDENTICAL : VERDICT_DISGUISED;
	if (has_aborted(to))
		return VERDICT_OWN;
	return has_aborted(from) ? VERDICT_ABORTED : VERDICT_UNCAUSED;
}

/* An end that nobody is known to have sent to. Right, if any unpaired sender may be the other. */
static enum verdict judge_alone(const struct end *to, const struct side *others,
				const bool *is_paired)
{
	if (to->is_corrupt)
		return VERDICT_CORRUPT;
	if (to->is_hung)
		return VERDICT_HANG;
	if (!to->saw_eof && has_aborted(to))
		return VERDICT_OWN;
	for (uint32_t i = 0; i < others->n_ends; i++) {
		const struct end *from = &others->ends[i];
		uint64_t first = recipe_first_word(from->recipe.role, from->recipe.number);

		if (is_paired[i])
			continue;
		if (!to->saw_eof && has_aborted(from))
			return VERDICT_ABORTED;
		if (to->saw_eof && fin_at(from) == to->n_received &&
		    memcmp(&first, to->prefix, MIN(to->n_received, 8)) == 0)
			return VERDICT_IDENTICAL;
	}
	return to->saw_eof ? VERDICT_DISGUISED : VERDICT_UNCAUSED;
}

/* --- Telling -------------------------------------------------------------------------------------
 */

static void print_end(FILE *out, const struct end *end)
{
	const struct recipe *r = &end->recipe;

	(void)fprintf(out,
		      "{\"number\": %u, \"len\": %" PRIu64 ", \"start\": \"%s\", \"fin\": \"%s\", "
		      "\"reset\": \"%s\", \"reset_at\": %" PRIu64 ", \"rcvbuf\": %u, "
		      "\"sndbuf\": %u, \"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", ",
		      r->number, r->len, recipe_start_name(r->start),
		      r->fin == FIN_AT_ONCE ? "at once" : "after EOF", recipe_reset_name(r->reset),
		      r->reset_at, r->rcvbuf, r->sndbuf, end->n_sent, end->n_received);
	(void)fprintf(out,
		      "\"fin_sent\": %s, \"has_reset\": %s, \"has_closed\": %s, \"saw_eof\": %s, "
		      "\"saw_error\": \"%s\", \"hung\": %s, \"tcp\": \"%s\", \"corrupt\": %s, "
		      "\"corrupt_at\": %" PRIu64 "}",
		      end->fin_sent ? "true" : "false", end->has_reset ? "true" : "false",
		      end->has_closed ? "true" : "false", end->saw_eof ? "true" : "false",
		      end->saw_error ? strerrorname_np(end->saw_error) : "",
		      end->is_hung ? "true" : "false", end->tcp, end->is_corrupt ? "true" : "false",
		      end->corrupt_at);
}

static void print_failure(FILE *out, bool is_first, enum verdict verdict, const struct end *from,
			  const struct end *to)
{
	const struct end *client = to->recipe.role == ROLE_CLIENT ? to : from;
	const struct end *server = to->recipe.role == ROLE_SERVER ? to : from;

	(void)fprintf(out, "%s\n  {\"verdict\": \"%s\", \"to\": \"%s\"", is_first ? "" : ",",
		      verdict_name(verdict), to->recipe.role == ROLE_CLIENT ? "client" : "server");
	if (client && server)
		(void)fprintf(out, ", \"replay\": \"--client %u --server %u\"",
			      client->recipe.number, server->recipe.number);
	if (client) {
		(void)fputs(",\n   \"client\": ", out);
		print_end(out, client);
	}
	if (server) {
		(void)fputs(",\n   \"server\": ", out);
		print_end(out, server);
	}
	(void)fputs("}", out);
}

/* --- Pairing -------------------------------------------------------------------------------------
 */

struct court {
	const struct side *clients, *servers;
	struct judgement sum;
	FILE *out;
	unsigned n_shown, max_shown;
};

static void record(struct court *court, enum verdict verdict, const struct end *from,
		   const struct end *to)
{
	court->sum.n[verdict]++;
	court->sum.n_bytes += to->n_received;
	if (verdict >= VERDICT_DISGUISED && court->n_shown < court->max_shown)
		print_failure(court->out, court->n_shown++ == 0, verdict, from, to);
}

static struct end *find(const struct side *side, uint32_t number)
{
	uint32_t i = number - side->first_number;

	return i < side->n_ends ? &side->ends[i] : NULL;
}

static void pair(struct court *court, const struct end **server_of, bool *has_client)
{
	const struct side *clients = court->clients, *servers = court->servers;

	for (uint32_t i = 0; i < clients->n_ends; i++)
		if (clients->ends[i].has_peer)
			server_of[i] = find(servers, clients->ends[i].peer);
	for (uint32_t i = 0; i < servers->n_ends; i++) {
		const struct end *server = &servers->ends[i];
		const struct end *client = server->has_peer ? find(clients, server->peer) : NULL;

		if (client && !server_of[client - clients->ends])
			server_of[client - clients->ends] = server;
	}
	for (uint32_t i = 0; i < clients->n_ends; i++)
		if (server_of[i])
			has_client[server_of[i] - servers->ends] = true;
}

static void judge_alones(struct court *court, const bool *has_server, const bool *has_client)
{
	const struct side *clients = court->clients, *servers = court->servers;

	for (uint32_t i = 0; i < clients->n_ends; i++)
		if (!has_server[i]) {
			court->sum.n_unpaired++;
			record(court, judge_alone(&clients->ends[i], servers, has_client), NULL,
			       &clients->ends[i]);
		}
	for (uint32_t i = 0; i < servers->n_ends; i++)
		if (!has_client[i]) {
			court->sum.n_unpaired++;
			record(court, judge_alone(&servers->ends[i], clients, has_server), NULL,
			       &servers->ends[i]);
		}
}

void judge(const struct side *clients, const struct side *servers, FILE *out, unsigned max_shown,
	   struct judgement *ret_judgement)
{
	struct court court = {
		.clients = clients, .servers = servers, .out = out, .max_shown = max_shown};
	_cleanup_free_ const struct end **server_of =
		calloc(clients->n_ends + 1, sizeof(*server_of));
	_cleanup_free_ bool *has_server = calloc(clients->n_ends + 1, 1);
	_cleanup_free_ bool *has_client = calloc(servers->n_ends + 1, 1);

	if (!server_of || !has_server || !has_client)
		abort();
	pair(&court, server_of, has_client);
	for (uint32_t i = 0; i < clients->n_ends; i++) {
		const struct end *client = &clients->ends[i], *server = server_of[i];

		has_server[i] = server != NULL;
		if (!server)
			continue;
		record(&court, judge_paired(client, server), client, server);
		record(&court, judge_paired(server, client), server, client);
	}
	judge_alones(&court, has_server, has_client);
	*ret_judgement = court.sum;
}
