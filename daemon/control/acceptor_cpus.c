/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free CPUs first, then all that are allowed, in turn. */
#include "control/acceptor_cpus.h"

#include <string.h>

#include "control/conf.h"
#include "control/plan.h"
#include "util/macros.h"

static bool has_worker(const struct plan *plan, unsigned cpu)
{
	for (uint32_t w = 0; w < plan->n_workers; w++)
		if (plan->workers[w].cpu == cpu)
			return true;
	return false;
}

/*
 * What `cpus` lists holds for acceptors, too, and plan.cpus has it. By default an acceptor may also
 * have the CPU that is kept free of workers for the control thread.
 */
static bool is_usable(const struct plan *plan, const struct topo *topo, const struct conf *conf,
		      unsigned cpu)
{
	return topo->cpus[cpu].is_allowed && (conf->daemon.cpus.all || plan->cpus[cpu]);
}

/* Usable CPUs, those without a worker before the others; returns how many have none. */
static unsigned order_cpus(const struct plan *plan, const struct topo *topo,
			   const struct conf *conf, unsigned order[TOPO_MAX_CPUS], unsigned *ret_n)
{
	unsigned n = 0, n_free = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (unsigned cpu = 0; cpu < topo->n_cpus; cpu++)
			if (is_usable(plan, topo, conf, cpu) &&
			    has_worker(plan, cpu) == (pass == 1))
				order[n++] = cpu;
		if (pass == 0)
			n_free = n;
	}
	*ret_n = n;
	return n_free;
}

uint32_t acceptor_cpus(const struct plan *plan, const struct topo *topo, const struct conf *conf,
		       struct listeners_acceptor *ret_acceptors, bool *ret_is_shared)
{
	unsigned order[TOPO_MAX_CPUS] = {0}, n_usable;
	unsigned n_free = order_cpus(plan, topo, conf, order, &n_usable);
	uint32_t n = conf->daemon.acceptors ? conf->daemon.acceptors : MAX(n_free, 1);

	n = MIN(n, CONF_MAX_ACCEPTORS);
	for (uint32_t i = 0; i < n; i++) {
		unsigned cpu = order[i % MAX(n_usable, 1)];

		ret_acceptors[i] = (struct listeners_acceptor){cpu, topo->cpus[cpu].node};
	}
	*ret_is_shared = n > n_free;
	return n;
}
