/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values of listeners and backends: addresses, names that clients ask for, networks, servers. Each
 * parser adds one item to its list. Numbers only, no host name is resolved: resolving blocks, and
 * what it says is decided elsewhere.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "control/conf_value_internal.h"
#include "util/macros.h"

/* Room for one more item of `size` bytes; NULL without memory, or if there are enough. */
static void *list_add(struct conf_list *list, size_t size)
{
	void *items, *item;

	/* Grows at powers of two. */
	if ((list->n & (list->n - 1)) == 0) {
		items = reallocarray(list->items, list->n ? 2 * (size_t)list->n : 1, size);
		if (!items)
			return NULL;
		list->items = items;
	}
	item = (char *)list->items + list->n++ * size;
	return memset(item, 0, size);
}

static int add_item(const struct conf_key *key, const char *text, struct conf_list *list,
		    const void *item, size_t size, struct conf_why *why)
{
	void *place;

	if (list->n == CONF_MAX_ITEMS)
		return conf_refuse(key, text, why, "more than %u of them", CONF_MAX_ITEMS);
	place = list_add(list, size);
	if (!place)
		return conf_refuse(key, text, why, "out of memory");
	memcpy(place, item, size);
	return 0;
}

/* --- Addresses ----------------------------------------------------------------------------------
 */

static bool read_tcp_port(const char *text, in_port_t *ret_port_be)
{
	const char *cursor = text;
	uint64_t n;

	if (!conf_read_digits(&cursor, &n) || *cursor || n < 1 || n > UINT16_MAX)
		return false;
	*ret_port_be = htons((uint16_t)n);
	return true;
}

static bool is_ip4_of_many(const struct in_addr *address)
{
	in_addr_t number = ntohl(address->s_addr);

	return IN_MULTICAST(number) || number == INADDR_BROADCAST;
}

static const char *read_ip4(const char *host, const char *port, struct conf_address *ret_address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
		return "not an address, and names are not resolved";
	if (is_ip4_of_many(&in.sin_addr))
		return "TCP has no multicast and no broadcast";
	if (!read_tcp_port(port, &in.sin_port))
		return "the port is not a number from 1 to 65535";
	memcpy(&ret_address->socket, &in, sizeof(in));
	ret_address->socket_len = sizeof(in);
	(void)snprintf(ret_address->text, sizeof(ret_address->text), "%s:%u", host,
		       ntohs(in.sin_port));
	return NULL;
}

static const char *read_ip6(const char *host, const char *port, struct conf_address *ret_address)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char text[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		return "not an address, and names are not resolved";
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		return "an IPv4 address is written as one";
	/* The kernel binds and connects them together with an interface only. */
	if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
		return "a link-local address is one of an interface, which has no place here";
	if (IN6_IS_ADDR_MULTICAST(&in6.sin6_addr))
		return "TCP has no multicast and no broadcast";
	if (!read_tcp_port(port, &in6.sin6_port))
		return "the port is not a number from 1 to 65535";
	(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
	memcpy(&ret_address->socket, &in6, sizeof(in6));
	ret_address->socket_len = sizeof(in6);
	(void)snprintf(ret_address->text, sizeof(ret_address->text), "[%s]:%u", text,
		       ntohs(in6.sin6_port));
	return NULL;
}

static const char *read_unix(const char *path, struct conf_address *ret_address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const char *wrong = conf_check_path(path);

	if (wrong)
		return wrong;
	memcpy(un.sun_path, path, strlen(path) + 1);
	memcpy(&ret_address->socket, &un, sizeof(un));
	ret_address->socket_len = sizeof(un);
	(void)snprintf(ret_address->text, sizeof(ret_address->text), "unix:%s", path);
	return NULL;
}

/* "192.0.2.1:443", "[2001:db8::1]:443", "unix:/PATH". NULL if well formed. */
static const char *read_address(const char *text, struct conf_address *ret_address)
{
	char host[INET6_ADDRSTRLEN];
	bool is_ip6 = text[0] == '[';
	const char *first = text + is_ip6, *end;

	if (strncmp(text, "unix:", 5) == 0)
		return read_unix(text + 5, ret_address);
	end = strchr(first, is_ip6 ? ']' : ':');
	if (!end)
		return is_ip6 ? "no ']'" : "no port";
	if (!is_ip6 && strchr(end + 1, ':'))
		return "an IPv6 address stands in brackets: [::1]:443";
	if (is_ip6 && end[1] != ':')
		return "no port";
	if ((size_t)(end - first) >= sizeof(host))
		return "not an address, and names are not resolved";
	memcpy(host, first, (size_t)(end - first));
	host[end - first] = '\0';
	return is_ip6 ? read_ip6(host, end + 2, ret_address) : read_ip4(host, end + 1, ret_address);
}

CONF_PARSER(conf_parse_bind)
{
	struct conf_bind bind = {0};
	const char *wrong;

	if (strncmp(text, "fd:", 3) == 0) {
		wrong = conf_check_name(text + 3);
		bind.address.is_fd = true;
		if (!wrong)
			(void)snprintf(bind.address.text, sizeof(bind.address.text), "%s", text);
	} else {
		wrong = read_address(text, &bind.address);
	}
	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	return add_item(key, text, value, &bind, sizeof(bind), why);
}

void conf_print_bind(const void *item, FILE *out)
{
	const struct conf_bind *bind = item;

	(void)fputs(bind->address.text, out);
}

void conf_expect_bind(const struct conf_key *key, FILE *out)
{
	(void)fputs("ADDRESS:PORT, [ADDRESS]:PORT, unix:/PATH or fd:NAME", out);
}

/* --- Names --------------------------------------------------------------------------------------
 */

CONF_PARSER(conf_parse_backend)
{
	const char *wrong = conf_check_name(text);

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	conf_store_text(value, CONF_NAME_BYTES, text);
	return 0;
}

void conf_expect_backend(const struct conf_key *key, FILE *out)
{
	(void)fputs("the name of a backend", out);
}

/* Labels of letters, digits, '-' and '_', as clients may ask for; RFC 1035: 63 and 253 octets. */
static const char *check_pattern(const char *pattern)
{
	const char *label = strncmp(pattern, "*.", 2) == 0 ? pattern + 2 : pattern;

	if (strlen(label) >= SNIFF_NAME_BYTES)
		return "a name longer than 253 characters";
	for (;;) {
		size_t n = strcspn(label, ".");

		if (n == 0)
			return "a name with an empty part";
		if (n > 63)
			return "a name with a part longer than 63 characters";
		for (size_t i = 0; i < n; i++) {
			if (label[i] == '*')
				return "'*' stands alone before the first '.'";
			if (!isalnum((unsigned char)label[i]) && !strchr("-_", label[i]))
				return "not a name that clients can ask for";
		}
		if (!label[n])
			return NULL;
		label += n + 1;
	}
}

/* Splits "PATTERN -> BACKEND" into the two. */
static const char *read_name_route(const char *text, struct conf_name_route *ret_route)
{
	size_t n_pattern = strcspn(text, " \t");
	const char *arrow = text + n_pattern + strspn(text + n_pattern, " \t"), *backend;

	if (strncmp(arrow, "->", 2) != 0)
		return "no \"->\" behind the name";
	backend = arrow + 2 + strspn(arrow + 2, " \t");
	if (!*backend)
		return "no backend";
	if (n_pattern >= sizeof(ret_route->pattern))
		return "a name longer than 253 characters";
	for (size_t i = 0; i < n_pattern; i++)
		ret_route->pattern[i] = (char)tolower((unsigned char)text[i]);
	if (strlen(backend) < sizeof(ret_route->backend))
		conf_store_text(ret_route->backend, sizeof(ret_route->backend), backend);
	return conf_check_name(backend);
}

CONF_PARSER(conf_parse_name_route)
{
	struct conf_name_route route = {0};
	const char *wrong = read_name_route(text, &route);

	if (!wrong)
		wrong = check_pattern(route.pattern);
	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	return add_item(key, text, value, &route, sizeof(route), why);
}

void conf_print_name_route(const void *item, FILE *out)
{
	const struct conf_name_route *route = item;

	(void)fprintf(out, "%s -> %s", route->pattern, route->backend);
}

void conf_expect_name_route(const struct conf_key *key, FILE *out)
{
	(void)fputs("NAME -> BACKEND or *.NAME -> BACKEND", out);
}

/* --- Networks -----------------------------------------------------------------------------------
 */

static bool has_host_bits(const struct splice_prefix *prefix)
{
	for (unsigned bit = prefix->len; bit < (prefix->addr.family == 4 ? 32U : 128U); bit++)
		if (prefix->addr.addr.octet[bit / 8] >> (7 - bit % 8) & 1)
			return true;
	return false;
}

static const char *read_prefix(const char *text, struct splice_prefix *ret_prefix)
{
	char host[INET6_ADDRSTRLEN];
	size_t n_host = strcspn(text, "/");
	const char *cursor = text + n_host + 1;
	uint64_t len;

	if (n_host >= sizeof(host))
		return "not an address";
	memcpy(host, text, n_host);
	host[n_host] = '\0';
	if (inet_pton(AF_INET, host, ret_prefix->addr.addr.octet) == 1)
		ret_prefix->addr.family = 4;
	else if (inet_pton(AF_INET6, host, ret_prefix->addr.addr.octet) == 1)
		ret_prefix->addr.family = 6;
	else
		return "not an address";
	ret_prefix->len = ret_prefix->addr.family == 4 ? 32 : 128;
	if (!text[n_host])
		return NULL;
	if (!conf_read_digits(&cursor, &len) || *cursor || len > ret_prefix->len)
		return "not a length that a network can have";
	ret_prefix->len = (unsigned)len;
	return has_host_bits(ret_prefix) ? "an address behind the network's length" : NULL;
}

CONF_PARSER(conf_parse_prefix)
{
	struct conf_prefix prefix = {0};
	const char *wrong = read_prefix(text, &prefix.prefix);

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	return add_item(key, text, value, &prefix, sizeof(prefix), why);
}

void conf_print_prefix(const void *item, FILE *out)
{
	const struct splice_prefix *prefix = &((const struct conf_prefix *)item)->prefix;
	char text[INET6_ADDRSTRLEN];

	(void)fprintf(out, "%s/%u",
		      inet_ntop(prefix->addr.family == 4 ? AF_INET : AF_INET6,
				prefix->addr.addr.octet, text, sizeof(text)),
		      prefix->len);
}

void conf_expect_prefix(const struct conf_key *key, FILE *out)
{
	(void)fputs("a network such as 10.0.0.0/8 or 2001:db8::/32", out);
}

/* --- Servers ------------------------------------------------------------------------------------
 */

static const char *read_weight(const struct conf_key *key, const char *text, uint32_t *ret_weight)
{
	const char *cursor = text + strlen("weight=");
	uint64_t n;

	if (strncmp(text, "weight=", strlen("weight=")) != 0)
		return "something else than weight=N behind the address";
	if (!conf_read_digits(&cursor, &n) || *cursor || n < key->min || n > key->max)
		return "a weight out of range";
	*ret_weight = (uint32_t)n;
	return NULL;
}

static bool is_unspecified(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

	if (address->ss_family == AF_INET)
		return in->sin_addr.s_addr == htonl(INADDR_ANY);
	return address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

static const char *read_server(const struct conf_key *key, char *text,
			       struct conf_server *ret_server)
{
	char *rest = text, *name = strsep(&rest, " \t"), *address, *weight;
	const char *wrong = conf_check_name(name);

	if (wrong)
		return wrong;
	conf_store_text(ret_server->name, sizeof(ret_server->name), name);
	if (!rest)
		return "no address behind the name";
	rest += strspn(rest, " \t");
	address = strsep(&rest, " \t");
	wrong = read_address(address, &ret_server->address);
	if (wrong)
		return wrong;
	if (is_unspecified(&ret_server->address.socket))
		return "not the address of a server";
	ret_server->weight = 1;
	if (!rest)
		return NULL;
	weight = rest + strspn(rest, " \t");
	return read_weight(key, weight, &ret_server->weight);
}

CONF_PARSER(conf_parse_server)
{
	_cleanup_free_ char *copy = strdup(text);
	struct conf_server server = {0};
	const char *wrong = copy ? read_server(key, copy, &server) : "out of memory";

	if (wrong)
		return conf_refuse(key, text, why, "%s", wrong);
	return add_item(key, text, value, &server, sizeof(server), why);
}

void conf_print_server(const void *item, FILE *out)
{
	const struct conf_server *server = item;

	(void)fprintf(out, "%s %s", server->name, server->address.text);
	if (server->weight != 1)
		(void)fprintf(out, " weight=%" PRIu32, server->weight);
}

void conf_expect_server(const struct conf_key *key, FILE *out)
{
	(void)fprintf(out,
		      "NAME ADDRESS:PORT or NAME unix:/PATH, and weight=N from %" PRIu64
		      " to %" PRIu64 " if it is to have one",
		      key->min, key->max);
}
