// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The maps of bpf/splice.bpf.c and their life: see splice_maps.h. Thread: control makes and frees;
 * acceptors use the rings and words of their own blocks. How a socket enters and leaves is
 * kern/splice_enter.c.
 */
#include "kern/splice_maps.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <splice.skel.h>
#include <sys/mman.h>

#include "kern/load_log.h"
#include "kern/splice_maps_internal.h"
#include "util/macros.h"

/* Events of one call to splice_events_drain(): an acceptor has other work. */
#define DRAIN_MAX 512

#define NO_EVENTS (-ECANCELED)

static void splice_maps_freep(struct splice_maps **maps)
{
	splice_maps_free(*maps);
}

/* --- Loading --------------------------------------------------------------------------------- */

static int set_attach_types(struct splice_bpf *skel)
{
	int r = bpf_program__set_expected_attach_type(skel->progs.sluice_splice,
						      BPF_SK_SKB_VERDICT);

	/* Since 6.18 a tail call demands the same type at both ends. */
	return r < 0 ? r :
		       bpf_program__set_expected_attach_type(skel->progs.sluice_verdict,
							     BPF_SK_SKB_VERDICT);
}

static int set_sizes(struct splice_bpf *skel, uint32_t n_sides, uint32_t n_acceptors)
{
	const struct {
		struct bpf_map *map;
		uint32_t n;
	} sizes[] = {
		{skel->maps.splice_in, n_sides},  {skel->maps.splice_out, n_sides},
		{skel->maps.flow_of, n_sides},    {skel->maps.flows, n_sides},
		{skel->maps.events, n_acceptors},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sizes); i++)
		r = bpf_map__set_max_entries(sizes[i].map, sizes[i].n);
	return r;
}

static int load(struct splice_maps *maps, const struct splice_verdict_config *config)
{
	int r;

	load_log_begin();
	maps->skel = splice_bpf__open();
	if (!maps->skel)
		return -errno;
	maps->skel->rodata->config = *config;
	r = set_attach_types(maps->skel);
	if (r == 0)
		r = set_sizes(maps->skel, maps->n_sides, maps->n_acceptors);
	if (r == 0)
		r = splice_bpf__load(maps->skel);
	if (r < 0)
		return r;
	maps->in_fd = bpf_map__fd(maps->skel->maps.splice_in);
	maps->out_fd = bpf_map__fd(maps->skel->maps.splice_out);
	maps->flow_of_fd = bpf_map__fd(maps->skel->maps.flow_of);
	return 0;
}

int splice_maps_swap_verdict(struct splice_maps *maps, int prog_fd)
{
	const uint32_t slot = 0;

	if (prog_fd < 0)
		prog_fd = bpf_program__fd(maps->skel->progs.sluice_verdict);
	return bpf_map_update_elem(bpf_map__fd(maps->skel->maps.verdict_logic), &slot, &prog_fd,
				   BPF_ANY);
}

static int attach(struct splice_maps *maps)
{
	int r = splice_maps_swap_verdict(maps, -1);

	return r < 0 ? r :
		       bpf_prog_attach(bpf_program__fd(maps->skel->progs.sluice_splice),
				       maps->in_fd, BPF_SK_SKB_VERDICT, 0);
}

/* --- A second instance of the logic ------------------------------------------------------------
 */

static void splice_bpf_freep(struct splice_bpf **skel)
{
	splice_bpf__destroy(*skel);
}

static int share_maps(struct splice_bpf *skel, const struct splice_bpf *live)
{
	const struct {
		struct bpf_map *map, *of_live;
	} shared[] = {
		{skel->maps.splice_in, live->maps.splice_in},
		{skel->maps.splice_out, live->maps.splice_out},
		{skel->maps.flow_of, live->maps.flow_of},
		{skel->maps.flows, live->maps.flows},
		{skel->maps.events, live->maps.events},
		{skel->maps.verdict_logic, live->maps.verdict_logic},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(shared); i++)
		r = bpf_map__reuse_fd(shared[i].map, bpf_map__fd(shared[i].of_live));
	return r;
}

int splice_maps_load_verdict(struct splice_maps *maps, const struct splice_verdict_config *config,
			     int *ret_prog_fd)
{
	_cleanup_(splice_bpf_freep) struct splice_bpf *skel = splice_bpf__open();
	int r, fd;

	if (!skel)
		return -errno;
	skel->rodata->config = *config;
	r = set_attach_types(skel);
	if (r == 0)
		r = share_maps(skel, maps->skel);
	if (r == 0)
		r = splice_bpf__load(skel);
	if (r < 0)
		return r;
	fd = fcntl(bpf_program__fd(skel->progs.sluice_verdict), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret_prog_fd = fd;
	return 0;
}

/* --- Rings -------------------------------------------------------------------------------------
 */

static int on_event(void *arg, void *sample, size_t size)
{
	struct splice_ring *ring = arg;
	const struct splice_event *event = sample;
	const struct splice_flow *flow;

	if (size < sizeof(*event) || event->side >= ring->maps->n_sides)
		return 0;
	flow = &ring->maps->flows[event->side];
	if (event->generation == flow->generation)
		ring->fn(event, ring->fn_arg);
	/* Stops libbpf's loop behind this event. */
	return ++ring->n_drained < DRAIN_MAX ? 0 : NO_EVENTS;
}

static int make_ring(struct splice_maps *maps, uint32_t acceptor)
{
	struct splice_ring *ring = &maps->rings[acceptor];
	int r;

	ring->maps = maps;
	ring->fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "splice_events", 0, 0, SPLICE_RING_BYTES,
				  NULL);
	if (ring->fd < 0)
		return ring->fd;
	ring->buffer = ring_buffer__new(ring->fd, on_event, ring, NULL);
	if (!ring->buffer)
		return -errno;
	r = bpf_map_update_elem(bpf_map__fd(maps->skel->maps.events), &acceptor, &ring->fd, 0);
	return r;
}

static int make_rings(struct splice_maps *maps)
{
	int r = 0;

	for (uint32_t a = 0; r == 0 && a < maps->n_acceptors; a++)
		r = make_ring(maps, a);
	return r;
}

int splice_events_fd(const struct splice_maps *maps, uint32_t acceptor)
{
	assert(acceptor < maps->n_acceptors);
	return maps->rings[acceptor].fd;
}

int splice_events_drain(struct splice_maps *maps, uint32_t acceptor,
			void (*fn)(const struct splice_event *event, void *arg), void *arg)
{
	struct splice_ring *ring = &maps->rings[acceptor];
	int r;

	assert(acceptor < maps->n_acceptors);
	ring->fn = fn;
	ring->fn_arg = arg;
	ring->n_drained = 0;
	r = ring_buffer__consume(ring->buffer);
	return r < 0 && r != NO_EVENTS ? r : (int)ring->n_drained;
}

/* --- Words -------------------------------------------------------------------------------------
 */

static int map_flows(struct splice_maps *maps)
{
	void *flows = mmap(NULL, maps->n_sides * sizeof(struct splice_flow), PROT_READ | PROT_WRITE,
			   MAP_SHARED, bpf_map__fd(maps->skel->maps.flows), 0);

	if (flows == MAP_FAILED)
		return -errno;
	maps->flows = flows;
	return 0;
}

struct splice_flow *splice_flow(struct splice_maps *maps, uint32_t side)
{
	assert(side < maps->n_sides);
	return &maps->flows[side];
}

void splice_maps_block(const struct splice_maps *maps, uint32_t acceptor, uint32_t *ret_first,
		       uint32_t *ret_n)
{
	assert(acceptor < maps->n_acceptors);
	*ret_first = acceptor * maps->n_conns_each;
	*ret_n = maps->n_conns_each;
}

uint64_t splice_redirected(const struct splice_flow *flow)
{
	return __atomic_load_n(&flow->redirected, __ATOMIC_ACQUIRE);
}

uint64_t splice_passed(const struct splice_flow *flow)
{
	return __atomic_load_n(&flow->passed, __ATOMIC_ACQUIRE);
}

bool splice_is_owed(const struct splice_flow *flow)
{
	return splice_passed(flow) != __atomic_load_n(&flow->consumed, __ATOMIC_RELAXED);
}

bool splice_consume(struct splice_flow *flow, uint64_t n)
{
	const uint64_t consumed = flow->consumed + n;

	/* The order of the two pairs with the verdict's fetch-and-add, in pass() of splice.bpf.c.
	 * (Not a fence: ThreadSanitizer knows none.) */
	__atomic_store_n(&flow->consumed, consumed, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&flow->passed, __ATOMIC_SEQ_CST) != consumed;
}

/* --- Life --------------------------------------------------------------------------------------
 */

int splice_maps_new(const struct splice_maps_spec *spec, struct splice_maps **ret_maps)
{
	_cleanup_(splice_maps_freep) struct splice_maps *maps = NULL;
	const struct splice_verdict_config config = {
		.credit_bytes = spec->credit_bytes ? spec->credit_bytes : SPLICE_CREDIT_BYTES,
		.rule = spec->rule,
	};
	int r;

	if (spec->n_conns == 0 || spec->n_conns > UINT32_MAX / 4 || spec->n_acceptors == 0 ||
	    spec->n_acceptors > SPLICE_MAX_ACCEPTORS)
		return -EINVAL;
	maps = calloc(1, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	for (unsigned a = 0; a < SPLICE_MAX_ACCEPTORS; a++)
		maps->rings[a].fd = -1;
	maps->n_acceptors = spec->n_acceptors;
	maps->n_conns_each = (spec->n_conns + spec->n_acceptors - 1) / spec->n_acceptors;
	maps->n_sides = 2 * maps->n_conns_each * maps->n_acceptors;
	maps->sockets = calloc(maps->n_sides, sizeof(*maps->sockets));
	if (!maps->sockets)
		return -ENOMEM;
	r = load(maps, &config);
	if (r == 0)
		r = map_flows(maps);
	if (r == 0)
		r = make_rings(maps);
	if (r == 0)
		r = attach(maps);
	if (r < 0)
		return r;
	*ret_maps = TAKE_PTR(maps);
	return 0;
}

void splice_maps_free(struct splice_maps *maps)
{
	if (!maps)
		return;
	for (uint32_t a = 0; a < SPLICE_MAX_ACCEPTORS; a++) {
		ring_buffer__free(maps->rings[a].buffer);
		close_fdp(&maps->rings[a].fd);
	}
	if (maps->flows)
		(void)munmap(maps->flows, maps->n_sides * sizeof(struct splice_flow));
	splice_bpf__destroy(maps->skel);
	free(maps->sockets);
	free(maps);
}
