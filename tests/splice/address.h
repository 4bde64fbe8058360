/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses on the command line of the splice plane's test programs, and the network namespaces in
 * which their threads open sockets.
 */
#pragma once

#include <sys/socket.h>

struct address {
	struct sockaddr_storage storage;
	socklen_t len;
};

/* "192.0.2.1:443", "[2001:db8::1]:443", "unix:/path". -EINVAL. */
int address_parse(const char *text, struct address *ret_address);

/* This thread, from now on; NULL: stays. -errno. */
int address_enter_netns(const char *path);

/* Non-blocking. -errno. */
int address_listen(const struct address *address, int backlog);
/* Connecting, or connected. -errno. */
int address_connect(const struct address *address);
