/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel answers with a bare errno; these tables say what it usually meant and what to do
 * (operations.md §3.2 collects the threads in which people found out). Pure text, no logging.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "control/live.h"
#include "control/process.h"
#include "util/macros.h"

/* Placeholders: %i interface, %q queue, %n bytes, %m strerror; one row per (step, errno). */
struct explanation {
	int error;
	const char *text;
};

struct values {
	const char *interface;
	const char *dir;
	uint32_t queue;
	uint64_t bytes;
	int error;
};

static void fill_in(const char *text, const struct values *values, char *buf, unsigned size)
{
	FILE *out = fmemopen(buf, size, "w");

	if (!out) {
		snprintf(buf, size, "%s", strerror(values->error));
		return;
	}
	for (; *text; text++) {
		if (text[0] != '%') {
			fputc(text[0], out);
			continue;
		}
		switch (*++text) {
		case 'i':
			fputs(values->interface, out);
			break;
		case 'd':
			fputs(values->dir, out);
			break;
		case 'q':
			fprintf(out, "%u", values->queue);
			break;
		case 'n':
			fprintf(out, "%llu", (unsigned long long)values->bytes);
			break;
		case 'm':
			fputs(strerror(values->error), out);
			break;
		}
	}
	fputc('\0', out);
	(void)fclose(out);
	buf[size - 1] = '\0';
}

static const char *look_up(const struct explanation *rows, size_t n, int error,
			   const char *otherwise)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].error == error)
			return rows[i].text;
	}
	return otherwise;
}

/*
 * Of one step or another: a table that is full does not care what for. libbpf and the kernel's
 * verifier answer with other errors then, so the few that are left are looked at, too.
 */
#define FILES_TO_LOAD 16

static bool lacks_files(int error, bool loads, char *what, unsigned size)
{
	struct process_stats stats;

	process_read(&stats);
	if (error != -EMFILE &&
	    !(loads && stats.n_max_fds && stats.n_open_fds + FILES_TO_LOAD > stats.n_max_fds))
		return false;
	snprintf(what, size,
		 "too many open files: RLIMIT_NOFILE allows %llu; raise LimitNOFILE= of the unit "
		 "(`ulimit -n`)",
		 (unsigned long long)stats.n_max_fds);
	return true;
}

/* --- Program ------------------------------------------------------------------------------------
 */

static const struct explanation load_rows[] = {
	{EPERM,
	 "cannot load the XDP program for %i: capability CAP_BPF or CAP_NET_ADMIN is missing"},
	{EACCES, "cannot load the XDP program for %i: the kernel's verifier refuses it; this is a "
		 "bug, please report it with the output of `sluiced -VV`"},
	{ENOMEM, "cannot load the XDP program for %i: out of memory"},
};

void explain_load(int error, const struct plan_port *port, char *buf, unsigned size)
{
	const struct values values = {.interface = port->conf->interface, .error = -error};
	char files[160];

	if (lacks_files(error, true, files, sizeof(files))) {
		snprintf(buf, size, "cannot load the XDP program for %s: %s", values.interface,
			 files);
		return;
	}
	fill_in(look_up(load_rows, ARRAY_SIZE(load_rows), -error,
			"cannot load the XDP program for %i: %m"),
		&values, buf, size);
}

static const struct explanation attach_rows[] = {
	{EPERM, "cannot attach to %i: capability CAP_NET_ADMIN is missing"},
	{EACCES, "cannot attach to %i: the pin directory is not writable for this user"},
	{EOPNOTSUPP,
	 "cannot attach to %i: its driver has no native XDP; set mode = generic (slow), "
	 "or mode = auto to allow it"},
	{ERANGE,
	 "cannot attach to %i: the MTU (of the device or, with veth, of its peer) is too large "
	 "for this driver's XDP; lower the MTU"},
	{EINVAL,
	 "cannot attach to %i: the driver refuses XDP: MTU too large, LRO or hardware GRO on, "
	 "or too few queues; `dmesg` may say which"},
	{ENODEV, "cannot attach to %i: the interface is gone"},
	{ENOENT, "cannot attach to %i: its pin directory was removed meanwhile; make bpf_dir again "
		 "(`install -d -m 0700 -o sluice DIR`), it is tried every second"},
	{ENOSPC,
	 "cannot attach to %i: the driver has too few rx queues for the peer's tx queues (veth)"},
};

void explain_attach(int error, const struct plan_port *port, bool generic,
		    const struct port_prog_conflict *conflict, char *buf, unsigned size)
{
	const struct values values = {.interface = port->conf->interface, .error = -error};
	char files[160];

	if (lacks_files(error, false, files, sizeof(files))) {
		snprintf(buf, size, "cannot attach to %s: %s", values.interface, files);
		return;
	}
	if ((error == -EBUSY || error == -EEXIST) && conflict->prog_id != 0) {
		snprintf(
			buf, size,
			"cannot attach to %s: another XDP program is there: id %u%s%s%s, %s mode; "
			"it is left alone. Remove it (`ip link set dev %s xdp%s off`, or stop its owner) "
			"or take the port out of the configuration",
			port->conf->interface, conflict->prog_id, conflict->name[0] ? " (" : "",
			conflict->name, conflict->name[0] ? ")" : "",
			conflict->generic ? "generic" : "native", port->conf->interface,
			conflict->generic ? "generic" : "");
		return;
	}
	fill_in(look_up(attach_rows, ARRAY_SIZE(attach_rows), -error, "cannot attach to %i: %m"),
		&values, buf, size);
	(void)generic;
}

static const struct explanation pin_rows[] = {
	{ENOENT, "on_failure = drop needs a bpf file system for its pins: none at %d; mount one "
		 "(`mount -t bpf bpf /sys/fs/bpf`) or set bpf_dir"},
	{EACCES, "on_failure = drop: the pin directory (%d) is not ours to write; make it "
		 "(`install -d -m 0700 -o sluice /sys/fs/bpf/sluice`) or set bpf_dir"},
	{EBUSY, "another sluiced keeps its pins in %d; give each a bpf_dir of its own"},
	{EPERM, "on_failure = drop: the pin directory (%d) belongs to somebody else or is open to "
		"others; it must be ours and mode 0700"},
};

void explain_pin(int error, const char *dir, char *buf, unsigned size)
{
	const struct values values = {
		.dir = dir[0] ? dir : "/run/sluice/bpf or /sys/fs/bpf/sluice",
		.error = -error,
	};
	char files[160];

	if (lacks_files(error, false, files, sizeof(files))) {
		snprintf(buf, size, "pin directory %s: %s", values.dir, files);
		return;
	}

	fill_in(look_up(pin_rows, ARRAY_SIZE(pin_rows), -error, "pin directory %d: %m"), &values,
		buf, size);
}

/* --- Sockets --------------------------------------------------------------------------------- */

static const struct explanation socket_rows[] = {
	{EPERM, "queue %q of %i: cannot open an AF_XDP socket: capability CAP_NET_RAW is missing"},
	{EAFNOSUPPORT, "queue %q of %i: cannot open an AF_XDP socket: the kernel has no "
		       "CONFIG_XDP_SOCKETS, or RestrictAddressFamilies= of the unit lacks AF_XDP"},
};

static const struct explanation bind_rows[] = {
	{EBUSY,
	 "queue %q of %i is in use by another AF_XDP socket and was not given free within 5 s; "
	 "stop that program (`ss --xdp -p` may name it)"},
	{EOPNOTSUPP,
	 "queue %q of %i cannot be bound in the mode asked for; set mode = copy or auto"},
	{EINVAL,
	 "queue %q of %i cannot be bound: there is no such queue, or the MTU does not fit the "
	 "frame size; set frame_size = 4096 or lower the MTU"},
	{ENODEV, "queue %q of %i cannot be bound: the interface is gone"},
	{ENETDOWN, "queue %q of %i cannot be bound: the interface is down"},
	{EPERM, "queue %q of %i cannot be bound: capability CAP_NET_RAW is missing"},
};

static void explain_memlock(const struct values *values, char *buf, unsigned size)
{
	struct rlimit limit = {0};

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	snprintf(
		buf, size,
		"cannot register %llu bytes of packet memory: RLIMIT_MEMLOCK allows %llu in all; set "
		"LimitMEMLOCK= of the unit to at least the total of --dry-run, give CAP_IPC_LOCK, or "
		"lower frames_per_worker",
		(unsigned long long)values->bytes, (unsigned long long)limit.rlim_cur);
}

void explain_umem(int error, const struct umem_spec *spec, char *buf, unsigned size)
{
	unsigned long long bytes = (unsigned long long)spec->n_frames * spec->frame_size_bytes;
	bool lacks_huge = spec->want_huge && error == -ENOMEM;
	char files[160];

	if (lacks_files(error, false, files, sizeof(files)))
		snprintf(buf, size, "cannot map %llu bytes of packet memory: %s", bytes, files);
	else
		snprintf(buf, size, "cannot map %llu bytes of %spacket memory: %s%s", bytes,
			 spec->want_huge ? "huge-page " : "", strerror(-error),
			 lacks_huge ? "; raise vm.nr_hugepages or set huge_pages = auto" : "");
}

void explain_xsk(int error, enum xsk_step step, const struct plan_port *port, uint32_t queue,
		 uint64_t umem_bytes, char *buf, unsigned size)
{
	const struct values values = {
		.interface = port->conf->interface,
		.queue = queue,
		.bytes = umem_bytes,
		.error = -error,
	};
	const char *text = NULL;
	char files[160];

	if (lacks_files(error, false, files, sizeof(files))) {
		snprintf(buf, size, "queue %u of %s: cannot %s: %s", queue, values.interface,
			 xsk_step_names[step], files);
		return;
	}
	if (step == XSK_STEP_UMEM && (error == -ENOBUFS || error == -EPERM)) {
		explain_memlock(&values, buf, size);
		return;
	}
	if (step == XSK_STEP_SOCKET)
		text = look_up(socket_rows, ARRAY_SIZE(socket_rows), -error, NULL);
	else if (step == XSK_STEP_BIND)
		text = look_up(bind_rows, ARRAY_SIZE(bind_rows), -error, NULL);
	else if (step == XSK_STEP_BUSY_POLL && error == -EPERM)
		text = "queue %q of %i: busy_poll needs capability CAP_NET_ADMIN";
	if (text)
		fill_in(text, &values, buf, size);
	else
		snprintf(buf, size, "queue %u of %s: cannot %s: %s", queue, port->conf->interface,
			 xsk_step_names[step], strerror(-error));
}
