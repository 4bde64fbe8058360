/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket asks of the splice plane: see ctlsock_ops. */
#include <errno.h>
#include <json-c/json.h>

#include "control/answers.h"
#include "control/json_add.h"
#include "control/life_internal.h"
#include "util/macros.h"

struct json_object *life_flows_json(void *arg, uint32_t max, int *ret_error)
{
	const struct life *life = arg;
	_cleanup_free_ struct splice_flow_row *rows = NULL;
	struct json_object *array;
	uint32_t n = 0;

	*ret_error = -ENODEV;
	if (life->conf->n_listeners == 0 && splicer_n_conns(life->splicer) == 0)
		return NULL;
	*ret_error = -ENOMEM;
	rows = splicer_flows(life->splicer, max, &n);
	array = rows ? json_object_new_array() : NULL;
	for (uint32_t i = 0; array && i < n; i++) {
		if (json_append(array, answer_flow(&rows[i])) < 0) {
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

int life_set_draining(void *arg, const char *name, bool is_draining)
{
	const struct life *life = arg;

	return splicer_set_draining(life->splicer, name, is_draining);
}
