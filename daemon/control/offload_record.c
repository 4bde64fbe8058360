/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of switched-off offloads; see the header for why it is a file. */
#include "control/offload_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "util/macros.h"

/* More than ports × offloads; a longer file is not ours. */
#define MAX_ENTRIES 512

struct offload_record {
	char path[PATH_MAX]; /* "" = memory only */
	int dir_fd;          /* locked, -1 = memory only */
	struct entry {
		char interface[IF_NAMESIZE];
		uint32_t ifindex; /* by which a renamed device is found again; 0 = it is gone */
		enum link_offload offload;
	} entries[MAX_ENTRIES];
	unsigned n_entries;
};

static bool find_offload(const char *name, enum link_offload *ret_offload)
{
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		if (strcmp(name, link_offload_names[i]) == 0) {
			*ret_offload = (enum link_offload)i;
			return true;
		}
	}
	return false;
}

static struct entry *find_entry(struct offload_record *record, const char *interface,
				enum link_offload offload)
{
	for (unsigned i = 0; i < record->n_entries; i++) {
		struct entry *entry = &record->entries[i];

		if (entry->offload == offload && strcmp(entry->interface, interface) == 0)
			return entry;
	}
	return NULL;
}

static int add_entry(struct offload_record *record, const char *interface, uint32_t ifindex,
		     enum link_offload offload)
{
	struct entry *entry = find_entry(record, interface, offload);

	if (entry) {
		entry->ifindex = ifindex; /* the device may have been made again */
		return 0;
	}
	if (record->n_entries == MAX_ENTRIES)
		return -ENOSPC;
	entry = &record->entries[record->n_entries++];
	entry->offload = offload;
	entry->ifindex = ifindex;
	snprintf(entry->interface, sizeof(entry->interface), "%s", interface);
	return 0;
}

static void load(struct offload_record *record)
{
	_cleanup_fclose_ FILE *file = fopen(record->path, "re");
	char interface[IF_NAMESIZE], name[32];

	if (!file)
		return;
	while (fscanf(file, "%15s %31s", interface, name) == 2) {
		enum link_offload offload;

		if (find_offload(name, &offload) &&
		    add_entry(record, interface, if_nametoindex(interface), offload) < 0)
			return;
	}
}

/* By rename: a crash in the middle leaves the old list. */
static int save(const struct offload_record *record)
{
	char tmp[PATH_MAX + 8];
	FILE *file;
	bool ok;

	if (!record->path[0])
		return 0;
	if (record->n_entries == 0)
		return unlink(record->path) < 0 && errno != ENOENT ? -errno : 0;
	snprintf(tmp, sizeof(tmp), "%s.new", record->path);
	file = fopen(tmp, "we");
	if (!file)
		return -errno;
	for (unsigned i = 0; i < record->n_entries; i++)
		fprintf(file, "%s %s\n", record->entries[i].interface,
			link_offload_names[record->entries[i].offload]);
	ok = fflush(file) == 0 && !ferror(file);
	if (fclose(file) != 0 || !ok)
		return -EIO;
	return rename(tmp, record->path) < 0 ? -errno : 0;
}

/* Two daemons that share the directory must not take each other's entries for a dead one's. */
static int lock_dir(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? TAKE_FD(fd) : -1;
}

int offload_record_open(const char *dir, struct offload_record **ret_record)
{
	struct offload_record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	record->dir_fd = dir[0] ? lock_dir(dir) : -1;
	if (record->dir_fd >= 0) {
		snprintf(record->path, sizeof(record->path), "%s/offloads", dir);
		load(record);
	}
	*ret_record = record;
	return 0;
}

int offload_record_switch_off(struct offload_record *record, struct links *links,
			      const struct link *link, enum link_offload offload)
{
	int r = add_entry(record, link->name, link->ifindex, offload);

	if (r < 0)
		return r;
	/* Recorded before it is done: a crash in between restores what was never off, harmlessly.
	 */
	r = save(record);
	if (r < 0)
		return r;
	return link_set_offload(links, link->ifindex, offload, false);
}

void offload_record_restore(struct offload_record *record, struct links *links,
			    bool (*is_needed)(const char *interface, uint32_t ifindex, void *arg),
			    void *arg)
{
	unsigned n_before = record->n_entries;

	for (unsigned i = record->n_entries; i-- > 0;) {
		struct entry *entry = &record->entries[i];

		if (is_needed && is_needed(entry->interface, entry->ifindex, arg))
			continue;
		/* The device may be gone; then its offloads are, too. */
		if (entry->ifindex)
			(void)link_set_offload(links, entry->ifindex, entry->offload, true);
		*entry = record->entries[--record->n_entries];
	}
	if (record->n_entries != n_before)
		(void)save(record);
}

void offload_record_close(struct offload_record *record)
{
	if (record)
		close_fdp(&record->dir_fd);
	free(record);
}
