/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sluicectl: what its files share. The tool knows the socket's one-line protocol
 * (control/ctlsock.h) and JSON; it includes nothing of the daemon.
 *
 *   main.c     command line, table of commands
 *   client.c   one request, one answer, the exit status that an answer means
 *   show.c     answers as tables for people
 *   drops.c    the loss balance for people
 *   splice.c   listeners, backends, connections for people
 *   top.c      rates from two answers
 *   table.c    aligned columns, units, colours
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_object;

/* Documented in sluicectl(8) and tested. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* refused, failed, or the daemon is degraded */
	CTL_USAGE = 2,
	CTL_NOT_RUNNING = 3,
	CTL_PERMISSION = 4,
	CTL_TIMEOUT = 5,
	CTL_BAD_CONFIG = 78,
};

struct ctl {
	const char *socket_path;
	uint32_t timeout_ms; /* of one request */
	bool as_json;
	bool has_color;
	bool is_terminal;
	bool is_dry_run;
	bool watches;
	uint32_t n_rounds; /* 0 = until interrupted */
	uint32_t max_rows; /* 0 = as the daemon does */
};

/* --- client.c -------------------------------------------------------------------------------- */

/*
 * Sends one line, reads one answer. CTL_OK: *ret_answer is a success, to be put by the caller.
 * Otherwise the reason is on standard error (or, with --json, the answer on standard output).
 */
enum ctl_exit ctl_request(const struct ctl *ctl, const char *request,
			  struct json_object **ret_answer);

/* Prints an answer as the one line that it came as. */
void ctl_print_json(struct json_object *answer);

/* --- show.c, drops.c: each returns the exit status that the answer means --------------------- */

enum ctl_exit show_status(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_interfaces(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_queues(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_workers(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_ping(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_text(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_config(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_switch(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_drops(const struct ctl *ctl, struct json_object *answer);

/* --- splice.c -------------------------------------------------------------------------------- */

enum ctl_exit show_listeners(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_backends(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_flows(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_drained(const struct ctl *ctl, struct json_object *answer);

/* --- tables.c, packet.c ---------------------------------------------------------------------- */

enum ctl_exit show_routes(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_neighbours(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_fdb(const struct ctl *ctl, struct json_object *answer);
enum ctl_exit show_explanation(const struct ctl *ctl, struct json_object *answer);

/*
 * The octets of a packet in hexadecimal, to be freed: as they are given, or from KEY=VALUE. Asks
 * the daemon for the port's own address unless dmac= is said. What is wrong is on stderr.
 */
enum ctl_exit packet_from_words(const struct ctl *ctl, const char *port, char *const words[],
				int n_words, char **ret_hex);

/* --- top.c ----------------------------------------------------------------------------------- */

enum ctl_exit top_run(const struct ctl *ctl);

/* Waits a second, or less if interrupted: no sleeping on a terminal that was closed. */
void ctl_wait_second(void);
