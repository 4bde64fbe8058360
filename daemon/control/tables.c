/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables thread: what wakes it and in which order it works. See control/tables.h.
 *
 *   epoll: notifications, policy, wake_fd (control, learn rings); the time of what is due next
 *
 *   each turn, under the lock, which is given up after each part (≤ TABLES_SLICE_NS):
 *     notifications ► retire ► keep-alive ► policy ► bridges ► sync ► repaint ► lines
 *
 * The thread goes on without sleep while a part says that it is not done. It is not pinned: the
 * scheduler keeps it away from the workers' CPUs, which are always busy.
 */
#include "control/tables.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "tables"

#define KEEP_ALIVE_NS    (250 * NSEC_PER_MSEC)
#define AGE_NS           NSEC_PER_SEC
#define LONGEST_SLEEP_MS 1000

/* --- One turn --------------------------------------------------------------------------------- */

/* True: there was not time enough. */
static bool drain(struct tables *tables)
{
	bool is_done;

	if (!sync_lets_drain(tables))
		return true;
	is_done = rtnl_drain(tables, clock_now_ns() + TABLES_SLICE_NS);
	if (is_done && !sync_is_running(tables))
		tables->sync.is_settling = false;
	locals_publish(tables->locals);
	/* Before anybody can be told of what has just been learnt. */
	if (tables->lines_are_stale)
		lines_store(tables);
	return !is_done;
}

static void keep_neighbours(struct tables *tables, uint64_t now_ns)
{
	if (now_ns < tables->keep_alive_due_ns)
		return;
	tables->keep_alive_due_ns = now_ns + KEEP_ALIVE_NS;
	tables->n_keepalives +=
		neighbours_keep_alive(tables->neighbours, tables->rtnl.use_fd, now_ns);
}

static void watch_policy(struct tables *tables, uint64_t now_ns)
{
	if (policy_drain(tables->policy))
		lines_want_policy(tables, now_ns);
	if (now_ns >= tables->policy_due_ns)
		lines_refresh_policy(tables, now_ns);
}

static void serve_bridges(struct tables *tables, uint64_t now_ns)
{
	fdbs_drain(tables->fdbs, now_ns);
	if (now_ns < tables->age_due_ns)
		return;
	tables->age_due_ns = now_ns + AGE_NS;
	fdbs_age(tables->fdbs, now_ns);
}

/* True: not done. A repaint that runs is finished before the next, or none ever would be. */
static bool repaint(struct tables *tables)
{
	if (!tables->is_repainting && tables->wants_repaint) {
		tables->wants_repaint = false;
		rib_begin_repaint(tables->rib);
	}
	tables->is_repainting = !rib_repaint(tables->rib, clock_now_ns() + TABLES_SLICE_NS);
	return tables->is_repainting || tables->wants_repaint;
}

/* True: another one without sleep. */
static bool turn(struct tables *tables)
{
	bool is_busy = drain(tables);
	uint64_t now_ns = clock_now_ns();

	retire_work(tables, now_ns);
	tables_lock_yield(&tables->lock);
	keep_neighbours(tables, now_ns);
	watch_policy(tables, now_ns);
	serve_bridges(tables, now_ns);
	tables_lock_yield(&tables->lock);
	sync_work(tables, clock_now_ns() + TABLES_SLICE_NS);
	locals_publish(tables->locals);
	is_busy |= sync_is_running(tables);
	tables_lock_yield(&tables->lock);
	is_busy |= repaint(tables);
	if (tables->lines_are_stale)
		lines_store(tables);
	tables_lock_yield(&tables->lock);
	return is_busy;
}

/* --- The thread ------------------------------------------------------------------------------- */

static int sleep_ms(const struct tables *tables)
{
	uint64_t due_ns = MIN(tables->keep_alive_due_ns, tables->age_due_ns);
	uint64_t now_ns = clock_now_ns();

	due_ns = MIN(due_ns, tables->policy_due_ns);
	due_ns = MIN(due_ns, sync_due_ns(tables));
	due_ns = MIN(due_ns, retire_due_ns(tables));
	if (due_ns <= now_ns)
		return 0;
	return (int)MIN((due_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC,
			(uint64_t)LONGEST_SLEEP_MS);
}

static void clear_wakeup(struct tables *tables)
{
	uint64_t count;

	(void)!read(tables->wake_fd, &count, sizeof(count));
}

static void *tables_main(void *arg)
{
	struct tables *tables = arg;
	struct epoll_event events[8];

	tables_lock_take(&tables->lock);
	while (!atomic_load_explicit(&tables->is_stopping, memory_order_relaxed)) {
		bool is_busy = turn(tables);
		int timeout_ms = is_busy ? 0 : sleep_ms(tables);

		atomic_fetch_add_explicit(&tables->beat, 1, memory_order_relaxed);
		if (is_busy)
			continue;
		tables_lock_give(&tables->lock);
		(void)epoll_wait(tables->epoll_fd, events, ARRAY_SIZE(events), timeout_ms);
		tables_lock_take(&tables->lock);
		clear_wakeup(tables);
	}
	tables_lock_give(&tables->lock);
	return NULL;
}

static void wake(struct tables *tables)
{
	const uint64_t one = 1;

	(void)!write(tables->wake_fd, &one, sizeof(one));
}

static int watch(struct tables *tables, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(tables->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int watch_all(struct tables *tables)
{
	int fds[POLICY_MAX_FDS];
	unsigned n = policy_fds(tables->policy, fds);
	int r = watch(tables, tables->wake_fd);

	if (r == 0)
		r = watch(tables, tables->rtnl.event_fd);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = watch(tables, fds[i]);
	return r;
}

/* Signals are the control thread's (style.md T8). */
static int start_thread(struct tables *tables)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (r != 0)
		return -r;
	r = pthread_create(&tables->thread, NULL, tables_main, tables);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		(void)pthread_setname_np(tables->thread, "sluice-tables");
	return -r;
}

static void close_sources(struct tables *tables)
{
	close_fdp(&tables->epoll_fd);
	close_fdp(&tables->wake_fd);
	rtnl_close(&tables->rtnl);
	policy_close(tables->policy);
	tables->policy = NULL;
}

/* Opens what the thread listens to. Subscribed before the first dump, so nothing is missed. */
static int open_sources(struct tables *tables)
{
	int r = policy_open(&tables->policy);

	if (r == 0)
		r = rtnl_open(&tables->rtnl);
	if (r == 0) {
		tables->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		tables->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = tables->epoll_fd < 0 || tables->wake_fd < 0 ? -errno : watch_all(tables);
	}
	if (r < 0)
		close_sources(tables);
	return r;
}

/* --- Configuration ---------------------------------------------------------------------------- */

static bool wants_thread(const struct tables_config *config)
{
	for (uint32_t i = 0; i < config->n_ports; i++) {
		if (config->ports[i].is_route || config->ports[i].bridge != UINT32_MAX)
			return true;
	}
	return false;
}

/* A fd that was closed meanwhile has left the epoll by itself. */
static void disconnect_rings(struct tables *tables)
{
	for (uint32_t i = 0; i < tables->config.n_workers; i++) {
		if (tables->ring_fds[i] >= 0)
			(void)epoll_ctl(tables->epoll_fd, EPOLL_CTL_DEL, tables->ring_fds[i], NULL);
		tables->ring_fds[i] = -1;
	}
}

static int copy_config(struct tables *tables, const struct tables_config *config)
{
	struct worker **workers = calloc(MAX(config->n_workers, 1U), sizeof(*workers));
	int *ring_fds = calloc(MAX(config->n_workers, 1U), sizeof(*ring_fds));

	if (!workers || !ring_fds) {
		free(workers);
		free(ring_fds);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < config->n_workers; i++) {
		workers[i] = config->workers[i];
		ring_fds[i] = -1;
	}
	disconnect_rings(tables);
	free(tables->workers);
	free(tables->ring_fds);
	tables->workers = workers;
	tables->ring_fds = ring_fds;
	tables->config = *config;
	tables->config.workers = workers;
	memset(tables->ports, 0, sizeof(tables->ports));
	memcpy(tables->ports, config->ports, config->n_ports * sizeof(tables->ports[0]));
	tables->config.ports = tables->ports;
	/* fdbs.c has its own copies. */
	tables->config.bridges = NULL;
	tables->config.n_bridges = 0;
	return 0;
}

static void configure_policy(struct tables *tables)
{
	struct policy_port ports[ROUTE_MAX_PORTS] = {0};

	for (uint32_t i = 0; i < tables->config.n_ports; i++) {
		const struct link_entry *link =
			link_table_find(tables->links, tables->ports[i].ifindex);

		if (!tables->ports[i].is_route)
			continue;
		ports[i].ifindex = tables->ports[i].ifindex;
		if (link)
			memcpy(ports[i].interface, link->name, sizeof(ports[i].interface));
		else
			(void)if_indextoname(ports[i].ifindex, ports[i].interface);
	}
	policy_configure(tables->policy, ports, tables->config.table, tables->config.vrf,
			 tables->config.bypass_netfilter);
	lines_refresh_policy(tables, clock_now_ns());
}

/* What leads to a port whose place or device is another now. */
static void configure_ports(struct tables *tables)
{
	if (link_table_set_ports(tables->links, tables->ports, tables->config.n_ports)) {
		tables->wants_repaint |= nexthops_link_changed(tables->nexthops, 0);
		neighbours_link_changed(tables->neighbours, 0);
	}
	locals_set_groups(tables->locals, tables->ports, tables->config.n_ports);
	locals_publish(tables->locals);
}

/* The workers of bridges wake the thread when they have learnt something. */
static int connect_rings(struct tables *tables)
{
	for (uint32_t i = 0; i < tables->config.n_workers; i++) {
		const struct learn_ring *ring = tables->workers[i]->learn;
		int r = ring ? watch(tables, ring->eventfd) : 0;

		if (r < 0)
			return r;
		tables->ring_fds[i] = ring ? ring->eventfd : -1;
	}
	return 0;
}

static int configure_locked(struct tables *tables, const struct tables_config *config)
{
	int r = fdbs_configure(tables->fdbs, config);

	if (r == 0)
		r = copy_config(tables, config);
	if (r < 0)
		return r;
	if (!tables->is_started && !wants_thread(config))
		return 0;
	if (!tables->policy) {
		r = open_sources(tables);
		if (r < 0)
			return log_err_errno(r, "cannot listen to the kernel's tables: %m");
	}
	r = connect_rings(tables);
	if (r < 0)
		return log_err_errno(r, "cannot listen to the workers of bridges: %m");
	tables_resolve_table(tables);
	configure_ports(tables);
	configure_policy(tables);
	if (tables->is_started)
		return 0;
	sync_want(tables);
	r = start_thread(tables);
	if (r < 0)
		return log_err_errno(r, "cannot start the tables thread: %m");
	tables->is_started = true;
	return 0;
}

/* Until a dump of the table configured is in the FIB. */
static int wait_for_sync(struct tables *tables)
{
	const uint64_t deadline_ns = clock_now_ns() + TABLES_FIRST_SYNC_NS;
	int r = 0;

	/* A VRF that is not there has no table: nothing to wait for. */
	while (tables->is_started && !tables->is_synced_once && r == 0 &&
	       (sync_is_running(tables) || tables->sync.wanted_first_ns != 0))
		r = tables_lock_wait_synced(&tables->lock, deadline_ns);
	if (r == 0)
		lines_store(tables);
	return r;
}

int tables_configure(struct tables *tables, const struct tables_config *config)
{
	int r;

	if (config->n_ports > ROUTE_MAX_PORTS)
		return -E2BIG;
	tables_lock_take(&tables->lock);
	r = configure_locked(tables, config);
	if (r == 0 && tables->is_started) {
		wake(tables);
		r = wait_for_sync(tables);
	}
	tables_lock_give(&tables->lock);
	return r;
}

/* --- Life ------------------------------------------------------------------------------------- */

static int view_new(struct route_view **ret_view)
{
	struct route_view *view =
		aligned_alloc(CACHE_LINE_BYTES,
			      (sizeof(*view) + CACHE_LINE_BYTES - 1) & ~(CACHE_LINE_BYTES - 1UL));

	if (!view)
		return -ENOMEM;
	memset(view, 0, sizeof(*view));
	/* Early in boot it may not be ready: then whoever knows that can choose its flows' way. */
	(void)!getrandom(&view->hash_seed, sizeof(view->hash_seed), GRND_NONBLOCK);
	atomic_store_explicit(&view->generation, 1, memory_order_relaxed);
	*ret_view = view;
	return 0;
}

static void slot24_changed(uint32_t slot24, void *arg)
{
	struct tables *tables = arg;

	rib_slot24_changed(tables->rib, slot24);
}

static int make_parts(struct tables *tables)
{
	int r = view_new(&tables->view);

	if (r == 0)
		r = gate_new(&tables->gate);
	if (r == 0)
		r = limbo_new(&tables->limbo);
	if (r == 0)
		r = link_table_new(&tables->links);
	if (r == 0)
		r = nexthops_new(tables->view, tables->links, tables->limbo, &tables->nexthops);
	if (r == 0)
		r = neighbours_new(tables->view, tables->links, tables->nexthops, tables->limbo,
				   &tables->neighbours);
	if (r == 0)
		r = locals_new(tables->view, tables->gate, tables->limbo, &tables->locals);
	if (r == 0)
		r = rib_table_new(tables->view, tables->gate, tables->nexthops, tables->locals,
				  &tables->rib);
	if (r == 0)
		r = fdbs_new(&tables->fdbs);
	if (r == 0)
		r = replay_new(&tables->sync.replay);
	if (r < 0)
		return r;
	locals_on_slot24(tables->locals, slot24_changed, tables);
	limbo_begin_generation(tables->limbo, 1);
	rib_begin_generation(tables->rib, 1);
	return 0;
}

int tables_new(struct tables **ret_tables)
{
	struct tables *tables = calloc(1, sizeof(*tables));
	int r;

	if (!tables)
		return -ENOMEM;
	tables->epoll_fd = tables->wake_fd = -1;
	tables->rtnl.event_fd = tables->rtnl.dump_fd = tables->rtnl.use_fd = -1;
	tables->sync.step = SYNC_IDLE;
	r = tables_lock_init(&tables->lock);
	if (r < 0) {
		free(tables);
		return r;
	}
	r = make_parts(tables);
	if (r < 0) {
		tables_free(tables);
		return r;
	}
	*ret_tables = tables;
	return 0;
}

void tables_free(struct tables *tables)
{
	if (!tables)
		return;
	if (tables->is_started) {
		atomic_store_explicit(&tables->is_stopping, true, memory_order_relaxed);
		wake(tables);
		(void)pthread_join(tables->thread, NULL);
	}
	close_sources(tables);
	replay_free(tables->sync.replay);
	fdbs_free(tables->fdbs);
	neighbours_free(tables->neighbours);
	rib_table_free(tables->rib);
	locals_free(tables->locals);
	nexthops_free(tables->nexthops);
	link_table_free(tables->links);
	limbo_free(tables->limbo);
	gate_free(tables->gate);
	free(tables->workers);
	free(tables->ring_fds);
	free(tables->view);
	tables_lock_fini(&tables->lock);
	free(tables);
}

struct route_view *tables_view(struct tables *tables)
{
	return tables->view;
}

struct gate *tables_gate(struct tables *tables)
{
	return tables->gate;
}

struct fdb *tables_fdb(struct tables *tables, const char *bridge)
{
	struct fdb *fdb;

	tables_lock_take(&tables->lock);
	fdb = fdbs_find(tables->fdbs, bridge);
	tables_lock_give(&tables->lock);
	return fdb;
}
