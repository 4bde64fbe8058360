/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flood mode. The kernel makes the frames out of one template and recycles their pages without
 * filling them again, so the program (gen.bpf.c) writes every field that differs, each time.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>
#include <sys/time.h>

#include "gen.skel.h"
#include "tools/gen/send.h"
#include "util/clock.h"
#include "util/macros.h"

#define FLOOD_BATCH      64
#define FLOOD_MAX_REPEAT INT_MAX /* 2147 million frames in one call */

static struct gen_bpf *load(const struct gen_options *o, const struct frame_builder *b,
			    const uint8_t *frame, size_t size)
{
	struct gen_bpf *skeleton = gen_bpf__open();

	if (!skeleton)
		return NULL;
	skeleton->rodata->flood_ifindex = if_nametoindex(o->ifname[0]);
	skeleton->rodata->flood_offset = (uint32_t)b->header_offset;
	skeleton->rodata->flood_flows = send_flows(o, 1);
	skeleton->rodata->flood_flow_base = o->flow_base;
	skeleton->rodata->flood_dst_random =
		o->dst_random_bits ? UINT32_MAX >> (32 - o->dst_random_bits) : 0;
	memcpy(skeleton->rodata->flood_headers, frame, sizeof(skeleton->rodata->flood_headers));
	frame_flood_tables(b, frame, size, skeleton->rodata->flood_delta,
			   &skeleton->rodata->flood_crc);
	if (skeleton->rodata->flood_ifindex == 0) {
		warn("interface %s", o->ifname[0]);
	} else if (bpf_program__set_autoload(skeleton->progs.gen_sink, false) == 0 &&
		   gen_bpf__load(skeleton) == 0) {
		return skeleton;
	} else {
		warn("%s: loading the flood program", o->ifname[0]);
	}
	gen_bpf__destroy(skeleton);
	return NULL;
}

/* The timer's signal ends the one long call; that the program's counter tells how far it came. */
static void arm(uint64_t duration_ns)
{
	struct itimerval timer = {
		.it_value = {
			.tv_sec = (time_t)(duration_ns / NSEC_PER_SEC),
			.tv_usec = (suseconds_t)(duration_ns % NSEC_PER_SEC / NSEC_PER_USEC),
		}};

	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

int send_flood(const struct gen_options *o, const atomic_bool *stop, struct send_result *ret_result)
{
	uint8_t frame[FRAME_MAX_BYTES];
	size_t size = o->sizes.low;
	struct frame_builder b;
	struct gen_bpf *skeleton;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)size,
		    .repeat = (int)MIN(o->count, FLOOD_MAX_REPEAT),
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = FLOOD_BATCH);
	int r;

	*ret_result = (struct send_result){0};
	frame_builder_init(&b, &o->frame);
	if (size < frame_min_size(&b)) {
		warnx("--flood needs frames of at least %zu bytes", frame_min_size(&b));
		return -EINVAL;
	}
	frame_build(&b, frame, size, 0, 0, 0);
	skeleton = load(o, &b, frame, size);
	if (!skeleton)
		return -ENODEV;
	arm(o->duration_ns);
	ret_result->start_ns = clock_now_ns();
	r = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.gen_flood), &run);
	ret_result->end_ns = clock_now_ns();
	arm(0);
	ret_result->offered = skeleton->bss->flood_next;
	ret_result->bytes = ret_result->offered * size;
	gen_bpf__destroy(skeleton);
	if (r == -EINTR && atomic_load(stop))
		r = 0;
	if (r < 0) {
		errno = -r;
		warn("%s: BPF_PROG_TEST_RUN with live frames", o->ifname[0]);
	}
	return r;
}
