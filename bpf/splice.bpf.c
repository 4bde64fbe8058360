// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verdict of the splice plane: runs for every skb that a spliced socket receives, under that
 * socket's lock, and either redirects it to the peer's socket or leaves it to user space. The
 * protocol is told in kern/splice_maps.h.
 *
 *   sluice_splice   what is attached to `splice_in`: a stub that jumps through `verdict_logic`. A
 *                   program is copied into each socket at insertion; only behind a tail call can
 *                   the logic be replaced under live flows.
 *   sluice_verdict  the logic
 *
 * What must not happen here (splice.md §1.2): a redirect of an empty skb (a bare FIN: EPIPE on the
 * peer for good), and SK_DROP for anything else, which the kernel acknowledges: silent loss; and
 * an skb that begins with bytes that were forwarded already (skip_old()).
 * Whatever is not understood is SK_PASS: the bytes stay readable by user space.
 *
 * No helper or map newer than Linux 6.1.
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/splice_abi.h"

/* --- What is read of the kernel's structs; CO-RE finds the offsets ---------------------------- */

#define KERNEL_STRUCT __attribute__((preserve_access_index))

struct sock {
	int sk_sndbuf;
	int sk_wmem_queued;
} KERNEL_STRUCT;

struct inet_sock {
	struct sock sk;
} KERNEL_STRUCT;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} KERNEL_STRUCT;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq;
	__u32 write_seq;
} KERNEL_STRUCT;

struct tcp_skb_cb {
	__u32 seq;
} KERNEL_STRUCT;

struct sk_buff {
	char cb[48];
} KERNEL_STRUCT;

/* --- Load-time facts, set by kern/splice_maps.c and frozen ------------------------------------ */

const volatile struct splice_verdict_config config = {};

/* --- Maps; the loader sizes those of sides and acceptors -------------------------------------- */

/* Socket cookie -> socket whose received bytes are spliced; the stub is attached to it. Not an
 * address: those are reused, and the hash has no seed. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u64);
} splice_in SEC(".maps");

/* Side -> socket that bytes leave by. No program: taking a socket out of `splice_in` then leaves
 * its psock, and what waits in it, alive. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} splice_out SEC(".maps");

/* Socket cookie -> side; there before the socket is in `splice_in` and after. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct splice_flow_ref);
} flow_of SEC(".maps");

/* Side -> its words, shared with the acceptor through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_flow);
} flows SEC(".maps");

/* Acceptor -> its ring of struct splice_event: a ring has one reader. */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SPLICE_RING_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} events SEC(".maps");

/* 0 -> the logic. Empties itself when the daemon, its only user, ends: then the stub passes. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} verdict_logic SEC(".maps");

/* --- Helpers ---------------------------------------------------------------------------------- */

/* The words of the socket that received the skb; NULL if its number has another owner by now. */
static __always_inline struct splice_flow *flow_of_socket(struct __sk_buff *skb, __u32 *ret_side)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct splice_flow_ref *ref = bpf_map_lookup_elem(&flow_of, &cookie);
	struct splice_flow *flow;

	if (!ref)
		return NULL;
	*ret_side = ref->side;
	flow = bpf_map_lookup_elem(&flows, ret_side);
	return flow && flow->generation == ref->generation ? flow : NULL;
}

static __always_inline void note_passed(const struct splice_flow *flow, __u32 side)
{
	struct splice_event event = {
		.kind = SPLICE_EVENT_PASSED, .side = side, .generation = flow->generation};
	__u32 acceptor = flow->acceptor;
	void *ring = bpf_map_lookup_elem(&events, &acceptor);

	/* A full ring loses the note; the acceptor's slow scan finds the bytes. */
	if (ring)
		(void)bpf_ringbuf_output(ring, &event, sizeof(event), 0);
}

/*
 * Leaves an skb to user space, and tells it if it was owed nothing until now; and again for each
 * MiB that it owes, which is past any receive buffer: the hole of design.md §5.5, through which a
 * sender pushes 600 MB/s that nobody is charged for.
 *
 * Pairs with the acceptor, which stores `consumed` and then, after a full barrier, looks at
 * `passed` again: one of the two sees the other. The fetch-and-add is our barrier.
 */
static __always_inline int pass(struct splice_flow *flow, __u32 side, __u32 len)
{
	__u64 owed = __sync_fetch_and_add(&flow->passed, len) - *(volatile __u64 *)&flow->consumed;

	if (flow->in_kernel) {
		flow->in_kernel = 0;
		flow->n_toggles++;
	}
	if (owed == 0 || (owed + len) >> 20 != owed >> 20)
		note_passed(flow, side);
	return SK_PASS;
}

/*
 * Does the peer's own stream owe nothing? What the peer's socket passes to user space goes through
 * the same queue of its psock as what is redirected to it, and behind that it is charged to nobody:
 * its sender's window stays open, and all that it has pours in (design.md §5.5). So while user
 * space relays one direction, nothing is put into the other's way, and it is relayed, too.
 */
static __always_inline bool is_peer_clear(__u32 peer_side)
{
	const struct splice_flow *back = bpf_map_lookup_elem(&flows, &peer_side);

	return back &&
	       *(const volatile __u64 *)&back->passed == *(const volatile __u64 *)&back->consumed;
}

/* May this skb be redirected, as far as user space is concerned? */
static __always_inline bool is_kernels(struct splice_flow *flow, __u32 side)
{
	if (*(volatile __u32 *)&flow->wish != SPLICE_KERNEL || !is_peer_clear(SPLICE_PEER(side)))
		return false;
	if (flow->in_kernel)
		return true;
	if (flow->passed != *(volatile __u64 *)&flow->consumed)
		return false;
	flow->in_kernel = 1;
	flow->n_toggles++;
	return true;
}

/*
 * Would the peer's TCP take these bytes, and all those that already wait in its psock, at once? A
 * redirected skb is acknowledged to its sender before the peer has it, waits charged to nobody, and
 * a blocked peer is polled once a jiffy; hence only what fits now (splice-lab.md §B, "NB").
 *
 * inflight = redirected + consumed − (write_seq − base): what waits. A quarter more for the
 * overhead of full-sized skbs in the send buffer, and 1536 bytes for the head that each small one
 * may cost. The rule costs nothing: under flows that exchange it every 100 ms it and the plain
 * window (W) differ by less than it does from itself (tests/bpf/bench_splice: 330 ns both, ratio
 * 0.98 ± 0.05; the laboratory's 30 % were the order of its runs). write_seq is read without the
 * peer's lock: it only grows, so inflight can only be too large.
 */
static __always_inline bool has_room(struct splice_flow *flow, const struct tcp_sock *peer,
				     __u32 len)
{
	__u32 write_seq = peer->write_seq;
	__u32 waiting, needed;

	if (!flow->has_base) {
		flow->base_seq = write_seq - (__u32)flow->consumed;
		flow->has_base = 1;
	}
	waiting = (__u32)flow->redirected + (__u32)flow->consumed - (write_seq - flow->base_seq);
	if (waiting == 0)
		flow->n_waiting = 0;
	/* Both far below 2^31: `waiting` never passes credit_bytes. */
	if (waiting + len > config.credit_bytes)
		return false;
	if (config.rule == SPLICE_CREDIT_W)
		return true;
	needed = waiting + len + (waiting + len) / 4 + 1536 * (flow->n_waiting + 1);
	return (__s64)peer->inet_conn.icsk_inet.sk.sk_wmem_queued + needed <
	       peer->inet_conn.icsk_inet.sk.sk_sndbuf;
}

enum room { ROOM_NO_PEER, ROOM_NONE, ROOM_THERE_IS };

static __always_inline enum room look_for_room(struct splice_flow *flow, __u32 peer_side, __u32 len)
{
	struct bpf_sock *peer = bpf_map_lookup_elem(&splice_out, &peer_side);
	enum room room = ROOM_NO_PEER;
	struct tcp_sock *tcp;

	if (!peer)
		return ROOM_NO_PEER;
	tcp = bpf_skc_to_tcp_sock(peer);
	if (tcp)
		room = has_room(flow, tcp, len) ? ROOM_THERE_IS : ROOM_NONE;
	bpf_sk_release(peer);
	return room;
}

/* --- Bytes that were seen before -------------------------------------------------------------- */

/* sk_skb_adjust_room() takes off so much at a time; and a GRO skb is no larger than this. */
#define TRIM_BYTES 0xfff
#define TRIMS_MAX  128

/* The sequence number of an skb's first byte. The verdict's context is the skb itself. */
static __always_inline bool read_seq(struct __sk_buff *skb, __u32 *ret_seq)
{
	const struct sk_buff *kernel_skb = (const void *)skb;
	const struct tcp_skb_cb *cb = (const void *)&kernel_skb->cb;

	return bpf_probe_read_kernel(ret_seq, sizeof(*ret_seq), &cb->seq) == 0;
}

/* What was queued when the flow began has not been read by anyone: tcp_read_skb() hands it out. */
static __always_inline void begin(struct __sk_buff *skb, struct splice_flow *flow, __u32 seq)
{
	struct bpf_sock *sk = skb->sk;
	const struct tcp_sock *tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	flow->next_seq = tcp ? tcp->copied_seq : seq;
	flow->has_next = 1;
}

struct trimming {
	struct __sk_buff *skb;
	__u32 n; /* still to be taken off */
};

/* A callback and not a loop: the verifier would walk every round of it, for seconds. */
static long trim_some(__u32 i __attribute__((unused)), struct trimming *trimming)
{
	__u32 now = trimming->n < TRIM_BYTES ? trimming->n : TRIM_BYTES;

	if (now == 0 || bpf_skb_adjust_room(trimming->skb, -(__s32)now, 0, 0) < 0)
		return 1;
	trimming->n -= now;
	return 0;
}

static __always_inline bool trim(struct __sk_buff *skb, __u32 n)
{
	struct trimming trimming = {.skb = skb, .n = n};

	bpf_loop(TRIMS_MAX, trim_some, &trimming, 0);
	return trimming.n == 0;
}

/*
 * TCP queues a segment whole of which only a part is new: one that was sent again and cut anew, or
 * had got a FIN meanwhile. Its reader skips what it has had; tcp_read_skb() does not, so without
 * this those bytes would be forwarded twice. False: they could not be taken off, and nothing that
 * follows may be forwarded either.
 */
static __always_inline bool skip_old(struct __sk_buff *skb, struct splice_flow *flow)
{
	__u32 len = skb->len, seq, n_old;

	if (!read_seq(skb, &seq))
		return false;
	if (!flow->has_next)
		begin(skb, flow, seq);
	n_old = flow->next_seq - seq;
	if (n_old == 0 || (__s32)n_old < 0) {
		flow->next_seq = seq + len;
		return true;
	}
	if (n_old > len)
		n_old = len;
	else
		flow->next_seq = seq + len;
	return trim(skb, n_old);
}

/* --- The verdict ------------------------------------------------------------------------------ */

static __always_inline int decide(struct __sk_buff *skb)
{
	struct splice_flow *flow;
	__u32 len, side = 0;
	enum room room;

	if (skb->len == 0) /* A bare FIN: recv() says so all the same. */
		return SK_DROP;
	flow = flow_of_socket(skb, &side);
	if (!flow)
		return SK_PASS;
	flow->n_skbs++;
	flow->last_ns = bpf_ktime_get_coarse_ns();
	if (flow->is_cut || !skip_old(skb, flow)) {
		flow->is_cut = 1;
		note_passed(flow, side);
		return SK_DROP;
	}
	len = skb->len;
	if (len == 0)
		return SK_DROP;
	if (!is_kernels(flow, side))
		return pass(flow, side, len);

	room = look_for_room(flow, SPLICE_PEER(side), len);
	if (room == ROOM_NONE)
		flow->n_credit_out++;
	if (room != ROOM_THERE_IS)
		return pass(flow, side, len);
	/* The helper says SK_DROP where the slot is empty: those bytes would be gone. */
	if (bpf_sk_redirect_map(skb, &splice_out, SPLICE_PEER(side), 0) != SK_PASS)
		return pass(flow, side, len);
	flow->redirected += len;
	flow->n_waiting++;
	return SK_PASS;
}

/* --- Programs; the loader sets expected_attach_type BPF_SK_SKB_VERDICT: the section name that
 * does is newer than libbpf 1.1 ---------------------------------------------------------------- */

SEC("sk_skb")
int sluice_verdict(struct __sk_buff *skb)
{
	return decide(skb);
}

SEC("sk_skb")
int sluice_splice(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &verdict_logic, 0);
	return skb->len ? SK_PASS : SK_DROP;
}

char _license[] SEC("license") = "GPL";
