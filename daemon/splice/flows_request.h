/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A question for an acceptor's live connections. Asker and acceptor hold a reference each, so that
 * neither writes into the other's freed memory when the asker does not wait any longer.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "splice/splice.h"

struct flows_request {
	_Atomic uint32_t refs;
	uint32_t max, n;
	struct splice_flow_row rows[];
};

void flows_request_unref(struct flows_request *request);
