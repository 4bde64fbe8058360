/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building and returning the packet memory; the per-packet part is inline in umem.h. */
#include "kern/umem.h"

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26) /* linux/memfd.h; not in glibc 2.36's header */
#endif

#define HUGE_PAGE_BYTES (2UL << 20)
#define MAX_NODES       1024

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static int open_memfd(size_t size_bytes, bool huge, int *ret_fd)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	_cleanup_close_ int fd = -1;

	if (huge)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create("sluice-umem", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	/* The size is a promise to the kernel's pool and to a successor that maps it again. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * MPOL_BIND, not MPOL_PREFERRED: a remote page costs every frame that lands on it. Failure (no
 * such node, no permission in the cpuset) leaves the default policy: the node that touches first.
 */
static void bind_to_node(void *area, size_t size_bytes, int node)
{
	unsigned long mask[MAX_NODES / (8 * sizeof(unsigned long))] = {0};

	if (node < 0 || node >= MAX_NODES)
		return;
	mask[(size_t)node / (8 * sizeof(mask[0]))] = 1UL << ((size_t)node % (8 * sizeof(mask[0])));
	(void)mbind(area, size_bytes, MPOL_BIND, mask, MAX_NODES, MPOL_MF_STRICT);
}

/* The one node that holds every page, or -1. With no target nodes move_pages(2) only reports. */
static int node_of(uint8_t *area, size_t size_bytes, size_t page_bytes)
{
	size_t n_pages = size_bytes / page_bytes;
	_cleanup_free_ void **pages = calloc(n_pages, sizeof(*pages));
	_cleanup_free_ int *nodes = calloc(n_pages, sizeof(*nodes));

	if (!pages || !nodes)
		return -1;
	for (size_t i = 0; i < n_pages; i++)
		pages[i] = area + i * page_bytes;
	if (move_pages(0, n_pages, pages, NULL, nodes, 0) != 0)
		return -1;
	for (size_t i = 0; i < n_pages; i++) {
		if (nodes[i] < 0 || nodes[i] != nodes[0])
			return -1;
	}
	return nodes[0];
}

static int map_area(struct umem *umem, const struct umem_spec *spec)
{
	size_t page_bytes = spec->want_huge ? HUGE_PAGE_BYTES : (size_t)sysconf(_SC_PAGESIZE);
	void *area;
	int r;

	umem->size_bytes = round_up((size_t)spec->n_frames * spec->frame_size_bytes, page_bytes);
	r = open_memfd(umem->size_bytes, spec->want_huge, &umem->memfd);
	if (r < 0)
		return r;
	area = mmap(NULL, umem->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, umem->memfd, 0);
	if (area == MAP_FAILED)
		return -errno;
	umem->area = area;
	umem->is_huge = spec->want_huge;
	/* Packets are other people's data: they do not belong in a core file. */
	(void)madvise(area, umem->size_bytes, MADV_DONTDUMP);
	bind_to_node(area, umem->size_bytes, spec->numa_node);
	/*
	 * Touches all pages, as memset(3) would, but a page that cannot be had is an error and no
	 * SIGBUS: huge pages are reserved by mmap for the machine, not for the node bound to.
	 */
	if (madvise(area, umem->size_bytes, MADV_POPULATE_WRITE) < 0)
		return errno == EFAULT ? -ENOMEM : -errno;
	umem->node = node_of(umem->area, umem->size_bytes, page_bytes);
	return 0;
}

int umem_init(struct umem *umem, const struct umem_spec *spec)
{
	int r;

	*umem = (struct umem){.memfd = -1, .node = -1};
	if (spec->n_frames == 0 ||
	    (spec->frame_size_bytes != 2048 && spec->frame_size_bytes != 4096))
		return -EINVAL;
	r = map_area(umem, spec);
	if (r < 0)
		goto fail;

	umem->n_frames = spec->n_frames;
	umem->frame_shift = (uint32_t)__builtin_ctz(spec->frame_size_bytes);
	umem->owner = calloc(spec->n_frames, sizeof(*umem->owner));
	umem->free = calloc(spec->n_frames, sizeof(*umem->free));
	if (!umem->owner || !umem->free) {
		r = -ENOMEM;
		goto fail;
	}
	/* Pushed from the top so that the first frames taken are the lowest addresses. */
	for (uint32_t i = spec->n_frames; i-- > 0;)
		umem_put(umem, i);
	umem->min_free = umem->n_free;
	return 0;

fail:
	umem_fini(umem);
	return r;
}

void umem_fini(struct umem *umem)
{
	if (umem->area)
		(void)munmap(umem->area, umem->size_bytes);
	if (umem->area || umem->memfd > 0)
		close_fdp(&umem->memfd);
	free(umem->owner);
	free(umem->free);
	*umem = (struct umem){.memfd = -1, .node = -1};
}

uint32_t umem_reclaim(struct umem *umem, unsigned tag)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < umem->n_frames; i++) {
		if (umem->owner[i] == FRAME_FILL(tag) || umem->owner[i] == FRAME_TX(tag)) {
			umem_put(umem, i);
			n++;
		}
	}
	umem->n_quarantine -= MIN(n, umem->n_quarantine);
	return n;
}
