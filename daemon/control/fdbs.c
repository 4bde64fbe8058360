/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bridges: one forwarding database (net/fdb.h) each, filled from the learn rings of the
 * workers. Runs in the tables thread or under its lock; see control/tables_internal.h.
 *
 * A database speaks of ports by their place in the plan. When places change, a new one is made
 * beside the old: a worker that still has the old set reads the old places from the old database.
 * It is freed when all workers have taken up a set that was published later.
 */
#define LOG_DOMAIN "fdb"
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "control/json_add.h"
#include "control/tables_internal.h"
#include "net/fdb.h"
#include "util/log.h"
#include "util/pages.h"
#include "util/text.h"

#define NO_BRIDGE UINT32_MAX

struct bridge {
	struct tables_bridge config; /* its statics are not kept here */
	struct fdb *fdb;
	char port_names[ROUTE_MAX_PORTS][32]; /* by place; "": not of this bridge */
	uint64_t filled_at_ns;
	uint32_t tokens; /* addresses that may be learnt in this second */
	uint64_t n_learned, n_moved, n_aged, n_refused;
	uint64_t n_moved_before; /* a second ago */
	struct move {
		uint8_t mac[6];
		uint16_t from, to;
	} last_move;
};

/* So many moves in a second are no stations that roam. */
#define LOOP_MOVES_PER_S 100

/* A database that workers may still be reading. */
struct old_fdb {
	struct fdb *fdb;
	struct old_fdb *next;
	uint32_t n_readers;
	struct reader {
		struct worker *worker;
		uint64_t generation; /* of the latest set that may name it */
	} readers[];
};

struct fdbs {
	struct bridge *bridges;
	uint32_t n_bridges;
	uint32_t bridge_of[ROUTE_MAX_PORTS]; /* by place */
	struct worker **workers;
	uint32_t n_workers;
	struct old_fdb *old;
	uint8_t last_tag; /* of the databases made so far */
};

static const struct fib_pages fdb_pages = {.map = pages_map, .unmap = pages_unmap};

/* As workers count: struct worker's now_s. */
static uint32_t seconds(uint64_t ns)
{
	return (uint32_t)(ns / NSEC_PER_SEC);
}

int fdbs_new(struct fdbs **ret_fdbs)
{
	struct fdbs *fdbs = calloc(1, sizeof(*fdbs));

	if (!fdbs)
		return -ENOMEM;
	for (uint32_t i = 0; i < ROUTE_MAX_PORTS; i++)
		fdbs->bridge_of[i] = NO_BRIDGE;
	*ret_fdbs = fdbs;
	return 0;
}

static void old_fdb_free(struct old_fdb *old)
{
	fdb_free(old->fdb);
	free(old);
}

void fdbs_free(struct fdbs *fdbs)
{
	if (!fdbs)
		return;
	while (fdbs->old) {
		struct old_fdb *next = fdbs->old->next;

		old_fdb_free(fdbs->old);
		fdbs->old = next;
	}
	for (uint32_t i = 0; i < fdbs->n_bridges; i++)
		fdb_free(fdbs->bridges[i].fdb);
	free(fdbs->bridges);
	free(fdbs->workers);
	free(fdbs);
}

static struct bridge *find_bridge(const struct fdbs *fdbs, const char *name)
{
	for (uint32_t i = 0; i < fdbs->n_bridges; i++) {
		if (strcmp(fdbs->bridges[i].config.name, name) == 0)
			return &fdbs->bridges[i];
	}
	return NULL;
}

struct fdb *fdbs_find(struct fdbs *fdbs, const char *bridge)
{
	struct bridge *found = find_bridge(fdbs, bridge);

	return found ? found->fdb : NULL;
}

/* --- databases that are not used any more ------------------------------------------------------
 */

/* Never fails: without memory for the note, the database stays for ever. */
static void retire_fdb(struct fdbs *fdbs, struct fdb *fdb)
{
	struct old_fdb *old = malloc(sizeof(*old) + fdbs->n_workers * sizeof(old->readers[0]));

	if (!old) {
		log_warning("no memory to retire a forwarding database, leaving it");
		return;
	}
	*old = (struct old_fdb){.fdb = fdb, .next = fdbs->old, .n_readers = fdbs->n_workers};
	for (uint32_t i = 0; i < fdbs->n_workers; i++) {
		const struct worker_set *set =
			atomic_load_explicit(&fdbs->workers[i]->next, memory_order_relaxed);

		old->readers[i] = (struct reader){
			.worker = fdbs->workers[i],
			.generation = set ? set->generation : 0,
		};
	}
	fdbs->old = old;
}

/* Workers that are not configured any more have ended. */
static bool is_read(const struct fdbs *fdbs, const struct old_fdb *old)
{
	for (uint32_t r = 0; r < old->n_readers; r++) {
		for (uint32_t w = 0; w < fdbs->n_workers; w++) {
			if (fdbs->workers[w] == old->readers[r].worker &&
			    worker_seen(fdbs->workers[w]) <= old->readers[r].generation)
				return true;
		}
	}
	return false;
}

static void free_old(struct fdbs *fdbs)
{
	struct old_fdb **link = &fdbs->old;

	while (*link) {
		struct old_fdb *old = *link;

		if (is_read(fdbs, old)) {
			link = &old->next;
			continue;
		}
		*link = old->next;
		old_fdb_free(old);
	}
}

/* --- configuration ---------------------------------------------------------------------------- */

static void name_ports(struct bridge *bridge, const struct tables_config *config, uint32_t number)
{
	for (uint32_t i = 0; i < config->n_ports && i < ROUTE_MAX_PORTS; i++) {
		if (config->ports[i].bridge == number)
			(void)memcpy(bridge->port_names[i], config->ports[i].name,
				     sizeof(bridge->port_names[i]));
	}
}

static uint16_t place_of(const struct bridge *bridge, const char *port)
{
	for (uint16_t i = 0; i < ROUTE_MAX_PORTS; i++) {
		if (strcmp(bridge->port_names[i], port) == 0)
			return i;
	}
	return FDB_NO_PORT;
}

/* Do all ports that it may speak of stand where they stood? */
static bool can_keep_fdb(const struct bridge *bridge, const struct bridge *was)
{
	if (bridge->config.max_entries != was->config.max_entries)
		return false;
	for (uint32_t i = 0; i < ROUTE_MAX_PORTS; i++) {
		if (was->port_names[i][0] && strcmp(was->port_names[i], bridge->port_names[i]) != 0)
			return false;
	}
	return true;
}

struct copying {
	struct bridge *to;
	const struct bridge *from;
};

static bool copy_entry(const struct fdb_entry *entry, void *arg)
{
	const struct copying *copying = arg;
	uint16_t place = place_of(copying->to, copying->from->port_names[entry->port]);

	/* What finds no room in a smaller one is learnt again, or not: as if it had come later. */
	if (place != FDB_NO_PORT && !entry->is_static)
		(void)fdb_put(copying->to->fdb, entry->mac, place, false, entry->seen_s);
	return true;
}

/* They must have their room, even if all that was learnt has to be learnt again. */
static void put_statics(struct bridge *bridge, const struct tables_bridge *config)
{
	for (uint32_t i = 0; i < config->n_statics; i++) {
		const struct tables_static *entry = &config->statics[i];

		if (fdb_put(bridge->fdb, entry->mac, entry->port, true, 0) == 0)
			continue;
		(void)fdb_age(bridge->fdb, UINT32_MAX);
		if (fdb_put(bridge->fdb, entry->mac, entry->port, true, 0) == 0)
			continue;
		bridge->n_refused++;
		log_warning("bridge %s: no room for a static entry, its frames are flooded",
			    config->name);
	}
}

struct doomed {
	const struct tables_bridge *config;
	struct fdb *fdb;
};

static bool drop_static(const struct fdb_entry *entry, void *arg)
{
	const struct doomed *doomed = arg;

	if (!entry->is_static)
		return true;
	for (uint32_t i = 0; i < doomed->config->n_statics; i++) {
		if (memcmp(doomed->config->statics[i].mac, entry->mac, sizeof(entry->mac)) == 0)
			return true;
	}
	(void)fdb_delete(doomed->fdb, entry->mac);
	return true;
}

static int make_fdb(struct fdbs *fdbs, struct bridge *bridge)
{
	uint64_t seed = 0;

	/* Early in boot it may not be ready: then whoever knows that can choose addresses. */
	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
	seed = seed >> 8 | (uint64_t)++fdbs->last_tag << 56;
	return fdb_new(&fdb_pages, bridge->config.max_entries, seed, &bridge->fdb);
}

/* Fills in a bridge of the next configuration; `fdb` is NULL or its predecessor's. */
static int plan_bridge(struct fdbs *fdbs, struct bridge *bridge, const struct tables_config *config,
		       uint32_t number, const struct bridge *was)
{
	bridge->config = config->bridges[number];
	bridge->config.statics = NULL;
	name_ports(bridge, config, number);
	if (was) {
		bridge->filled_at_ns = was->filled_at_ns;
		bridge->tokens = was->tokens;
		bridge->n_learned = was->n_learned;
		bridge->n_moved = bridge->n_moved_before = was->n_moved;
		bridge->n_aged = was->n_aged;
		bridge->n_refused = was->n_refused;
		if (can_keep_fdb(bridge, was)) {
			bridge->fdb = was->fdb;
			return 0;
		}
	}
	return make_fdb(fdbs, bridge);
}

static void take_up_bridge(struct bridge *bridge, const struct tables_bridge *config,
			   const struct bridge *was)
{
	struct doomed doomed = {.config = config, .fdb = bridge->fdb};
	struct copying copying = {.to = bridge, .from = was};

	if (was && was->fdb == bridge->fdb)
		fdb_for_each(bridge->fdb, drop_static, &doomed);
	put_statics(bridge, config);
	if (was && was->fdb != bridge->fdb)
		fdb_for_each(was->fdb, copy_entry, &copying);
}

static void forget_new(struct fdbs *fdbs, struct bridge *bridges, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct bridge *was = find_bridge(fdbs, bridges[i].config.name);

		if (!was || was->fdb != bridges[i].fdb)
			fdb_free(bridges[i].fdb);
	}
	free(bridges);
}

static void retire_unused(struct fdbs *fdbs, const struct bridge *bridges, uint32_t n)
{
	for (uint32_t i = 0; i < fdbs->n_bridges; i++) {
		bool is_kept = false;

		for (uint32_t j = 0; j < n; j++)
			is_kept |= bridges[j].fdb == fdbs->bridges[i].fdb;
		if (!is_kept)
			retire_fdb(fdbs, fdbs->bridges[i].fdb);
	}
}

static void set_places(struct fdbs *fdbs, const struct tables_config *config)
{
	for (uint32_t i = 0; i < ROUTE_MAX_PORTS; i++)
		fdbs->bridge_of[i] = i < config->n_ports ? config->ports[i].bridge : NO_BRIDGE;
}

int fdbs_configure(struct fdbs *fdbs, const struct tables_config *config)
{
	struct bridge *bridges = calloc(config->n_bridges + 1, sizeof(*bridges));
	struct worker **workers = calloc(config->n_workers + 1, sizeof(struct worker *));
	uint32_t n = 0;
	int r = bridges && workers ? 0 : -ENOMEM;

	for (; r == 0 && n < config->n_bridges; n++)
		r = plan_bridge(fdbs, &bridges[n], config, n,
				find_bridge(fdbs, config->bridges[n].name));
	if (r < 0) {
		/* The last one has no database. */
		forget_new(fdbs, bridges, n > 0 ? n - 1 : 0);
		free(workers);
		return r;
	}
	for (uint32_t i = 0; i < n; i++)
		take_up_bridge(&bridges[i], &config->bridges[i],
			       find_bridge(fdbs, bridges[i].config.name));
	retire_unused(fdbs, bridges, n);
	free(fdbs->bridges);
	free(fdbs->workers);
	fdbs->bridges = bridges;
	fdbs->n_bridges = n;
	if (config->n_workers > 0)
		memcpy(workers, config->workers, config->n_workers * sizeof(struct worker *));
	fdbs->workers = workers;
	fdbs->n_workers = config->n_workers;
	set_places(fdbs, config);
	free_old(fdbs);
	return 0;
}

/* --- learning --------------------------------------------------------------------------------- */

static struct bridge *bridge_at(struct fdbs *fdbs, uint32_t place)
{
	uint32_t number = place < ROUTE_MAX_PORTS ? fdbs->bridge_of[place] : NO_BRIDGE;

	return number < fdbs->n_bridges ? &fdbs->bridges[number] : NULL;
}

/* As many as one second allows may come at once. */
static void fill_bucket(struct bridge *bridge, uint64_t now_ns)
{
	const uint32_t per_s = bridge->config.learn_per_s;
	uint64_t elapsed_ns = MIN(now_ns - bridge->filled_at_ns, NSEC_PER_SEC);
	uint64_t n_new = elapsed_ns * per_s / NSEC_PER_SEC;

	if (bridge->tokens + n_new >= per_s) {
		bridge->tokens = per_s;
		bridge->filled_at_ns = now_ns;
	} else if (n_new > 0) {
		bridge->tokens += (uint32_t)n_new;
		bridge->filled_at_ns += n_new * NSEC_PER_SEC / per_s;
	}
}

static void note_move(struct bridge *bridge, const uint8_t mac[6], uint16_t from, uint16_t to)
{
	bridge->n_moved++;
	memcpy(bridge->last_move.mac, mac, sizeof(bridge->last_move.mac));
	bridge->last_move.from = from;
	bridge->last_move.to = to;
}

static void learn(struct bridge *bridge, const uint8_t mac[6], uint16_t port, uint32_t now_s)
{
	uint16_t was = fdb_lookup(bridge->fdb, mac);
	int r;

	/* Reported more than once before it was drained. */
	if (was == port)
		return;
	if (bridge->tokens == 0) {
		bridge->n_refused++;
		return;
	}
	bridge->tokens--;
	r = fdb_put(bridge->fdb, mac, port, false, now_s);
	if (r == -ENOSPC)
		bridge->n_refused++;
	else if (r == 0 && was == FDB_NO_PORT)
		bridge->n_learned++;
	else if (r == 0)
		note_move(bridge, mac, was, port);
}

static void drain_ring(struct fdbs *fdbs, struct learn_ring *ring, uint32_t now_s)
{
	uint32_t n = learn_waiting(ring);

	for (uint32_t i = 0; i < n; i++) {
		learn_report report = learn_peek(ring, i);
		struct bridge *bridge = bridge_at(fdbs, learn_report_port(report));
		uint8_t mac[6];

		/* By a set that is about to be replaced: the next frame reports again. */
		if (!bridge || fdb_tag(bridge->fdb) != learn_report_tag(report))
			continue;
		learn_report_mac(report, mac);
		learn(bridge, mac, learn_report_port(report), now_s);
	}
	learn_done(ring, n);
}

void fdbs_drain(struct fdbs *fdbs, uint64_t now_ns)
{
	for (uint32_t i = 0; i < fdbs->n_bridges; i++)
		fill_bucket(&fdbs->bridges[i], now_ns);
	for (uint32_t i = 0; i < fdbs->n_workers; i++) {
		struct learn_ring *ring = fdbs->workers[i]->learn;
		uint64_t n;

		if (!ring)
			continue;
		(void)!read(ring->eventfd, &n, sizeof(n));
		drain_ring(fdbs, ring, seconds(now_ns));
		/* One ring at a time, and once each: a flood of reports must not keep the lock. */
		if (learn_want_wakeup(ring)) {
			n = 1;
			(void)!write(ring->eventfd, &n, sizeof(n));
		}
	}
}

void fdbs_port_down(struct fdbs *fdbs, uint32_t place, uint64_t now_ns)
{
	struct bridge *bridge = bridge_at(fdbs, place);

	if (!bridge)
		return;
	/* What was seen before it went down is not learnt after it. */
	fdbs_drain(fdbs, now_ns);
	(void)fdb_flush_port(bridge->fdb, (uint16_t)place, false);
}

/* There is no spanning tree here: a loop shows as addresses that are everywhere at once. */
static void tell_of_loop(struct bridge *bridge)
{
	const struct move *move = &bridge->last_move;
	uint64_t n = bridge->n_moved - bridge->n_moved_before;

	bridge->n_moved_before = bridge->n_moved;
	if (n < LOOP_MOVES_PER_S)
		return;
	log_warning("bridge %s: %llu moves in a second, the last of %02x:%02x:%02x:%02x:%02x:%02x "
		    "from %s to %s: a loop between ports?",
		    bridge->config.name, (unsigned long long)n, move->mac[0], move->mac[1],
		    move->mac[2], move->mac[3], move->mac[4], move->mac[5],
		    bridge->port_names[move->from % ROUTE_MAX_PORTS],
		    bridge->port_names[move->to % ROUTE_MAX_PORTS]);
}

void fdbs_age(struct fdbs *fdbs, uint64_t now_ns)
{
	for (uint32_t i = 0; i < fdbs->n_bridges; i++) {
		struct bridge *bridge = &fdbs->bridges[i];
		uint32_t ageing_s = seconds(bridge->config.ageing_ns);

		if (seconds(now_ns) > ageing_s)
			bridge->n_aged += fdb_age(bridge->fdb, seconds(now_ns) - ageing_s);
		tell_of_loop(bridge);
	}
	free_old(fdbs);
}

/* --- what it says ----------------------------------------------------------------------------- */

void fdbs_report(const struct fdbs *fdbs, struct report_tables *ret_report)
{
	ret_report->n_bridges = MIN(fdbs->n_bridges, (uint32_t)ROUTE_MAX_PORTS);
	for (uint32_t i = 0; i < ret_report->n_bridges; i++) {
		const struct bridge *bridge = &fdbs->bridges[i];
		struct report_bridge *report = &ret_report->bridges[i];

		*report = (struct report_bridge){
			.n_entries = fdb_count(bridge->fdb),
			.max_entries = bridge->config.max_entries,
			.n_learned = bridge->n_learned,
			.n_moved = bridge->n_moved,
			.n_aged = bridge->n_aged,
			.n_refused = bridge->n_refused,
		};
		memcpy(report->name, bridge->config.name, sizeof(report->name));
	}
}

struct listing {
	const struct bridge *bridge;
	struct json_object *rows;
	uint32_t n_left;
	uint32_t now_s;
	int error;
};

static int add_row(const struct listing *listing, const struct fdb_entry *entry)
{
	const uint8_t *mac = entry->mac;
	struct json_object *row = json_object_new_object();
	char text[18];
	int r;

	(void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		       mac[3], mac[4], mac[5]);
	r = json_append(listing->rows, row);
	if (r < 0)
		return r;
	r = json_add(row, "bridge", json_object_new_string(listing->bridge->config.name));
	if (r == 0)
		r = json_add(row, "mac", json_object_new_string(text));
	if (r == 0)
		r = json_add(row, "port",
			     json_object_new_string(listing->bridge->port_names[entry->port]));
	if (r == 0)
		r = json_add(row, "static", json_object_new_boolean(entry->is_static));
	/* A worker's second may have begun before this thread's. */
	if (r == 0 && !entry->is_static)
		r = json_add(
			row, "age_s",
			json_object_new_int64(MAX((int64_t)listing->now_s - entry->seen_s, 0)));
	return r;
}

static bool list_entry(const struct fdb_entry *entry, void *arg)
{
	struct listing *listing = arg;

	if (listing->n_left == 0)
		return false;
	listing->n_left--;
	listing->error = add_row(listing, entry);
	return listing->error == 0;
}

struct json_object *fdbs_json(const struct fdbs *fdbs, const char *bridge, uint32_t max,
			      uint64_t now_ns)
{
	struct listing listing = {
		.rows = json_object_new_array(), .n_left = max, .now_s = seconds(now_ns)};

	if (!listing.rows)
		return NULL;
	for (uint32_t i = 0; i < fdbs->n_bridges && listing.error == 0; i++) {
		listing.bridge = &fdbs->bridges[i];
		if (!bridge || strcmp(bridge, listing.bridge->config.name) == 0)
			fdb_for_each(listing.bridge->fdb, list_entry, &listing);
	}
	if (listing.error < 0) {
		json_object_put(listing.rows);
		return NULL;
	}
	return listing.rows;
}
