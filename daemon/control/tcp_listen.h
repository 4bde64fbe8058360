/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening on a loopback TCP address. Thread: control. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

/*
 * Reads "127.0.0.1:9733" or "[::1]:9733". -EINVAL: not of that form. -EADDRNOTAVAIL: an address
 * that others could reach; metrics are not public (prometheus/docs, operating/security).
 */
int tcp_loopback_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_len);

/* A listening socket, non-blocking and close-on-exec. -errno of bind(2) and the above. */
int tcp_listen_loopback(const char *text, int *ret_fd);
