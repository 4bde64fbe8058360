/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Legacy ip_tables and ip6_tables. A table stands on its hooks from the moment it is first asked
 * for, so that `iptables-legacy -L` once is enough: what counts is that a chain on the way of
 * forwarded packets has rules or a policy other than accept.
 *
 * Asking for a table makes the kernel create it and send every packet through it from then on. So
 * only those are asked for that stand: by the hook dump, where each has its priority, or by
 * ip_tables_names, which is root's. Where neither can be read the tables are not known, and the
 * family is the kernel's unless the module of no table is loaded: Debian 12's kernel has no hook
 * dump, and there ip_tables alone, without any table, may be loaded by whoever looks for it.
 *
 * Table nat is in no hook dump: what stands there is NAT itself, which asks the table about new
 * connections only. These need connection tracking, which has a function of its own.
 */
/* The C library's before the kernel's, which know how to give way. */
/* clang-format off */
#include <net/if.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* clang-format on */

#include "control/policy_internal.h"
#include "util/macros.h"

/* Entries are read for policies and for what tracks connections; a bigger table counts unread. */
#define MAX_ENTRY_BYTES (1U << 20)

#define MAX_TABLES 8

static const struct {
	const char *name;
	int32_t priority;
} known_tables[] = {
	{"raw", NF_IP_PRI_RAW},           {"raw", NF_IP_PRI_RAW_BEFORE_DEFRAG},
	{"mangle", NF_IP_PRI_MANGLE},     {"filter", NF_IP_PRI_FILTER},
	{"security", NF_IP_PRI_SECURITY},
};

int policy_xt_table(int32_t priority)
{
	for (unsigned i = 0; i < ARRAY_SIZE(known_tables); i++) {
		if (known_tables[i].priority == priority)
			return (int)i;
	}
	return -1;
}

/* What differs between the two families; the answers to GET_INFO are the same. */
static const struct family {
	const char *names_path;
	const char *tool;
	const char *prefix; /* of its modules: ip_tables, iptable_filter */
	size_t target_offset, next_offset, entry_size;
	int level;
	uint8_t nfproto;
} families[] = {
	{"/proc/thread-self/net/ip_tables_names", "iptables", "ip",
	 offsetof(struct ipt_entry, target_offset), offsetof(struct ipt_entry, next_offset),
	 sizeof(struct ipt_entry), SOL_IP, NFPROTO_IPV4},
	{"/proc/thread-self/net/ip6_tables_names", "ip6tables", "ip6",
	 offsetof(struct ip6t_entry, target_offset), offsetof(struct ip6t_entry, next_offset),
	 sizeof(struct ip6t_entry), SOL_IPV6, NFPROTO_IPV6},
};
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "one for both");
_Static_assert(sizeof(struct ipt_get_entries) == sizeof(struct ip6t_get_entries), "here, too");
_Static_assert(IPT_SO_GET_INFO == IP6T_SO_GET_INFO, "and here");

static const char *const hook_names[] = {
	[NF_INET_PRE_ROUTING] = "PREROUTING",   [NF_INET_LOCAL_IN] = "INPUT",
	[NF_INET_FORWARD] = "FORWARD",          [NF_INET_LOCAL_OUT] = "OUTPUT",
	[NF_INET_POST_ROUTING] = "POSTROUTING",
};

struct table {
	const struct family *family;
	struct ipt_getinfo info;
	struct ipt_get_entries *entries;
};

static void table_done(struct table *table)
{
	free(table->entries);
}

/* -ENOENT: no such table. */
static int read_table(int fd, const char *name, struct table *table)
{
	socklen_t len = sizeof(table->info);
	struct ipt_get_entries *entries;

	(void)snprintf(table->info.name, sizeof(table->info.name), "%.31s", name);
	if (getsockopt(fd, table->family->level, IPT_SO_GET_INFO, &table->info, &len) < 0)
		return -errno;
	if (table->info.size > MAX_ENTRY_BYTES)
		return 0;
	entries = calloc(1, sizeof(*entries) + table->info.size);
	if (!entries)
		return -ENOMEM;
	table->entries = entries;
	(void)snprintf(entries->name, sizeof(entries->name), "%.31s", name);
	entries->size = table->info.size;
	len = (socklen_t)(sizeof(*entries) + table->info.size);
	if (getsockopt(fd, table->family->level, IPT_SO_GET_ENTRIES, entries, &len) < 0)
		return -errno; /* -EAGAIN: it was replaced in between */
	return 0;
}

static uint16_t u16_at(const struct table *table, size_t offset)
{
	uint16_t value = 0;

	if (offset + sizeof(value) <= table->info.size)
		memcpy(&value, (const char *)table->entries->entrytable + offset, sizeof(value));
	return value;
}

/* The policy of a chain is the verdict of its last entry, where underflow[] points. */
static bool is_accepting(const struct table *table, unsigned hook)
{
	size_t entry = table->info.underflow[hook];
	size_t target = entry + u16_at(table, entry + table->family->target_offset);
	struct xt_standard_target standard;

	if (target + sizeof(standard) > table->info.size)
		return false;
	memcpy(&standard, (const char *)table->entries->entrytable + target, sizeof(standard));
	return standard.verdict == -NF_ACCEPT - 1;
}

/* One of the structures behind an entry: all begin with their size and their name. */
static bool extension_tracks(const struct table *table, size_t offset)
{
	char name[XT_EXTENSION_MAXNAMELEN];

	if (offset + sizeof(uint16_t) + sizeof(name) > table->info.size)
		return true;
	memcpy(name, (const char *)table->entries->entrytable + offset + sizeof(uint16_t),
	       sizeof(name));
	name[sizeof(name) - 1] = '\0';
	return policy_xt_tracks(name);
}

static bool entry_tracks(const struct table *table, size_t entry)
{
	size_t target = entry + u16_at(table, entry + table->family->target_offset);
	size_t match = entry + table->family->entry_size;

	while (match < target) {
		uint16_t size = u16_at(table, match);

		if (size < sizeof(struct xt_entry_match) || extension_tracks(table, match))
			return true;
		match += size;
	}
	return extension_tracks(table, target);
}

static bool has_tracking(const struct table *table)
{
	size_t entry = 0;

	while (entry < table->info.size) {
		uint16_t size = u16_at(table, entry + table->family->next_offset);

		if (size < table->family->entry_size || entry_tracks(table, entry))
			return true;
		entry += size;
	}
	return false;
}

static void judge_table(const struct policy *policy, struct policy_state *io_state,
			const struct table *table, bool has_hooks)
{
	const struct ipt_getinfo *info = &table->info;
	char what[96];

	for (unsigned hook = 0; hook < ARRAY_SIZE(hook_names); hook++) {
		if (!(info->valid_hooks >> hook & 1) || hook == NF_INET_LOCAL_IN ||
		    hook == NF_INET_LOCAL_OUT)
			continue;
		if (info->hook_entry[hook] == info->underflow[hook] && table->entries &&
		    is_accepting(table, hook))
			continue;
		(void)snprintf(what, sizeof(what), "%s table %.31s chain %s", table->family->tool,
			       info->name, hook_names[hook]);
		policy_concern_netfilter(io_state, table->family->nfproto, policy->all, what);
	}
	if (has_hooks || (table->entries && !has_tracking(table)))
		return;
	(void)snprintf(what, sizeof(what), "conntrack by %s table %.31s", table->family->tool,
		       info->name);
	policy_concern_netfilter(io_state, table->family->nfproto, policy->all, what);
}

/* How many. */
static int list_hooked(uint8_t tables, char names[MAX_TABLES][XT_TABLE_MAXNAMELEN])
{
	int n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(known_tables); i++) {
		if (tables >> i & 1)
			(void)snprintf(names[n++], sizeof(names[0]), "%s", known_tables[i].name);
	}
	return n;
}

/* How many; -ENOENT: not in this kernel; -EACCES: the file is root's. */
static int list_named(const struct family *family, char names[MAX_TABLES][XT_TABLE_MAXNAMELEN])
{
	_cleanup_fclose_ FILE *file = fopen(family->names_path, "re");
	int n = 0;

	if (!file)
		return -errno;
	while (n < MAX_TABLES && fscanf(file, "%31s", names[n]) == 1)
		n++;
	return n;
}

/* Built into the kernel, neither has an entry in /sys; a table is never built in alone. */
static bool may_stand(const struct family *family)
{
	static const char *const tables[] = {"filter", "mangle", "nat", "raw", "security"};
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/module/%s_tables", family->prefix);
	if (access(path, F_OK) < 0)
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		(void)snprintf(path, sizeof(path), "/sys/module/%stable_%s", family->prefix,
			       tables[i]);
		if (access(path, F_OK) == 0 || errno != ENOENT)
			return true;
	}
	return false;
}

static void concern_unknown(const struct policy *policy, struct policy_state *io_state,
			    const struct family *family)
{
	char what[96];

	(void)snprintf(what, sizeof(what),
		       "unknown %s tables (their names are root's, no hook dump)", family->tool);
	policy_concern_netfilter(io_state, family->nfproto, policy->all, what);
}

static int judge_family(struct policy *policy, struct policy_state *io_state,
			const struct family *family, int fd, const struct policy_hooks *hooks)
{
	uint8_t hooked = hooks->xtables[family->nfproto == NFPROTO_IPV6];
	char names[MAX_TABLES][XT_TABLE_MAXNAMELEN];
	int n = hooks->is_known ? list_hooked(hooked, names) : list_named(family, names);

	if (n == -EACCES) {
		if (may_stand(family))
			concern_unknown(policy, io_state, family);
		return 0;
	}
	if (n < 0)
		return n == -ENOENT ? 0 : n;
	for (int i = 0; i < n; i++) {
		int r = -EAGAIN;

		for (unsigned attempt = 0; attempt < 4 && r == -EAGAIN; attempt++) {
			_cleanup_(table_done) struct table table = {.family = family};

			r = read_table(fd, names[i], &table);
			if (r == 0)
				judge_table(policy, io_state, &table, hooks->is_known);
		}
		if (r < 0 && r != -ENOENT && r != -ENOPROTOOPT)
			return r;
	}
	return 0;
}

int policy_judge_xtables(struct policy *policy, struct policy_state *io_state,
			 const struct policy_hooks *hooks)
{
	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		int r = 0;

		if (policy->inet_fds[i] >= 0)
			r = judge_family(policy, io_state, &families[i], policy->inet_fds[i],
					 hooks);
		if (r < 0)
			return r;
	}
	return 0;
}
