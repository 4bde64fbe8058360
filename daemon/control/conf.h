/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration as a value.
 *
 * conf_load() reads a file into a struct conf that is complete and valid, or into a list of
 * errors; there is nothing in between. Keys, defaults, ranges and units are rows of
 * control/conf_keys.h and nowhere else. After conf_load() a struct conf is constant: a reload
 * makes a second one and the plans of the two are compared.
 *
 *   file ── conf_load ──► struct conf ── plan_make (control/plan.h) ──► struct plan
 *
 * Thread: control (and main before it). Nothing here needs a capability or asks the kernel
 * about interfaces: whether `eth0` exists is the plan's question.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "bpf/splice_abi.h"
#include "net/proxy_header.h"
#include "net/wire.h"
#include "splice/config.h"

#define CONF_MAX_PORTS       64
#define CONF_MAX_BRIDGES     64
#define CONF_MAX_LISTENERS   256
#define CONF_MAX_BACKENDS    256
#define CONF_MAX_STATICS     256     /* per bridge */
#define CONF_MAX_ITEMS       1024    /* of a list of a listener or backend */
#define CONF_MAX_CONNECTIONS 4194304 /* of all listeners */
#define CONF_MAX_CPUS        1024
#define CONF_MAX_ACCEPTORS   SPLICE_MAX_ACCEPTORS
#define CONF_MAX_QUEUES      256               /* per port; SLUICE_MAX_QUEUES of bpf/sluice_abi.h */
#define CONF_NAME_BYTES      SPLICE_NAME_BYTES /* of whatever has one, with the closing NUL */
#define CONF_PATH_BYTES      108               /* sizeof(sockaddr_un.sun_path) */
#define CONF_ADDRESS_BYTES   (CONF_PATH_BYTES + 8)

enum conf_huge_pages { CONF_HUGE_AUTO, CONF_HUGE_ON, CONF_HUGE_OFF, CONF_HUGE_N };

/* What `mode =` asks for; what was got is enum xsk_mode (kern/xsk.h). */
enum conf_mode {
	CONF_MODE_AUTO,
	CONF_MODE_ZEROCOPY,
	CONF_MODE_COPY,
	CONF_MODE_GENERIC,
	CONF_MODE_N
};

enum conf_forward {
	CONF_FORWARD_PASS,
	CONF_FORWARD_XCONNECT,
	CONF_FORWARD_ROUTE,
	CONF_FORWARD_BRIDGE,
	CONF_FORWARD_N
};

enum conf_on_failure { CONF_FAIL_PASS, CONF_FAIL_DROP, CONF_FAIL_N };

enum conf_offloads { CONF_OFFLOADS_FIX, CONF_OFFLOADS_CHECK, CONF_OFFLOADS_N };

/* A set of small numbers from a list such as "2-5,8"; `all` means `auto` or `all` was written. */
struct conf_set {
	bool all;
	uint64_t bits[CONF_MAX_CPUS / 64];
};

/* [daemon] */
struct conf_daemon {
	uint32_t workers; /* per group; 0 = auto */
	struct conf_set cpus;
	uint32_t frames_per_worker; /* 0 = auto */
	uint32_t frame_size_bytes;  /* 2048 or 4096 */
	enum conf_huge_pages huge_pages;
	char bpf_dir[CONF_PATH_BYTES]; /* "" = auto */
	char control_socket[CONF_PATH_BYTES];
	char metrics_listen[CONF_PATH_BYTES]; /* "" = off; "127.0.0.1:9733" or "unix:/path" */
	uint64_t drain_timeout_ns;
	uint32_t acceptors; /* 0 = auto */
	uint64_t max_parked_bytes, max_parked_per_flow_bytes;
	uint32_t flow_log_every; /* 0 = off */
};

/* [port NAME] */
struct conf_port {
	char name[CONF_NAME_BYTES];
	char interface[IF_NAMESIZE];
	struct conf_set queues;
	enum conf_mode mode;
	enum conf_forward forward;
	char peer[CONF_NAME_BYTES]; /* NAME of `forward = xconnect` or `bridge`, else "" */
	enum conf_on_failure on_failure;
	uint64_t stall_timeout_ns;
	bool take_host_traffic;
	bool pass_control;
	enum conf_offloads offloads;
	uint32_t busy_poll_us; /* 0 = off */
	uint32_t flood_limit;  /* packets per second; 0 = off */
	unsigned line;         /* of the section header, for messages about the whole section */
};

/* [route] */
struct conf_route {
	uint32_t table;        /* of the kernel; RT_TABLE_MAIN where `vrf` is the one that counts */
	char vrf[IF_NAMESIZE]; /* the device whose table it is; "" = `table` says it */
	bool bypass_netfilter;
};

/* `static = MAC PORT` */
struct conf_static {
	uint8_t mac[6];
	char port[CONF_NAME_BYTES];
	unsigned line; /* of the file */
};

/* [bridge NAME]; one of defaults for a bridge that only ports name. */
struct conf_bridge {
	char name[CONF_NAME_BYTES];
	uint64_t ageing_time_ns;
	uint32_t max_entries;
	uint32_t learning_limit; /* per second */
	struct conf_static statics[CONF_MAX_STATICS];
	uint32_t n_statics;
};

/* The values of a key that may be repeated, in file order. Each item begins with the number of its
 * line, so that messages about it can name that. */
struct conf_list {
	void *items;
	unsigned n;
};

/* A socket address as it is written: "192.0.2.1:443", "[::]:443", "unix:/PATH", or "fd:NAME". */
struct conf_address {
	char text[CONF_ADDRESS_BYTES]; /* in one canonical form */
	bool is_fd;                    /* NAME is what follows "fd:"; there is no sockaddr */
	struct sockaddr_storage socket;
	socklen_t socket_len;
};

/* `bind = ADDRESS` */
struct conf_bind {
	unsigned line;
	struct conf_address address;
};

/* `route = PATTERN -> BACKEND` */
struct conf_name_route {
	unsigned line;
	char pattern[SNIFF_NAME_BYTES + 2]; /* lower case; "*." may begin it */
	char backend[CONF_NAME_BYTES];
};

/* `proxy_from = PREFIX` */
struct conf_prefix {
	unsigned line;
	struct splice_prefix prefix;
};

/* `server = NAME ADDRESS [weight=N]` */
struct conf_server {
	unsigned line;
	char name[CONF_NAME_BYTES];
	struct conf_address address;
	uint32_t weight;
};

/* [listener NAME] */
struct conf_listener {
	char name[CONF_NAME_BYTES];
	struct conf_list binds;  /* of struct conf_bind */
	struct conf_list routes; /* of struct conf_name_route */
	char default_backend[CONF_NAME_BYTES];
	enum splice_sniff sniff;
	enum splice_engine engine;
	enum proxy_version proxy_protocol;
	struct conf_list proxy_from; /* of struct conf_prefix */
	uint32_t max_connections;
	uint32_t max_per_source; /* 0 = off */
	uint64_t sniff_timeout_ns, idle_timeout_ns, half_closed_timeout_ns;
	uint64_t keepalive_ns, user_timeout_ns; /* 0 = off */
};

enum conf_health { CONF_HEALTH_OFF, CONF_HEALTH_TCP, CONF_HEALTH_N };

/* [backend NAME] */
struct conf_backend {
	char name[CONF_NAME_BYTES];
	enum splice_balance balance;
	struct conf_list servers; /* of struct conf_server */
	enum proxy_version send_proxy;
	uint64_t connect_timeout_ns;
	enum conf_health health_check;
	uint64_t health_interval_ns;
	uint32_t health_rise, health_fall;
	uint32_t retries;
	uint32_t max_connections; /* 0 = off */
	uint32_t maglev_size;
};

/* Where the value of one key came from: a line of the file, or 0 for the table's default. */
struct conf_origin;

struct conf {
	char *path;
	char sha256[65]; /* of the file's bytes, hexadecimal: names the configuration in metrics */
	struct conf_daemon daemon;
	struct conf_port *ports; /* n_ports of them, in file order */
	unsigned n_ports;
	struct conf_route route;
	struct conf_bridge *bridges; /* those with a section first, then by their first port */
	unsigned n_bridges;
	struct conf_listener *listeners; /* in file order, as backends */
	unsigned n_listeners;
	struct conf_backend *backends;
	unsigned n_backends;
	struct conf_origin *origins; /* private to conf*.c */
	unsigned n_origins;
};

/* One error, already in the form "FILE:LINE: [section] key: what is wrong". */
struct conf_errors {
	char **lines;
	unsigned n;
};

/*
 * Reads and validates a file. All errors of the file are collected, not the first.
 * Returns 0 with a complete *ret_conf, to be released by conf_free(); -EINVAL with at least one
 * line in *errors (the file was read and is wrong, exit status 78); another -errno when the file
 * cannot be read (one line in *errors too). *errors is the caller's to conf_errors_fini().
 */
int conf_load(const char *path, struct conf **ret_conf, struct conf_errors *errors);

/* The same for a stream that is already open (tests, fuzzing); `path` only names it. */
int conf_load_stream(FILE *stream, const char *path, struct conf **ret_conf,
		     struct conf_errors *errors);

void conf_free(struct conf *conf);
void conf_errors_fini(struct conf_errors *errors);

/* The effective configuration, defaults included, each value with its origin. */
void conf_dump_ini(const struct conf *conf, FILE *out);
int conf_dump_json(const struct conf *conf, FILE *out);

/* The schema: one line (or object) per row of conf_keys.h. */
void conf_list_keys(FILE *out);
int conf_list_keys_json(FILE *out);

static inline bool conf_set_has(const struct conf_set *set, unsigned n)
{
	return set->all || (n < CONF_MAX_CPUS && (set->bits[n / 64] >> (n % 64) & 1));
}
