/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the configuration in force to the one in the file: everything that can be refused is refused
 * before anything is touched; then the difference of the two plans is applied.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "control/caps.h"
#include "control/conf_compare.h"
#include "control/file_limit.h"
#include "control/life_internal.h"
#include "control/planner.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "reload"

/* How long a reload may take the control thread to see its ports built. */
#define SETTLE_NS NSEC_PER_SEC

static void join_lines(const struct conf_errors *errors, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < errors->n && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "\n" : "",
					 errors->lines[i]);
}

static int refuse_restart_changes(const struct conf *old, const struct conf *new, char *text,
				  size_t size)
{
	static const char head[] = "these keys need a restart of the daemon:\n";
	FILE *out = fmemopen(text, size, "w");
	unsigned n;

	if (!out)
		return -ENOMEM;
	fputs(head, out);
	n = conf_restart_changes(old, new, out);
	(void)fclose(out);
	text[size - 1] = '\0';
	return n ? -EINVAL : 0;
}

/* What changes no port: tables, listeners, backends. Returns how much it wrote. */
static size_t describe_rest(const struct conf *old, const struct conf *new, char *text, size_t size)
{
	FILE *out = size > 1 ? fmemopen(text, size, "w") : NULL;
	unsigned n;

	if (!out)
		return 0;
	n = conf_table_changes(old, new, out);
	n += conf_splice_changes(old, new, out);
	(void)fclose(out);
	text[n ? size - 1 : 0] = '\0';
	return strlen(text);
}

static void describe_actions(const struct plan *old, const struct plan *new, char *text,
			     size_t size)
{
	struct plan_diff diff;
	size_t used = 0;

	text[0] = '\0';
	if (plan_diff(old, new, &diff) < 0)
		return;
	for (uint32_t i = 0; i < new->n_ports &&used < size; i++) {
		if (diff.new_ports[i] != PLAN_KEEP)
			used += (size_t)snprintf(text + used, size - used, "port %s: %s\n",
						 new->ports[i].conf->name,
						 plan_action_names[diff.new_ports[i]]);
	}
	for (uint32_t i = 0; i < old->n_ports && used < size; i++) {
		if (diff.old_ports[i] == PLAN_REMOVE)
			used += (size_t)snprintf(text + used, size - used, "port %s: %s\n",
						 old->ports[i].conf->name,
						 plan_action_names[PLAN_REMOVE]);
	}
	if (used < size)
		used += describe_rest(old->conf, new->conf, text + used, size - used);
	if (used == 0)
		snprintf(text, size, "nothing to do");
	plan_diff_fini(&diff);
}

/* What a reload is going to put in force; the members are the caller's. */
struct next {
	struct conf *conf;
	struct plan *plan;
	struct splicer_next *splice; /* NULL in a dry run, which binds nothing */
};

static void free_next(struct next *next)
{
	splicer_abandon(next->splice);
	plan_free(next->plan);
	conf_free(next->conf);
}

/* Everything that can be refused, before anything is touched. */
static int prepare_reload(struct life *life, bool dry_run, struct next *ret_next, char *text,
			  size_t size)
{
	struct conf_errors errors = {0};
	struct plan_notes notes = {0};
	struct next next = {0};
	int r;

	r = conf_load(life->conf->path, &next.conf, &errors);
	if (r < 0) {
		join_lines(&errors, text, size);
		conf_errors_fini(&errors);
		/* A file that is gone or unreadable is a wrong configuration too, as at start. */
		return -EINVAL;
	}
	r = refuse_restart_changes(life->conf, next.conf, text, size);
	if (r == 0 && caps_check(next.conf, text, size) > 0)
		r = -EPERM;
	if (r == 0) {
		r = planner_make(life->links, engine_plan(life->engine), next.conf, &next.plan,
				 &notes);
		if (r < 0 && planner_error_text(&notes, text, size) == 0)
			snprintf(text, size, "cannot plan: %s", strerror(-r));
		planner_log_notes(&notes, false);
		plan_notes_fini(&notes);
	}
	conf_errors_fini(&errors);
	if (r == 0 && !dry_run)
		r = splicer_prepare(life->splicer, next.conf, next.plan, &life->topo, &next.splice,
				    text, size);
	if (r < 0) {
		free_next(&next);
		return r;
	}
	*ret_next = next;
	return 0;
}

/* Takes what is in `next`. */
static int apply_reload(struct life *life, struct next *next, char *text, size_t size)
{
	struct conf *old = life->conf;
	int r, r_splice;

	describe_actions(engine_plan(life->engine), next->plan, text, size);
	life->conf = next->conf;
	life->problems[0] = '\0';
	file_limit_check(next->plan);
	r = engine_apply(life->engine, next->plan);
	if (engine_plan(life->engine) != next->plan) {
		/* Nothing was touched: the old plan still borrows from the old configuration. */
		life->conf = old;
		splicer_abandon(next->splice);
		conf_free(next->conf);
		snprintf(text, size, "cannot apply: %s", strerror(-r));
		return r;
	}
	conf_free(old);
	r_splice = splicer_commit(life->splicer, next->splice);
	/* The kernel frees a queue late (16–28 ms): the answer is to be about what came of it. */
	if (r == 0 && !engine_settle(life->engine, SETTLE_NS))
		snprintf(text, size,
			 "applied; a port is still being built: see `sluicectl status`");
	if (r == 0 && engine_has_failed(life->engine))
		r = -EIO;
	if (r < 0)
		snprintf(text, size, "applied, but a port cannot be built: see `sluicectl status`");
	if (r_splice < 0)
		snprintf(text, size, "applied, but not every listener is served: %s",
			 strerror(-r_splice));
	return r < 0 ? r : r_splice;
}

int life_reload(void *arg, bool dry_run, char *ret_text, size_t size)
{
	struct life *life = arg;
	struct next next = {0};
	int r;

	if (life->is_draining) {
		snprintf(ret_text, size, "the daemon is stopping");
		return -EBUSY;
	}
	if (!dry_run) {
		life->n_reloads++;
		(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
				 (unsigned long long)(clock_now_ns() / NSEC_PER_USEC));
	}
	r = prepare_reload(life, dry_run, &next, ret_text, size);
	if (dry_run) {
		if (r == 0)
			describe_actions(engine_plan(life->engine), next.plan, ret_text, size);
		free_next(&next);
		return r;
	}
	if (r == 0)
		r = apply_reload(life, &next, ret_text, size);
	life->last_reload_ok = r == 0;
	if (r == 0) {
		life->last_reload_error[0] = '\0';
		life->last_reload_unix_s = clock_unix_s();
		log_notice("reloaded %s", life->conf->path);
	} else {
		life->n_reload_failures++;
		snprintf(life->last_reload_error, sizeof(life->last_reload_error), "%s", ret_text);
		log_err("reload failed: %s", ret_text);
	}
	if (life->is_ready)
		(void)sd_notify(0, "READY=1");
	life_after_build(life);
	return r;
}
