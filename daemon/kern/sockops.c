// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conn_meta and the program that fills it: see sockops.h. Owns the program, its link to the cgroup
 * (gone with the process), the storage map and the ring. Thread: control, except where a function
 * is a single system call.
 */
#include "kern/sockops.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sockops.skel.h>
#include <string.h>
#include <sys/stat.h>

#include "kern/load_log.h"
#include "util/macros.h"

/* Records of one call to sockops_events_drain(). */
#define DRAIN_MAX 1024
#define NO_EVENTS (-ECANCELED)

struct sockops {
	struct sockops_bpf *skel;
	int storage_fd;
	struct bpf_link *link; /* NULL: not attached */
	struct ring_buffer *ring;
	/* of the running sockops_events_drain() */
	void (*fn)(const struct splice_event *event, void *arg);
	void *fn_arg;
	uint32_t n_drained;
};

static void sockops_freep(struct sockops **sockops)
{
	sockops_free(*sockops);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* --- Which cgroup ------------------------------------------------------------------------------
 */

/* Where cgroup2 is mounted: a line "… - cgroup2 …" of mountinfo, its fifth word. */
static int find_cgroup2(char ret_path[PATH_MAX])
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	char path[PATH_MAX];
	size_t size = 0;

	if (!file)
		return -errno;
	while (getline(&line, &size, file) >= 0) {
		if (!strstr(line, " - cgroup2 ") ||
		    sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1)
			continue;
		(void)snprintf(ret_path, PATH_MAX, "%s", path);
		return 0;
	}
	return -ENOENT;
}

/* This process's own: the line "0::/path" of /proc/self/cgroup. */
static int find_own_cgroup(char ret_path[PATH_MAX])
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	char mount[PATH_MAX];
	size_t size = 0;
	int n, r = find_cgroup2(mount);

	if (r < 0)
		return r;
	file = fopen("/proc/self/cgroup", "re");
	if (!file)
		return -errno;
	while (getline(&line, &size, file) >= 0) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		n = snprintf(ret_path, PATH_MAX, "%s%s", mount, line + 3);
		return n < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	return -ENOENT;
}

/* Only this process: threads of it are not listed. */
static int check_processes(int cgroup_fd)
{
	_cleanup_close_ int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *file = NULL;
	int pid;

	if (fd < 0)
		return -errno;
	file = fdopen(fd, "re");
	if (!file)
		return -errno;
	fd = -1;
	while (fscanf(file, "%d", &pid) == 1) {
		if (pid != getpid())
			return -EXDEV;
	}
	return 0;
}

static bool is_populated(int parent_fd, const char *name)
{
	char path[NAME_MAX + sizeof("/cgroup.events")], text[256] = "";
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/cgroup.events", name);
	fd = openat(parent_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return errno != ENOENT; /* Not known to be empty. */
	return strstr(text, "populated 1") != NULL;
}

/* The program would run for the sockets of cgroups below, too. */
static int check_children(int cgroup_fd)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	const struct dirent *entry;
	int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return -errno;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    is_populated(cgroup_fd, entry->d_name))
			return -EXDEV;
	}
	return 0;
}

/* Ours alone? The root has no cgroup.type. */
static int open_cgroup(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	if (faccessat(fd, "cgroup.procs", F_OK, 0) < 0)
		return -ENOENT;
	if (faccessat(fd, "cgroup.type", F_OK, 0) < 0)
		return -EXDEV;
	r = check_processes(fd);
	if (r == 0)
		r = check_children(fd);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- Life --------------------------------------------------------------------------------------
 */

static int on_event(void *arg, void *sample, size_t size)
{
	struct sockops *sockops = arg;

	if (size >= sizeof(struct splice_event))
		sockops->fn(sample, sockops->fn_arg);
	/* Stops libbpf's loop behind this event. */
	return ++sockops->n_drained < DRAIN_MAX ? 0 : NO_EVENTS;
}

static int attach(struct sockops *sockops, const char *cgroup)
{
	_cleanup_close_ int fd = -1;
	char own[PATH_MAX];
	struct bpf_link *link;
	int r = cgroup ? 0 : find_own_cgroup(own);

	if (r == 0)
		r = open_cgroup(cgroup ? cgroup : own, &fd);
	if (r < 0)
		return r;
	/* A link to a cgroup implies BPF_F_ALLOW_MULTI: beside the programs of others. */
	link = bpf_program__attach_cgroup(sockops->skel->progs.sluice_sockops, fd);
	if (!link)
		return -errno;
	sockops->ring =
		ring_buffer__new(bpf_map__fd(sockops->skel->maps.closed), on_event, sockops, NULL);
	if (!sockops->ring) {
		r = -errno;
		(void)bpf_link__destroy(link);
		return r;
	}
	sockops->link = link;
	return 0;
}

int sockops_new(const char *cgroup, struct sockops **ret_sockops, int *ret_attach_error)
{
	_cleanup_(sockops_freep) struct sockops *sockops = calloc(1, sizeof(*sockops));

	if (!sockops)
		return -ENOMEM;
	load_log_begin();
	sockops->skel = sockops_bpf__open_and_load();
	if (!sockops->skel)
		return -errno;
	sockops->storage_fd = bpf_map__fd(sockops->skel->maps.conn_meta);
	*ret_attach_error = attach(sockops, cgroup);
	*ret_sockops = TAKE_PTR(sockops);
	return 0;
}

void sockops_free(struct sockops *sockops)
{
	if (!sockops)
		return;
	ring_buffer__free(sockops->ring);
	(void)bpf_link__destroy(sockops->link);
	sockops_bpf__destroy(sockops->skel);
	free(sockops);
}

bool sockops_is_attached(const struct sockops *sockops)
{
	return sockops->link != NULL;
}

/* --- Metadata ----------------------------------------------------------------------------------
 */

int sockops_set(struct sockops *sockops, int fd, const struct splice_conn_meta *meta)
{
	struct splice_conn_meta value = *meta;

	value.magic = SPLICE_META_MAGIC;
	return bpf_map_update_elem(sockops->storage_fd, &fd, &value, BPF_ANY);
}

int sockops_get(struct sockops *sockops, int fd, struct splice_conn_meta *ret_meta)
{
	struct splice_conn_meta value;
	int r = bpf_map_lookup_elem(sockops->storage_fd, &fd, &value);

	if (r < 0)
		return r;
	*ret_meta = value;
	return 0;
}

int sockops_events_fd(const struct sockops *sockops)
{
	return sockops->link ? bpf_map__fd(sockops->skel->maps.closed) : -1;
}

int sockops_events_drain(struct sockops *sockops,
			 void (*fn)(const struct splice_event *event, void *arg), void *arg)
{
	int r;

	if (!sockops->ring)
		return 0;
	sockops->fn = fn;
	sockops->fn_arg = arg;
	sockops->n_drained = 0;
	r = ring_buffer__consume(sockops->ring);
	return r < 0 && r != NO_EVENTS ? r : (int)sockops->n_drained;
}

uint64_t sockops_n_lost(const struct sockops *sockops)
{
	return __atomic_load_n(&sockops->skel->bss->n_lost, __ATOMIC_RELAXED);
}
