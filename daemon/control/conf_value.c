/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsers of typed values, one per enum conf_type, in one table; conf_value_print.c is its mirror.
 *
 * Numbers are decimal digits and nothing else: no sign, no hexadecimal, no blank before the unit.
 * A time needs its unit; there is no bare number whose meaning one has to look up.
 */
#include "control/conf_value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <string.h>

#include "control/conf_suggest.h"
#include "control/conf_value_internal.h"
#include "util/macros.h"

const struct conf_unit conf_duration_units[] = {
	{"us", NSEC_PER_USEC},      {"ms", NSEC_PER_MSEC},      {"s", NSEC_PER_SEC},
	{"min", 60 * NSEC_PER_SEC}, {"h", 3600 * NSEC_PER_SEC},
};
static_assert(ARRAY_SIZE(conf_duration_units) == CONF_DURATION_UNITS_N, "a unit is missing");

static const struct conf_unit size_units[] = {
	{"", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}};

/* Composes `"TEXT": what; expected …` and returns -EINVAL. */
int conf_refuse(const struct conf_key *key, const char *text, struct conf_why *why, const char *fmt,
		...)
{
	FILE *out = fmemopen(why->text, sizeof(why->text), "w");
	va_list args;

	if (!out) {
		(void)snprintf(why->text, sizeof(why->text), "\"%s\": not understood", text);
		return -EINVAL;
	}
	if (*text)
		(void)fprintf(out, "\"%s\": ", text);
	va_start(args, fmt);
	(void)vfprintf(out, fmt, args);
	va_end(args);
	(void)fputs("; expected ", out);
	conf_value_print_expected(key, out);
	(void)fclose(out);
	return -EINVAL;
}

/* Reads digits at *cursor and moves it behind them. False: no digit, or more than 64 bits. */
bool conf_read_digits(const char **cursor, uint64_t *ret_n)
{
	const char *c = *cursor;
	uint64_t n = 0;

	if (!isdigit((unsigned char)*c))
		return false;
	for (; isdigit((unsigned char)*c); c++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
			return false;
	}
	*cursor = c;
	*ret_n = n;
	return true;
}

static bool is_all_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static int parse_count(const struct conf_key *key, const char *text, void *value,
		       struct conf_why *why)
{
	uint32_t *field = value;
	const char *cursor = text;
	uint64_t n;

	if (!is_all_digits(text))
		return conf_refuse(key, text, why, "not a number");
	if (!conf_read_digits(&cursor, &n) || n < key->min || n > key->max)
		return conf_refuse(key, text, why, "out of range");
	*field = (uint32_t)n;
	return 0;
}

/* The unit that is `text`, of sizes or of times; NULL if there is none. */
static const struct conf_unit *find_unit(const struct conf_key *key, const char *text)
{
	bool is_size = key->type == CONF_TYPE_SIZE || key->type == CONF_TYPE_BYTES;
	const struct conf_unit *units = is_size ? size_units : conf_duration_units;
	size_t n_units = is_size ? ARRAY_SIZE(size_units) : CONF_DURATION_UNITS_N;

	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(text, units[i].text) == 0)
			return &units[i];
	}
	return NULL;
}

/* A number and its unit, in bytes or nanoseconds. */
static int parse_scaled(const struct conf_key *key, const char *text, uint64_t *ret_n,
			struct conf_why *why)
{
	uint64_t scale = key->type == CONF_TYPE_DURATION_US ? NSEC_PER_USEC : 1;
	const struct conf_unit *unit;
	const char *cursor = text;
	uint64_t n;

	if (!isdigit((unsigned char)*text))
		return conf_refuse(key, text, why, "not a number");
	if (!conf_read_digits(&cursor, &n))
		return conf_refuse(key, text, why, "out of range");
	unit = find_unit(key, cursor);
	if (!unit && !*cursor)
		return conf_refuse(key, text, why, "no unit");
	if (!unit)
		return conf_refuse(key, text, why, "unknown unit \"%s\"", cursor);
	if (__builtin_mul_overflow(n, unit->factor, &n) || n < key->min * scale ||
	    n > key->max * scale)
		return conf_refuse(key, text, why, "out of range");
	*ret_n = n;
	return 0;
}

static int parse_size(const struct conf_key *key, const char *text, void *value,
		      struct conf_why *why)
{
	uint32_t *field = value;
	uint64_t n = 0;
	int r;

	r = parse_scaled(key, text, &n, why);
	if (r < 0)
		return r;
	if (n & (n - 1))
		return conf_refuse(key, text, why, "not a power of two");
	*field = (uint32_t)n;
	return 0;
}

static int parse_bytes(const struct conf_key *key, const char *text, void *value,
		       struct conf_why *why)
{
	return parse_scaled(key, text, value, why);
}

static int parse_duration_ns(const struct conf_key *key, const char *text, void *value,
			     struct conf_why *why)
{
	return parse_scaled(key, text, value, why);
}

static int parse_duration_us(const struct conf_key *key, const char *text, void *value,
			     struct conf_why *why)
{
	uint32_t *field = value;
	uint64_t ns = 0;
	int r;

	r = parse_scaled(key, text, &ns, why);
	if (r < 0)
		return r;
	*field = (uint32_t)(ns / NSEC_PER_USEC);
	return 0;
}

/* "5" or "2-5" at *cursor. */
static bool read_range(const char **cursor, uint64_t *ret_first, uint64_t *ret_last)
{
	if (!conf_read_digits(cursor, ret_first))
		return false;
	*ret_last = *ret_first;
	if (**cursor != '-')
		return true;
	(*cursor)++;
	return conf_read_digits(cursor, ret_last);
}

static int parse_set(const struct conf_key *key, const char *text, void *value,
		     struct conf_why *why)
{
	struct conf_set set = {0}, *field = value;
	const char *cursor = text;
	uint64_t first, last;

	for (;;) {
		if (!read_range(&cursor, &first, &last))
			return conf_refuse(key, text, why, "not a list of numbers");
		if (first > last)
			return conf_refuse(key, text, why, "a range that runs backwards");
		if (first < key->min || last > key->max)
			return conf_refuse(key, text, why, "out of range");
		for (unsigned n = (unsigned)first; n <= last; n++) {
			if (conf_set_has(&set, n))
				return conf_refuse(key, text, why, "%u is listed twice", n);
			set.bits[n / 64] |= 1ULL << (n % 64);
		}
		if (*cursor != ',')
			break;
		cursor++;
		cursor += strspn(cursor, " \t");
	}
	if (*cursor)
		return conf_refuse(key, text, why, "not a list of numbers");
	*field = set;
	return 0;
}

static int parse_bool(const struct conf_key *key, const char *text, void *value,
		      struct conf_why *why)
{
	bool *field = value;
	bool is_yes = strcmp(text, "yes") == 0;

	if (!is_yes && strcmp(text, "no") != 0)
		return conf_refuse(key, text, why, "unknown");
	*field = is_yes;
	return 0;
}

/* The choice whose word is the first `n_word` bytes of text, or NULL. */
static const struct conf_choice *find_choice(const struct conf_key *key, const char *text,
					     size_t n_word)
{
	for (unsigned i = 0; i < key->n_choices; i++) {
		const char *word = key->choices[i].text;

		if (strlen(word) == n_word && strncmp(word, text, n_word) == 0)
			return &key->choices[i];
	}
	return NULL;
}

static int refuse_choice(const struct conf_key *key, const char *text, size_t n_word,
			 struct conf_why *why)
{
	char word[64];
	struct conf_suggest suggest = {.word = word};
	size_t n;

	(void)snprintf(word, sizeof(word), "%.*s", (int)n_word, text);
	for (unsigned i = 0; i < key->n_choices; i++)
		conf_suggest_offer(&suggest, key->choices[i].text);
	if (key->word)
		conf_suggest_offer(&suggest, key->word);
	(void)conf_refuse(key, text, why, "unknown");
	n = strlen(why->text);
	if (suggest.best)
		(void)snprintf(why->text + n, sizeof(why->text) - n, "; did you mean \"%s\"?",
			       suggest.best);
	return -EINVAL;
}

static int refuse_later(const struct conf_choice *choice, struct conf_why *why)
{
	(void)snprintf(why->text, sizeof(why->text), "\"%s\": not in this version", choice->text);
	return -EINVAL;
}

static int parse_choice(const struct conf_key *key, const char *text, void *value,
			struct conf_why *why)
{
	const struct conf_choice *choice = find_choice(key, text, strlen(text));
	unsigned *field = value;

	if (!choice)
		return refuse_choice(key, text, strlen(text), why);
	if (choice->later)
		return refuse_later(choice, why);
	*field = (unsigned)(choice - key->choices);
	return 0;
}

/* To the last byte: equal configurations are equal in memory. The caller checked the length. */
void conf_store_text(char *field, size_t size, const char *text)
{
	memset(field, 0, size);
	(void)snprintf(field, size, "%s", text);
}

/* The row belongs to [port] and to nothing else. */
static int parse_forward(const struct conf_key *key, const char *text, void *value,
			 struct conf_why *why)
{
	struct conf_port *port = (void *)((char *)value - key->offset);
	size_t n_word = strcspn(text, " \t");
	const char *name = text + n_word + strspn(text + n_word, " \t");
	const struct conf_choice *choice = find_choice(key, text, n_word);
	const char *wrong;

	if (!choice)
		return refuse_choice(key, text, n_word, why);
	if (choice->later)
		return refuse_later(choice, why);
	if (choice->needs_name && !*name)
		return conf_refuse(key, text, why, "no name after \"%s\"", choice->text);
	if (!choice->needs_name && *name)
		return conf_refuse(key, text, why, "\"%s\" takes no name", choice->text);
	wrong = choice->needs_name ? conf_check_name(name) : NULL;
	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	port->forward = (enum conf_forward)(choice - key->choices);
	conf_store_text(port->peer, sizeof(port->peer), name);
	return 0;
}

static int parse_interface(const struct conf_key *key, const char *text, void *value,
			   struct conf_why *why)
{
	const char *wrong = conf_check_interface(text);

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	conf_store_text(value, IF_NAMESIZE, text);
	return 0;
}

static int parse_path(const struct conf_key *key, const char *text, void *value,
		      struct conf_why *why)
{
	const char *wrong = conf_check_path(text);

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	conf_store_text(value, CONF_PATH_BYTES, text);
	return 0;
}

static int parse_listen(const struct conf_key *key, const char *text, void *value,
			struct conf_why *why)
{
	const char *wrong = conf_check_listen(text);

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	conf_store_text(value, CONF_PATH_BYTES, text);
	return 0;
}

/* The row belongs to [route] and to nothing else. A device of digits cannot be meant. */
static int parse_table(const struct conf_key *key, const char *text, void *value,
		       struct conf_why *why)
{
	struct conf_route *route = (void *)((char *)value - key->offset);
	const char *cursor = text, *wrong;
	uint64_t n = RT_TABLE_MAIN;

	if (is_all_digits(text)) {
		if (!conf_read_digits(&cursor, &n) || n < key->min || n > key->max)
			return conf_refuse(key, text, why, "out of range");
		if (n == RT_TABLE_LOCAL)
			return conf_refuse(key, text, why,
					   "the table local is followed in any case");
	} else if (strcmp(text, "main") != 0) {
		wrong = conf_check_interface(text);
		if (wrong)
			return conf_refuse(key, text, why, "%s", wrong);
		conf_store_text(route->vrf, sizeof(route->vrf), text);
		route->table = RT_TABLE_MAIN;
		return 0;
	}
	memset(route->vrf, 0, sizeof(route->vrf));
	route->table = (uint32_t)n;
	return 0;
}

static uint8_t digit_of(char c)
{
	return (uint8_t)(isdigit((unsigned char)c) ? c - '0' :
						     tolower((unsigned char)c) - 'a' + 10);
}

/* Six octets in hexadecimal, separated by colons, at *cursor. */
static bool read_mac(const char **cursor, uint8_t ret_mac[6])
{
	const char *c = *cursor;
	uint8_t mac[6];

	for (unsigned i = 0; i < sizeof(mac); i++, c += 3) {
		if (!isxdigit((unsigned char)c[0]) || !isxdigit((unsigned char)c[1]) ||
		    (i < 5 && c[2] != ':'))
			return false;
		mac[i] = (uint8_t)(digit_of(c[0]) << 4 | digit_of(c[1]));
	}
	*cursor = c - 1;
	memcpy(ret_mac, mac, sizeof(mac));
	return true;
}

/* The row belongs to [bridge] and to nothing else. Adds to what is there. */
static int parse_static(const struct conf_key *key, const char *text, void *value,
			struct conf_why *why)
{
	static const uint8_t zero[6];
	struct conf_bridge *bridge = (void *)((char *)value - key->offset);
	struct conf_static entry = {0};
	const char *cursor = text, *wrong;
	size_t n_blanks;

	if (!read_mac(&cursor, entry.mac))
		return conf_refuse(key, text, why, "not a MAC address");
	if (entry.mac[0] & 1 || memcmp(entry.mac, zero, sizeof(zero)) == 0)
		return conf_refuse(key, text, why, "not a unicast address");
	n_blanks = strspn(cursor, " \t");
	if (n_blanks == 0 || !cursor[n_blanks])
		return conf_refuse(key, text, why, "no port");
	wrong = conf_check_name(cursor + n_blanks);
	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	if (bridge->n_statics == CONF_MAX_STATICS)
		return conf_refuse(key, text, why, "more than %u of them", CONF_MAX_STATICS);
	conf_store_text(entry.port, sizeof(entry.port), cursor + n_blanks);
	bridge->statics[bridge->n_statics++] = entry;
	return 0;
}

typedef int (*parse_fn)(const struct conf_key *key, const char *text, void *field,
			struct conf_why *why);

static const parse_fn parsers[] = {
	[CONF_TYPE_COUNT] = parse_count,
	[CONF_TYPE_SIZE] = parse_size,
	[CONF_TYPE_DURATION_NS] = parse_duration_ns,
	[CONF_TYPE_DURATION_US] = parse_duration_us,
	[CONF_TYPE_SET] = parse_set,
	[CONF_TYPE_BOOL] = parse_bool,
	[CONF_TYPE_CHOICE] = parse_choice,
	[CONF_TYPE_FORWARD] = parse_forward,
	[CONF_TYPE_INTERFACE] = parse_interface,
	[CONF_TYPE_PATH] = parse_path,
	[CONF_TYPE_LISTEN] = parse_listen,
	[CONF_TYPE_TABLE] = parse_table,
	[CONF_TYPE_STATIC] = parse_static,
	[CONF_TYPE_BYTES] = parse_bytes,
	[CONF_TYPE_BACKEND] = conf_parse_backend,
	[CONF_TYPE_BIND] = conf_parse_bind,
	[CONF_TYPE_NAME_ROUTE] = conf_parse_name_route,
	[CONF_TYPE_PREFIX] = conf_parse_prefix,
	[CONF_TYPE_SERVER] = conf_parse_server,
};
static_assert(ARRAY_SIZE(parsers) == CONF_TYPE_N, "a type has no parser");
static_assert(sizeof(enum conf_mode) == sizeof(unsigned), "enums are stored as unsigned");

/* A word such as auto is held as zero, as the empty text, or as struct conf_set.all. */
static void store_word(const struct conf_key *key, void *field)
{
	switch (key->type) {
	case CONF_TYPE_COUNT:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION_US:
		*(uint32_t *)field = 0;
		break;
	case CONF_TYPE_DURATION_NS:
	case CONF_TYPE_BYTES:
		*(uint64_t *)field = 0;
		break;
	case CONF_TYPE_SET:
		*(struct conf_set *)field = (struct conf_set){.all = true};
		break;
	case CONF_TYPE_INTERFACE:
		conf_store_text(field, IF_NAMESIZE, "");
		break;
	case CONF_TYPE_PATH:
	case CONF_TYPE_LISTEN:
		conf_store_text(field, CONF_PATH_BYTES, "");
		break;
	case CONF_TYPE_BACKEND:
		conf_store_text(field, CONF_NAME_BYTES, "");
		break;
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
		break; /* their words are choices; test_conf.c checks that no row has both */
	}
}

/* `workers = 1 # note`: to inih and to us the note is part of the value. */
static bool has_hash_comment(const char *text)
{
	for (const char *c = strchr(text, '#'); c; c = strchr(c + 1, '#')) {
		if (c > text && isblank((unsigned char)c[-1]))
			return true;
	}
	return false;
}

int conf_value_parse(const struct conf_key *key, const char *text, void *section,
		     struct conf_why *ret_why)
{
	/* Where the value of a key without a field goes: checked, and forgotten. */
	union {
		struct conf_set set;
		char path[CONF_PATH_BYTES];
	} scratch;
	void *field = key->in_conf ? (char *)section + key->offset : (void *)&scratch;

	if (!*text)
		return conf_refuse(key, text, ret_why, "no value");
	if (strchr("\"'", *text))
		return conf_refuse(key, "", ret_why, "a value is written without quotes");
	if (*text == ';')
		return conf_refuse(key, "", ret_why, "a comment needs a blank before its \";\"");
	if (has_hash_comment(text))
		return conf_refuse(key, text, ret_why,
				   "a comment here begins with \" ;\", not \" #\"");
	if (key->word && strcmp(text, key->word) == 0) {
		store_word(key, field);
		return 0;
	}
	return parsers[key->type](key, text, field, ret_why);
}
