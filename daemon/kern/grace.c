// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel promises a grace period in one place of bpf(2): an update of a map of maps returns
 * after all programs that may have seen the old value (kernel/bpf/syscall.c,
 * maybe_wait_bpf_programs, since 4.20). NAPI polls run with softirqs off, which RCU counts as a
 * reader. membarrier(MEMBARRIER_CMD_GLOBAL) is shorter but refuses on kernels with nohz_full
 * CPUs, which is how hosts with isolated packet CPUs are run.
 */
#include "kern/grace.h"

#include <bpf/bpf.h>
#include <stdint.h>

#include "util/macros.h"

int grace_wait(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, outer_opts);
	_cleanup_close_ int inner = -1, outer = -1;
	const uint32_t key = 0;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace_inner", sizeof(uint32_t),
			       sizeof(uint32_t), 1, NULL);
	if (inner < 0)
		return inner;
	outer_opts.inner_map_fd = (uint32_t)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "grace_outer", sizeof(uint32_t),
			       sizeof(uint32_t), 1, &outer_opts);
	if (outer < 0)
		return outer;
	return bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
}
