/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listeners, backends and connections as JSON. */
#include <json-c/json.h>

#include "control/answers.h"
#include "control/json_add.h"
#include "control/report.h"
#include "util/macros.h"

/* A member of an object, as tables of them. */
struct count {
	const char *key;
	uint64_t n;
};

struct text {
	const char *key, *text;
};

static int add_counts(struct json_object *object, const struct count *counts, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = json_add(object, counts[i].key, json_object_new_uint64(counts[i].n));
	return r;
}

static int add_texts(struct json_object *object, const struct text *texts, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = json_add(object, texts[i].key, json_object_new_string(texts[i].text));
	return r;
}

/* {key: array of make(report, 0 … n − 1)} */
static struct json_object *array_answer(const char *key, const struct report *report, uint32_t n,
					struct json_object *(*make)(const struct report *report,
								    uint32_t i))
{
	struct json_object *body = json_object_new_object();
	struct json_object *array = json_object_new_array();
	int r = json_add(body, key, array);

	for (uint32_t i = 0; i < n && r == 0; i++)
		r = json_append(array, make(report, i));
	if (r == 0)
		return body;
	json_object_put(body);
	return NULL;
}

/* --- Listeners ----------------------------------------------------------------------------------
 */

static const char *const reject_names[] = {
#define REJECT_NAME(id, label, help) #label,
	SPLICE_REJECTS(REJECT_NAME)
#undef REJECT_NAME
};

static struct json_object *listener_object(const struct report *report, uint32_t i)
{
	const struct report_listener *listener = &report->splice.listeners[i];
	const struct text texts[] = {
		{"name", listener->name},
		{"addresses", listener->addresses},
		{"sniff", report_sniff_names[listener->sniff]},
		{"engine", report_engine_names[listener->engine]},
	};
	const struct count counts[] = {
		{"active", listener->n_active},
		{"max_connections", listener->max_connections},
		{"sniffing", listener->n_sniffing},
		{"accepted", listener->n_accepted},
	};
	struct json_object *object = json_object_new_object();
	struct json_object *rejected = json_object_new_object();
	int r = json_add(object, "rejected", rejected);

	for (size_t j = 0; j < SPLICE_REJECT_N && r == 0; j++)
		r = json_add(rejected, reject_names[j],
			     json_object_new_uint64(listener->n_rejected[j]));
	if (r == 0)
		r = add_texts(object, texts, ARRAY_SIZE(texts));
	if (r == 0)
		r = add_counts(object, counts, ARRAY_SIZE(counts));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}

struct json_object *answer_listeners(const struct report *report)
{
	return array_answer("listeners", report, report->splice.n_listeners, listener_object);
}

/* --- Backends -----------------------------------------------------------------------------------
 */

static const char *server_state_name(const struct report_server *server)
{
	if (server->is_draining)
		return "draining";
	if (!server->is_up)
		return "down";
	return server->is_out ? "failing" : "up";
}

static struct json_object *server_object(const struct report_server *server)
{
	const struct text texts[] = {
		{"name", server->name},
		{"address", server->address},
		{"state", server_state_name(server)},
	};
	const struct count counts[] = {
		{"weight", server->weight},
		{"active", server->n_active},
		{"connections", server->n_connections},
		{"failures", server->n_failures},
		{"checks", server->n_checks},
		{"check_failures", server->n_check_failures},
	};
	struct json_object *object = json_object_new_object();

	if (object && add_texts(object, texts, ARRAY_SIZE(texts)) == 0 &&
	    add_counts(object, counts, ARRAY_SIZE(counts)) == 0)
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *backend_object(const struct report *report, uint32_t i)
{
	const struct report_backend *backend = &report->splice.backends[i];
	const struct text texts[] = {
		{"name", backend->name},
		{"balance", report_balance_names[backend->balance]},
	};
	const struct count counts[] = {
		{"active", backend->n_active},
		{"connections", backend->n_connections},
		{"failures", backend->n_failures},
	};
	struct json_object *object = json_object_new_object();
	struct json_object *servers = json_object_new_array();
	int r = json_add(object, "servers", servers);

	for (uint32_t j = 0; j < backend->n_servers && r == 0; j++)
		r = json_append(servers, server_object(&backend->servers[j]));
	if (r == 0)
		r = add_texts(object, texts, ARRAY_SIZE(texts));
	if (r == 0)
		r = add_counts(object, counts, ARRAY_SIZE(counts));
	if (r == 0)
		r = json_add(object, "up", json_object_new_boolean(backend->is_up));
	if (r == 0)
		return object;
	json_object_put(object);
	return NULL;
}

struct json_object *answer_backends(const struct report *report)
{
	return array_answer("backends", report, report->splice.n_backends, backend_object);
}

/* --- Connections --------------------------------------------------------------------------------
 */

struct json_object *answer_flow(const struct splice_flow_row *row)
{
	char client[REPORT_ENDPOINT_BYTES], upstream[REPORT_ENDPOINT_BYTES];
	const struct text texts[] = {
		{"listener", row->listener},
		{"client", report_endpoint_text(&row->client, client)},
		{"name", row->name},
		{"alpn", row->alpn},
		{"backend", row->backend},
		{"server", row->server},
		{"upstream", report_endpoint_text(&row->upstream, upstream)},
		{"state", row->state},
		{"engine_in", report_engine_names[row->engine[0]]},
		{"engine_out", report_engine_names[row->engine[1]]},
	};
	const struct count counts[] = {
		{"acceptor", row->acceptor},
		{"bytes_in", row->bytes[0]},
		{"bytes_out", row->bytes[1]},
		{"parked_bytes", row->parked},
		{"age_ns", row->age_ns},
		{"idle_ns", row->idle_ns},
		{"client_srtt_us", row->srtt_us[0]},
		{"server_srtt_us", row->srtt_us[1]},
		{"client_retransmits", row->n_retransmits[0]},
		{"server_retransmits", row->n_retransmits[1]},
	};
	struct json_object *object = json_object_new_object();

	if (object && add_texts(object, texts, ARRAY_SIZE(texts)) == 0 &&
	    add_counts(object, counts, ARRAY_SIZE(counts)) == 0 &&
	    json_add(object, "ech", json_object_new_boolean(row->has_ech)) == 0 &&
	    json_add(object, "client_by_sock_ops", json_object_new_boolean(row->by_sockops[0])) ==
		    0 &&
	    json_add(object, "server_by_sock_ops", json_object_new_boolean(row->by_sockops[1])) ==
		    0)
		return object;
	json_object_put(object);
	return NULL;
}

/* --- The plane ----------------------------------------------------------------------------------
 */

struct json_object *answer_splice(const struct report *report)
{
	const struct report_splice *splice = &report->splice;
	const struct text texts[] = {
		{"sockmap", splice->sockmap_is_on ? "on" : "off"},
		{"sockmap_why_not", splice->sockmap_why_not},
		{"sock_ops", splice->sockops_is_on ? "on" : "off"},
		{"sock_ops_why_not", splice->sockops_why_not},
	};
	const struct count counts[] = {
		{"acceptors", splice->n_acceptors},
		{"connections", splice->n_conns},
		{"max_connections", splice->max_conns},
		{"parked_bytes", splice->totals.parked_bytes},
		{"truncations", splice->totals.n_truncations},
		{"promotions", splice->totals.n_promotions},
		{"accept_pauses", splice->totals.n_accept_pauses},
		{"listeners", splice->n_listeners},
		{"backends", splice->n_backends},
	};
	struct json_object *object = json_object_new_object();

	if (object &&
	    json_add(object, "running", json_object_new_boolean(splice->is_running)) == 0 &&
	    add_texts(object, texts, ARRAY_SIZE(texts)) == 0 &&
	    add_counts(object, counts, ARRAY_SIZE(counts)) == 0)
		return object;
	json_object_put(object);
	return NULL;
}
