/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One row per capability of the packet plane; the measurements behind them are in operations.md
 * §1.5. Listeners need none but for privileged ports: without those of their programs sockmap and
 * sock_ops are off, which control/splicer_start.c says.
 */
#include "control/caps.h"

#include <cap-ng.h>
#include <netinet/in.h>
#include <stdio.h>

#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "caps"

struct need {
	unsigned capability;
	const char *name;
	bool has_elder;    /* CAP_SYS_ADMIN stands for it, in containers that know no other */
	bool sockets_only; /* a `forward = pass` port does without */
	const char *what;
};

static const struct need needs[] = {
	{CAP_NET_ADMIN, "CAP_NET_ADMIN", false, false,
	 "attaching XDP programs, creating the XSKMAP and switching offloads"},
	{CAP_BPF, "CAP_BPF", true, false, "loading the XDP program and its maps"},
	{CAP_NET_RAW, "CAP_NET_RAW", false, true, "AF_XDP sockets and promiscuous mode"},
};

static bool conf_has_ports(const struct conf *conf, bool with_sockets)
{
	for (unsigned i = 0; i < conf->n_ports; i++) {
		if (!with_sockets || conf->ports[i].forward != CONF_FORWARD_PASS)
			return true;
	}
	return false;
}

static bool has(unsigned capability, bool has_elder)
{
	return capng_have_capability(CAPNG_EFFECTIVE, capability) ||
	       (has_elder && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN));
}

/* The kernel's line between ports for everybody and ports for the capability. */
static unsigned unprivileged_port(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	unsigned port;

	return file && fscanf(file, "%5u", &port) == 1 ? port : 1024;
}

static unsigned port_of(const struct conf_address *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&address->socket;
	const struct sockaddr_in6 *in6 =
		(const struct sockaddr_in6 *)(const void *)&address->socket;

	if (address->is_fd)
		return 0;
	if (in->sin_family == AF_INET)
		return ntohs(in->sin_port);
	return in6->sin6_family == AF_INET6 ? ntohs(in6->sin6_port) : 0;
}

/* The first address that this process may not bind; NULL if there is none. */
static const struct conf_address *find_privileged(const struct conf *conf)
{
	unsigned first = unprivileged_port();

	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_BIND_SERVICE))
		return NULL;
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const struct conf_bind *binds = conf->listeners[i].binds.items;

		for (unsigned j = 0; j < conf->listeners[i].binds.n; j++) {
			unsigned port = port_of(&binds[j].address);

			if (port > 0 && port < first)
				return &binds[j].address;
		}
	}
	return NULL;
}

unsigned caps_check(const struct conf *conf, char *text, size_t size)
{
	const struct conf_address *privileged;
	unsigned n_missing = 0;
	size_t used = 0;

	text[0] = '\0';
	if (capng_get_caps_process() < 0)
		return 0; /* the kernel will say no itself */
	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		const struct need *need = &needs[i];

		if (!conf_has_ports(conf, need->sockets_only) ||
		    has(need->capability, need->has_elder))
			continue;
		if (used < size)
			used += (size_t)snprintf(
				text + used, size - used,
				"%scapability %s is missing: it is needed for %s; run as root, or add it "
				"to AmbientCapabilities= and CapabilityBoundingSet= of the unit%s",
				n_missing ? "\n" : "", need->name, need->what,
				need->sockets_only ? ", or use only `forward = pass` ports" : "");
		n_missing++;
	}
	privileged = find_privileged(conf);
	if (privileged && used < size)
		snprintf(
			text + used, size - used,
			"%scapability CAP_NET_BIND_SERVICE is missing: it is needed for listening on "
			"%s; run as root, or add it to AmbientCapabilities= and "
			"CapabilityBoundingSet= of the unit, or use a socket unit and `bind = "
			"fd:NAME`, or a port that is not privileged",
			n_missing ? "\n" : "", privileged->text);
	return n_missing + (privileged != NULL);
}

/* What the programs of listeners take. */
static const struct {
	unsigned capability;
	const char *name;
	bool has_elder, sockmap_only;
} program_needs[] = {
	{CAP_NET_ADMIN, "CAP_NET_ADMIN", false, false},
	{CAP_BPF, "CAP_BPF", true, false},
	{CAP_PERFMON, "CAP_PERFMON", true, true}, /* the verdict reads tcp_sock */
};

unsigned caps_missing_for(enum caps_program program, char *text, size_t size)
{
	const char *names[ARRAY_SIZE(program_needs)];
	unsigned n = 0;
	size_t used = 0;

	text[0] = '\0';
	if (capng_get_caps_process() < 0)
		return 0; /* the kernel will say no itself */
	for (unsigned i = 0; i < ARRAY_SIZE(program_needs); i++) {
		if ((program == CAPS_SOCKMAP || !program_needs[i].sockmap_only) &&
		    !has(program_needs[i].capability, program_needs[i].has_elder))
			names[n++] = program_needs[i].name;
	}
	for (unsigned i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s",
					 i == 0     ? "" :
					 i + 1 == n ? " and " :
						      ", ",
					 names[i]);
	return n;
}

void caps_note_slowness(const struct conf *conf)
{
	if (capng_get_caps_process() < 0 || !conf_has_ports(conf, false) ||
	    capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON) ||
	    capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return;
	log_info("capability CAP_PERFMON is missing: the XDP program runs 10 to 50 ns slower, "
		 "continuing");
}
