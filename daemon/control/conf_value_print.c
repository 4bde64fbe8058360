/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Printers of typed values and of what a value may be, one pair per enum conf_type, in one table.
 */
#include <assert.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/conf_value.h"
#include "control/conf_value_internal.h"
#include "util/macros.h"

static void print_count(const struct conf_key *key, const void *field, FILE *out)
{
	const uint32_t *n = field;

	(void)fprintf(out, "%" PRIu32, *n);
}

void conf_print_duration(uint64_t ns, FILE *out)
{
	const struct conf_unit *unit = &conf_duration_units[0];

	for (unsigned i = 0; i < CONF_DURATION_UNITS_N; i++) {
		if (ns % conf_duration_units[i].factor == 0)
			unit = &conf_duration_units[i];
	}
	if (ns == 0)
		(void)fputs("0s", out);
	else
		(void)fprintf(out, "%" PRIu64 "%s", ns / unit->factor, unit->text);
}

static void print_duration_ns(const struct conf_key *key, const void *field, FILE *out)
{
	const uint64_t *ns = field;

	conf_print_duration(*ns, out);
}

static void print_duration_us(const struct conf_key *key, const void *field, FILE *out)
{
	const uint32_t *us = field;

	conf_print_duration(*us * NSEC_PER_USEC, out);
}

static void print_set(const struct conf_key *key, const void *field, FILE *out)
{
	const struct conf_set *set = field;
	const char *separator = "";

	for (unsigned first = 0; first < CONF_MAX_CPUS; first++) {
		unsigned last = first;

		if (!conf_set_has(set, first))
			continue;
		while (conf_set_has(set, last + 1))
			last++;
		(void)fprintf(out, "%s%u", separator, first);
		if (last > first)
			(void)fprintf(out, "-%u", last);
		separator = ",";
		first = last;
	}
}

static void print_bool(const struct conf_key *key, const void *field, FILE *out)
{
	const bool *is_yes = field;

	(void)fputs(*is_yes ? "yes" : "no", out);
}

static void print_choice(const struct conf_key *key, const void *field, FILE *out)
{
	const unsigned *n = field;

	(void)fputs(key->choices[*n].text, out);
}

static void print_forward(const struct conf_key *key, const void *field, FILE *out)
{
	const struct conf_port *port = (const void *)((const char *)field - key->offset);

	(void)fputs(key->choices[port->forward].text, out);
	if (port->peer[0])
		(void)fprintf(out, " %s", port->peer);
}

static void print_text(const struct conf_key *key, const void *field, FILE *out)
{
	(void)fputs((const char *)field, out);
}

static void expect_count(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out, "a number of %s from %" PRIu64 " to %" PRIu64, key->unit, key->min,
		      key->max);
}

static void expect_size(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out,
		      "a power of two from %" PRIu64 " to %" PRIu64
		      " (bytes; KiB and MiB are understood)",
		      key->min, key->max);
}

static void expect_duration(const struct conf_key *key, FILE *out)
{
	uint64_t scale = key->type == CONF_TYPE_DURATION_US ? NSEC_PER_USEC : 1;

	(void)fputs("a time with its unit (us, ms, s, min, h) from ", out);
	conf_print_duration(key->min * scale, out);
	(void)fputs(" to ", out);
	conf_print_duration(key->max * scale, out);
}

static void expect_set(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out, "a list of %s numbers from %" PRIu64 " to %" PRIu64 " such as 2-5,8",
		      key->unit, key->min, key->max);
}

static void expect_bool(const struct conf_key *key, FILE *out)
{
	(void)fputs("yes or no", out);
}

static void expect_choice(const struct conf_key *key, FILE *out)
{
	unsigned n = 0, n_printed = 0;

	for (unsigned i = 0; i < key->n_choices; i++)
		n += !key->choices[i].later;
	for (unsigned i = 0; i < key->n_choices; i++) {
		if (key->choices[i].later)
			continue;
		if (n_printed)
			(void)fputs(n_printed + 1 == n ? " or " : ", ", out);
		(void)fputs(key->choices[i].text, out);
		if (key->choices[i].needs_name)
			(void)fputs(" NAME", out);
		n_printed++;
	}
}

static void expect_interface(const struct conf_key *key, FILE *out)
{
	(void)fputs("the name of a network interface such as eth0", out);
}

static void expect_path(const struct conf_key *key, FILE *out)
{
	(void)fputs("an absolute path without blanks", out);
}

static void expect_listen(const struct conf_key *key, FILE *out)
{
	(void)fputs("127.0.0.1:PORT, [::1]:PORT or unix:/PATH", out);
}

static void print_bytes(const struct conf_key *key, const void *field, FILE *out)
{
	static const struct conf_unit units[] = {
		{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"", 1}};
	const uint64_t *n = field;
	unsigned i = 0;

	while (*n % units[i].factor != 0)
		i++;
	(void)fprintf(out, "%" PRIu64 "%s", *n / units[i].factor, units[i].text);
}

static void expect_bytes(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out,
		      "a size from %" PRIu64 " to %" PRIu64
		      " (bytes; KiB, MiB and GiB are understood)",
		      key->min, key->max);
}

static void print_table(const struct conf_key *key, const void *field, FILE *out)
{
	const struct conf_route *route = (const void *)((const char *)field - key->offset);

	if (route->vrf[0])
		(void)fputs(route->vrf, out);
	else if (route->table == RT_TABLE_MAIN)
		(void)fputs("main", out);
	else
		(void)fprintf(out, "%" PRIu32, route->table);
}

static void expect_table(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out,
		      "main, a table number from %" PRIu64 " to %" PRIu64
		      " other than 255, or the name of a VRF device",
		      key->min, key->max);
}

static void print_static(const void *item, FILE *out)
{
	const struct conf_static *entry = item;
	const uint8_t *mac = entry->mac;

	(void)fprintf(out, "%02x:%02x:%02x:%02x:%02x:%02x %s", mac[0], mac[1], mac[2], mac[3],
		      mac[4], mac[5], entry->port);
}

static void expect_static(const struct conf_key *key, FILE *out)
{
	(void)fputs("a unicast MAC address and the name of a port such as 02:00:00:00:00:01 lan",
		    out);
}

struct type_row {
	const char *name;
	void (*print)(const struct conf_key *key, const void *field, FILE *out); /* NULL: a list */
	void (*expect)(const struct conf_key *key, FILE *out);
	void (*print_item)(const void *item, FILE *out);
};

static const struct type_row types[] = {
	[CONF_TYPE_COUNT] = {"number", print_count, expect_count},
	[CONF_TYPE_SIZE] = {"size", print_count, expect_size},
	[CONF_TYPE_DURATION_NS] = {"time", print_duration_ns, expect_duration},
	[CONF_TYPE_DURATION_US] = {"time", print_duration_us, expect_duration},
	[CONF_TYPE_SET] = {"list", print_set, expect_set},
	[CONF_TYPE_BOOL] = {"bool", print_bool, expect_bool},
	[CONF_TYPE_CHOICE] = {"choice", print_choice, expect_choice},
	[CONF_TYPE_FORWARD] = {"choice", print_forward, expect_choice},
	[CONF_TYPE_INTERFACE] = {"interface", print_text, expect_interface},
	[CONF_TYPE_PATH] = {"path", print_text, expect_path},
	[CONF_TYPE_LISTEN] = {"address", print_text, expect_listen},
	[CONF_TYPE_TABLE] = {"table", print_table, expect_table},
	[CONF_TYPE_STATIC] = {"static entry", NULL, expect_static, print_static},
	[CONF_TYPE_BYTES] = {"size", print_bytes, expect_bytes},
	[CONF_TYPE_BACKEND] = {"backend", print_text, conf_expect_backend},
	[CONF_TYPE_BIND] = {"address", NULL, conf_expect_bind, conf_print_bind},
	[CONF_TYPE_NAME_ROUTE] = {"route", NULL, conf_expect_name_route, conf_print_name_route},
	[CONF_TYPE_PREFIX] = {"network", NULL, conf_expect_prefix, conf_print_prefix},
	[CONF_TYPE_SERVER] = {"server", NULL, conf_expect_server, conf_print_server},
};
static_assert(ARRAY_SIZE(types) == CONF_TYPE_N, "a type has no row");

const char *conf_type_name(enum conf_type type)
{
	return types[type].name;
}

void conf_list_print(const struct conf_key *key, const void *section, unsigned i, FILE *out)
{
	types[key->type].print_item(conf_list_item(key, section, i), out);
}

/* The inverse of store_word() in conf_value.c. */
static bool is_word(const struct conf_key *key, const void *field)
{
	if (!key->word)
		return false;
	switch (key->type) {
	case CONF_TYPE_COUNT:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION_US:
		return *(const uint32_t *)field == 0;
	case CONF_TYPE_DURATION_NS:
	case CONF_TYPE_BYTES:
		return *(const uint64_t *)field == 0;
	case CONF_TYPE_SET:
		return ((const struct conf_set *)field)->all;
	case CONF_TYPE_INTERFACE:
	case CONF_TYPE_PATH:
	case CONF_TYPE_LISTEN:
	case CONF_TYPE_BACKEND:
		return *(const char *)field == '\0';
	case CONF_TYPE_BOOL:
	case CONF_TYPE_CHOICE:
	case CONF_TYPE_FORWARD:
	case CONF_TYPE_TABLE:
	case CONF_TYPE_STATIC:
	case CONF_TYPE_BIND:
	case CONF_TYPE_NAME_ROUTE:
	case CONF_TYPE_PREFIX:
	case CONF_TYPE_SERVER:
	case CONF_TYPE_N:
		break;
	}
	return false;
}

void conf_value_print(const struct conf_key *key, const void *section, FILE *out)
{
	const void *field;

	/* Without a field no other value than the default is accepted. */
	if (!key->in_conf) {
		(void)fputs(key->default_text ? key->default_text : "", out);
		return;
	}
	field = conf_field(key, section);
	if (is_word(key, field)) {
		(void)fputs(key->word, out);
	} else if (types[key->type].print) {
		types[key->type].print(key, field, out);
	} else {
		for (unsigned i = 0; i < conf_list_count(key, section); i++) {
			(void)fputs(i ? ", " : "", out);
			conf_list_print(key, section, i, out);
		}
	}
}

void conf_value_print_expected(const struct conf_key *key, FILE *out)
{
	types[key->type].expect(key, out);
	if (key->word)
		(void)fprintf(out, ", or %s", key->word);
}
