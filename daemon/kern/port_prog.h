/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XDP program of one port: bpf/redirect.bpf.c with maps of its own, and the link that holds
 * it to the interface.
 *
 *   load ──► attach (link_create, or update of an own pinned link) ──► xsk_set per queue … ──► fini
 *
 * Life of the attachment (design.md §4.6). With on_failure = pass nothing is pinned: closing the
 * link's fd, however the process ends, takes the program off. With on_failure = drop the objects
 * are pinned in <dir>/<port>/ — `link`, `prog`, `xsks`, `heartbeat`, `verdicts` — and hold across
 * a restart and SIGTERM; the successor loads a program of its own and swaps it in by
 * bpf_link_update(), which is atomic. A pin is ours if the pinned program has one of our names and
 * the pinned link holds that very program; objects cannot be looked up by id without CAP_SYS_ADMIN,
 * which is why program and maps are pinned beside the link.
 *
 * Thread: control, except where said. Capabilities: CAP_BPF and CAP_NET_ADMIN to load and attach;
 * CAP_PERFMON makes the verifier's code faster and nothing else. Nothing here logs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sluice_abi.h"

/* Of a wire, and of a port that passes everything; one that routes or bridges has its own. */
#define SLUICE_PROG_NAME "sluice_redirect"

/* Is a program of this name ours? */
bool port_prog_is_ours(const char *name);

struct gate;
struct port_prog;

struct port_prog_spec {
	const char *port; /* names the pin directory */
	uint32_t ifindex;
	bool generic; /* XDP_FLAGS_SKB_MODE; else native */
	struct sluice_port_config config;
	const uint16_t
		*queue_worker; /* n_queues of them: worker of the group, or SLUICE_NO_WORKER */
	unsigned n_queues;     /* 1 … SLUICE_MAX_QUEUES: size of the XSKMAP */
	unsigned n_workers;    /* of the port's group: lines of the heartbeat map */
	int numa_node;         /* of the device, for the port's maps; -1 = no preference */
	/* for a port that routes or bridges, others ignore it. The program shares its maps and
	 * keeps them alive; it need not outlive this call. */
	const struct gate *gate;
};

/* Why attaching failed, beyond the -errno, for a message that helps. */
struct port_prog_conflict {
	uint32_t prog_id;    /* of the program found on the interface; 0 = none seen */
	bool generic;        /* it is attached in generic mode */
	char name[16];       /* "" unless CAP_SYS_ADMIN lets us look */
	bool pin_is_foreign; /* what is pinned under the port's name is not ours (-EPERM) */
	bool pin_is_broken;  /* … is ours by its directory, but incomplete (-EPERM) */
};

/*
 * Loads program and maps; attaches nothing; libbpf is in load_log.h. Borrows `spec` for the call.
 * Syscalls: bpf(2), mmap(2) of the heartbeat map.
 */
int port_prog_load(const struct port_prog_spec *spec, struct port_prog **ret_prog);

/*
 * Puts the program on the interface. `pin_dir` is NULL (nothing is pinned) or bpf_dir. If
 * <pin_dir>/<port>/link is an own, living link of this interface it is updated in place (no frame
 * sees a gap; *ret_adopted = true); a defunct own pin is removed first.
 *
 * -EBUSY and -EEXIST: another program is there, described in *ret_conflict. -EBUSY may also be
 * our own dying predecessor: the caller retries for up to 5 s (spikes.md §2: it lives 70–195 ms
 * after kill -9). -EEXIST (other mode) never is. One attempt, never sleeps.
 * -EOPNOTSUPP: no native XDP in this driver. -ERANGE, -EINVAL: MTU or queue limits of the driver.
 * -EACCES, -EPERM on pinning: the directory is not ours.
 */
int port_prog_attach(struct port_prog *prog, const char *pin_dir, bool *ret_adopted,
		     struct port_prog_conflict *ret_conflict);

/* Is there no XDP program on the interface, of whomever? */
bool port_prog_has_none(uint32_t ifindex);

/* Is the link still on its interface? False after the device went or an admin detached it. */
bool port_prog_is_attached(const struct port_prog *prog);

/* Fills or empties the XSKMAP slot of a queue. Clearing an empty slot is no error. */
int port_prog_set_xsk(struct port_prog *prog, unsigned queue, int xsk_fd);
int port_prog_clear_xsk(struct port_prog *prog, unsigned queue);

/*
 * The line that worker `worker` bumps (struct sluice_heartbeat.beat). Valid until
 * port_prog_free(); written by that worker alone with relaxed stores. 0 = not running: its queues
 * are stale at once.
 */
uint64_t *port_prog_beat(struct port_prog *prog, unsigned worker);

/*
 * Line 0, for the words that say what may be forwarded: routes, mac, max_packet_len. All zero at
 * first: then nothing is. Stored by one thread, relaxed; seen by the next frame. Valid until
 * port_prog_free().
 */
struct sluice_heartbeat *port_prog_line(struct port_prog *prog);

/* The instant detach switch: one store, no system call, seen by the next frame. */
void port_prog_set_detached(struct port_prog *prog, bool detached);

/* Counts by verdict, summed over CPUs, since load. One bpf(2) batch or SLUICE_V_N lookups. */
int port_prog_verdicts(struct port_prog *prog, uint64_t ret_counts[SLUICE_V_N]);

/*
 * What would the program do with this frame, had it come in by `queue` now? Asked of a second
 * instance with the same maps, so nothing is counted and nothing moves. *ret_action: enum
 * xdp_action. -EINVAL: shorter than an Ethernet header, longer than a page holds, or the interface
 * has no such queue now. Syscalls: bpf(2); the first call also loads.
 */
int port_prog_explain(struct port_prog *prog, const void *frame, uint32_t len, uint32_t queue,
		      enum sluice_verdict *ret_verdict, uint32_t *ret_action);

/*
 * What the programs had counted whose place this one took over the pinned link (all of them, back
 * to the first): totals carry on across restarts. Zeros if none, or if it was of another version.
 */
void port_prog_adopted_verdicts(const struct port_prog *prog, uint64_t ret_counts[SLUICE_V_N]);

/* Kernel id of the loaded program, for messages and tests. */
uint32_t port_prog_id(const struct port_prog *prog);

/*
 * Takes the program off and removes its pins, if any (the port leaves the configuration, or
 * on_failure changed to pass). The object remains to be freed.
 */
int port_prog_detach(struct port_prog *prog);

/* Closes everything; a pinned link stays in force. NULL is fine. */
void port_prog_free(struct port_prog *prog);

/* --- Pins, also without a running daemon (`sluiced --detach`) -------------------------------- */

/*
 * The directory for pins: `configured`, or if that is "" /run/sluice/bpf when it is on a bpf file
 * system, else /sys/fs/bpf/sluice (created 0700 if missing). -ENOENT: no bpf file system there.
 */
int pin_dir_resolve(const char *configured, char *ret_dir, unsigned size);

/* The same for who only looks: nothing is made. */
int pin_dir_find(const char *configured, char *ret_dir, unsigned size);

/* May on_failure = drop be had: is there such a directory, or can it be made? */
bool pin_dir_is_possible(const char *configured);

/*
 * Makes the directory this process's own for as long as *ret_fd is open. Two daemons in one
 * directory would take each other's pins for those of an earlier run. -EBUSY: another has it.
 * -EPERM: it is not this user's, or not 0700.
 */
int pin_dir_claim(const char *dir, int *ret_fd);

/* For the operator, whosever the directory is: 1 if a daemon has claimed it, else 0 and *ret_fd. */
int pin_dir_is_in_use(const char *dir, int *ret_fd);

/* Is the directory claimed still the one of that name? Somebody may have removed it meanwhile. */
bool pin_dir_is_same(const char *dir, int claim_fd);

/*
 * Calls `fn` for each port directory found in `dir`, with whether it is ours and alive.
 * Returns the number of ports seen or -errno; stops early if fn returns non-zero and returns that.
 */
struct pin_info {
	const char *port;
	bool is_ours;   /* program name and link agree */
	bool is_broken; /* not so, but the directory is ours: pin_remove() removes it */
	bool is_alive;  /* the link is on an interface */
	uint32_t ifindex;
	uint32_t prog_id;
};
int pin_for_each(const char *dir, int (*fn)(const struct pin_info *info, void *arg), void *arg);

/*
 * Removes a port's pins, which detaches its program; broken ones too. -EPERM if they are somebody
 * else's.
 */
int pin_remove(const char *dir, const char *port);
