/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port's way back to the kernel (kern/tap.h), and putting aside what workers may still touch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "kern/tap.h"
#include "util/macros.h"

/*
 * The workers of the port beat in the program's heartbeat map and write to the TAP until they have
 * taken up a set without them. Unmapped before that, the next beat would end the daemon; closed,
 * the next frame would go into whatever file has got the number.
 */
void port_retire(struct engine *engine, struct port_prog *prog, struct tap *tap)
{
	struct retired *retired = prog || tap ? malloc(sizeof(*retired)) : NULL;

	if (!retired)
		return; /* leaked, if it was anything: the only safe thing left */
	*retired = (struct retired){.prog = prog, .tap = tap, .next = engine->retired};
	engine->retired = retired;
}

void port_free_retired(struct engine *engine)
{
	while (engine->retired) {
		struct retired *retired = engine->retired;

		engine->retired = retired->next;
		port_prog_free(retired->prog);
		tap_close(retired->tap);
		free(retired);
	}
}

static bool wants_tap(const struct plan_port *plan_port)
{
	return plan_port->conf->forward == CONF_FORWARD_ROUTE || plan_port->host_is_on_bridge;
}

static void explain_tap(int error, struct live_port *port)
{
	if (error == -ENOENT)
		port_set_problem(
			port,
			"frames cannot be handed back to the kernel: there is no "
			"/dev/net/tun; load the module tun, or in a container or unit of "
			"its own let the daemon have the device (DeviceAllow=/dev/net/tun rw)");
	else if (error == -EPERM || error == -EACCES)
		port_set_problem(port,
				 "frames cannot be handed back to the kernel: /dev/net/tun: %s; "
				 "CAP_NET_ADMIN and DeviceAllow=/dev/net/tun rw are needed",
				 strerror(-error));
	else
		port_set_problem(port, "frames cannot be handed back to the kernel: no TAP: %s",
				 strerror(-error));
}

int port_mend_tap(struct engine *engine, uint32_t index)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	int r = 0;

	if (!wants_tap(plan_port)) {
		port_retire(engine, NULL, TAKE_PTR(port->tap));
		return 0;
	}
	if (!port->tap)
		r = tap_open(port->ifindex, MAX(plan_port->n_workers, 1), &port->tap);
	if (r < 0)
		explain_tap(r, port);
	return r;
}
