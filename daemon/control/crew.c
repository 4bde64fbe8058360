/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers of a plan as living threads: their UMEMs, the sets that they run, starting and
 * stopping. The hand-over protocol is told in data/worker.h.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "worker"

#define WAIT_STEP_NS (200 * NSEC_PER_USEC)

bool wait_until(bool (*done)(void *arg), void *arg, uint64_t timeout_ns)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_NS};
	uint64_t deadline_ns = clock_now_ns() + timeout_ns;

	while (!done(arg)) {
		if (clock_now_ns() > deadline_ns)
			return false;
		(void)ppoll(NULL, 0, &step, NULL);
	}
	return true;
}

static void abandon(struct engine *engine, struct live_worker *worker)
{
	/* What it may still touch stays where it is, for ever. */
	engine->n_abandoned += !worker->hangs;
	worker->hangs = true;
}

/* --- Making workers ------------------------------------------------------------------------------
 */

/* A quarter of the shortest patience among the ports of the group. */
static uint64_t beat_interval_ns(const struct plan *plan, uint32_t group)
{
	uint64_t shortest_ns = UINT64_MAX;

	for (uint32_t i = 0; i < plan->n_ports; i++) {
		if (plan->ports[i].group == group)
			shortest_ns = MIN(shortest_ns, plan->ports[i].conf->stall_timeout_ns);
	}
	return MIN(shortest_ns / 4, WORKER_SLEEP_MAX_NS);
}

static void free_worker(struct live_worker *worker)
{
	for (uint32_t u = 0; u < worker->worker.n_umems; u++)
		umem_fini(&worker->worker.umems[u]);
	crew_free_set(worker->set);
	for (size_t i = 0; i < ARRAY_SIZE(worker->spares); i++)
		crew_free_set(worker->spares[i]);
	learn_ring_free(worker->worker.learn);
	free(worker);
}

struct live_worker *crew_new_worker(const struct plan *plan, uint32_t index)
{
	const struct plan_worker *plan_worker = &plan->workers[index];
	struct live_worker *worker = aligned_alloc(CACHE_LINE_BYTES, sizeof(*worker));
	char name[16];

	if (!worker)
		return NULL;
	memset(worker, 0, sizeof(*worker));
	for (size_t i = 0; i < ARRAY_SIZE(worker->spares); i++)
		worker->spares[i] = crew_new_set(plan, index);
	snprintf(name, sizeof(name), "sluice-w%u", plan_worker->number);
	worker_init(&worker->worker, name, plan_worker->cpu,
		    beat_interval_ns(plan, plan_worker->group));
	if (worker->spares[0] && worker->spares[1]) {
		enum worker_forward forward = worker->spares[0]->forward;

		worker->reads_tables = forward != WORKER_WIRE;
		if (forward != WORKER_BRIDGE || learn_ring_new(&worker->worker.learn) == 0)
			return worker;
	}
	free_worker(worker);
	return NULL;
}

/* Both copying modes bind with XDP_COPY and can share a UMEM. */
static enum xsk_mode umem_class(enum xsk_mode mode)
{
	return mode == XSK_MODE_ZEROCOPY ? XSK_MODE_ZEROCOPY : XSK_MODE_COPY;
}

uint32_t crew_umem_of(const struct live_worker *worker, enum xsk_mode mode)
{
	for (uint32_t u = 0; u < worker->worker.n_umems; u++) {
		if (worker->umem_mode[u] == umem_class(mode))
			return u;
	}
	return WORKER_MAX_UMEMS;
}

/*
 * The worker's frames, in proportion to the lanes that bind in this class. A port that is not
 * settled yet counts here: ports of one make usually agree, and a reserve does no harm.
 */
static uint32_t frames_for(const struct engine *engine, const struct plan_worker *plan_worker,
			   enum xsk_mode class)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < plan_worker->n_lanes; i++) {
		const struct live_port *port = engine->ports[plan_worker->lanes[i].port];

		n += port->mode == XSK_MODE_N || umem_class(port->mode) == class;
	}
	if (plan_worker->n_lanes == 0)
		return plan_worker->n_frames;
	return (uint32_t)((uint64_t)plan_worker->n_frames * n / plan_worker->n_lanes);
}

static int init_umem(struct engine *engine, uint32_t worker_index, enum xsk_mode class,
		     struct live_port *port)
{
	const struct plan *plan = engine->plan;
	const struct plan_worker *plan_worker = &plan->workers[worker_index];
	enum conf_huge_pages huge = plan->conf->daemon.huge_pages;
	struct live_worker *worker = engine->workers[worker_index];
	struct umem *umem = &worker->worker.umems[worker->worker.n_umems];
	struct umem_spec spec = {
		.n_frames = frames_for(engine, plan_worker, class),
		.frame_size_bytes = plan->frame_size_bytes,
		.numa_node = plan_worker->numa_node,
		.want_huge = huge != CONF_HUGE_OFF,
	};
	char text[256];
	int r;

	r = umem_init(umem, &spec);
	if (r == -ENOMEM && huge == CONF_HUGE_AUTO) {
		spec.want_huge = false;
		r = umem_init(umem, &spec);
	}
	if (r < 0) {
		explain_umem(r, &spec, text, sizeof(text));
		port_set_problem(port, "%s", text);
		return r;
	}
	if (plan_worker->numa_node >= 0 && umem->node != plan_worker->numa_node)
		log_warning("worker %u: packet memory is on node %d, not on the device's node %d, "
			    "continuing",
			    plan_worker->number, umem->node, plan_worker->numa_node);
	worker->umem_mode[worker->worker.n_umems++] = class;
	return 0;
}

static void hand_clock(const struct engine *engine, struct worker *worker)
{
	atomic_store_explicit(&worker->jiffies_origin_ns, engine->jiffies.origin_ns,
			      memory_order_relaxed);
}

int crew_set_clock(struct engine *engine)
{
	int r = jiffies_calibrate(&engine->jiffies);

	for (uint32_t w = 0; r == 0 && w < engine_n_workers(engine); w++)
		hand_clock(engine, &engine->workers[w]->worker);
	return r;
}

int crew_ready(struct engine *engine, uint32_t port_index)
{
	const struct plan *plan = engine->plan;
	struct live_port *port = engine->ports[port_index];
	enum xsk_mode class = umem_class(port->mode);
	int clock_error = crew_set_clock(engine);

	/* Without it every beat would look stale, and the port fall back without a word. */
	if (clock_error < 0 && engine->jiffies.calibrated_at_ns == 0) {
		port_set_problem(port, "cannot read the kernel's tick count: %s",
				 strerror(-clock_error));
		return clock_error;
	}
	for (uint32_t w = 0; w < plan->n_workers; w++) {
		struct live_worker *worker = engine->workers[w];
		int r;

		if (plan->workers[w].group != plan->ports[port_index].group ||
		    crew_umem_of(worker, class) < WORKER_MAX_UMEMS)
			continue;
		/* n_umems is the worker's to read: it stands still while one is added. */
		if (worker->hangs || worker_stop(&worker->worker, TAKE_UP_NS) < 0) {
			abandon(engine, worker);
			port_set_problem(port, "worker %u hangs", plan->workers[w].number);
			return -ETIMEDOUT;
		}
		r = init_umem(engine, w, class, port);
		if (r < 0)
			return r;
	}
	return 0;
}

void crew_reclaim(struct live_worker *worker, uint32_t umem, uint8_t tag)
{
	struct reclaim_list *list = &worker->reclaim[umem];

	for (uint32_t i = 0; i < list->n; i++) {
		if (list->tags[i] == tag)
			return;
	}
	list->tags[list->n++] = tag;
}

/* --- Sets ------------------------------------------------------------------------------------ */

static bool is_closing(const struct set_request *request, uint32_t port)
{
	return request->closing && request->closing[port];
}

/* Where a lane sends: nowhere while the out port is missing, down, or on its way out. */
static struct lane *out_lane(const struct set_request *request, const struct plan_lane *in)
{
	const struct engine *engine = request->engine;
	const struct plan_worker *worker = &engine->plan->workers[request->worker_index];
	const struct plan_lane *out;
	const struct link *link;
	struct live_lane *live;

	if (in->out_lane == PLAN_NONE)
		return NULL;
	out = &worker->lanes[in->out_lane];
	link = &engine->plan->ports[out->port].link;
	live = engine->ports[out->port]->lanes[out->queue];
	if (!live || !link->is_up || !link->has_carrier)
		return NULL;
	/* Two ports that close together still drain into each other. */
	if (is_closing(request, out->port) && !is_closing(request, in->port))
		return NULL;
	return &live->lane;
}

static void add_routes(const struct set_request *request, struct worker_set *set)
{
	const struct plan *plan = request->engine->plan;
	const struct plan_worker *worker = &plan->workers[request->worker_index];

	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		const struct plan_lane *lane = &worker->lanes[i];
		struct live_lane *live = request->engine->ports[lane->port]->lanes[lane->queue];
		uint32_t peer = plan->ports[lane->port].peer;

		if (!live || (request->drop_closing && is_closing(request, lane->port)))
			continue;
		set->routes[set->n_lanes++] = (struct worker_route){
			.rx = &live->lane,
			.out = out_lane(request, lane),
			.max_len = peer == PLAN_NONE ? 0 : plan->ports[peer].link.mtu + ETH_HLEN,
			.port = (uint16_t)lane->port,
			.out_number = (uint16_t)lane->out_number,
		};
	}
}

static void add_beats(const struct set_request *request, struct worker_set *set)
{
	const struct plan *plan = request->engine->plan;
	const struct plan_worker *worker = &plan->workers[request->worker_index];

	for (uint32_t i = 0; i < plan->n_ports && set->n_beats < WORKER_MAX_BEATS; i++) {
		struct port_prog *prog = request->engine->ports[i]->prog;

		if (plan->ports[i].group == worker->group && prog)
			set->beats[set->n_beats++] = port_prog_beat(prog, worker->index);
	}
}

static void add_reclaims(struct live_worker *worker, struct worker_set *set)
{
	for (uint32_t u = 0; u < WORKER_MAX_UMEMS; u++) {
		memcpy(set->reclaim[u], worker->reclaim[u].tags, worker->reclaim[u].n);
		set->n_reclaim[u] = worker->reclaim[u].n;
		worker->reclaim[u].n = 0;
	}
}

struct take_up {
	const struct worker *worker;
	uint64_t generation;
};

static bool is_taken_up(void *arg)
{
	const struct take_up *take_up = arg;

	return worker_seen(take_up->worker) >= take_up->generation;
}

static struct worker_set *take_spare(struct live_worker *worker)
{
	struct worker_set *set =
		worker->spares[0] ? TAKE_PTR(worker->spares[0]) : TAKE_PTR(worker->spares[1]);

	crew_clear_set(set);
	return set;
}

/* The set that the worker has left is the next one to be filled. NULL: it had none. */
static void recycle(struct live_worker *worker, struct worker_set *set)
{
	worker->spares[worker->spares[0] ? 1 : 0] = set;
}

/* The system lets no more threads be made (TasksMax=, a pids cgroup, memory). */
static void not_started(struct engine *engine, uint32_t worker_index, struct worker_set *old, int r)
{
	struct live_worker *worker = engine->workers[worker_index];

	worker->publish_error = r;
	log_err("worker %u: its thread cannot be started: %s; raise TasksMax= of the unit",
		engine->plan->workers[worker_index].number, strerror(-r));
	/* One that ran before still has `old` in hand, and lanes of it: it cannot be started again.
	 */
	if (worker->worker.set)
		abandon(engine, worker);
	else
		recycle(worker, old);
}

/* Said once per thread: a worker on another CPU than planned costs latency, nothing else. */
static void note_placement(struct live_worker *worker, const struct plan_worker *plan_worker)
{
	int error = atomic_load_explicit(&worker->worker.start_error, memory_order_relaxed);

	if (error && !worker->placement_noted)
		log_warning("worker %u: cannot be pinned to CPU %u: %s, continuing where the "
			    "scheduler puts it",
			    plan_worker->number, plan_worker->cpu, strerror(error));
	worker->placement_noted = true;
}

int crew_publish(struct engine *engine, uint32_t worker_index, const bool *closing,
		 bool drop_closing)
{
	const struct set_request request = {engine, worker_index, closing, drop_closing};
	struct live_worker *worker = engine->workers[worker_index];
	struct worker_set *set, *old = worker->set;
	struct take_up take_up = {.worker = &worker->worker};
	int r;

	if (worker->hangs)
		return -ETIMEDOUT;
	if (worker->worker.n_umems == 0)
		return 0; /* no port of the group has been built yet */
	set = take_spare(worker);
	add_routes(&request, set);
	crew_add_ports(&request, set);
	add_beats(&request, set);
	add_reclaims(worker, set);
	atomic_store_explicit(
		&worker->worker.beat_interval_ns,
		beat_interval_ns(engine->plan, engine->plan->workers[worker_index].group),
		memory_order_relaxed);
	take_up.generation = worker_publish(&worker->worker, set);
	worker->set = set;
	if (!worker->worker.is_started) {
		hand_clock(engine, &worker->worker);
		r = worker_start(&worker->worker);
		if (r < 0) {
			not_started(engine, worker_index, old, r);
			return r;
		}
	}
	if (!wait_until(is_taken_up, &take_up, TAKE_UP_NS)) {
		abandon(engine, worker);
		worker->publish_error = -ETIMEDOUT;
		worker->may_return = true;
		worker->late_for = old;
		log_err("worker %u: does not respond, abandoning it; its queues fall back",
			engine->plan->workers[worker_index].number);
		return -ETIMEDOUT;
	}
	note_placement(worker, &engine->plan->workers[worker_index]);
	worker->publish_error = 0;
	recycle(worker, old);
	return 0;
}

static void close_held(struct live_worker *worker)
{
	while (worker->held) {
		struct live_lane *lane = worker->held;

		worker->held = lane->next_held;
		port_free_lane(lane);
	}
}

bool crew_welcome_back(struct engine *engine)
{
	bool any = false;

	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		struct live_worker *worker = engine->workers[w];

		if (!worker->may_return || worker_seen(&worker->worker) < worker->set->generation)
			continue;
		recycle(worker, TAKE_PTR(worker->late_for));
		worker->may_return = false;
		worker->hangs = false;
		engine->n_abandoned--;
		log_notice("worker %u: responds again", engine->plan->workers[w].number);
		any = true;
		/* Its set may name lanes of ports that were closed without it. */
		if (worker->held && crew_publish(engine, w, NULL, false) == 0)
			close_held(worker);
	}
	return any;
}

void crew_stop_worker(struct engine *engine, struct live_worker *worker)
{
	if (!worker->hangs && worker_stop(&worker->worker, TAKE_UP_NS) < 0)
		abandon(engine, worker);
}

void crew_free_worker(struct engine *engine, struct live_worker *worker)
{
	if (!worker)
		return;
	crew_stop_worker(engine, worker);
	if (worker->hangs) {
		/* In no plan any more, but the tables must go on waiting for it. */
		worker->next_left = engine->left_behind;
		engine->left_behind = worker;
		return;
	}
	close_held(worker);
	free_worker(worker);
}

static void forget_port(struct live_worker *worker, const struct live_port *port)
{
	for (struct live_lane *lane = worker->held; lane; lane = lane->next_held) {
		if (lane->port == port)
			lane->port = NULL;
	}
}

void crew_forget_port(struct engine *engine, const struct live_port *port)
{
	for (uint32_t w = 0; w < engine_n_workers(engine); w++) {
		if (engine->workers[w])
			forget_port(engine->workers[w], port);
	}
	for (struct live_worker *left = engine->left_behind; left; left = left->next_left)
		forget_port(left, port);
}
