/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CPUs of the workers (design.md §4.1): those that may be used, one for each worker, and what
 * is to be said about the choice. A worker of the plan in force keeps its CPU; the others get the
 * least loaded one, isolated before others, then one of their node, then the lowest.
 */
#include <errno.h>
#include <string.h>

#include "control/plan_internal.h"
#include "util/macros.h"

static void add_cpu(struct plan_builder *b, unsigned cpu)
{
	b->plan->cpus[cpu] = true;
	b->n_candidates++;
}

/* One note for all of them: a list made for a larger machine names many. */
static void note_not_allowed(struct plan_builder *b, unsigned first, unsigned n)
{
	char allowed[256], others[32] = "";

	if (n > 1)
		(void)snprintf(others, sizeof(others), " (and %u more)", n - 1);
	plan_note(
		b, PLAN_ERROR, PLAN_NONE,
		"[daemon] cpus: CPU %u%s is not one that this process may use (%s): change cpus, or "
		"AllowedCPUs= and CPUAffinity= of the unit",
		first, others, topo_format_allowed(b->topo, allowed, sizeof(allowed)));
}

_Static_assert(CONF_MAX_CPUS == TOPO_MAX_CPUS, "one limit under two names");

static void add_listed(struct plan_builder *b, const struct conf_set *cpus)
{
	unsigned first_bad = 0, n_bad = 0;

	for (unsigned cpu = 0; cpu < CONF_MAX_CPUS; cpu++) {
		if (!conf_set_has(cpus, cpu))
			continue;
		if (b->topo->cpus[cpu].is_allowed)
			add_cpu(b, cpu);
		else if (n_bad++ == 0)
			first_bad = cpu;
	}
	if (n_bad > 0)
		note_not_allowed(b, first_bad, n_bad);
}

/*
 * All that are allowed but the lowest, which is left to the control thread if there is another.
 * Who lists `cpus` has thought of that.
 */
static void add_allowed(struct plan_builder *b)
{
	bool is_left = topo_n_allowed(b->topo) == 1;

	for (unsigned cpu = 0; cpu < b->topo->n_cpus; cpu++) {
		if (!b->topo->cpus[cpu].is_allowed)
			continue;
		if (is_left)
			add_cpu(b, cpu);
		is_left = true;
	}
}

void plan_find_cpus(struct plan_builder *b)
{
	const struct conf_set *cpus = &b->conf->daemon.cpus;

	if (!cpus->all)
		add_listed(b, cpus);
	/* After an error the plan is still shown as it would be without the list. */
	if (b->n_candidates == 0)
		add_allowed(b);
}

static uint32_t choose_cpu(const struct plan_builder *b, int node)
{
	unsigned best = 0, best_cost = UINT32_MAX;

	for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++) {
		const struct topo_cpu *c = &b->topo->cpus[cpu];
		unsigned cost;

		if (!b->plan->cpus[cpu])
			continue;
		cost = b->cpu_load[cpu] * 4 + (c->is_isolated ? 0 : 2) +
		       (node >= 0 && c->node != node ? 1 : 0);
		if (cost < best_cost) {
			best = cpu;
			best_cost = cost;
		}
	}
	return best;
}

/* The worker that runs already: false if there is none, or the CPUs are not what they were. */
static bool keep_cpu(struct plan_builder *b, uint32_t worker)
{
	uint32_t old;

	if (!b->previous || memcmp(b->previous->cpus, b->plan->cpus, sizeof(b->plan->cpus)) != 0)
		return false;
	old = plan_match_worker(b->previous, b->plan, worker);
	if (old == PLAN_NONE)
		return false;
	b->plan->workers[worker].cpu = b->previous->workers[old].cpu;
	b->cpu_load[b->plan->workers[worker].cpu]++;
	return true;
}

static void note_remote_cpu(struct plan_builder *b, const struct plan_worker *w)
{
	int node = b->topo->cpus[w->cpu].node;

	if (w->numa_node >= 0 && node >= 0 && node != w->numa_node)
		plan_note(b, PLAN_WARNING, PLAN_NONE,
			  "worker %u: CPU %u is on node %d, its ports are on node %d: every frame "
			  "crosses between them; allow it a CPU of node %d",
			  w->number, w->cpu, node, w->numa_node, w->numa_node);
}

static void note_shared_cpus(struct plan_builder *b)
{
	uint32_t n_workers = b->plan->n_workers;

	if (topo_n_allowed(b->topo) == 1 && n_workers > 0)
		plan_note(b, PLAN_WARNING, PLAN_NONE,
			  "CPU %u is the only one that this process may use: workers share it with "
			  "the control thread",
			  b->plan->workers[0].cpu);
	if (n_workers > b->n_candidates)
		plan_note(
			b, PLAN_WARNING, PLAN_NONE,
			"%u workers share %u CPU%s and slow each other down: set workers to less, "
			"or allow more CPUs",
			n_workers, b->n_candidates, b->n_candidates == 1 ? "" : "s");
}

/* The interrupt of a queue and a worker that spins on the same CPU take turns. */
static void note_irqs(struct plan_builder *b, uint32_t port, uint32_t cpu)
{
	const struct plan_port *p = &b->plan->ports[port];
	uint32_t first = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < p->link.n_irqs; i++) {
		if (p->link.irqs[i].cpu == cpu && n++ == 0)
			first = p->link.irqs[i].irq;
	}
	if (n == 1)
		plan_note(
			b, PLAN_INFO, port,
			"port %s: interrupt %u of %s fires on CPU %u, where a worker runs: move it "
			"(/proc/irq/%u/smp_affinity_list)",
			p->conf->name, first, p->link.name, cpu, first);
	else if (n > 1)
		plan_note(b, PLAN_INFO, port,
			  "port %s: %u interrupts of %s, the first is %u, fire on CPU %u, where a "
			  "worker runs: move them (/proc/irq/%u/smp_affinity_list)",
			  p->conf->name, n, p->link.name, first, cpu, first);
}

void plan_assign_cpus(struct plan_builder *b)
{
	struct plan *plan = b->plan;
	bool *is_kept = calloc(MAX(plan->n_workers, 1u), sizeof(*is_kept));

	if (!is_kept) {
		b->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < plan->n_workers; i++)
		is_kept[i] = keep_cpu(b, i);
	for (uint32_t i = 0; i < plan->n_workers; i++) {
		struct plan_worker *w = &plan->workers[i];

		if (!is_kept[i]) {
			w->cpu = choose_cpu(b, w->numa_node);
			b->cpu_load[w->cpu]++;
		}
		note_remote_cpu(b, w);
	}
	free(is_kept);
	note_shared_cpus(b);
	for (uint32_t port = 0; port < plan->n_ports; port++) {
		for (unsigned cpu = 0; cpu < TOPO_MAX_CPUS; cpu++) {
			if (b->cpu_load[cpu] > 0)
				note_irqs(b, port, cpu);
		}
	}
}
