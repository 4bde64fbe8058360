/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks across lines of listeners and backends: that what a listener names exists, that it can
 * send connections somewhere, that no two take the same address, that keys fit each other.
 */
#include <stdio.h>
#include <string.h>

#include "control/conf_section.h"
#include "control/conf_suggest.h"
#include "control/conf_value.h"
#include "net/maglev.h"

static void report_at(struct conf_report *errors, const struct conf_section *section,
		      enum conf_key_id id, unsigned line, const char *what)
{
	struct conf_where where = conf_where(section, &conf_keys[id]);

	conf_report_add(errors, line, where.text, "%s", what);
}

/* A list of which not one value was given, rightly or wrongly. */
static bool is_missing(const struct conf_section *section, enum conf_key_id id)
{
	return section->origins[id].line == 0 && !section->is_wrong[id] && !section->has_wrong_line;
}

static void report_missing(struct conf_report *errors, const struct conf_section *section,
			   enum conf_key_id id)
{
	char expected[160] = "", what[192];
	FILE *out = fmemopen(expected, sizeof(expected), "w");

	if (out) {
		conf_value_print_expected(&conf_keys[id], out);
		(void)fclose(out);
	}
	(void)snprintf(what, sizeof(what), "missing; expected %s", expected);
	conf_report_key(errors, section, id, what);
}

/* --- Listeners ----------------------------------------------------------------------------------
 */

static void check_backend_name(const struct conf_sections *sections,
			       const struct conf_section *section, enum conf_key_id id,
			       unsigned line, const char *name, struct conf_report *errors)
{
	struct conf_suggest suggest = {.word = name};
	char what[128];

	if (conf_find_section(sections, CONF_SECTION_BACKEND, name))
		return;
	for (unsigned i = 0; i < sections->n; i++)
		if (sections->at[i].kind == CONF_SECTION_BACKEND)
			conf_suggest_offer(&suggest, sections->at[i].name);
	if (suggest.best)
		(void)snprintf(what, sizeof(what), "there is no [backend %s]; did you mean \"%s\"?",
			       name, suggest.best);
	else
		(void)snprintf(what, sizeof(what), "there is no [backend %s]", name);
	report_at(errors, section, id, line, what);
}

static void check_routes(const struct conf_sections *sections, const struct conf_section *section,
			 struct conf_report *errors)
{
	const struct conf_listener *listener = &section->value.listener;
	const struct conf_name_route *routes = listener->routes.items;
	char what[64];

	for (unsigned i = 0; i < listener->routes.n; i++) {
		check_backend_name(sections, section, CONF_KEY_LISTENER_route, routes[i].line,
				   routes[i].backend, errors);
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(routes[i].pattern, routes[j].pattern) != 0)
				continue;
			(void)snprintf(what, sizeof(what), "the name has a route already (line %u)",
				       routes[j].line);
			report_at(errors, section, CONF_KEY_LISTENER_route, routes[i].line, what);
			break;
		}
	}
	if (listener->routes.n > 0 && conf_is_sound(section, CONF_KEY_LISTENER_sniff) &&
	    listener->sniff == SPLICE_SNIFF_NONE)
		conf_report_key(errors, section, CONF_KEY_LISTENER_route,
				"no name is known without \"sniff = tls\", http or auto");
}

static void check_destination(const struct conf_sections *sections,
			      const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_listener *listener = &section->value.listener;

	if (listener->default_backend[0])
		check_backend_name(sections, section, CONF_KEY_LISTENER_default,
				   section->origins[CONF_KEY_LISTENER_default].line,
				   listener->default_backend, errors);
	else if (conf_is_sound(section, CONF_KEY_LISTENER_default) &&
		 is_missing(section, CONF_KEY_LISTENER_route))
		conf_report_key(errors, section, CONF_KEY_LISTENER_default,
				"no default and no route: connections would have nowhere to go");
}

/* Is there one that others than local processes can reach? What systemd hands over may be. */
static bool has_network_bind(const struct conf_listener *listener)
{
	const struct conf_bind *binds = listener->binds.items;

	for (unsigned i = 0; i < listener->binds.n; i++)
		if (binds[i].address.is_fd || binds[i].address.socket.ss_family != AF_UNIX)
			return true;
	return false;
}

static void check_proxy(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_listener *listener = &section->value.listener;

	if (!conf_is_sound(section, CONF_KEY_LISTENER_proxy_protocol))
		return;
	if (listener->proxy_protocol == PROXY_NONE && listener->proxy_from.n > 0)
		conf_report_key(errors, section, CONF_KEY_LISTENER_proxy_from,
				"only with \"proxy_protocol = v1\", v2 or any");
	if (listener->proxy_protocol != PROXY_NONE && has_network_bind(listener) &&
	    is_missing(section, CONF_KEY_LISTENER_proxy_from))
		conf_report_key(errors, section, CONF_KEY_LISTENER_proxy_protocol,
				"no proxy_from: nobody could connect");
}

/* Reported at the later of the two. */
static void check_bind_is_new(const struct conf_sections *sections, unsigned index, unsigned place,
			      struct conf_report *errors)
{
	const struct conf_section *section = &sections->at[index];
	const struct conf_bind *bind =
		&((const struct conf_bind *)section->value.listener.binds.items)[place];
	char what[256];

	for (unsigned i = 0; i <= index; i++) {
		const struct conf_section *other = &sections->at[i];
		const struct conf_bind *binds = other->value.listener.binds.items;
		unsigned n = i == index ? place : other->value.listener.binds.n;

		if (other->kind != CONF_SECTION_LISTENER || other->is_broken)
			continue;
		for (unsigned j = 0; j < n; j++) {
			if (strcmp(binds[j].address.text, bind->address.text) != 0)
				continue;
			(void)snprintf(what, sizeof(what),
				       "\"%s\" is taken by [listener %s] (line %u)",
				       bind->address.text, other->name, binds[j].line);
			report_at(errors, section, CONF_KEY_LISTENER_bind, bind->line, what);
			return;
		}
	}
}

static void check_bind_is_free(const struct conf_sections *sections,
			       const struct conf_section *section, const struct conf_bind *bind,
			       struct conf_report *errors)
{
	const struct conf_section *daemon = conf_find_section(sections, CONF_SECTION_DAEMON, "");
	const char *control = conf_keys[CONF_KEY_DAEMON_control_socket].default_text;
	const char *metrics = conf_keys[CONF_KEY_DAEMON_metrics_listen].default_text;

	if (daemon) {
		control = daemon->value.daemon.control_socket;
		metrics = daemon->value.daemon.metrics_listen;
	}
	if (strncmp(bind->address.text, "unix:", 5) == 0 &&
	    strcmp(bind->address.text + 5, control) == 0)
		report_at(errors, section, CONF_KEY_LISTENER_bind, bind->line,
			  "the path of control_socket");
	if (strcmp(bind->address.text, metrics) == 0)
		report_at(errors, section, CONF_KEY_LISTENER_bind, bind->line,
			  "the address of metrics_listen");
}

static void check_listener(const struct conf_sections *sections, unsigned index,
			   struct conf_report *errors)
{
	const struct conf_section *section = &sections->at[index];
	const struct conf_listener *listener = &section->value.listener;
	const struct conf_bind *binds = listener->binds.items;

	if (is_missing(section, CONF_KEY_LISTENER_bind))
		report_missing(errors, section, CONF_KEY_LISTENER_bind);
	for (unsigned i = 0; i < listener->binds.n; i++) {
		check_bind_is_new(sections, index, i, errors);
		check_bind_is_free(sections, section, &binds[i], errors);
	}
	check_routes(sections, section, errors);
	check_destination(sections, section, errors);
	check_proxy(section, errors);
}

/* --- Backends -----------------------------------------------------------------------------------
 */

static void check_servers(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_backend *backend = &section->value.backend;
	const struct conf_server *servers = backend->servers.items;
	char what[64];

	if (is_missing(section, CONF_KEY_BACKEND_server))
		report_missing(errors, section, CONF_KEY_BACKEND_server);
	for (unsigned i = 0; i < backend->servers.n; i++) {
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(servers[i].name, servers[j].name) != 0)
				continue;
			(void)snprintf(what, sizeof(what), "the name is taken already (line %u)",
				       servers[j].line);
			report_at(errors, section, CONF_KEY_BACKEND_server, servers[i].line, what);
			break;
		}
	}
}

static void check_maglev(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_backend *backend = &section->value.backend;
	uint32_t prime = backend->maglev_size;
	char what[96];

	if (!conf_is_sound(section, CONF_KEY_BACKEND_maglev_size))
		return;
	while (!maglev_is_prime(prime))
		prime++;
	if (prime != backend->maglev_size)
		(void)snprintf(what, sizeof(what), "\"%u\": not a prime; the next one is %u",
			       backend->maglev_size, prime);
	else if (backend->balance == SPLICE_MAGLEV && backend->servers.n > prime)
		(void)snprintf(what, sizeof(what), "\"%u\": fewer entries than servers", prime);
	else
		return;
	conf_report_key(errors, section, CONF_KEY_BACKEND_maglev_size, what);
}

void conf_check_splice(const struct conf_sections *sections, struct conf_report *errors)
{
	for (unsigned i = 0; i < sections->n; i++) {
		const struct conf_section *section = &sections->at[i];

		if (section->is_broken)
			continue;
		if (section->kind == CONF_SECTION_LISTENER)
			check_listener(sections, i, errors);
		if (section->kind == CONF_SECTION_BACKEND) {
			check_servers(section, errors);
			check_maglev(section, errors);
		}
	}
}
