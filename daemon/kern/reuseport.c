// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A group of listening sockets and the program that chooses among them: see reuseport.h. Owns the
 * program, its sockarray and the mapped lines; the sockets are the caller's. Thread: control.
 */
#include "kern/reuseport.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <reuseport.skel.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kern/load_log.h"
#include "util/macros.h"

#define N_SLOTS    (2 * SPLICE_MAX_ACCEPTORS)
#define LINE_BYTES ((1 + N_SLOTS) * sizeof(struct splice_acceptor_load))

struct reuseport_group {
	struct reuseport_bpf *skel;
	struct splice_acceptor_load *lines; /* mapped: [0] the group, [1 + slot] an acceptor */
	bool is_attached;
};

static void reuseport_group_freep(struct reuseport_group **group)
{
	reuseport_group_free(*group);
}

static int map_lines(struct reuseport_group *group)
{
	void *lines = mmap(NULL, LINE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			   bpf_map__fd(group->skel->maps.acceptor_load), 0);

	if (lines == MAP_FAILED)
		return -errno;
	group->lines = lines;
	return 0;
}

int reuseport_group_new(uint32_t n_acceptors, struct reuseport_group **ret_group)
{
	_cleanup_(reuseport_group_freep) struct reuseport_group *group = NULL;
	int r;

	if (n_acceptors == 0 || n_acceptors > SPLICE_MAX_ACCEPTORS)
		return -EINVAL;
	group = calloc(1, sizeof(*group));
	if (!group)
		return -ENOMEM;
	load_log_begin();
	group->skel = reuseport_bpf__open_and_load();
	if (!group->skel)
		return -errno;
	r = map_lines(group);
	if (r < 0)
		return r;
	group->lines[0].n_acceptors = n_acceptors;
	*ret_group = TAKE_PTR(group);
	return 0;
}

void reuseport_group_free(struct reuseport_group *group)
{
	if (!group)
		return;
	if (group->lines)
		(void)munmap(group->lines, LINE_BYTES);
	reuseport_bpf__destroy(group->skel);
	free(group);
}

struct splice_acceptor_load *reuseport_group_load(struct reuseport_group *group, uint32_t acceptor)
{
	assert(acceptor < N_SLOTS);
	return &group->lines[1 + acceptor];
}

static void set_open(struct reuseport_group *group, uint32_t acceptor, bool is_open)
{
	__atomic_store_n(&reuseport_group_load(group, acceptor)->is_open, is_open,
			 __ATOMIC_RELEASE);
}

/* One program serves the kernel's whole group; every later socket has it by joining. */
static int attach(struct reuseport_group *group, int listen_fd)
{
	const int prog_fd = bpf_program__fd(group->skel->progs.sluice_reuseport);

	if (group->is_attached)
		return 0;
	if (setsockopt(listen_fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &prog_fd, sizeof(prog_fd)) <
	    0)
		return -errno;
	group->is_attached = true;
	return 0;
}

int reuseport_group_add(struct reuseport_group *group, uint32_t acceptor, int listen_fd)
{
	const int map_fd = bpf_map__fd(group->skel->maps.acceptors);
	const uint64_t fd = (uint64_t)listen_fd;
	int r;

	if (acceptor >= N_SLOTS || listen_fd < 0)
		return -EINVAL;
	r = bpf_map_update_elem(map_fd, &acceptor, &fd, BPF_NOEXIST);
	if (r < 0)
		return r;
	r = attach(group, listen_fd);
	if (r < 0) {
		(void)bpf_map_delete_elem(map_fd, &acceptor);
		return r;
	}
	set_open(group, acceptor, true);
	return 0;
}

void reuseport_group_open(struct reuseport_group *group, uint32_t acceptor)
{
	set_open(group, acceptor, true);
}

void reuseport_group_close(struct reuseport_group *group, uint32_t acceptor)
{
	set_open(group, acceptor, false);
}

int reuseport_group_set_generation(struct reuseport_group *group, uint32_t generation,
				   uint32_t first, uint32_t n_acceptors)
{
	struct splice_acceptor_load *line = &group->lines[0];

	if (n_acceptors == 0 || n_acceptors > SPLICE_MAX_ACCEPTORS || first > N_SLOTS - n_acceptors)
		return -EINVAL;
	/*
	 * A SYN between the stores finds a mixture; each slot of it is open or not for itself, so
	 * that the worst is an acceptor of the generation before, or the kernel's hash.
	 */
	__atomic_store_n(&line->n_acceptors, n_acceptors, __ATOMIC_RELEASE);
	__atomic_store_n(&line->first, first, __ATOMIC_RELEASE);
	__atomic_store_n(&line->generation, generation, __ATOMIC_RELEASE);
	return 0;
}
