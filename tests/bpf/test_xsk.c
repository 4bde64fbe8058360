/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kern/xsk.c against the kernel: sockets in copy mode on veth pairs of a network namespace of our
 * own. Both ends are in it, so a frame sent on one socket arrives at the other.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bpf_env.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "util/macros.h"

#define N_FRAMES 2048
#define RING     512

static struct umem memory(void)
{
	const struct umem_spec spec = {
		.n_frames = N_FRAMES, .frame_size_bytes = 2048, .numa_node = -1};
	struct umem umem;

	assert_int_equal(umem_init(&umem, &spec), 0);
	return umem;
}

static struct xsk_spec spec_of(const char *interface, uint32_t queue)
{
	return (struct xsk_spec){
		.ifindex = env_ifindex(interface),
		.queue = queue,
		.fill_size = RING,
		.rx_size = RING,
		.tx_size = RING,
		.completion_size = RING,
		.shared_fd = -1,
	};
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* The queue of a closed socket is freed later: as the engine does, try again on EBUSY alone. */
struct open_attempt {
	struct xsk *xsk;
	const struct umem *umem;
	const struct xsk_spec *spec;
	enum xsk_step step;
	int result;
};

static bool try_open(void *arg)
{
	struct open_attempt *attempt = arg;

	attempt->result = xsk_open(attempt->xsk, attempt->umem, attempt->spec, &attempt->step);
	return attempt->result != -EBUSY;
}

static void open_xsk(struct xsk *xsk, const struct umem *umem, const struct xsk_spec *spec)
{
	struct open_attempt attempt = {.xsk = xsk, .umem = umem, .spec = spec};

	assert_true(env_wait(try_open, &attempt));
	assert_int_equal(attempt.result, 0);
}

/* --- A program that hands every frame of an interface to the sockets of its queues ----------- */

struct redirect {
	uint32_t ifindex;
	int map_fd, prog_fd;
};

static void redirect_to(struct redirect *redirect, const char *interface, const struct xsk *xsk)
{
	uint32_t queue = 0;

	redirect->ifindex = env_ifindex(interface);
	redirect->map_fd = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "test_xsks", 4, 4, 4, NULL);
	assert_true(redirect->map_fd >= 0);
	assert_int_equal(bpf_map_update_elem(redirect->map_fd, &queue, &xsk->fd, BPF_ANY), 0);
	{
		const struct bpf_insn insns[] = {
			{.code = BPF_LDX | BPF_MEM | BPF_W,
			 .dst_reg = BPF_REG_2,
			 .src_reg = BPF_REG_1,
			 .off = offsetof(struct xdp_md, rx_queue_index)},
			{.code = BPF_LD | BPF_DW | BPF_IMM,
			 .dst_reg = BPF_REG_1,
			 .src_reg = BPF_PSEUDO_MAP_FD,
			 .imm = redirect->map_fd},
			{.code = 0},
			{.code = BPF_ALU64 | BPF_MOV | BPF_K,
			 .dst_reg = BPF_REG_3,
			 .imm = XDP_PASS},
			{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
			{.code = BPF_JMP | BPF_EXIT},
		};

		redirect->prog_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "test_redirect", "GPL", insns,
						  ARRAY_SIZE(insns), NULL);
	}
	assert_true(redirect->prog_fd >= 0);
	assert_int_equal(bpf_xdp_attach((int)redirect->ifindex, redirect->prog_fd, 0, NULL), 0);
}

static void redirect_end(struct redirect *redirect)
{
	assert_int_equal(bpf_xdp_detach((int)redirect->ifindex, 0, NULL), 0);
	(void)close(redirect->map_fd);
	(void)close(redirect->prog_fd);
}

static void post_fill(struct xsk *xsk, struct umem *umem, uint32_t n)
{
	uint32_t index;

	assert_int_equal(xsk_ring_prod__reserve(&xsk->fill, n, &index), n);
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&xsk->fill, index + i) =
			umem_frame_addr(umem, umem_take(umem));
	xsk_ring_prod__submit(&xsk->fill, n);
}

/* Puts n frames on the tx ring, each with its number in its bytes; returns the first's address. */
static uint64_t put_tx(struct xsk *xsk, struct umem *umem, uint32_t n)
{
	static const uint8_t head[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
	uint64_t first = 0;
	uint32_t index;

	assert_int_equal(xsk_ring_prod__reserve(&xsk->tx, n, &index), n);
	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc *desc = xsk_ring_prod__tx_desc(&xsk->tx, index + i);

		*desc = (struct xdp_desc){.addr = umem_frame_addr(umem, umem_take(umem)),
					  .len = 60};
		first = i == 0 ? desc->addr : first;
		memcpy(umem->area + desc->addr, head, sizeof(head));
		memcpy(umem->area + desc->addr + sizeof(head), &i, sizeof(i));
	}
	xsk_ring_prod__submit(&xsk->tx, n);
	return first;
}

struct wanted {
	const struct xsk *xsk;
	uint32_t n;
};

static bool has_received(void *arg)
{
	const struct wanted *wanted = arg;

	return xsk_rx_waiting(wanted->xsk) >= wanted->n;
}

static bool has_completed(void *arg)
{
	const struct wanted *wanted = arg;
	const struct xsk_ring_cons *ring = &wanted->xsk->completion;

	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer >= wanted->n;
}

/* --- Tests ----------------------------------------------------------------------------------- */

static void test_a_socket_binds_in_copy_mode(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct xdp_statistics stats;
	struct xsk xsk;

	open_xsk(&xsk, &umem, &spec);
	assert_true(fcntl(xsk.fd, F_GETFD) & FD_CLOEXEC);
	assert_false(xsk.is_zerocopy);
	assert_int_equal(xsk.rx.size, RING);
	assert_int_equal(xsk.tx.mask, RING - 1);
	assert_int_equal(xsk_prod_nb_free(&xsk.tx, RING + 1), RING);
	assert_int_equal(xsk_prod_nb_free(&xsk.fill, RING + 1), RING);
	assert_true(xsk.tx_budget == 32 || xsk.tx_budget == RING);
	assert_true(xsk_ring_prod__needs_wakeup(&xsk.tx));
	assert_int_equal(xsk_statistics(&xsk, &stats), 0);
	assert_int_equal(stats.rx_dropped, 0);
	assert_int_equal(xsk_rx_waiting(&xsk), 0);
	xsk_close(&xsk);
	assert_int_equal(xsk.fd, -1);
	xsk_close(&xsk); /* again: nothing to do */
	umem_fini(&umem);
}

static void test_refusals_name_their_step_and_leave_nothing_open(void **state)
{
	struct umem umem = memory();
	const struct xsk_spec good = spec_of("xa0", 0);
	struct xsk_spec no_queue = good, zerocopy = good, no_device = good, odd_ring = good;
	const struct {
		const struct xsk_spec *spec;
		int error;
		enum xsk_step step;
	} cases[] = {
		{&no_queue, -EINVAL, XSK_STEP_BIND},
		{&zerocopy, -EOPNOTSUPP, XSK_STEP_BIND},
		{&no_device, -ENODEV, XSK_STEP_BIND},
		{&odd_ring, -EINVAL, XSK_STEP_RINGS},
	};
	unsigned n_fds = count_fds();

	no_queue.queue = 2;
	zerocopy.zerocopy = true;
	no_device.ifindex = 99999;
	odd_ring.tx_size = 500;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct open_attempt attempt;
		struct xsk xsk;

		attempt = (struct open_attempt){
			.xsk = &xsk, .umem = &umem, .spec = cases[i].spec, .step = XSK_STEP_N};
		assert_true(env_wait(try_open, &attempt));
		assert_int_equal(attempt.result, cases[i].error);
		assert_int_equal(attempt.step, cases[i].step);
		assert_int_equal(xsk.fd, -1);
		assert_int_equal(count_fds(), n_fds);
	}
	/* The memory can still be used: nothing of it stayed registered. */
	{
		struct xsk xsk;

		open_xsk(&xsk, &umem, &good);
		xsk_close(&xsk);
	}
	umem_fini(&umem);
}

static void test_a_bound_queue_is_busy_until_its_socket_is_closed(void **state)
{
	struct umem first_umem = memory(), second_umem = memory();
	struct xsk_spec spec = spec_of("xa0", 1);
	enum xsk_step step = XSK_STEP_N;
	struct xsk first, second;

	open_xsk(&first, &first_umem, &spec);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(xsk_open(&second, &second_umem, &spec, &step), -EBUSY);
		assert_int_equal(step, XSK_STEP_BIND);
	}
	xsk_close(&first);
	open_xsk(&second, &second_umem, &spec);
	xsk_close(&second);
	umem_fini(&first_umem);
	umem_fini(&second_umem);
}

static void test_sockets_of_two_ports_share_one_umem(void **state)
{
	struct umem umem = memory();
	struct xsk_spec tx_spec = spec_of("xa0", 0), rx_spec = spec_of("xa1", 0);
	struct wanted wanted = {.n = 50};
	struct redirect redirect;
	struct xsk tx, rx;
	uint32_t index = 0;
	uint64_t first;

	open_xsk(&tx, &umem, &tx_spec);
	rx_spec.shared_fd = tx.fd;
	open_xsk(&rx, &umem, &rx_spec);
	redirect_to(&redirect, "xa1", &rx);
	post_fill(&rx, &umem, 100);
	first = put_tx(&tx, &umem, 50);
	while (xsk_prod_nb_free(&tx.tx, RING) < RING) {
		int r = xsk_wake_tx(&tx);

		assert_true(r == 0 || r == -EAGAIN);
	}
	wanted.xsk = &rx;
	assert_true(env_wait(has_received, &wanted));
	assert_int_equal(xsk_rx_waiting(&rx), 50);
	assert_int_equal(xsk_ring_cons__peek(&rx.rx, 64, &index), 50);
	for (uint32_t i = 0; i < 50; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&rx.rx, index + i);
		uint32_t number;

		assert_true(umem_holds(&umem, desc->addr, desc->len));
		assert_int_equal(desc->len, 60);
		memcpy(&number, umem.area + desc->addr + 14, sizeof(number));
		assert_int_equal(number, i);
	}
	xsk_ring_cons__release(&rx.rx, 50);
	assert_int_equal(xsk_rx_waiting(&rx), 0);
	/* What was sent comes back by its own address. */
	wanted = (struct wanted){&tx, 50};
	assert_true(env_wait(has_completed, &wanted));
	assert_int_equal(xsk_ring_cons__peek(&tx.completion, 64, &index), 50);
	for (uint32_t i = 0; i < 50; i++)
		assert_true(*xsk_ring_cons__comp_addr(&tx.completion, index + i) - first <
			    50 * 2048);
	redirect_end(&redirect);
	xsk_close(&rx);
	xsk_close(&tx);
	umem_fini(&umem);
}

static bool has_dropped(void *arg)
{
	struct xdp_statistics stats;

	assert_int_equal(xsk_statistics(arg, &stats), 0);
	return stats.rx_dropped + stats.rx_fill_ring_empty_descs > 0;
}

static void test_the_kernel_counts_what_an_empty_fill_ring_loses(void **state)
{
	struct umem tx_umem = memory(), rx_umem = memory();
	struct xsk_spec tx_spec = spec_of("xa0", 0), rx_spec = spec_of("xa1", 0);
	struct redirect redirect;
	struct xsk tx, rx;

	open_xsk(&tx, &tx_umem, &tx_spec);
	open_xsk(&rx, &rx_umem, &rx_spec);
	redirect_to(&redirect, "xa1", &rx);
	assert_false(has_dropped(&rx));
	(void)put_tx(&tx, &tx_umem, 10);
	(void)xsk_wake_tx(&tx);
	assert_true(env_wait(has_dropped, &rx));
	assert_int_equal(xsk_rx_waiting(&rx), 0);
	redirect_end(&redirect);
	xsk_close(&rx);
	xsk_close(&tx);
	umem_fini(&tx_umem);
	umem_fini(&rx_umem);
}

/*
 * What a restart without loss will stand on: the rings of a bound socket can be mapped again, and
 * the new mapping is the same memory (kernel ≥ 6.4; before, EBUSY). 6.1 must refuse, not lie.
 */
static void test_rings_can_be_mapped_again_after_bind(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct xdp_mmap_offsets off;
	socklen_t size = sizeof(off);
	const uint64_t pgoffs[] = {XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_FILL_RING,
				   XDP_UMEM_PGOFF_COMPLETION_RING};
	struct xsk xsk;

	open_xsk(&xsk, &umem, &spec);
	assert_int_equal(getsockopt(xsk.fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &size), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pgoffs); i++) {
		uint8_t *again = mmap(NULL, xsk.maps[i].size_bytes, PROT_READ, MAP_SHARED, xsk.fd,
				      (off_t)pgoffs[i]);

		if (again == MAP_FAILED) {
			assert_int_equal(errno, EBUSY);
			xsk_close(&xsk);
			umem_fini(&umem);
			skip(); /* this kernel does not map the rings of a bound socket */
		}
		assert_memory_equal(again, xsk.maps[i].addr, xsk.maps[i].size_bytes);
		if (pgoffs[i] == XDP_UMEM_PGOFF_FILL_RING) {
			post_fill(&xsk, &umem, 7);
			assert_int_equal(*(uint32_t *)(void *)(again + off.fr.producer), 7);
			/* With the old mapping gone the new one lives. */
			assert_int_equal(munmap(xsk.maps[i].addr, xsk.maps[i].size_bytes), 0);
			xsk.maps[i].addr = NULL;
			assert_int_equal(*(uint32_t *)(void *)(again + off.fr.producer), 7);
		}
		assert_int_equal(munmap(again, xsk.maps[i].size_bytes), 0);
	}
	xsk_close(&xsk);
	umem_fini(&umem);
}

/* The experiment behind lane.kicks_per_turn: how far does one system call get? */
static void test_one_wakeup_sends_as_many_packets_as_tx_budget_says(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct xsk xsk;
	uint32_t n_sent;
	int r;

	open_xsk(&xsk, &umem, &spec);
	(void)put_tx(&xsk, &umem, 200);
	r = xsk_wake_tx(&xsk);
	n_sent = *xsk.tx.consumer;
	print_message("one sendto: %u of 200 packets (budget %u)\n", n_sent, xsk.tx_budget);
	assert_int_equal(n_sent, MIN(200U, xsk.tx_budget));
	assert_int_equal(r, n_sent < 200 ? -EAGAIN : 0);
	xsk_close(&xsk);
	umem_fini(&umem);
}

static void test_wakeups_tell_that_the_link_is_down_and_up_again(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct xsk xsk;

	open_xsk(&xsk, &umem, &spec);
	env_run("ip", "link", "set", "xa0", "down", NULL);
	(void)put_tx(&xsk, &umem, 3);
	assert_int_equal(xsk_wake_tx(&xsk), -ENETDOWN);
	assert_int_equal(xsk_wake_rx(&xsk), -ENETDOWN);
	assert_int_equal(*xsk.tx.consumer, 0);
	env_run("ip", "link", "set", "xa0", "up", NULL);
	assert_int_equal(xsk_wake_tx(&xsk), 0);
	assert_int_equal(xsk_wake_rx(&xsk), 0);
	assert_int_equal(*xsk.tx.consumer, 3);
	xsk_close(&xsk);
	umem_fini(&umem);
}

/*
 * A device that drops (here: no carrier; under overload: a full queue) ends the wakeup after each
 * packet that it drops. The frame is completed, and the next wakeup goes on behind it.
 */
static void test_a_dropping_device_ends_each_wakeup_with_ebusy(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct wanted wanted = {.n = 3};
	struct xsk xsk;

	open_xsk(&xsk, &umem, &spec);
	env_run("ip", "link", "set", "xa1", "down", NULL);
	(void)put_tx(&xsk, &umem, 10);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(xsk_wake_tx(&xsk), -EBUSY);
		assert_int_equal(*xsk.tx.consumer, i);
	}
	wanted.xsk = &xsk;
	assert_true(env_wait(has_completed, &wanted));
	env_run("ip", "link", "set", "xa1", "up", NULL);
	assert_int_equal(xsk_wake_tx(&xsk), 0);
	assert_int_equal(*xsk.tx.consumer, 10);
	xsk_close(&xsk);
	umem_fini(&umem);
}

static void test_busy_polling_without_napi_is_told(void **state)
{
	struct umem umem = memory();
	struct xsk_spec spec = spec_of("xa0", 0);
	struct xsk xsk;

	spec.busy_poll_us = 50;
	open_xsk(&xsk, &umem, &spec);
	assert_int_equal(xsk.napi_id, 0); /* veth */
	xsk_close(&xsk);
	umem_fini(&umem);
}

static int set_up(void **state)
{
	env_enter();
	env_make_veth("xa0", "xa1", 2);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_socket_binds_in_copy_mode),
		cmocka_unit_test(test_refusals_name_their_step_and_leave_nothing_open),
		cmocka_unit_test(test_a_bound_queue_is_busy_until_its_socket_is_closed),
		cmocka_unit_test(test_sockets_of_two_ports_share_one_umem),
		cmocka_unit_test(test_the_kernel_counts_what_an_empty_fill_ring_loses),
		cmocka_unit_test(test_rings_can_be_mapped_again_after_bind),
		cmocka_unit_test(test_one_wakeup_sends_as_many_packets_as_tx_budget_says),
		cmocka_unit_test(test_wakeups_tell_that_the_link_is_down_and_up_again),
		cmocka_unit_test(test_a_dropping_device_ends_each_wakeup_with_ebusy),
		cmocka_unit_test(test_busy_polling_without_napi_is_told),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
