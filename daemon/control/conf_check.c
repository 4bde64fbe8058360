/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks across lines: what a port must have, that cross-connects are mutual, that no two ports
 * share an interface, that bridges and their ports fit.
 *
 * A value that was refused has been reported once and is not judged again: each check first asks
 * whether what it looks at is sound.
 */
#include <stdio.h>
#include <string.h>

#include "control/conf_section.h"
#include "control/conf_suggest.h"
#include "control/conf_value.h"

static bool is_given(const struct conf_section *section, enum conf_key_id id)
{
	return section->origins[id].line != 0;
}

void conf_report_key(struct conf_report *report, const struct conf_section *section,
		     enum conf_key_id id, const char *what)
{
	struct conf_where where = conf_where(section, &conf_keys[id]);
	unsigned line = section->origins[id].line ? section->origins[id].line : section->line;

	conf_report_add(report, line, where.text, "%s", what);
}

static void check_required(const struct conf_section *section, struct conf_report *errors)
{
	if (section->has_wrong_line)
		return;
	for (enum conf_key_id id = 0; id < CONF_KEYS_N; id++) {
		const struct conf_key *key = &conf_keys[id];
		char expected[256] = "", what[320];
		FILE *out;

		if (key->section != section->kind || !key->in_conf || key->default_text ||
		    key->is_list || is_given(section, id) || section->is_wrong[id])
			continue;
		out = fmemopen(expected, sizeof(expected), "w");
		if (out) {
			conf_value_print_expected(key, out);
			(void)fclose(out);
		}
		(void)snprintf(what, sizeof(what), "missing; expected %s", expected);
		conf_report_key(errors, section, id, what);
	}
}

static void report_no_peer(const struct conf_sections *sections, const struct conf_section *section,
			   struct conf_report *errors)
{
	const char *peer = section->value.port.peer;
	struct conf_suggest suggest = {.word = peer};
	char what[128];

	for (unsigned i = 0; i < sections->n; i++) {
		const struct conf_section *other = &sections->at[i];

		if (other->kind == CONF_SECTION_PORT && other != section)
			conf_suggest_offer(&suggest, other->name);
	}
	if (suggest.best)
		(void)snprintf(what, sizeof(what), "there is no [port %s]; did you mean \"%s\"?",
			       peer, suggest.best);
	else
		(void)snprintf(what, sizeof(what), "there is no [port %s]", peer);
	conf_report_key(errors, section, CONF_KEY_PORT_forward, what);
}

/* A wire has two ends, and each must name the other. */
static void check_xconnect(const struct conf_sections *sections, const struct conf_section *section,
			   struct conf_report *errors)
{
	const struct conf_port *port = &section->value.port;
	const struct conf_section *peer;
	char what[160];

	if (!conf_is_sound(section, CONF_KEY_PORT_forward) ||
	    port->forward != CONF_FORWARD_XCONNECT)
		return;
	if (strcmp(port->peer, section->name) == 0) {
		conf_report_key(errors, section, CONF_KEY_PORT_forward,
				"a port cannot be cross-connected with itself");
		return;
	}
	peer = conf_find_section(sections, CONF_SECTION_PORT, port->peer);
	if (!peer) {
		report_no_peer(sections, section, errors);
		return;
	}
	if (!conf_is_sound(peer, CONF_KEY_PORT_forward))
		return;
	if (peer->value.port.forward == CONF_FORWARD_XCONNECT &&
	    (strcmp(peer->value.port.peer, section->name) == 0 ||
	     !conf_find_section(sections, CONF_SECTION_PORT, peer->value.port.peer)))
		return; /* mutual, or the peer's own error is the one to mend */
	(void)snprintf(what, sizeof(what),
		       "[port %s] does not answer with \"forward = xconnect %s\" (line %u)",
		       peer->name, section->name, peer->origins[CONF_KEY_PORT_forward].line);
	conf_report_key(errors, section, CONF_KEY_PORT_forward, what);
}

static void check_pass_control(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_port *port = &section->value.port;

	if (!conf_is_sound(section, CONF_KEY_PORT_pass_control) || !port->pass_control ||
	    !conf_is_sound(section, CONF_KEY_PORT_forward) ||
	    port->forward == CONF_FORWARD_XCONNECT)
		return;
	conf_report_key(errors, section, CONF_KEY_PORT_pass_control,
			"only with \"forward = xconnect NAME\"");
}

/* A frame handed back to the kernel would be seen by generic XDP once more (design.md §4.11). */
static void check_mode(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_port *port = &section->value.port;

	if (!conf_is_sound(section, CONF_KEY_PORT_mode) || port->mode != CONF_MODE_GENERIC ||
	    !conf_is_sound(section, CONF_KEY_PORT_forward) ||
	    (port->forward != CONF_FORWARD_ROUTE && port->forward != CONF_FORWARD_BRIDGE))
		return;
	conf_report_key(
		errors, section, CONF_KEY_PORT_mode,
		"\"generic\" cannot be had with \"forward = route\" or \"forward = bridge NAME\": "
		"what goes back to the kernel would be received twice; expected auto, zerocopy or "
		"copy");
}

static void check_flood_limit(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_port *port = &section->value.port;

	if (!conf_is_sound(section, CONF_KEY_PORT_flood_limit) || port->flood_limit == 0 ||
	    !conf_is_sound(section, CONF_KEY_PORT_forward) || port->forward == CONF_FORWARD_BRIDGE)
		return;
	conf_report_key(errors, section, CONF_KEY_PORT_flood_limit,
			"only with \"forward = bridge NAME\"");
}

/* Is it a port of that bridge, or might it have been meant to be one? */
static bool may_be_port_of(const struct conf_section *section, const char *bridge)
{
	if (section->kind != CONF_SECTION_PORT)
		return false;
	if (!conf_is_sound(section, CONF_KEY_PORT_forward))
		return true;
	return section->value.port.forward == CONF_FORWARD_BRIDGE &&
	       strcmp(section->value.port.peer, bridge) == 0;
}

static void check_bridge_has_ports(const struct conf_sections *sections,
				   const struct conf_section *section, struct conf_report *errors)
{
	struct conf_suggest suggest = {.word = section->name};
	struct conf_where where = conf_where(section, NULL);

	for (unsigned i = 0; i < sections->n; i++) {
		const struct conf_section *other = &sections->at[i];

		if (may_be_port_of(other, section->name))
			return;
		if (other->kind == CONF_SECTION_PORT &&
		    other->value.port.forward == CONF_FORWARD_BRIDGE)
			conf_suggest_offer(&suggest, other->value.port.peer);
	}
	if (suggest.best)
		conf_report_add(errors, section->line, where.text,
				"no port has \"forward = bridge %s\"; did you mean [bridge %s]?",
				section->name, suggest.best);
	else
		conf_report_add(errors, section->line, where.text,
				"no port has \"forward = bridge %s\"", section->name);
}

static void check_static(const struct conf_sections *sections, const struct conf_section *section,
			 unsigned index, struct conf_report *errors)
{
	const struct conf_static *statics = section->value.bridge.statics, *entry = &statics[index];
	const struct conf_section *port =
		conf_find_section(sections, CONF_SECTION_PORT, entry->port);
	struct conf_where where = conf_where(section, &conf_keys[CONF_KEY_BRIDGE_static]);

	for (unsigned i = 0; i < index; i++) {
		if (memcmp(statics[i].mac, entry->mac, sizeof(entry->mac)) != 0)
			continue;
		conf_report_add(errors, entry->line, where.text,
				"the address has an entry already (line %u)", statics[i].line);
		return;
	}
	if (!port)
		conf_report_add(errors, entry->line, where.text, "there is no [port %s]",
				entry->port);
	else if (!may_be_port_of(port, section->name))
		conf_report_add(errors, entry->line, where.text,
				"[port %s] has no \"forward = bridge %s\"", entry->port,
				section->name);
}

static void check_bridge(const struct conf_sections *sections, const struct conf_section *section,
			 struct conf_report *errors)
{
	check_bridge_has_ports(sections, section, errors);
	for (unsigned i = 0; i < section->value.bridge.n_statics; i++)
		check_static(sections, section, i, errors);
}

/* Reported at the later of the two. */
static void check_interface(const struct conf_sections *sections, unsigned index,
			    struct conf_report *errors)
{
	const struct conf_section *section = &sections->at[index];
	const char *interface = section->value.port.interface;
	char what[160];

	if (!conf_is_sound(section, CONF_KEY_PORT_interface))
		return;
	for (unsigned i = 0; i < index; i++) {
		const struct conf_section *other = &sections->at[i];

		if (other->kind != CONF_SECTION_PORT || other->is_broken ||
		    !conf_is_sound(other, CONF_KEY_PORT_interface) ||
		    strcmp(other->value.port.interface, interface) != 0)
			continue;
		(void)snprintf(what, sizeof(what),
			       "\"%s\" is the interface of [port %s] already (line %u)", interface,
			       other->name, other->origins[CONF_KEY_PORT_interface].line);
		conf_report_key(errors, section, CONF_KEY_PORT_interface, what);
		return;
	}
}

static void check_sockets(const struct conf_section *section, struct conf_report *errors)
{
	const struct conf_daemon *daemon = &section->value.daemon;

	if (!conf_is_sound(section, CONF_KEY_DAEMON_control_socket) ||
	    !conf_is_sound(section, CONF_KEY_DAEMON_metrics_listen) ||
	    strncmp(daemon->metrics_listen, "unix:", 5) != 0 ||
	    strcmp(daemon->metrics_listen + 5, daemon->control_socket) != 0)
		return;
	conf_report_key(errors, section, CONF_KEY_DAEMON_metrics_listen,
			"the same path as control_socket");
}

void conf_check(const struct conf_sections *sections, struct conf_report *errors)
{
	for (unsigned i = 0; i < sections->n; i++) {
		const struct conf_section *section = &sections->at[i];

		if (section->is_broken)
			continue;
		if (section->kind == CONF_SECTION_DAEMON)
			check_sockets(section, errors);
		if (section->kind == CONF_SECTION_BRIDGE)
			check_bridge(sections, section, errors);
		if (section->kind != CONF_SECTION_PORT)
			continue;
		check_required(section, errors);
		check_xconnect(sections, section, errors);
		check_pass_control(section, errors);
		check_mode(section, errors);
		check_flood_limit(section, errors);
		check_interface(sections, i, errors);
	}
	conf_check_splice(sections, errors);
}
