// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Holds the program of one port to its interface, and reads and writes its maps. Thread: control. A
 * struct port_prog owns the skeleton (program and map fds) that port_prog_load.c made, the mapping
 * of the heartbeat map and the link's fd.
 */
#include "kern/port_prog.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <redirect.skel.h>
#include <string.h>
#include <sys/mman.h>

#include "kern/grace.h"
#include "kern/pin.h"
#include "kern/port_prog_load.h"
#include "util/macros.h"

struct port_prog {
	struct redirect *skel;
	struct redirect *twin; /* for port_prog_explain(), loaded when first asked; else NULL */
	struct sluice_heartbeat *heartbeat; /* mapped: line 0 w: control; line 1 + w  w: worker w */
	size_t heartbeat_bytes;
	unsigned n_workers;
	unsigned n_queues;
	uint32_t id;
	uint32_t ifindex;
	bool is_generic;
	int link_fd; /* -1 until attached */
	char *port;
	char *pin_path;   /* the port's pin directory, NULL = nothing is pinned */
	uint64_t *percpu; /* n_cpus: one value of `verdicts` */
	int n_cpus;
	uint64_t adopted[SLUICE_V_N]; /* what the predecessors had counted */
};

static void port_prog_freep(struct port_prog **prog)
{
	port_prog_free(*prog);
}

/* --- Loading --------------------------------------------------------------------------------- */

static int read_prog_id(struct port_prog *prog)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int r = bpf_obj_get_info_by_fd(redirect_prog_fd(prog->skel), &info, &size);

	if (r == 0)
		prog->id = info.id;
	return r;
}

static int map_heartbeat(struct port_prog *prog)
{
	size_t bytes = (1 + (size_t)prog->n_workers) * sizeof(struct sluice_heartbeat);
	void *addr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(prog->skel->maps.heartbeat), 0);

	if (addr == MAP_FAILED)
		return -errno;
	prog->heartbeat = addr;
	prog->heartbeat_bytes = bytes;
	return 0;
}

int port_prog_load(const struct port_prog_spec *spec, struct port_prog **ret_prog)
{
	_cleanup_(port_prog_freep) struct port_prog *prog = NULL;
	int r;

	prog = calloc(1, sizeof(*prog));
	if (!prog)
		return -ENOMEM;
	prog->link_fd = -1;
	prog->ifindex = spec->ifindex;
	prog->is_generic = spec->generic;
	prog->n_queues = spec->n_queues;
	prog->n_workers = spec->n_workers;
	prog->n_cpus = libbpf_num_possible_cpus();
	if (prog->n_cpus < 0)
		return prog->n_cpus;
	prog->percpu = calloc((size_t)prog->n_cpus, sizeof(*prog->percpu));
	prog->port = strdup(spec->port);
	if (!prog->percpu || !prog->port)
		return -ENOMEM;

	r = redirect_load(spec, &prog->skel);
	if (r == 0)
		r = read_prog_id(prog);
	if (r == 0)
		r = map_heartbeat(prog);
	if (r < 0)
		return r;
	*ret_prog = TAKE_PTR(prog);
	return 0;
}

void port_prog_free(struct port_prog *prog)
{
	if (!prog)
		return;
	close_fdp(&prog->link_fd);
	if (prog->heartbeat)
		(void)munmap(prog->heartbeat, prog->heartbeat_bytes);
	redirect__destroy(prog->twin);
	redirect__destroy(prog->skel);
	free(prog->percpu);
	free(prog->pin_path);
	free(prog->port);
	free(prog);
}

uint32_t port_prog_id(const struct port_prog *prog)
{
	return prog->id;
}

/* --- Verdicts -------------------------------------------------------------------------------- */

static int read_verdicts(const struct port_prog *prog, int fd, uint32_t first_key,
			 uint64_t ret_counts[SLUICE_V_N])
{
	uint64_t counts[SLUICE_V_N] = {};
	int r;

	for (uint32_t reason = 0; reason < SLUICE_V_N; reason++) {
		uint32_t key = first_key + reason;

		r = bpf_map_lookup_elem(fd, &key, prog->percpu);
		if (r < 0)
			return r;
		for (int cpu = 0; cpu < prog->n_cpus; cpu++)
			counts[reason] += prog->percpu[cpu];
	}
	memcpy(ret_counts, counts, sizeof(counts));
	return 0;
}

int port_prog_verdicts(struct port_prog *prog, uint64_t ret_counts[SLUICE_V_N])
{
	return read_verdicts(prog, bpf_map__fd(prog->skel->maps.verdicts), 0, ret_counts);
}

void port_prog_adopted_verdicts(const struct port_prog *prog, uint64_t ret_counts[SLUICE_V_N])
{
	memcpy(ret_counts, prog->adopted, sizeof(prog->adopted));
}

/* A predecessor of another version may have had other reasons: then nothing can be carried over. */
static bool has_our_reasons(int verdicts_fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(verdicts_fd, &info, &size) == 0 &&
	       info.type == BPF_MAP_TYPE_PERCPU_ARRAY && info.value_size == sizeof(uint64_t) &&
	       info.max_entries == 2 * SLUICE_V_N;
}

/*
 * Takes over the totals of the program replaced, which has run its last frame: what it counted
 * and what it had taken over itself. They are noted in our own map too, for our successor.
 */
static int adopt_verdicts(struct port_prog *prog, int old_fd)
{
	uint64_t counted[SLUICE_V_N], inherited[SLUICE_V_N];
	int r;

	if (!has_our_reasons(old_fd))
		return 0;
	r = read_verdicts(prog, old_fd, 0, counted);
	if (r == 0)
		r = read_verdicts(prog, old_fd, SLUICE_V_N, inherited);
	for (uint32_t reason = 0; r == 0 && reason < SLUICE_V_N; reason++) {
		uint32_t key = SLUICE_V_N + reason;

		prog->adopted[reason] = counted[reason] + inherited[reason];
		memset(prog->percpu, 0, (size_t)prog->n_cpus * sizeof(*prog->percpu));
		prog->percpu[0] = prog->adopted[reason];
		r = bpf_map_update_elem(bpf_map__fd(prog->skel->maps.verdicts), &key, prog->percpu,
					BPF_ANY);
	}
	return r;
}

/* --- Attaching ------------------------------------------------------------------------------- */

static int query_interface(uint32_t ifindex, uint32_t *ret_prog_id, bool *ret_generic)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	int r = bpf_xdp_query((int)ifindex, 0, &opts);

	if (r < 0)
		return r;
	*ret_generic = opts.attach_mode == XDP_ATTACHED_SKB;
	*ret_prog_id = opts.prog_id;
	/* One in the driver and one in the hardware: prog_id is 0 then. */
	if (opts.attach_mode == XDP_ATTACHED_MULTI)
		*ret_prog_id = opts.drv_prog_id ? opts.drv_prog_id : opts.hw_prog_id;
	return 0;
}

bool port_prog_has_none(uint32_t ifindex)
{
	uint32_t prog_id;
	bool generic;

	return query_interface(ifindex, &prog_id, &generic) == 0 && prog_id == 0;
}

static void describe_conflict(uint32_t ifindex, struct port_prog_conflict *ret_conflict)
{
	struct port_prog_conflict conflict = {};
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	_cleanup_close_ int fd = -1;

	(void)query_interface(ifindex, &conflict.prog_id, &conflict.generic);
	if (conflict.prog_id)
		fd = bpf_prog_get_fd_by_id(conflict.prog_id); /* needs CAP_SYS_ADMIN */
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		(void)snprintf(conflict.name, sizeof(conflict.name), "%s", info.name);
	*ret_conflict = conflict;
}

static int create_link(struct port_prog *prog, struct port_prog_conflict *ret_conflict)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = prog->is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(redirect_prog_fd(prog->skel), (int)prog->ifindex, BPF_XDP, &opts);

	if (fd == -EBUSY || fd == -EEXIST)
		describe_conflict(prog->ifindex, ret_conflict);
	if (fd < 0)
		return fd;
	prog->link_fd = fd;
	return 0;
}

static int stage(struct port_prog *prog, const char *path)
{
	const int fds[PIN_OBJECT_N] = {
		[PIN_PROG] = redirect_prog_fd(prog->skel),
		[PIN_XSKS] = bpf_map__fd(prog->skel->maps.xsks),
		[PIN_HEARTBEAT] = bpf_map__fd(prog->skel->maps.heartbeat),
		[PIN_VERDICTS] = bpf_map__fd(prog->skel->maps.verdicts),
	};

	return pin_stage(path, fds);
}

static int attach_pinned(struct port_prog *prog, const char *path,
			 struct port_prog_conflict *ret_conflict)
{
	int r = stage(prog, path);

	if (r == 0)
		r = create_link(prog, ret_conflict);
	if (r == 0)
		r = pin_link(path, prog->link_fd);
	if (r == 0)
		r = pin_promote(path);
	if (r < 0) {
		close_fdp(&prog->link_fd);
		(void)pin_clear(path);
	}
	return r;
}

/* Is what the pinned link holds on our interface, in our mode? A link cannot change its mode. */
static bool is_usable(const struct port_prog *prog, const struct pin *pin)
{
	uint32_t prog_id;
	bool generic;

	return query_interface(prog->ifindex, &prog_id, &generic) == 0 && prog_id == pin->prog_id &&
	       generic == prog->is_generic;
}

/* Swaps our program in on the predecessor's link. -ENOLINK: its device has just gone. */
static int adopt_link(struct port_prog *prog, const char *path, struct pin *pin)
{
	_cleanup_close_ int old_verdicts_fd = -1;
	int r = 0;

	if (pin->is_staged)
		r = pin_promote(path);
	if (r < 0)
		return r;
	old_verdicts_fd = pin_open_object(path, PIN_VERDICTS);
	r = stage(prog, path);
	if (r < 0)
		return r;
	r = bpf_link_update(pin->link_fd, redirect_prog_fd(prog->skel), NULL);
	if (r < 0) {
		pin_unstage(path);
		return r;
	}
	prog->link_fd = TAKE_FD(pin->link_fd);
	if (old_verdicts_fd >= 0) {
		/* Other CPUs may be in the middle of a poll with the old program. */
		r = grace_wait();
		if (r == 0)
			r = adopt_verdicts(prog, old_verdicts_fd);
	}
	return r < 0 ? r : pin_promote(path);
}

/*
 * Brings the pins in `path` to one of two states: nothing there (0), or our program on the
 * predecessor's link (1).
 */
static int settle_pins(struct port_prog *prog, const char *path,
		       struct port_prog_conflict *ret_conflict)
{
	_cleanup_(pin_close) struct pin pin = {.link_fd = -1};
	int r = pin_open(path, &pin);

	if (r < 0)
		return r;
	if (pin.state == PIN_FOREIGN || pin.state == PIN_BROKEN) {
		*ret_conflict = (struct port_prog_conflict){
			.pin_is_foreign = pin.state == PIN_FOREIGN,
			.pin_is_broken = pin.state == PIN_BROKEN,
		};
		return -EPERM;
	}
	if (pin.state == PIN_ALIVE && is_usable(prog, &pin)) {
		r = adopt_link(prog, path, &pin);
		if (r != -ENOLINK)
			return r < 0 ? r : 1;
	}
	/* On another interface or in another mode: not what the configuration says any more. */
	if (pin.state == PIN_ALIVE)
		(void)bpf_link_detach(pin.link_fd);
	return pin.state == PIN_NONE ? 0 : pin_clear(path);
}

int port_prog_attach(struct port_prog *prog, const char *pin_dir, bool *ret_adopted,
		     struct port_prog_conflict *ret_conflict)
{
	char path[PATH_MAX];
	int r;

	assert(prog->link_fd < 0);
	if (!pin_dir) {
		r = create_link(prog, ret_conflict);
		if (r == 0)
			*ret_adopted = false;
		return r;
	}
	r = pin_port_path(pin_dir, prog->port, path);
	if (r < 0)
		return r;
	prog->pin_path = strdup(path);
	if (!prog->pin_path)
		return -ENOMEM;

	r = settle_pins(prog, path, ret_conflict);
	if (r == 1) {
		*ret_adopted = true;
		return 0;
	}
	if (r == 0)
		r = attach_pinned(prog, path, ret_conflict);
	if (r < 0) {
		free(TAKE_PTR(prog->pin_path));
		return r;
	}
	*ret_adopted = false;
	return 0;
}

bool port_prog_is_attached(const struct port_prog *prog)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	return prog->link_fd >= 0 && bpf_obj_get_info_by_fd(prog->link_fd, &info, &size) == 0 &&
	       info.xdp.ifindex == prog->ifindex;
}

int port_prog_detach(struct port_prog *prog)
{
	int r = 0;

	if (prog->link_fd >= 0) {
		/* Synchronous, unlike the end of the last reference; fine on a defunct link. */
		r = bpf_link_detach(prog->link_fd);
		close_fdp(&prog->link_fd);
	}
	if (r == 0 && prog->pin_path) {
		r = pin_clear(prog->pin_path);
		free(TAKE_PTR(prog->pin_path));
	}
	return r;
}

/* --- Explaining ------------------------------------------------------------------------------ */

static int need_twin(struct port_prog *prog)
{
	return prog->twin ? 0 : redirect_load_twin(prog->skel, &prog->twin);
}

/* Which counter of the twin moved? One of them does: verdict() is the program's only way out. */
static int moved_verdict(const uint64_t before[SLUICE_V_N], const uint64_t after[SLUICE_V_N],
			 enum sluice_verdict *ret_verdict)
{
	for (unsigned reason = 0; reason < SLUICE_V_N; reason++) {
		if (after[reason] != before[reason]) {
			*ret_verdict = (enum sluice_verdict)reason;
			return 0;
		}
	}
	return -ENODATA;
}

int port_prog_explain(struct port_prog *prog, const void *frame, uint32_t len, uint32_t queue,
		      enum sluice_verdict *ret_verdict, uint32_t *ret_action)
{
	uint64_t before[SLUICE_V_N], after[SLUICE_V_N];
	struct xdp_md ctx = {
		.data_end = len, .ingress_ifindex = prog->ifindex, .rx_queue_index = queue};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int r;

	if (len < ETH_HLEN)
		return -EINVAL;
	r = need_twin(prog);
	if (r < 0)
		return r;
	r = read_verdicts(prog, bpf_map__fd(prog->twin->maps.verdicts), 0, before);
	if (r == 0)
		r = bpf_prog_test_run_opts(redirect_prog_fd(prog->twin), &opts);
	if (r == 0)
		r = read_verdicts(prog, bpf_map__fd(prog->twin->maps.verdicts), 0, after);
	if (r == 0)
		r = moved_verdict(before, after, ret_verdict);
	if (r < 0)
		return r;
	*ret_action = opts.retval;
	return 0;
}

/* --- While it runs --------------------------------------------------------------------------- */

int port_prog_set_xsk(struct port_prog *prog, unsigned queue, int xsk_fd)
{
	return bpf_map_update_elem(bpf_map__fd(prog->skel->maps.xsks), &queue, &xsk_fd, BPF_ANY);
}

int port_prog_clear_xsk(struct port_prog *prog, unsigned queue)
{
	int r = bpf_map_delete_elem(bpf_map__fd(prog->skel->maps.xsks), &queue);

	return r == -ENOENT ? 0 : r;
}

uint64_t *port_prog_beat(struct port_prog *prog, unsigned worker)
{
	assert(worker < prog->n_workers);
	/* u64 and __u64 are different types of one representation. */
	return (uint64_t *)&prog->heartbeat[1 + worker].beat;
}

struct sluice_heartbeat *port_prog_line(struct port_prog *prog)
{
	return &prog->heartbeat[0];
}

void port_prog_set_detached(struct port_prog *prog, bool detached)
{
	/* Read by the program on other CPUs; alone in its line, ordered with nothing. */
	__atomic_store_n(&prog->heartbeat[0].detach, (__u64)detached, __ATOMIC_RELAXED);
}
