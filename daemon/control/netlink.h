/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One netlink connection for requests: send, collect the answers, end at the acknowledgement.
 *
 * mnl_cb_run() is not used for the answers: after an interrupted dump it leaves the rest of the
 * old dump in the socket and then takes it for a protocol error. Here messages of an older
 * request are skipped by their sequence number.
 *
 * Thread: control. Capabilities: none.
 */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/* Large enough for the kernel's dump parts (NLMSG_GOODSIZE … 32 KiB) and any single answer. */
#define NL_BUFFER_BYTES 32768

struct nl {
	struct mnl_socket *socket; /* NULL = closed */
	uint32_t sequence;
};

/* `bus` is NETLINK_ROUTE, NETLINK_GENERIC, … -errno. Syscalls: socket(AF_NETLINK), bind. */
int nl_open(struct nl *nl, int bus);
void nl_close(struct nl *nl);

/*
 * Sends `request` (flags and sequence are completed: NLM_F_REQUEST, and NLM_F_ACK unless it is a
 * dump) and calls fn, which may be NULL, for each answer until the end. -errno is the kernel's.
 * -EAGAIN: the dump was inconsistent (something changed meanwhile): forget what fn gathered, ask
 * again.
 */
int nl_request(struct nl *nl, struct nlmsghdr *request,
	       void (*fn)(const struct nlmsghdr *answer, void *arg), void *arg);

/*
 * The same, but reads no further once *is_enough, which `fn` sets: then the socket is good for
 * nothing but nl_close(). NULL: to the end.
 */
int nl_request_until(struct nl *nl, struct nlmsghdr *request,
		     void (*fn)(const struct nlmsghdr *answer, void *arg), void *arg,
		     const bool *is_enough);

/* A generic netlink message of `family` in `buffer` (NL_BUFFER_BYTES are always enough). */
struct nlmsghdr *nl_genl_message(void *buffer, uint16_t family, uint8_t command, uint8_t version);

/*
 * The id of a generic netlink family and, where `group` is not NULL, of one of its multicast
 * groups (0 if it has no such group). -ENOENT: the kernel does not have the family.
 */
int nl_genl_resolve(struct nl *nl, const char *family, const char *group, uint16_t *ret_family,
		    uint32_t *ret_group);
