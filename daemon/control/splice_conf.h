/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a struct conf to what acceptors are told (splice/config.h). Listeners, backends and servers
 * that the configuration before had too keep their state: a listener and a backend by name, a
 * server by its backend, name and address. Thread: control. No capability, no system call.
 */
#pragma once

#include <stdint.h>

#include "splice/config.h"

struct conf;

/*
 * `previous` NULL: there is none. *next_number is the number of the next new listener, kept by the
 * caller over configurations. Both lists are in the order of the file. -ENOMEM.
 */
int splice_conf_make(const struct conf *conf, const struct splice_config *previous,
		     uint32_t *next_number, struct splice_config **ret_config);

/* By name; NULL if there is none. */
const struct backend_config *splice_conf_backend(const struct splice_config *config,
						 const char *name);
struct server_state *splice_conf_server(const struct backend_config *backend, const char *name);
