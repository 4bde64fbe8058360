/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ends of tools/bench packet that must not be in Python's way.
 *
 *   bench_port count IFNAME
 *	Counts and drops what arrives, in native XDP. Says "ready"; then, for each line with a
 *	number of milliseconds on stdin, answers "FRAMES NANOSECONDS": what arrived in that time.
 *
 *   bench_port send IFNAME CPU BYTES
 *	The ceiling: sends the same frames for ever on queue 0 by AF_XDP, from the CPU given, with
 *	the socket options of the daemon (kern/xsk.h) and no receive side. Says "ready" when the
 *	socket is bound, ends by SIGTERM.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.skel.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "util/clock.h"

#define BURST            256 /* per system call: more make no difference, 64 costs 1 % */
#define RING             2048
#define ETHERTYPE        0x88b5 /* IEEE 802 local experimental 1, as sluice-gen's */
#define READ_TRIES       100
#define READ_PATIENCE_NS (5 * NSEC_PER_USEC)
#define MAX_MILLISECONDS 3600000

static uint32_t index_of(const char *ifname)
{
	uint32_t ifindex = if_nametoindex(ifname);

	if (ifindex == 0)
		err(EXIT_FAILURE, "%s", ifname);
	return ifindex;
}

static uint32_t number_of(const char *text, uint32_t max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || (*end && *end != '\n') || value > max)
		errx(EXIT_FAILURE, "not a number up to %" PRIu32 ": %s", max, text);
	return (uint32_t)value;
}

static void say_ready(void)
{
	puts("ready");
	(void)fflush(stdout);
}

/* --- count ----------------------------------------------------------------------------------- */

struct sample {
	uint64_t n_frames, at_ns;
};

/* The generator shares our CPU: a reading that it interrupted is taken again. */
static struct sample sample_now(const uint64_t *n_frames)
{
	struct sample sample;

	for (unsigned i = 0; i < READ_TRIES; i++) {
		uint64_t before_ns = clock_now_ns();

		sample.n_frames = __atomic_load_n(n_frames, __ATOMIC_RELAXED);
		sample.at_ns = clock_now_ns();
		if (sample.at_ns - before_ns < READ_PATIENCE_NS)
			break;
	}
	return sample;
}

static int count(int argc, char *argv[])
{
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);
	struct bench_bpf *skeleton = bench_bpf__open_and_load();
	char line[32];

	if (argc != 1)
		errx(EXIT_FAILURE, "usage: bench_port count IFNAME");
	if (!skeleton)
		err(EXIT_FAILURE, "loading the counting program");
	if (bpf_link_create(bpf_program__fd(skeleton->progs.bench_count), (int)index_of(argv[0]),
			    BPF_XDP, &native) < 0)
		err(EXIT_FAILURE, "%s: attaching the counting program", argv[0]);
	say_ready();
	while (fgets(line, sizeof(line), stdin)) {
		const uint64_t *n_frames = (const uint64_t *)&skeleton->bss->n_frames;
		uint32_t ms = number_of(line, MAX_MILLISECONDS);
		const struct timespec pause = {.tv_sec = ms / 1000,
					       .tv_nsec = (long)(ms % 1000 * NSEC_PER_MSEC)};
		struct sample start = sample_now(n_frames), end;

		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		end = sample_now(n_frames);
		(void)printf("%" PRIu64 " %" PRIu64 "\n", end.n_frames - start.n_frames,
			     end.at_ns - start.at_ns);
		(void)fflush(stdout);
	}
	bench_bpf__destroy(skeleton);
	return EXIT_SUCCESS;
}

/* --- send ------------------------------------------------------------------------------------ */

static void pin_to(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(EXIT_FAILURE, "CPU %" PRIu32, cpu);
}

static void fill_frame(uint8_t *frame, uint32_t size)
{
	memset(frame, 0, size);
	memset(frame, 0xff, 6);
	frame[6] = 0x02;
	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
}

/* One burst is on its way at a time, so what it is made of stays in a near cache. */
static _Noreturn void send_forever(struct xsk *xsk, const struct umem *umem, uint32_t size)
{
	uint32_t n_free = BURST, index;

	for (;;) {
		if (xsk_ring_prod__reserve(&xsk->tx, n_free, &index) != n_free)
			errx(EXIT_FAILURE, "a ring of %d has no room for one burst", RING);
		for (uint32_t i = 0; i < n_free; i++) {
			struct xdp_desc *tx = xsk_ring_prod__tx_desc(&xsk->tx, index + i);

			/* All frames are alike: which of them is free does not matter. */
			tx->addr = umem_frame_addr(umem, (index + i) % BURST);
			tx->len = size;
			tx->options = 0;
		}
		xsk_ring_prod__submit(&xsk->tx, n_free);
		(void)xsk_wake_tx(xsk);
		n_free = xsk_ring_cons__peek(&xsk->completion, BURST, &index);
		xsk_ring_cons__release(&xsk->completion, n_free);
	}
}

static int send_flood(int argc, char *argv[])
{
	const struct umem_spec memory = {
		.n_frames = BURST, .frame_size_bytes = 2048, .numa_node = -1};
	struct xsk_spec spec = {.fill_size = BURST,
				.rx_size = BURST,
				.tx_size = RING,
				.completion_size = RING,
				.shared_fd = -1};
	enum xsk_step step;
	struct umem umem;
	struct xsk xsk;
	uint32_t size;
	int r;

	if (argc != 3)
		errx(EXIT_FAILURE, "usage: bench_port send IFNAME CPU BYTES");
	spec.ifindex = index_of(argv[0]);
	pin_to(number_of(argv[1], CPU_SETSIZE - 1));
	size = number_of(argv[2], memory.frame_size_bytes);
	r = umem_init(&umem, &memory);
	if (r < 0)
		errx(EXIT_FAILURE, "packet memory: %s", strerror(-r));
	for (uint32_t i = 0; i < BURST; i++)
		fill_frame(umem.area + umem_frame_addr(&umem, i), size);
	r = xsk_open(&xsk, &umem, &spec, &step);
	if (r < 0)
		errx(EXIT_FAILURE, "%s: %s: %s", argv[0], xsk_step_names[step], strerror(-r));
	say_ready();
	send_forever(&xsk, &umem, size);
}

int main(int argc, char *argv[])
{
	static const struct {
		const char *name;
		int (*run)(int argc, char *argv[]);
	} commands[] = {{"count", count}, {"send", send_flood}};

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 2, argv + 2);
	}
	errx(EXIT_FAILURE, "usage: bench_port count IFNAME | send IFNAME CPU BYTES");
}
