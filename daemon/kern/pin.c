// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pins of the ports' programs on a bpf file system: where they are, whose they are, and their
 * replacement in steps that a crash cannot confuse (kern/pin.h has the layout and the steps).
 * Thread: control, or the main thread of `sluiced --detach`. Owns nothing but files.
 */
#include "kern/pin.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kern/port_prog.h"
#include "util/macros.h"

#define PIN_STAGE   "next"
#define DEFAULT_DIR "/sys/fs/bpf/sluice"

static const char *const object_names[] = {
	[PIN_PROG] = "prog",
	[PIN_XSKS] = "xsks",
	[PIN_HEARTBEAT] = "heartbeat",
	[PIN_VERDICTS] = "verdicts",
};
_Static_assert(ARRAY_SIZE(object_names) == PIN_OBJECT_N, "a name for each object");

static void closedir_ptrp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
	*dir = NULL;
}

/* --- Paths ----------------------------------------------------------------------------------- */

static int path_join(const char *head, const char *tail, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s", head, tail);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

int pin_port_path(const char *dir, const char *port, char ret_path[PATH_MAX])
{
	char name[NAME_MAX + 1];
	size_t n = 0;

	if (port[0] == '\0')
		return -EINVAL;
	for (; *port; port++) {
		if (n + sizeof("%xx") > sizeof(name))
			return -ENAMETOOLONG;
		if (is_plain(*port))
			name[n++] = *port;
		else
			n += (size_t)snprintf(name + n, sizeof(name) - n, "%%%02x",
					      (unsigned char)*port);
	}
	name[n] = '\0';
	return path_join(dir, name, ret_path);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The port that a directory entry names; false if no port of ours is ever called that. */
static bool port_of_entry(const char *entry, char ret_port[NAME_MAX + 1])
{
	size_t n = 0;

	while (*entry) {
		if (is_plain(*entry)) {
			ret_port[n++] = *entry++;
			continue;
		}
		if (entry[0] != '%' || hex_digit(entry[1]) < 0 || hex_digit(entry[2]) < 0)
			return false;
		ret_port[n++] = (char)(hex_digit(entry[1]) << 4 | hex_digit(entry[2]));
		entry += 3;
	}
	ret_port[n] = '\0';
	return n > 0;
}

/* --- Whose pins ------------------------------------------------------------------------------ */

static int open_at(const char *path, const char *name)
{
	char full[PATH_MAX];
	int r = path_join(path, name, full);

	return r < 0 ? r : bpf_obj_get(full);
}

bool port_prog_is_ours(const char *name)
{
	static const char *const ours[] = {SLUICE_PROG_NAME, "sluice_route", "sluice_bridge"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (strcmp(name, ours[i]) == 0)
			return true;
	}
	return false;
}

static bool is_our_prog(const struct bpf_prog_info *info)
{
	return info->type == BPF_PROG_TYPE_XDP && port_prog_is_ours(info->name);
}

/*
 * The pinned program `name` under `path`: *ret_id is 0 if there is none. -EPERM: it is there and
 * not ours. A map or link pinned under this name has other info and so is not ours either.
 */
static int look_at_prog(const char *path, const char *name, uint32_t *ret_id)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	_cleanup_close_ int fd = open_at(path, name);
	int r;

	if (fd == -ENOENT) {
		*ret_id = 0;
		return 0;
	}
	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (r < 0)
		return r;
	if (!is_our_prog(&info))
		return -EPERM;
	*ret_id = info.id;
	return 0;
}

/* -EPERM: the pin `link` is not an XDP link. -ENOENT: there is none. */
static int look_at_link(const char *path, struct pin *pin)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	_cleanup_close_ int fd = open_at(path, "link");
	int r;

	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (r < 0)
		return r;
	if (info.type != BPF_LINK_TYPE_XDP)
		return -EPERM;
	pin->prog_id = info.prog_id;
	pin->ifindex = info.xdp.ifindex;
	pin->link_fd = TAKE_FD(fd);
	return 0;
}

/* 1: there are maps, called as ours are; 0: none. -EPERM: there is something else in a map's place.
 */
static int look_at_maps(const char *path)
{
	int n_maps = 0;

	for (unsigned i = PIN_XSKS; i < PIN_OBJECT_N; i++) {
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);
		_cleanup_close_ int fd = open_at(path, object_names[i]);
		int r;

		if (fd == -ENOENT)
			continue;
		r = fd < 0 ? fd : bpf_obj_get_info_by_fd(fd, &info, &size);
		if (r < 0)
			return r;
		if (strncmp(info.name, object_names[i], sizeof(info.name)) != 0)
			return -EPERM;
		n_maps++;
	}
	return n_maps > 0;
}

/* Private, and of the same owner as the directory that it is in: nobody else can have put it here.
 */
static bool is_our_dir(const char *path)
{
	char parent[PATH_MAX];
	struct stat dir, above;

	return path_join(path, "..", parent) == 0 && stat(path, &dir) == 0 &&
	       stat(parent, &above) == 0 && dir.st_uid == above.st_uid &&
	       (dir.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

/* True also if we may not look: that takes CAP_SYS_ADMIN. */
static bool may_be_our_prog(uint32_t id)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	_cleanup_close_ int fd = id ? bpf_prog_get_fd_by_id(id) : -1;

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || is_our_prog(&info);
}

/* What proves that the pins are ours is missing; is anything among them somebody else's? */
static int judge_incomplete(const char *path, struct pin *pin)
{
	int r = look_at_maps(path);

	if (r < 0 || (r == 0 && pin->link_fd < 0))
		return r;
	if (!is_our_dir(path) || !may_be_our_prog(pin->prog_id))
		return -EPERM;
	pin->state = PIN_BROKEN;
	return 0;
}

static int look_at_pins(const char *path, struct pin *pin)
{
	uint32_t current_id, staged_id;
	int r, link_r;

	r = look_at_prog(path, object_names[PIN_PROG], &current_id);
	if (r < 0)
		return r;
	r = look_at_prog(path, PIN_STAGE "/prog", &staged_id);
	if (r < 0)
		return r;
	link_r = look_at_link(path, pin);
	if (link_r < 0 && link_r != -ENOENT)
		return link_r;

	if (link_r == -ENOENT) {
		if (current_id == 0 && staged_id == 0)
			return judge_incomplete(path, pin);
		pin->state = PIN_LEFTOVER;
		return 0;
	}
	if (pin->prog_id == 0 || (pin->prog_id != current_id && pin->prog_id != staged_id))
		return judge_incomplete(path, pin);
	pin->is_staged = pin->prog_id == staged_id;
	pin->state = pin->ifindex ? PIN_ALIVE : PIN_LEFTOVER;
	return 0;
}

int pin_open(const char *path, struct pin *ret_pin)
{
	struct pin pin = {.state = PIN_NONE, .link_fd = -1};
	int r = look_at_pins(path, &pin);

	if (r == -EPERM) {
		pin.state = PIN_FOREIGN;
		r = 0;
	}
	if (r < 0) {
		pin_close(&pin);
		return r;
	}
	*ret_pin = pin;
	return 0;
}

void pin_close(struct pin *pin)
{
	close_fdp(&pin->link_fd);
}

int pin_open_object(const char *path, enum pin_object object)
{
	return open_at(path, object_names[object]);
}

/* --- Replacing ------------------------------------------------------------------------------- */

/* Removes the objects in `path`, programs last, and the directory. What is missing is fine. */
static int remove_objects(const char *path)
{
	char full[PATH_MAX];
	int r;

	for (unsigned i = PIN_OBJECT_N; i-- > 0;) {
		r = path_join(path, object_names[i], full);
		if (r < 0)
			return r;
		if (unlink(full) < 0 && errno != ENOENT)
			return -errno;
	}
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

void pin_unstage(const char *path)
{
	char stage[PATH_MAX];

	if (path_join(path, PIN_STAGE, stage) == 0)
		(void)remove_objects(stage);
}

static int make_private_dir(const char *path)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int pin_stage(const char *path, const int fds[PIN_OBJECT_N])
{
	char stage[PATH_MAX], full[PATH_MAX];
	int r;

	r = path_join(path, PIN_STAGE, stage);
	if (r < 0)
		return r;
	pin_unstage(path);
	r = make_private_dir(path);
	if (r == 0)
		r = make_private_dir(stage);
	for (unsigned i = 0; r == 0 && i < PIN_OBJECT_N; i++) {
		r = path_join(stage, object_names[i], full);
		if (r == 0)
			r = bpf_obj_pin(fds[i], full);
	}
	if (r < 0)
		pin_unstage(path);
	return r;
}

int pin_link(const char *path, int link_fd)
{
	char full[PATH_MAX];
	int r = path_join(path, "link", full);

	return r < 0 ? r : bpf_obj_pin(link_fd, full);
}

int pin_promote(const char *path)
{
	char stage[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
	int r;

	r = path_join(path, PIN_STAGE, stage);
	if (r < 0)
		return r;
	for (unsigned i = PIN_OBJECT_N; i-- > 0;) {
		r = path_join(stage, object_names[i], from);
		if (r == 0)
			r = path_join(path, object_names[i], to);
		if (r < 0)
			return r;
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	return rmdir(stage) < 0 && errno != ENOENT ? -errno : 0;
}

int pin_clear(const char *path)
{
	char full[PATH_MAX];
	int r = path_join(path, "link", full);

	if (r < 0)
		return r;
	if (unlink(full) < 0 && errno != ENOENT)
		return -errno;
	/* The staged objects go before the others, but their program is not needed to know ours. */
	pin_unstage(path);
	return remove_objects(path);
}

/* --- Without a running daemon ---------------------------------------------------------------- */

static bool is_on_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* Its parent is on a bpf file system: 0, else -ENOENT. */
static int can_make(const char *path)
{
	char parent[PATH_MAX];
	char *slash;

	if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return -ENAMETOOLONG;
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return -ENOENT;
	*slash = '\0';
	return is_on_bpffs(parent) ? 0 : -ENOENT;
}

/* `path` is made if it is missing and its parent is on a bpf file system. */
static int make_bpffs_dir(const char *path)
{
	struct stat st;
	int r;

	if (stat(path, &st) == 0)
		return 0;
	r = errno == ENOENT ? can_make(path) : -errno;
	return r < 0 ? r : make_private_dir(path);
}

static int resolve(const char *configured, bool make, char *ret_dir, unsigned size)
{
	const char *dir = configured;
	int r = 0;

	if (configured[0] == '\0')
		dir = is_on_bpffs("/run/sluice/bpf") ? "/run/sluice/bpf" : DEFAULT_DIR;
	if (strlen(dir) >= size)
		return -ENAMETOOLONG;
	if (make)
		r = make_bpffs_dir(dir);
	if (r < 0)
		return r;
	if (!is_on_bpffs(dir))
		return -ENOENT;
	memcpy(ret_dir, dir, strlen(dir) + 1);
	return 0;
}

bool pin_dir_is_possible(const char *configured)
{
	char dir[PATH_MAX];

	return resolve(configured, false, dir, sizeof(dir)) == 0 ||
	       can_make(configured[0] ? configured : DEFAULT_DIR) == 0;
}

int pin_dir_find(const char *configured, char *ret_dir, unsigned size)
{
	return resolve(configured, false, ret_dir, size);
}

int pin_dir_resolve(const char *configured, char *ret_dir, unsigned size)
{
	return resolve(configured, true, ret_dir, size);
}

int pin_dir_claim(const char *dir, int *ret_fd)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return -EPERM;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int pin_dir_is_in_use(const char *dir, int *ret_fd)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 1 : -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool pin_dir_is_same(const char *dir, int fd)
{
	struct stat by_name, by_fd;

	return stat(dir, &by_name) == 0 && fstat(fd, &by_fd) == 0 &&
	       by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

/* 1: `port` is seen, described in *ret_info. 0: the entry holds no pins. */
static int describe_port(const char *dir, const char *port, struct pin_info *ret_info)
{
	_cleanup_(pin_close) struct pin pin = {.link_fd = -1};
	char path[PATH_MAX];
	int r;

	r = pin_port_path(dir, port, path);
	if (r == 0)
		r = pin_open(path, &pin);
	if (r < 0)
		return r;
	if (pin.state == PIN_NONE)
		return 0;
	*ret_info = (struct pin_info){
		.port = port,
		.is_ours = pin.state != PIN_FOREIGN && pin.state != PIN_BROKEN,
		.is_broken = pin.state == PIN_BROKEN,
		.is_alive = pin.ifindex != 0,
		.ifindex = pin.ifindex,
		.prog_id = pin.prog_id,
	};
	return 1;
}

int pin_for_each(const char *dir, int (*fn)(const struct pin_info *info, void *arg), void *arg)
{
	_cleanup_(closedir_ptrp) DIR *entries = opendir(dir);
	char port[NAME_MAX + 1];
	struct pin_info info;
	struct dirent *entry;
	int r, n_ports = 0;

	if (!entries)
		return -errno;
	for (errno = 0; (entry = readdir(entries)); errno = 0) {
		if (entry->d_type != DT_DIR || !port_of_entry(entry->d_name, port))
			continue;
		r = describe_port(dir, port, &info);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		n_ports++;
		r = fn(&info, arg);
		if (r != 0)
			return r;
	}
	return errno ? -errno : n_ports;
}

int pin_remove(const char *dir, const char *port)
{
	_cleanup_(pin_close) struct pin pin = {.link_fd = -1};
	char path[PATH_MAX];
	int r;

	r = pin_port_path(dir, port, path);
	if (r == 0)
		r = pin_open(path, &pin);
	if (r < 0)
		return r;
	if (pin.state == PIN_FOREIGN)
		return -EPERM;
	if (pin.state == PIN_NONE)
		return -ENOENT;
	/* Unlinking alone would leave it in force for as long as a daemon holds the link. */
	if (pin.ifindex) {
		r = bpf_link_detach(pin.link_fd);
		if (r < 0)
			return r;
	}
	return pin_clear(path);
}
