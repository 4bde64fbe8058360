// SPDX-License-Identifier: GPL-2.0-or-later
/* The router in a worker. */
#include "data/burst.h"

#include "data/hot.h"

void route_burst(struct worker *worker, const struct worker_route *route, uint32_t index,
		 uint32_t n, struct burst *burst)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&route->rx->xsk.rx, index + i);

		if (burst_take(burst, route->rx, desc))
			burst_drop_frame(burst, route->rx->umem, desc->addr, DROP_NO_PORT);
	}
}
