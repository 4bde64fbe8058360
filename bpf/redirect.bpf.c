// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The XDP program of one port: sends each frame of an owned receive queue to the AF_XDP socket in
 * the queue's XSKMAP slot, and every other frame where the port's configuration says. It decides
 * from the queue number, the destination MAC and the worker's heartbeat alone; no header beyond
 * Ethernet is read, so a tagged or truncated frame is a frame like any other (a wire).
 *
 * One instance with maps of its own per port; kern/port_prog.c loads it. Runs in NAPI context, on
 * one CPU per receive queue in native mode.
 *
 * The program stores nothing on its stack: without CAP_PERFMON the verifier puts an lfence behind
 * such stores (spikes.md, change 3). Map keys are therefore pointers into read-only data: +15 ns
 * over a no-op against +18 with keys on the stack; +13 either way with CAP_PERFMON.
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/sluice_abi.h"

/* --- Load-time facts, set by kern/port_prog.c and frozen ------------------------------------- */

const volatile struct sluice_port_config config = {};

/*
 * Heartbeat line of the worker that owns a queue: 1 + worker, or SLUICE_NO_WORKER. A line and not
 * a worker, so that the entry itself can be the key of a map lookup.
 */
const volatile __u32 queue_line[SLUICE_MAX_QUEUES] = {};

/* Keys for map lookups. */
static const volatile __u32 port_line = 0;

#define VERDICT_KEY(id, name, action, help) [SLUICE_V_##id] = SLUICE_V_##id,
static const volatile __u32 verdict_key[SLUICE_V_N] = {SLUICE_VERDICTS(VERDICT_KEY)};
#undef VERDICT_KEY

/* --- Maps ------------------------------------------------------------------------------------ */

/* Receive queue -> AF_XDP socket. Written by control at bind and at teardown; sized by the loader
 * to the queues of the port. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* Line 0: the port's detach word, written by control. Line 1 + w: beat of worker w, written by
 * that worker through mmap. Not BPF_F_RDONLY_PROG: the kernel then refuses a writable mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_heartbeat);
} heartbeat SEC(".maps");

/* Frames by enum sluice_verdict, written here. The second half, at SLUICE_V_N + reason, holds the
 * totals of predecessors whose place this program took; control alone writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * SLUICE_V_N);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/* --- Program --------------------------------------------------------------------------------- */

#define ACTION_redirect XDP_REDIRECT
#define ACTION_pass     XDP_PASS
#define ACTION_drop     XDP_DROP
#define ACTION_fallback config.fallback
#define ACTION_aborted  XDP_ABORTED

/* The only way out: counts the frame under `reason` and gives the action of its table row. */
static __always_inline int verdict(enum sluice_verdict reason)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, (const void *)&verdict_key[reason]);

	if (count)
		(*count)++;
	switch (reason) {
#define VERDICT_ACTION(id, name, action, help) \
	case SLUICE_V_##id:                    \
		return ACTION_##action;
		SLUICE_VERDICTS(VERDICT_ACTION)
#undef VERDICT_ACTION
	case SLUICE_V_N:
		break;
	}
	return XDP_ABORTED;
}

/* 01:80:c2:00:00:00 … :0f, the addresses that a bridge must not forward (IEEE 802.1Q table 8-1). */
static __always_inline bool is_link_control(const __u8 *dst)
{
	return *(const __u32 *)dst == bpf_htonl(0x0180c200) && dst[4] == 0x00 &&
	       (dst[5] & 0xf0) == 0x00;
}

/*
 * Has the worker beaten within the stall timeout? The beat itself is a time, so what the queue saw
 * before plays no part: the first frame after a silence is judged like any other. Signed, since a
 * beat may be a tick ahead. 0 means "not running" and is never alive, whatever the clock says.
 */
static __always_inline bool is_worker_alive(const volatile struct sluice_heartbeat *line)
{
	__u64 beat = line->beat;
	__s64 age_jiffies = (__s64)(bpf_jiffies64() - beat);

	return age_jiffies <= (__s64)config.stall_jiffies && beat != 0;
}

static __always_inline int redirect_frame(const struct xdp_md *ctx)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *data_end = (const __u8 *)(long)ctx->data_end;
	const volatile struct sluice_heartbeat *line;
	__u32 queue = ctx->rx_queue_index;

	line = bpf_map_lookup_elem(&heartbeat, (const void *)&port_line);
	if (!line)
		return verdict(SLUICE_V_INTERNAL);
	if (line->detach)
		return verdict(SLUICE_V_DETACHED);
	if (config.forward == SLUICE_FORWARD_PASS)
		return verdict(SLUICE_V_PASS_PORT);
	if (queue >= SLUICE_MAX_QUEUES || queue_line[queue] == SLUICE_NO_WORKER)
		return verdict(SLUICE_V_NO_WORKER);

	if (data + ETH_HLEN > data_end)
		return verdict(SLUICE_V_MALFORMED);
	if (is_link_control(data)) {
		if (data[5] == 0x01)
			return verdict(SLUICE_V_PAUSE);
		if (config.pass_control)
			return verdict(SLUICE_V_CONTROL);
	}

	line = bpf_map_lookup_elem(&heartbeat, (const void *)&queue_line[queue]);
	if (!line)
		return verdict(SLUICE_V_INTERNAL);
	if (!is_worker_alive(line))
		return verdict(SLUICE_V_STALE);
	if (bpf_redirect_map(&xsks, queue, config.fallback) != XDP_REDIRECT)
		return verdict(SLUICE_V_NO_SOCKET);
	return verdict(SLUICE_V_REDIRECT);
}

SEC("xdp")
int sluice_redirect(struct xdp_md *ctx)
{
	return redirect_frame(ctx);
}

char LICENSE[] SEC("license") = "GPL";
