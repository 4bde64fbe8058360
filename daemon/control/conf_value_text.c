/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values that stay text: names of interfaces and ports, paths, and the metrics address. Pure
 * functions; nothing here asks the kernel or a resolver.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "control/conf_value.h"

/* The rules of the kernel's dev_valid_name(). */
const char *conf_check_interface(const char *text)
{
	if (strlen(text) >= IF_NAMESIZE)
		return "longer than 15 characters";
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return "not a name that an interface can have";
	if (strpbrk(text, "/: \t"))
		return "not a name that an interface can have";
	return NULL;
}

const char *conf_check_path(const char *text)
{
	if (text[0] != '/')
		return "not an absolute path";
	if (strpbrk(text, " \t"))
		return "blank in a path";
	if (strlen(text) >= CONF_PATH_BYTES)
		return "longer than 107 bytes, the limit of a unix socket";
	if (text[strlen(text) - 1] == '/')
		return "a path that ends in '/'";
	return NULL;
}

/* Names of sections go into metrics labels, messages and the command line. */
const char *conf_check_name(const char *text)
{
	if (strlen(text) >= CONF_NAME_BYTES)
		return "name longer than 31 characters";
	if (!isalnum((unsigned char)text[0]))
		return "name does not begin with a letter or digit";
	for (const char *c = text; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
			return "name with other characters than letters, digits, '_', '.' and '-'";
	}
	return NULL;
}

static bool is_tcp_port(const char *text)
{
	unsigned port = 0;

	if (!*text || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		port = port * 10 + (unsigned)(*text - '0');
	}
	return port >= 1 && port <= 65535;
}

static bool is_loopback4(const char *host)
{
	struct in_addr address;

	return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static bool is_loopback6(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, host, &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

static bool is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Splits "HOST:PORT" or "[HOST]:PORT" in place. NULL if well formed. */
static const char *split_host_port(char *text, char **ret_host, char **ret_port, bool *ret_is_ipv6)
{
	bool is_ipv6 = text[0] == '[';
	char *host = text + is_ipv6;
	char *colon = is_ipv6 ? strchr(text, ']') : strchr(text, ':');

	if (!colon)
		return is_ipv6 ? "no ']'" : "no port";
	if (!is_ipv6 && strchr(colon + 1, ':'))
		return "an IPv6 address stands in brackets: [::1]:9733";
	if (is_ipv6) {
		*colon++ = '\0';
		if (*colon != ':')
			return "no port";
	}
	*colon = '\0';
	*ret_host = host;
	*ret_port = colon + 1;
	*ret_is_ipv6 = is_ipv6;
	return NULL;
}

/*
 * Literal loopback addresses only: a name such as localhost is resolved by files that others
 * write, and the endpoint tells everything about the traffic without asking who wants to know.
 */
const char *conf_check_listen(const char *text)
{
	char copy[CONF_PATH_BYTES], *host, *port;
	const char *wrong;
	bool is_ipv6;

	if (strlen(text) >= sizeof(copy))
		return "longer than 107 bytes";
	if (strncmp(text, "unix:", 5) == 0)
		return conf_check_path(text + 5);
	memcpy(copy, text, strlen(text) + 1);
	wrong = split_host_port(copy, &host, &port, &is_ipv6);
	if (wrong)
		return wrong;
	if (!is_tcp_port(port))
		return "the port is not a number from 1 to 65535";
	if (is_ipv6 ? is_loopback6(host) : is_loopback4(host))
		return NULL;
	if (!is_address(host))
		return "not an address, and names are not resolved";
	return "not a loopback address, and the endpoint asks for no password";
}
