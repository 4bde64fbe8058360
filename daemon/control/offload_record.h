/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which offloads `offloads = fix` has switched off, so that a clean stop switches them on again,
 * also when the daemon that switched them off was killed: the list is kept in a file of the
 * runtime directory, one "interface offload" per line, rewritten by rename at each change.
 *
 * Thread: control. CAP_NET_ADMIN to switch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/link.h"

struct offload_record;

/*
 * Reads <dir>/offloads if it is there; a damaged file is ignored. `dir` "", or one that another
 * daemon keeps its record in, means memory only.
 */
int offload_record_open(const char *dir, struct offload_record **ret_record);

/* Switches off and remembers. -EOPNOTSUPP: the driver does not let it be changed. */
int offload_record_switch_off(struct offload_record *record, struct links *links,
			      const struct link *link, enum link_offload offload);

/*
 * Switches on again, and forgets, what was switched off on interfaces that need it no more: those
 * that a port has left, and those of an earlier run that was killed. `is_needed` NULL: none does.
 * No program of ours may be left on them: virtio_net refuses the change beneath one.
 */
void offload_record_restore(struct offload_record *record, struct links *links,
			    bool (*is_needed)(const char *interface, uint32_t ifindex, void *arg),
			    void *arg);

/* The file stays while entries remain (a crash). */
void offload_record_close(struct offload_record *record);
