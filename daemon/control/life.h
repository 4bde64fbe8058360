/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's life between READY and STOPPING: one thread, one sd-event loop.
 *
 *   SIGTERM, SIGINT   stop: drain, take everything down, end
 *   SIGHUP            reload, as `sluicectl reload`
 *   rtnetlink         an interface changed: plan again, apply the difference
 *   timers            retries; every second: watchdog, attachments, allowed CPUs, STATUS
 *   sockets           control socket, metrics
 *
 * Thread: control, which is the main thread. Signals are blocked before any thread starts.
 */
#pragma once

struct conf;

/*
 * Runs until stopped; takes `conf`. Returns the process's exit status: 0 after a clean stop, 1 when
 * a port could not be built at start or the environment lacks something.
 */
int life_run(struct conf *conf);

/* --dry-run: prints the plan for `conf` on standard output; 0, or 1 if it has errors. */
int life_dry_run(const struct conf *conf);

/*
 * --detach [PORT]: removes pins with no daemon running; NULL = all. 0 or 1: also while a daemon
 * runs, which would attach again.
 */
int life_detach_pins(const struct conf *conf, const char *port);

/* After a start that gave up: the log names the interfaces that an earlier run's pins still hold.
 */
void life_tell_what_stays(const struct conf *conf);
