/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One row per verb; a verb with an object ("show queues") is a row of its own. */
#include "control/ctlverb.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "control/answers.h"
#include "control/conf_suggest.h"
#include "control/ctlreq.h"
#include "control/ctlverb_internal.h"
#include "control/json_add.h"
#include "control/metrics.h"
#include "control/report.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "control"

/* Room for all errors of a file, or what a reload did. */
#define RELOAD_TEXT_BYTES 16384

struct verb {
	const char *verb;
	const char *object; /* NULL: none */
	unsigned n_args_min, n_args_max;
	const char *usage; /* of the arguments */
	bool changes_state;
	struct json_object *(*run)(const struct ctlverb_call *call);
};

/* --- Answers --------------------------------------------------------------------------------- */

static struct json_object *new_answer(bool ok)
{
	struct json_object *answer = json_object_new_object();

	if (!answer)
		return NULL;
	if (json_add(answer, "api", json_object_new_int(1)) < 0 ||
	    json_add(answer, "ok", json_object_new_boolean(ok)) < 0) {
		json_object_put(answer);
		return NULL;
	}
	return answer;
}

/* {"api": 1, "ok": …, key: text, key2: text2}; key2 may be NULL. */
static struct json_object *text_answer(bool ok, const char *key, const char *text, const char *key2,
				       const char *text2)
{
	struct json_object *answer = new_answer(ok);

	if (!answer)
		return NULL;
	if (json_add(answer, key, json_object_new_string(text)) < 0 ||
	    (key2 && json_add(answer, key2, json_object_new_string(text2)) < 0)) {
		json_object_put(answer);
		return NULL;
	}
	return answer;
}

struct json_object *ctlverb_refuse(const char *code, const char *fmt, ...)
{
	char text[RELOAD_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text_answer(false, "code", code, "error", text);
}

static struct json_object *refuse_errno(int r, const char *what)
{
	return ctlverb_refuse("failed", "%s: %s", what, strerror(-r));
}

bool ctlverb_is_ok(struct json_object *answer)
{
	struct json_object *ok;

	return json_object_object_get_ex(answer, "ok", &ok) && json_object_get_boolean(ok);
}

struct json_object *ctlverb_wrap(struct json_object *body)
{
	struct json_object *answer = new_answer(true);

	if (!answer || !body)
		goto fail;
	json_object_object_foreach (body, key, value) {
		if (json_add(answer, key, json_object_get(value)) < 0)
			goto fail;
	}
	json_object_put(body);
	return answer;
fail:
	json_object_put(body);
	json_object_put(answer);
	return NULL;
}

/* --- Verbs that look ------------------------------------------------------------------------- */

static struct json_object *run_ping(const struct ctlverb_call *call)
{
	return text_answer(true, "version", SLUICE_VERSION, NULL, NULL);
}

static struct json_object *from_report(const struct ctlverb_call *call,
				       struct json_object *(*make)(const struct report *report))
{
	struct report report = {0};
	struct json_object *body;
	int r;

	r = call->ops->report(call->arg, &report);
	if (r < 0)
		return refuse_errno(r, "cannot read the daemon's state");
	body = make(&report);
	report_fini(&report);
	return ctlverb_wrap(body);
}

static struct json_object *run_status(const struct ctlverb_call *call)
{
	return from_report(call, answer_status);
}

static struct json_object *run_interfaces(const struct ctlverb_call *call)
{
	return from_report(call, answer_interfaces);
}

static struct json_object *run_queues(const struct ctlverb_call *call)
{
	return from_report(call, answer_queues);
}

static struct json_object *run_workers(const struct ctlverb_call *call)
{
	return from_report(call, answer_workers);
}

static struct json_object *run_drops(const struct ctlverb_call *call)
{
	return from_report(call, answer_drops);
}

static struct json_object *run_listeners(const struct ctlverb_call *call)
{
	return from_report(call, answer_listeners);
}

static struct json_object *run_backends(const struct ctlverb_call *call)
{
	return from_report(call, answer_backends);
}

static struct json_object *run_metrics(const struct ctlverb_call *call)
{
	uint64_t begun_ns = clock_now_ns();
	_cleanup_free_ char *text = NULL;
	struct report report = {0};
	size_t len = 0;
	FILE *out;
	int r;

	r = call->ops->report(call->arg, &report);
	if (r < 0)
		return refuse_errno(r, "cannot read the daemon's state");
	report.begun_ns = begun_ns;
	out = open_memstream(&text, &len);
	if (!out) {
		report_fini(&report);
		return NULL;
	}
	r = metrics_render(&report, out);
	report_fini(&report);
	if (fclose(out) == EOF && r >= 0)
		r = -ENOMEM;
	if (r < 0)
		return refuse_errno(r, "cannot write the metrics");
	return text_answer(true, "text", text, NULL, NULL);
}

static struct json_object *run_plan(const struct ctlverb_call *call)
{
	_cleanup_free_ char *text = call->ops->plan_text(call->arg);

	return text ? text_answer(true, "text", text, NULL, NULL) : NULL;
}

static struct json_object *run_config(const struct ctlverb_call *call)
{
	_cleanup_free_ char *text =
		call->ops->config_json ? call->ops->config_json(call->arg) : NULL;
	struct json_object *body, *config;

	config = text ? json_tokener_parse(text) : NULL;
	if (!config)
		return ctlverb_refuse("failed", "the running configuration cannot be shown now");
	body = json_object_new_object();
	if (!body) {
		json_object_put(config);
		return NULL;
	}
	if (json_add(body, "config", config) < 0) {
		json_object_put(body);
		return NULL;
	}
	return ctlverb_wrap(body);
}

/* --- Verbs that act -------------------------------------------------------------------------- */

static struct json_object *run_reload(const struct ctlverb_call *call)
{
	bool is_dry_run = call->n_args == 1;
	char text[RELOAD_TEXT_BYTES] = "";
	int r;

	if (is_dry_run && strcmp(call->args[0], "dry-run") != 0)
		return ctlverb_refuse("usage", "reload takes 'dry-run' or nothing");
	r = call->ops->reload(call->arg, is_dry_run, text, sizeof(text));
	if (r == -EINVAL)
		return ctlverb_refuse("config", "%s", text);
	if (r < 0)
		return ctlverb_refuse("failed", "%s", text[0] ? text : strerror(-r));
	return text_answer(true, "text", text, NULL, NULL);
}

static struct json_object *set_detached(const struct ctlverb_call *call, bool detached)
{
	const char *port = call->args[0];
	int r = call->ops->set_detached(call->arg, port, detached);

	if (r == -ENOENT)
		return ctlverb_refuse("not_found", "no port is called '%s'", port);
	if (r < 0)
		return ctlverb_refuse("failed", "%s: %s", port, strerror(-r));
	return text_answer(true, "port", port, "state", detached ? "detached" : "attached");
}

static struct json_object *run_attach(const struct ctlverb_call *call)
{
	return set_detached(call, false);
}

static struct json_object *run_detach(const struct ctlverb_call *call)
{
	return set_detached(call, true);
}

static struct json_object *set_draining(const struct ctlverb_call *call, bool is_draining)
{
	const char *name = call->args[0];
	int r = call->ops->set_draining(call->arg, name, is_draining);

	if (r == -ENOENT)
		return ctlverb_refuse("not_found", "no backend or server is called '%s'", name);
	if (r < 0)
		return ctlverb_refuse("failed", "%s: %s", name, strerror(-r));
	return text_answer(true, "server", name, "state", is_draining ? "draining" : "in service");
}

static struct json_object *run_drain(const struct ctlverb_call *call)
{
	return set_draining(call, true);
}

static struct json_object *run_undrain(const struct ctlverb_call *call)
{
	return set_draining(call, false);
}

/* --- The table ------------------------------------------------------------------------------- */

static const struct verb verbs[] = {
	{"ping", NULL, 0, 0, "", false, run_ping},
	{"status", NULL, 0, 0, "", false, run_status},
	{"show", "interfaces", 0, 0, "", false, run_interfaces},
	{"show", "queues", 0, 0, "", false, run_queues},
	{"show", "workers", 0, 0, "", false, run_workers},
	{"show", "plan", 0, 0, "", false, run_plan},
	{"show", "config", 0, 0, "", false, run_config},
	{"show", "routes", 0, 2, " [PREFIX|ADDRESS] [max=N]", false, ctlverb_routes},
	{"show", "neighbours", 0, 1, " [max=N]", false, ctlverb_neighbours},
	{"show", "fdb", 0, 2, " [BRIDGE] [max=N]", false, ctlverb_fdb},
	{"show", "listeners", 0, 0, "", false, run_listeners},
	{"show", "backends", 0, 0, "", false, run_backends},
	{"show", "flows", 0, 1, " [max=N]", false, ctlverb_flows},
	{"explain", "packet", 2, 2, " PORT HEX", false, ctlverb_explain},
	{"drops", NULL, 0, 0, "", false, run_drops},
	{"metrics", NULL, 0, 0, "", false, run_metrics},
	{"reload", NULL, 0, 1, " [dry-run]", true, run_reload},
	{"attach", NULL, 1, 1, " PORT|*", true, run_attach},
	{"detach", NULL, 1, 1, " PORT|*", true, run_detach},
	{"drain", NULL, 1, 1, " BACKEND[/SERVER]", true, run_drain},
	{"undrain", NULL, 1, 1, " BACKEND[/SERVER]", true, run_undrain},
};

/* `of`: the verb whose objects are known; NULL: it is the verb that is not. */
static struct json_object *refuse_unknown(const char *what, const char *word, const char *of)
{
	struct conf_suggest suggest = {.word = word};
	_cleanup_free_ char *list = NULL;
	struct json_object *answer;
	size_t len;
	FILE *out = open_memstream(&list, &len);

	if (!out)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct verb *verb = &verbs[i];

		if (of && strcmp(verb->verb, of) != 0)
			continue;
		conf_suggest_offer(&suggest, of ? verb->object : verb->verb);
		(void)fprintf(out, "%s%s%s%s%s", i > 0 ? ", " : "", verb->verb,
			      verb->object ? " " : "", verb->object ? verb->object : "",
			      verb->usage);
	}
	if (fclose(out) == EOF)
		return NULL;
	if (suggest.best)
		answer = ctlverb_refuse("usage", "unknown %s '%s'; did you mean '%s'?", what, word,
					suggest.best);
	else
		answer = ctlverb_refuse("usage", "unknown %s '%s'; known: %s", what, word,
					list + (strncmp(list, ", ", 2) == 0 ? 2 : 0));
	return answer;
}

/* Finds the row and how many words it takes; NULL with the reason in *ret_refusal. */
static const struct verb *find_verb(const struct ctlreq *request, unsigned *ret_n_words,
				    struct json_object **ret_refusal)
{
	const char *object = request->n_words > 1 ? request->words[1] : "";
	bool is_verb_known = false;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct verb *verb = &verbs[i];

		if (strcmp(verb->verb, request->words[0]) != 0)
			continue;
		is_verb_known = true;
		if (verb->object && strcmp(verb->object, object) != 0)
			continue;
		*ret_n_words = verb->object ? 2 : 1;
		return verb;
	}
	*ret_refusal = is_verb_known ? refuse_unknown("object", object, request->words[0]) :
				       refuse_unknown("verb", request->words[0], NULL);
	return NULL;
}

/* The words come from the parser: printable, so that the log line is ours alone. */
static void log_change(const struct verb *verb, const struct ctlverb_call *call,
		       const struct ucred *peer, bool ok)
{
	log_notice("uid=%u pid=%d: %s%s%s: %s", peer->uid, peer->pid, verb->verb,
		   call->n_args > 0 ? " " : "", call->n_args > 0 ? call->args[0] : "",
		   ok ? "done" : "refused");
}

struct json_object *ctlverb_run(const struct ctlreq *request, const struct ctlsock_ops *ops,
				void *arg, const struct ucred *peer)
{
	struct ctlverb_call call = {.ops = ops, .arg = arg};
	struct json_object *answer = NULL;
	const struct verb *verb;
	unsigned n_words;

	verb = find_verb(request, &n_words, &answer);
	if (!verb)
		return answer;
	call.args = request->words + n_words;
	call.n_args = request->n_words - n_words;
	if (call.n_args < verb->n_args_min || call.n_args > verb->n_args_max)
		return ctlverb_refuse("usage", "usage: %s%s%s%s", verb->verb,
				      verb->object ? " " : "", verb->object ? verb->object : "",
				      verb->usage);
	answer = verb->run(&call);
	if (verb->changes_state)
		log_change(verb, &call, peer, answer && ctlverb_is_ok(answer));
	return answer;
}
