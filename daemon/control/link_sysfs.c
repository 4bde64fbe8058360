/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only sysfs tells of an interface: NUMA node, interrupts, and the queues in use of a device
 * without channels on a kernel before 6.8. A process that entered a network namespace may still
 * look at the sysfs of another, where the same name is another device: it is believed only when
 * index and address agree with rtnetlink.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "control/link_internal.h"
#include "util/macros.h"

static bool read_line(const char *path, char *buf, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file || !fgets(buf, (int)size, file))
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* The decimal number that a text starts with; the rest (of a CPU list) is not looked at. */
static bool leading_number(const char *text, long *ret_value)
{
	return sscanf(text, "%9ld", ret_value) == 1;
}

static bool read_number(const char *path, long *ret_value)
{
	char line[128];

	return read_line(path, line, sizeof(line)) && leading_number(line, ret_value);
}

static bool is_same_device(const char *dir, const struct link *link)
{
	char path[PATH_MAX], line[64], address[3 * sizeof(link->address)];
	const uint8_t *a = link->address;
	long ifindex;

	(void)snprintf(path, sizeof(path), "%s/ifindex", dir);
	if (!read_number(path, &ifindex) || ifindex != (long)link->ifindex)
		return false;
	if (!link->is_ethernet)
		return true;
	(void)snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2],
		       a[3], a[4], a[5]);
	(void)snprintf(path, sizeof(path), "%s/address", dir);
	return read_line(path, line, sizeof(line)) && strcmp(line, address) == 0;
}

/* A virtio interface's `device` is the virtio device; node and interrupts are its parent's. */
static const char *const device_dirs[] = {"device", "device/.."};

static int read_node(const char *dir)
{
	for (unsigned i = 0; i < ARRAY_SIZE(device_dirs); i++) {
		char path[PATH_MAX];
		long node;

		(void)snprintf(path, sizeof(path), "%s/%s/numa_node", dir, device_dirs[i]);
		if (read_number(path, &node))
			return node >= 0 ? (int)node : -1;
	}
	return -1;
}

static void add_irq(const char *proc_root, const char *name, struct link *link)
{
	static const char *const files[] = {"effective_affinity_list", "smp_affinity_list"};
	long irq, cpu;

	if (link->n_irqs == LINK_MAX_IRQS || !leading_number(name, &irq))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/irq/%ld/%s", proc_root, irq, files[i]);
		if (!read_number(path, &cpu))
			continue;
		link->irqs[link->n_irqs++] =
			(struct link_irq){.irq = (uint32_t)irq, .cpu = (uint32_t)cpu};
		return;
	}
}

static int compare_irqs(const void *a, const void *b)
{
	const struct link_irq *x = a, *y = b;

	return (x->irq > y->irq) - (x->irq < y->irq);
}

/* Directory order is arbitrary, a plan is not: sorted. */
static void read_irqs(const char *dir, const char *proc_root, struct link *link)
{
	for (unsigned i = 0; i < ARRAY_SIZE(device_dirs) && link->n_irqs == 0; i++) {
		char path[PATH_MAX];
		const struct dirent *entry;
		DIR *irqs;

		(void)snprintf(path, sizeof(path), "%s/%s/msi_irqs", dir, device_dirs[i]);
		irqs = opendir(path);
		while (irqs && (entry = readdir(irqs)))
			add_irq(proc_root, entry->d_name, link);
		if (irqs)
			(void)closedir(irqs);
	}
	qsort(link->irqs, link->n_irqs, sizeof(link->irqs[0]), compare_irqs);
}

static void read_queues(const char *dir, struct link *link)
{
	unsigned n_rx = 0, n_tx = 0;
	const struct dirent *entry;
	char path[PATH_MAX];
	DIR *queues;

	(void)snprintf(path, sizeof(path), "%s/queues", dir);
	queues = opendir(path);
	if (!queues)
		return;
	while ((entry = readdir(queues))) {
		n_rx += strncmp(entry->d_name, "rx-", 3) == 0;
		n_tx += strncmp(entry->d_name, "tx-", 3) == 0;
	}
	(void)closedir(queues);
	if (n_rx == 0 || n_tx == 0)
		return;
	link->n_rx_queues = n_rx;
	link->n_tx_queues = n_tx;
}

bool link_sysfs_read(const char *sysfs_root, const char *proc_root, bool want_queues,
		     struct link *link)
{
	char dir[PATH_MAX / 2];

	(void)snprintf(dir, sizeof(dir), "%s/class/net/%s", sysfs_root, link->name);
	if (!is_same_device(dir, link))
		return false;
	link->numa_node = read_node(dir);
	read_irqs(dir, proc_root, link);
	if (want_queues)
		read_queues(dir, link);
	return true;
}
