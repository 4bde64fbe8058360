/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One row per capability; the measurements behind them are in operations.md §1.5. */
#include "control/caps.h"

#include <cap-ng.h>
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

static bool has(const struct need *need)
{
	return capng_have_capability(CAPNG_EFFECTIVE, need->capability) ||
	       (need->has_elder && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN));
}

unsigned caps_check(const struct conf *conf, char *text, size_t size)
{
	unsigned n_missing = 0;
	size_t used = 0;

	text[0] = '\0';
	if (capng_get_caps_process() < 0)
		return 0; /* the kernel will say no itself */
	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		const struct need *need = &needs[i];

		if (!conf_has_ports(conf, need->sockets_only) || has(need))
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
	return n_missing;
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
