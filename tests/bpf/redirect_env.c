// SPDX-License-Identifier: GPL-2.0-or-later
/* A port under test, and what its gate knows; see redirect_env.h. */
#include "redirect_env.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "kern/gate.h"
#include "kern/load_log.h"
#include "util/clock.h"
#include "util/macros.h"

const uint16_t queue_worker[N_PLAN_QUEUES] = {0, 1, SLUICE_NO_WORKER};

static struct gate *gate; /* as long as the process */

/* --- What the gate knows --------------------------------------------------------------------- */

/*
 *	198.51.100.0/24  ours; 198.51.100.9 is local all the same, which nobody looks up
 *	203.0.113.0/24   mixed; .1 is on the bridge GROUP, .2 on no bridge, .3 on another
 *	192.0.2.0/24     pass; .1 is local
 *	the rest of the first and last /24s of 1/8 … 223/8, for the edges
 */
static const struct {
	uint32_t slot24;
	enum sluice_gate_class class;
} gate4_classes[] = {
	{0xc63364, SLUICE_GATE_OURS}, {0xcb0071, SLUICE_GATE_MIXED}, {0x000000, SLUICE_GATE_OURS},
	{0x7effff, SLUICE_GATE_OURS}, {0x7f0000, SLUICE_GATE_OURS},  {0x7fffff, SLUICE_GATE_OURS},
	{0x800000, SLUICE_GATE_OURS}, {0xdfffff, SLUICE_GATE_OURS},  {0xe00000, SLUICE_GATE_OURS},
	{0xf00000, SLUICE_GATE_OURS}, {0xffffff, SLUICE_GATE_OURS},
};

static const struct {
	uint8_t addr[4];
	uint32_t group;
} local4_groups[] = {
	{{198, 51, 100, 9}, SLUICE_NO_GROUP},
	{{192, 0, 2, 1}, SLUICE_NO_GROUP},
	{{203, 0, 113, 1}, GROUP},
	{{203, 0, 113, 2}, SLUICE_NO_GROUP},
	{{203, 0, 113, 3}, GROUP + 1},
};

/* One of each level, and whatever covers the addresses that must not get that far. */
static const struct {
	uint8_t addr[16];
	unsigned len;
} gate6_prefixes[] = {
	{{0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01}, 48},
	{{0x20, 0x01, 0x0d, 0xb9}, 32},
	{{0x24, 0x00}, 16},
	{{0x00, 0x00}, 16},
	{{0xfe, 0x80}, 10},
	{{0xff, 0x00}, 8},
	{{0xfe, 0xc0}, 16},
	{{0xfe, 0x7f}, 16},
	{{0x00, 0x64, 0xff, 0x9b}, 96},
};

static const struct {
	uint8_t addr[16];
	uint32_t group;
} local6_groups[] = {
	{{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 1}, GROUP},
	{{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 2}, SLUICE_NO_GROUP},
	{{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 3}, GROUP + 1},
	{{0x20, 0x01, 0x0d, 0xb8, 0, 2, [15] = 1}, SLUICE_NO_GROUP},
};

static void make_gate(void)
{
	assert_int_equal(gate_new(&gate), 0);
	for (size_t i = 0; i < ARRAY_SIZE(gate4_classes); i++)
		gate_set4(gate, gate4_classes[i].slot24, 1, gate4_classes[i].class);
	for (size_t i = 0; i < ARRAY_SIZE(gate6_prefixes); i++)
		assert_int_equal(gate_add6(gate, gate6_prefixes[i].addr, gate6_prefixes[i].len), 0);
	for (size_t i = 0; i < ARRAY_SIZE(local4_groups); i++) {
		uint32_t addr_be;

		memcpy(&addr_be, local4_groups[i].addr, sizeof(addr_be));
		assert_int_equal(gate_add_local4(gate, addr_be, local4_groups[i].group), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(local6_groups); i++)
		assert_int_equal(
			gate_add_local6(gate, local6_groups[i].addr, local6_groups[i].group), 0);
}

void redirect_env_enter(void)
{
	env_enter();
	env_make_veth("port", "peer", N_DEVICE_QUEUES);
	env_make_veth("wide", "wide-peer", 300);
	make_gate();
}

uint32_t port_ifindex(void)
{
	return env_ifindex("port");
}

uint32_t wide_ifindex(void)
{
	return env_ifindex("wide");
}

const struct gate *port_gate(void)
{
	return gate;
}

/* --- Frames ---------------------------------------------------------------------------------- */

uint8_t *frame_bytes(const struct frame *frame, uint8_t bytes[4096])
{
	for (uint32_t i = 0; i < frame->size_bytes; i++)
		bytes[i] = i < sizeof(frame->head) ? frame->head[i] : (uint8_t)(i * 7 + 3);
	return bytes;
}

/* --- The port -------------------------------------------------------------------------------- */

void port_fini(struct port *port)
{
	close_fdp(&port->xsk_fd);
	port_prog_free(port->prog);
}

struct port_prog_spec default_spec(void)
{
	return (struct port_prog_spec){
		.port = "port",
		.ifindex = port_ifindex(),
		.config = {.forward = SLUICE_FORWARD_WIRE,
			   .fallback = XDP_PASS,
			   .stall_jiffies = 10 * clock_kernel_hz()},
		.queue_worker = queue_worker,
		.n_queues = N_PLAN_QUEUES,
		.n_workers = N_WORKERS,
		.numa_node = 0,
	};
}

static void fill_line(struct sluice_heartbeat *line, const struct verdict_case *c)
{
	static const uint8_t mac[8] = {PORT_MAC};

	memcpy(&line->mac, mac, sizeof(mac));
	line->routes = (SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6) & ~c->without;
	line->max_packet_len = c->max_packet_len ? c->max_packet_len : PORT_MTU;
}

void port_init(struct port *port, const struct verdict_case *c)
{
	struct port_prog_spec spec = default_spec();
	int r;

	*port = (struct port){.xsk_fd = -1};
	spec.config.forward = c->is_pass_port ? SLUICE_FORWARD_PASS :
			      c->is_route     ? SLUICE_FORWARD_ROUTE :
			      c->is_bridge    ? SLUICE_FORWARD_BRIDGE :
						SLUICE_FORWARD_WIRE;
	spec.config.group = GROUP;
	spec.gate = c->is_route || c->is_bridge ? gate : NULL;
	spec.config.pass_control = c->has_pass_control;
	spec.config.fallback = c->drops ? XDP_DROP : XDP_PASS;
	r = port_prog_load(&spec, &port->prog);
	if (r < 0)
		fail_msg("load: %s\n%s", strerror(-r), load_log_text());
	for (unsigned w = 0; !c->never_beat && w < N_WORKERS; w++)
		env_beat(port->prog, w);
	if (!c->has_no_socket) {
		port->xsk_fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
		assert_true(port->xsk_fd >= 0);
		for (unsigned q = 0; q < N_PLAN_QUEUES; q++)
			assert_int_equal(port_prog_set_xsk(port->prog, q, port->xsk_fd), 0);
	}
	fill_line(port_prog_line(port->prog), c);
	port_prog_set_detached(port->prog, c->is_detached);
}

void take_counts(struct port *port, uint64_t ret_counts[SLUICE_V_N])
{
	uint64_t counts[SLUICE_V_N];

	assert_int_equal(port_prog_verdicts(port->prog, counts), 0);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		ret_counts[v] = counts[v] - port->counts[v];
	memcpy(port->counts, counts, sizeof(counts));
}

void assert_counted(struct port *port, enum sluice_verdict verdict)
{
	uint64_t counts[SLUICE_V_N];

	take_counts(port, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++) {
		if (counts[v] != (v == verdict))
			fail_msg("verdict %u counted %llu times, expected verdict %u once", v,
				 (unsigned long long)counts[v], verdict);
	}
}
