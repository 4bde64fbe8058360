/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pinned objects of one port on a bpf file system, for kern/port_prog.c only; what others may
 * call (pin_dir_resolve, pin_for_each, pin_remove) is declared in kern/port_prog.h.
 *
 *   <dir>/<port>/            0700; the port's name with every byte outside [A-Za-z0-9_-] as %xx
 *                            (bpffs refuses dots in names)
 *     link                   what holds the program to the interface
 *     prog xsks heartbeat verdicts         of the program that the link holds
 *     next/prog xsks heartbeat verdicts    of a program about to take its place
 *
 * Replacing is staged, so that a crash at any point leaves a state that the next start recognises:
 *
 *   1. pin the new objects under next/, prog first   crash: link holds `prog`; next/ is litter
 *   2. bpf_link_update(), or create and pin link     crash: link holds `next/prog`: promote it
 *   3. rename next/x over x, prog last; rmdir next   crash: same, until prog itself is renamed
 *
 * Removing takes the link first and the programs last. So whatever is found there is ours to take
 * over if and only if every pinned program has one of our names, and the link (if any) holds one of
 * them. Where an object that proves it was deleted by hand the pins are broken: they are not
 * taken over, but as long as nothing there is somebody else's and the directory is private to the
 * owner of bpf_dir, they may be removed.
 *
 * Thread: control. No capability beyond owning the directory; bpf(2) OBJ_PIN and OBJ_GET.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum pin_object { PIN_PROG, PIN_XSKS, PIN_HEARTBEAT, PIN_VERDICTS, PIN_OBJECT_N };

enum pin_state {
	PIN_NONE,     /* nothing there */
	PIN_LEFTOVER, /* ours, but holds no interface: no link, or a defunct one */
	PIN_ALIVE,    /* ours, on an interface */
	PIN_BROKEN,   /* in a directory of ours, but incomplete: only to be removed */
	PIN_FOREIGN,  /* not ours: never touched */
};

struct pin {
	enum pin_state state;
	bool is_staged;   /* the link holds next/prog: its replacement was interrupted */
	uint32_t ifindex; /* that the link holds; 0 without a link or an interface */
	uint32_t prog_id; /* of the program that the link holds, 0 without a link */
	int link_fd;      /* -1 without a link */
};

/* Path of a port's directory. -ENAMETOOLONG; -EINVAL: empty name. */
int pin_port_path(const char *dir, const char *port, char ret_path[PATH_MAX]);

/* Looks at a port's directory. ret_pin is pin_close()d by the caller. */
int pin_open(const char *path, struct pin *ret_pin);
void pin_close(struct pin *pin);

/* Opens one of the objects beside the link; -ENOENT. */
int pin_open_object(const char *path, enum pin_object object);

/* Step 1: pins `fds` under next/, replacing what is there. On failure next/ is gone again. */
int pin_stage(const char *path, const int fds[PIN_OBJECT_N]);

/* Step 2 for a new link. */
int pin_link(const char *path, int link_fd);

/* Step 3. Repeating it is fine. */
int pin_promote(const char *path);

/* Takes back step 1. */
void pin_unstage(const char *path);

/* Removes all pins of ours and the directory. The caller has seen that they are ours. */
int pin_clear(const char *path);
