/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * THE table of configuration keys.
 *
 * One row per key; loading, checking, dumping, --list-keys, config/sluice.conf and the man page
 * sluice.conf.5 follow it (the last two through tests/unit/test_conf_docs.c). A row says what a
 * key is called, where its value goes, what it may be, what it is when absent, and what a reload
 * does with a change. Rows, sections and words of later versions can be marked `.later`: they are
 * known, their values are checked, and they are refused with "not in this version".
 *
 * To add a key: a field in control/conf.h, a row here, a paragraph in config/sluice.conf and in
 * config/sluice.conf.5. Nothing else.
 *
 * Constant data; thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/conf.h"
#include "util/macros.h"

#define CONF_FILE_MAX_BYTES 1048576

/* A section is `[kind]` or `[kind NAME]`. */
enum conf_section_kind {
	CONF_SECTION_DAEMON,
	CONF_SECTION_PORT,
	CONF_SECTION_ROUTE,
	CONF_SECTION_BRIDGE,
	CONF_SECTION_LISTENER,
	CONF_SECTION_BACKEND,
	CONF_SECTION_N,
};

struct conf_section_type {
	const char *kind;
	bool has_name;
	bool later;
	unsigned max; /* how many of them a file may have */
};

extern const struct conf_section_type conf_section_types[CONF_SECTION_N];

/* The types of values; a parser and a printer each, in control/conf_value.c. */
enum conf_type {
	CONF_TYPE_COUNT,       /* uint32_t: a decimal number, bare */
	CONF_TYPE_SIZE,        /* uint32_t: bytes, bare or with KiB or MiB; a power of two */
	CONF_TYPE_DURATION_NS, /* uint64_t: a decimal number and one of us ms s min h */
	CONF_TYPE_DURATION_US, /* uint32_t: the same, held in microseconds */
	CONF_TYPE_SET,         /* struct conf_set: "2-5,8" */
	CONF_TYPE_BOOL,        /* bool: yes or no */
	CONF_TYPE_CHOICE,      /* an enum, one of .choices */
	CONF_TYPE_FORWARD,     /* CHOICE whose word may need a name: fills conf_port.peer */
	CONF_TYPE_INTERFACE,   /* char[IF_NAMESIZE] */
	CONF_TYPE_PATH,        /* char[CONF_PATH_BYTES]: absolute */
	CONF_TYPE_LISTEN,      /* char[CONF_PATH_BYTES]: loopback ADDRESS:PORT or unix:/PATH */
	CONF_TYPE_TABLE,       /* main, a number, or a VRF device: fills conf_route */
	CONF_TYPE_STATIC,      /* MAC PORT: adds to conf_bridge.statics */
	CONF_TYPE_BYTES,       /* uint64_t: bytes, bare or with KiB, MiB or GiB */
	CONF_TYPE_BACKEND,     /* char[CONF_NAME_BYTES]: name of a backend */
	CONF_TYPE_BIND,        /* where to listen: adds to a conf_list of conf_bind */
	CONF_TYPE_NAME_ROUTE,  /* PATTERN -> BACKEND: adds to one of conf_name_route */
	CONF_TYPE_PREFIX,      /* ADDRESS/LENGTH: adds to one of conf_prefix */
	CONF_TYPE_SERVER,      /* NAME ADDRESS [weight=N]: adds to one of conf_server */
	CONF_TYPE_N,
};

/* What a reload does when the value of a key has changed. */
enum conf_reload {
	CONF_RELOAD_LIVE,    /* taken over at once */
	CONF_RELOAD_PORT,    /* that port, alone, is rebuilt */
	CONF_RELOAD_RESTART, /* refused until the daemon is restarted */
	CONF_RELOAD_N,
};

extern const char *const conf_reload_names[CONF_RELOAD_N];

/* One word of a CHOICE; the index in the array is the enum's value. */
struct conf_choice {
	const char *text;
	bool needs_name; /* followed by the name of a port or bridge */
	bool later;
};

struct conf_key {
	enum conf_section_kind section;
	enum conf_type type;
	enum conf_reload reload;
	bool later;   /* known, but not in this version */
	bool is_list; /* may be given more than once */
	bool in_conf; /* has a field in struct conf */
	const char *name;
	const char *default_text; /* parsed like a value from a file; NULL: must be given */
	const char *word;         /* accepted beside the type's own values: auto, all, off */
	uint64_t min, max;        /* in the unit of the field */
	const char *unit;         /* what a bare number counts, "" if it does not apply */
	const struct conf_choice *choices;
	unsigned n_choices;
	size_t offset; /* of the field in the section's struct */
	const char *help;
};

extern const struct conf_choice conf_choices_huge_pages[], conf_choices_mode[],
	conf_choices_forward[], conf_choices_attach[], conf_choices_on_failure[],
	conf_choices_offloads[], conf_choices_sniff[], conf_choices_engine[],
	conf_choices_proxy_in[], conf_choices_balance[], conf_choices_proxy_out[],
	conf_choices_health[];

/*
 * K(SECTION, key, TYPE, RELOAD, default, help, further fields…)
 *
 * .reload in the packet plane: what is built into a port's program, sockets or rings is `port`;
 * what shapes workers and their memory is `restart`, since every port of the group shares it.
 */
/* clang-format off */
#define CONF_KEYS(K) \
	K(DAEMON, workers, COUNT, RESTART, "auto", \
	  "Packet workers of each forwarding group. auto: as many as the port with the fewest queues " \
	  "has, but at least one CPU is left free.", \
	  .word = "auto", .min = 1, .max = CONF_MAX_CPUS, .unit = "threads", CONF_IN_DAEMON(workers)) \
	K(DAEMON, cpus, SET, RESTART, "auto", \
	  "CPUs that packet workers are pinned to. auto: those the service may use, isolated CPUs and " \
	  "the NUMA node of the port first.", \
	  .word = "auto", .min = 0, .max = CONF_MAX_CPUS - 1, .unit = "CPU", CONF_IN_DAEMON(cpus)) \
	K(DAEMON, frames_per_worker, COUNT, RESTART, "auto", \
	  "Frames in the packet memory of each worker. auto: enough to fill every ring.", \
	  .word = "auto", .min = 512, .max = 4194304, .unit = "frames", CONF_IN_DAEMON(frames_per_worker)) \
	K(DAEMON, frame_size, SIZE, RESTART, "2048", \
	  "Bytes of packet memory for one frame. It bounds the MTU of the ports: 2048 carries " \
	  "Ethernet's 1500.", \
	  .min = 2048, .max = 4096, .unit = "bytes", CONF_IN_DAEMON(frame_size_bytes)) \
	K(DAEMON, huge_pages, CHOICE, RESTART, "auto", \
	  "Packet memory on huge pages. auto: if enough of them are free. on: or fail to start.", \
	  CONF_CHOICES(huge_pages), CONF_IN_DAEMON(huge_pages)) \
	K(DAEMON, acceptors, COUNT, RESTART, "auto", \
	  "Acceptor threads of the listeners. auto: one on each CPU that has no packet worker, at " \
	  "least one.", \
	  .word = "auto", .min = 1, .max = CONF_MAX_ACCEPTORS, .unit = "threads", \
	  CONF_IN_DAEMON(acceptors)) \
	K(DAEMON, bpf_dir, PATH, RESTART, "auto", \
	  "Directory on a BPF file system for the pins of ports with on_failure = drop. auto: " \
	  "/run/sluice/bpf, or else /sys/fs/bpf/sluice.", \
	  .word = "auto", CONF_IN_DAEMON(bpf_dir)) \
	K(DAEMON, control_socket, PATH, RESTART, "/run/sluice/control.sock", \
	  "Unix socket on which sluicectl talks to the daemon.", \
	  CONF_IN_DAEMON(control_socket)) \
	K(DAEMON, metrics_listen, LISTEN, RESTART, "127.0.0.1:9733", \
	  "Where /metrics, /healthz and /readyz are served over HTTP. There is no authentication, so " \
	  "only loopback addresses and unix sockets are accepted.", \
	  .word = "off", CONF_IN_DAEMON(metrics_listen)) \
	K(DAEMON, drain_timeout, DURATION_NS, LIVE, "10s", \
	  "How long work in flight may keep a stop, or the rebuilding of a port, waiting. Packets are " \
	  "waited for 200 ms at most, or this long if it is shorter.", \
	  .min = 0, .max = 600 * NSEC_PER_SEC, CONF_IN_DAEMON(drain_timeout_ns)) \
	K(DAEMON, max_parked, BYTES, LIVE, "1GiB", \
	  "Bytes of all connections that may wait in the kernel between their two sockets. A " \
	  "connection that makes it more is ended.", \
	  .min = 1048576, .max = 1ULL << 40, CONF_IN_DAEMON(max_parked_bytes)) \
	K(DAEMON, max_parked_per_flow, BYTES, LIVE, "2MiB", \
	  "Bytes of one connection that may wait so. One that has more is no longer spliced but " \
	  "relayed in user space, and goes on.", \
	  .min = 65536, .max = 1ULL << 30, CONF_IN_DAEMON(max_parked_per_flow_bytes)) \
	K(DAEMON, flow_log, COUNT, LIVE, "off", \
	  "Every how many connections of an acceptor one is logged at its end. 1: all.", \
	  .word = "off", .min = 1, .max = 1000000000, .unit = "connections", \
	  CONF_IN_DAEMON(flow_log_every)) \
	\
	K(PORT, interface, INTERFACE, PORT, NULL, \
	  "The network interface of the port, in the daemon's network namespace. A port is its " \
	  "interface's name: a new device with the same name is the same port.", \
	  CONF_IN_PORT(interface)) \
	K(PORT, queues, SET, PORT, "all", \
	  "Receive queues that are taken from the kernel. The others go to the kernel as before.", \
	  .word = "all", .min = 0, .max = CONF_MAX_QUEUES - 1, .unit = "queue", CONF_IN_PORT(queues)) \
	K(PORT, mode, CHOICE, PORT, "auto", \
	  "How AF_XDP is bound. auto: the best the driver offers, and what was got is reported. A mode " \
	  "that is named is got, or the port is refused.", \
	  CONF_CHOICES(mode), CONF_IN_PORT(mode)) \
	K(PORT, forward, FORWARD, PORT, NULL, \
	  "Where frames go. route: as the kernel's tables say, to the other route ports; what is not " \
	  "plain forwarding stays the kernel's. xconnect NAME: a wire to that port, which must answer " \
	  "with xconnect to this one. bridge NAME: to the other ports of that bridge, by their " \
	  "addresses. pass: everything to the kernel, counted.", \
	  CONF_CHOICES(forward), CONF_IN_PORT(forward)) \
	K(PORT, attach, CHOICE, PORT, "link", \
	  "How the XDP program is attached. link: alone on the interface.", \
	  CONF_CHOICES(attach)) \
	K(PORT, on_failure, CHOICE, PORT, "pass", \
	  "Fate of frames when their worker stalls or the daemon dies. pass: to the kernel. drop: " \
	  "dropped, also while the daemon is down, until sluiced --detach.", \
	  CONF_CHOICES(on_failure), CONF_IN_PORT(on_failure)) \
	K(PORT, stall_timeout, DURATION_NS, PORT, "100ms", \
	  "A worker that has not moved for this long counts as stalled; on_failure says what then.", \
	  .min = 10 * NSEC_PER_MSEC, .max = 10 * NSEC_PER_SEC, CONF_IN_PORT(stall_timeout_ns)) \
	K(PORT, take_host_traffic, BOOL, LIVE, "no", \
	  "Allow an interface that carries an address, a default route or a master to be " \
	  "cross-connected or bridged. Through a cross-connect the host cannot be reached any more; " \
	  "through a bridge it can, at this interface's own hardware address. Without meaning for " \
	  "forward = route, which leaves the host what is its own.", \
	  CONF_IN_PORT(take_host_traffic)) \
	K(PORT, pass_control, BOOL, PORT, "no", \
	  "Give LACP and other slow protocols, LLDP and STP to the kernel instead of forwarding them. " \
	  "Only with forward = xconnect.", \
	  CONF_IN_PORT(pass_control)) \
	K(PORT, offloads, CHOICE, PORT, "fix", \
	  "Hardware VLAN stripping and LRO must be off. fix: turn them off, and on again at a clean " \
	  "stop. check: refuse the port if they are on.", \
	  CONF_CHOICES(offloads), CONF_IN_PORT(offloads)) \
	K(PORT, busy_poll, DURATION_US, PORT, "off", \
	  "Let the worker poll the driver for this long instead of waiting for interrupts. The daemon " \
	  "says so where it has no effect.", \
	  .word = "off", .min = 1, .max = 10000, CONF_IN_PORT(busy_poll_us)) \
	K(PORT, flood_limit, COUNT, LIVE, "off", \
	  "Frames per second received by this port that its bridge may send to all other ports: " \
	  "broadcasts, multicasts, and those to addresses not learnt. More are dropped and counted. " \
	  "Only with forward = bridge.", \
	  .word = "off", .min = 1, .max = 100000000, .unit = "frames per second", \
	  CONF_IN_PORT(flood_limit)) \
	\
	K(ROUTE, table, TABLE, LIVE, "main", \
	  "Routing table of the kernel that ports with forward = route follow, beside the table " \
	  "local. A VRF device stands for its table; its members are then the ports.", \
	  .min = 1, .max = UINT32_MAX, CONF_IN_ROUTE(table)) \
	K(ROUTE, bypass_netfilter, BOOL, LIVE, "no", \
	  "no: what netfilter rules would see while it is forwarded goes to the kernel. yes: it is " \
	  "forwarded past them.", \
	  CONF_IN_ROUTE(bypass_netfilter)) \
	\
	K(BRIDGE, ageing_time, DURATION_NS, LIVE, "5min", \
	  "An address from which no frame has come for this long is forgotten.", \
	  .min = 10 * NSEC_PER_SEC, .max = 24 * 3600 * NSEC_PER_SEC, CONF_IN_BRIDGE(ageing_time_ns)) \
	K(BRIDGE, max_entries, COUNT, LIVE, "16384", \
	  "Addresses that the bridge remembers. Frames to others are flooded.", \
	  .min = 16, .max = 1048576, .unit = "addresses", CONF_IN_BRIDGE(max_entries)) \
	K(BRIDGE, learning_limit, COUNT, LIVE, "10000", \
	  "Addresses that the bridge learns or moves in a second. Others wait for their next frame.", \
	  .min = 1, .max = 1000000, .unit = "addresses per second", CONF_IN_BRIDGE(learning_limit)) \
	K(BRIDGE, static, STATIC, LIVE, NULL, \
	  "A hardware address that is behind a port of this bridge, for ever: neither learnt, nor " \
	  "moved, nor forgotten.", \
	  .is_list = true, CONF_IN_BRIDGE(statics)) \
	\
	K(LISTENER, bind, BIND, LIVE, NULL, \
	  "Where connections are taken. 0.0.0.0 and [::] are all addresses, the latter IPv4's too " \
	  "unless 0.0.0.0 is taken with the same port. fd: is a listening socket that systemd hands " \
	  "over under that name. unix: makes a socket that owner and group may connect to.", \
	  .is_list = true, CONF_IN_LISTENER(binds)) \
	K(LISTENER, sniff, CHOICE, LIVE, "none", \
	  "What the first bytes of a connection are read for. tls: the name in the ClientHello. http: " \
	  "the host that is asked for. auto: whichever of the two it is. They are forwarded unchanged.", \
	  CONF_CHOICES(sniff), CONF_IN_LISTENER(sniff)) \
	K(LISTENER, route, NAME_ROUTE, LIVE, NULL, \
	  "Backend of connections that ask for a name; the first that matches is taken. *.NAME matches " \
	  "what is below NAME.", \
	  .is_list = true, CONF_IN_LISTENER(routes)) \
	K(LISTENER, default, BACKEND, LIVE, "none", \
	  "Backend of connections that no route takes. none: they are refused.", \
	  .word = "none", CONF_IN_LISTENER(default_backend)) \
	K(LISTENER, engine, CHOICE, LIVE, "auto", \
	  "What moves the bytes of a connection. copy: this process. splice: splice(2). sockmap: the " \
	  "kernel by itself. auto: by what a connection does.", \
	  CONF_CHOICES(engine), CONF_IN_LISTENER(engine)) \
	K(LISTENER, proxy_protocol, CHOICE, LIVE, "off", \
	  "PROXY header that clients must send.", \
	  CONF_CHOICES(proxy_in), CONF_IN_LISTENER(proxy_protocol)) \
	K(LISTENER, proxy_from, PREFIX, LIVE, NULL, \
	  "Networks that may connect where a PROXY header must be sent. Unix sockets are not asked.", \
	  .is_list = true, CONF_IN_LISTENER(proxy_from)) \
	K(LISTENER, max_connections, COUNT, LIVE, "50000", \
	  "Connections at a time. More are reset.", \
	  .min = 1, .max = CONF_MAX_CONNECTIONS, .unit = "connections", CONF_IN_LISTENER(max_connections)) \
	K(LISTENER, max_connections_per_source, COUNT, LIVE, "off", \
	  "Connections at a time from one IPv4 address or IPv6 /64; of those that a PROXY header names. " \
	  "More are reset.", \
	  .word = "off", .min = 1, .max = CONF_MAX_CONNECTIONS, .unit = "connections", \
	  CONF_IN_LISTENER(max_per_source)) \
	K(LISTENER, sniff_timeout, DURATION_NS, LIVE, "5s", \
	  "Time from accept within which the first bytes must be there, however they come.", \
	  .min = 100 * NSEC_PER_MSEC, .max = 600 * NSEC_PER_SEC, CONF_IN_LISTENER(sniff_timeout_ns)) \
	K(LISTENER, idle_timeout, DURATION_NS, LIVE, "1h", \
	  "A connection without a byte for this long is ended.", \
	  .word = "off", .min = NSEC_PER_SEC, .max = NSEC_PER_SEC * 3600 * 24 * 7, \
	  CONF_IN_LISTENER(idle_timeout_ns)) \
	K(LISTENER, half_closed_timeout, DURATION_NS, LIVE, "1min", \
	  "The same for a connection of which one side has ended.", \
	  .word = "off", .min = NSEC_PER_SEC, .max = NSEC_PER_SEC * 3600 * 24, \
	  CONF_IN_LISTENER(half_closed_timeout_ns)) \
	K(LISTENER, keepalive, DURATION_NS, LIVE, "5min", \
	  "TCP keepalive, on both sides: how long a connection is silent before the far end is asked.", \
	  .word = "off", .min = NSEC_PER_SEC, .max = NSEC_PER_SEC * 32767, \
	  CONF_IN_LISTENER(keepalive_ns)) \
	K(LISTENER, user_timeout, DURATION_NS, LIVE, "off", \
	  "TCP_USER_TIMEOUT, on both sides: how long bytes may wait for a far end that does not take " \
	  "them, one that reads too slowly included.", \
	  .word = "off", .min = NSEC_PER_SEC, .max = NSEC_PER_SEC * 3600 * 24, \
	  CONF_IN_LISTENER(user_timeout_ns)) \
	\
	K(BACKEND, balance, CHOICE, LIVE, "round_robin", \
	  "How a server is chosen. maglev: by client address and name, so that a client meets the same " \
	  "server again.", \
	  CONF_CHOICES(balance), CONF_IN_BACKEND(balance)) \
	K(BACKEND, server, SERVER, LIVE, NULL, \
	  "A server, its address, and its share of connections, 1 if it is not said.", \
	  .is_list = true, .min = 1, .max = 1000, CONF_IN_BACKEND(servers)) \
	K(BACKEND, send_proxy, CHOICE, LIVE, "off", \
	  "PROXY header that servers are sent.", \
	  CONF_CHOICES(proxy_out), CONF_IN_BACKEND(send_proxy)) \
	K(BACKEND, connect_timeout, DURATION_NS, LIVE, "5s", \
	  "Time within which a server must accept.", \
	  .min = 100 * NSEC_PER_MSEC, .max = 600 * NSEC_PER_SEC, CONF_IN_BACKEND(connect_timeout_ns)) \
	K(BACKEND, retries, COUNT, LIVE, "2", \
	  "Other servers that are tried where one cannot be connected to.", \
	  .min = 0, .max = 7, .unit = "servers", CONF_IN_BACKEND(retries)) \
	K(BACKEND, health_check, CHOICE, LIVE, "tcp", \
	  "How servers are checked. tcp: they must accept a connection, which is then reset.", \
	  CONF_CHOICES(health), CONF_IN_BACKEND(health_check)) \
	K(BACKEND, health_interval, DURATION_NS, LIVE, "2s", \
	  "Time between two checks of a server, a tenth more or less.", \
	  .min = 100 * NSEC_PER_MSEC, .max = 3600 * NSEC_PER_SEC, \
	  CONF_IN_BACKEND(health_interval_ns)) \
	K(BACKEND, health_rise, COUNT, LIVE, "2", \
	  "Checks in a row that bring a server back.", \
	  .min = 1, .max = 100, .unit = "checks", CONF_IN_BACKEND(health_rise)) \
	K(BACKEND, health_fall, COUNT, LIVE, "3", \
	  "Checks in a row that take a server out.", \
	  .min = 1, .max = 100, .unit = "checks", CONF_IN_BACKEND(health_fall)) \
	K(BACKEND, max_connections, COUNT, LIVE, "off", \
	  "Connections at a time to all its servers.", \
	  .word = "off", .min = 1, .max = CONF_MAX_CONNECTIONS, .unit = "connections", \
	  CONF_IN_BACKEND(max_connections)) \
	K(BACKEND, maglev_size, COUNT, LIVE, "65537", \
	  "Entries of the table of balance = maglev; a prime, a hundred times as many as servers.", \
	  .min = 2, .max = 5000011, .unit = "entries", CONF_IN_BACKEND(maglev_size))
/* clang-format on */

#define CONF_KEY_ID(section_, key_, type_, reload_, default_, help_, ...) \
	CONF_KEY_##section_##_##key_,
enum conf_key_id { CONF_KEYS(CONF_KEY_ID) CONF_KEYS_N };
#undef CONF_KEY_ID

extern const struct conf_key conf_keys[CONF_KEYS_N];
