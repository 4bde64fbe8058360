// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes an instance of bpf/redirect.bpf.c for one port out of what the plan says of it: constants,
 * the sizes and nodes of its maps, and the daemon's gate in the place of its own. Thread: control.
 */
#include "kern/port_prog_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <redirect.skel.h>
#include <string.h>

#include "kern/gate.h"
#include "kern/load_log.h"
#include "util/macros.h"

static void redirect_freep(struct redirect **skel)
{
	redirect__destroy(*skel);
}

/* --- Loading --------------------------------------------------------------------------------- */

static bool needs_gate(const struct port_prog_spec *spec)
{
	return spec->config.forward == SLUICE_FORWARD_ROUTE ||
	       spec->config.forward == SLUICE_FORWARD_BRIDGE;
}

static int check_spec(const struct port_prog_spec *spec)
{
	if (spec->n_queues < 1 || spec->n_queues > SLUICE_MAX_QUEUES ||
	    spec->n_workers >= SLUICE_NO_WORKER || !spec->port[0])
		return -EINVAL;
	if (spec->config.forward >= SLUICE_FORWARD_N || (needs_gate(spec) && !spec->gate))
		return -EINVAL;
	if (spec->config.fallback != XDP_PASS && spec->config.fallback != XDP_DROP)
		return -EINVAL;
	for (unsigned q = 0; q < spec->n_queues; q++) {
		if (spec->queue_worker[q] != SLUICE_NO_WORKER &&
		    spec->queue_worker[q] >= spec->n_workers)
			return -EINVAL;
	}
	return 0;
}

static void set_rodata(struct redirect__rodata *rodata, const struct port_prog_spec *spec)
{
	rodata->config = spec->config;
	for (unsigned q = 0; q < SLUICE_MAX_QUEUES; q++) {
		uint16_t worker = q < spec->n_queues ? spec->queue_worker[q] : SLUICE_NO_WORKER;

		rodata->queue_line[q] = worker == SLUICE_NO_WORKER ? SLUICE_NO_WORKER : 1u + worker;
	}
}

/* The kernel answers EINVAL for a node that is not online. */
static bool is_node_online(int node)
{
	char path[64];

	if (node < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	return access(path, F_OK) == 0;
}

/*
 * The maps that live with one port, on its node; per-CPU maps have a node per CPU and refuse the
 * flag, and those of the gate exist already.
 */
static int set_map_nodes(struct bpf_object *object, int node)
{
	struct bpf_map *map;
	int r = 0;

	if (!is_node_online(node))
		return 0;
	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY || bpf_map__fd(map) >= 0)
			continue;
		r = bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_NUMA_NODE);
		if (r == 0)
			r = bpf_map__set_numa_node(map, (__u32)node);
		if (r < 0)
			return r;
	}
	return 0;
}

/* In the place of a map: the one behind `fd`, or none (-1), where no program is loaded that names
 * it. */
static int set_map_fd(struct bpf_map *map, int fd)
{
	return fd >= 0 ? bpf_map__reuse_fd(map, fd) : bpf_map__set_autocreate(map, false);
}

static int set_gate(struct redirect *skel, const struct port_prog_spec *spec)
{
	const struct gate_fds fds =
		needs_gate(spec) ? gate_fds(spec->gate) : (struct gate_fds){-1, -1, -1, -1};
	int r = set_map_fd(skel->maps.gate4, fds.gate4);

	if (r == 0)
		r = set_map_fd(skel->maps.gate6, fds.gate6);
	if (r == 0)
		r = set_map_fd(skel->maps.local4, fds.local4);
	if (r == 0)
		r = set_map_fd(skel->maps.local6, fds.local6);
	return r;
}

static struct bpf_program *program_of(const struct redirect *skel)
{
	switch (skel->rodata->config.forward) {
	case SLUICE_FORWARD_ROUTE:
		return skel->progs.sluice_route;
	case SLUICE_FORWARD_BRIDGE:
		return skel->progs.sluice_bridge;
	default:
		return skel->progs.sluice_redirect;
	}
}

int redirect_prog_fd(const struct redirect *skel)
{
	return bpf_program__fd(program_of(skel));
}

/* The constants are there: they say which program it is. */
static int load_program(struct redirect *skel)
{
	struct bpf_program *program;
	int r = 0;

	bpf_object__for_each_program(program, skel->obj)
	{
		r = bpf_program__set_autoload(program, program == program_of(skel));
		if (r < 0)
			return r;
	}
	return redirect__load(skel);
}

int redirect_load(const struct port_prog_spec *spec, struct redirect **ret_skel)
{
	_cleanup_(redirect_freep) struct redirect *skel = NULL;
	int r;

	load_log_begin();
	r = check_spec(spec);
	if (r < 0)
		return r;

	skel = redirect__open();
	if (!skel)
		return -errno;
	set_rodata(skel->rodata, spec);
	r = bpf_map__set_max_entries(skel->maps.xsks, spec->n_queues);
	if (r == 0)
		r = bpf_map__set_max_entries(skel->maps.heartbeat, 1 + spec->n_workers);
	if (r == 0)
		r = set_gate(skel, spec);
	if (r == 0)
		r = set_map_nodes(skel->obj, spec->numa_node);
	if (r == 0)
		r = load_program(skel);
	if (r < 0)
		return r;
	*ret_skel = TAKE_PTR(skel);
	return 0;
}

static int share_maps(struct redirect *skel, const struct redirect *live)
{
	const struct {
		struct bpf_map *map, *of_live;
	} shared[] = {
		{skel->maps.xsks, live->maps.xsks},
		{skel->maps.heartbeat, live->maps.heartbeat},
		{skel->maps.gate4, live->maps.gate4},
		{skel->maps.gate6, live->maps.gate6},
		{skel->maps.local4, live->maps.local4},
		{skel->maps.local6, live->maps.local6},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(shared); i++)
		r = set_map_fd(shared[i].map, bpf_map__fd(shared[i].of_live));
	return r;
}

int redirect_load_twin(const struct redirect *live, struct redirect **ret_skel)
{
	_cleanup_(redirect_freep) struct redirect *skel = NULL;
	int r;

	load_log_begin();
	skel = redirect__open();
	if (!skel)
		return -errno;
	*skel->rodata = *live->rodata;
	r = share_maps(skel, live);
	if (r == 0)
		r = load_program(skel);
	if (r < 0)
		return r;
	*ret_skel = TAKE_PTR(skel);
	return 0;
}
