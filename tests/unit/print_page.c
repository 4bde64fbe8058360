/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the metrics page of the synthetic report, for tools that read such pages. */
#include <stdlib.h>

#include "control/metrics.h"
#include "report_world.h"

int main(void)
{
	struct report report;
	int r;

	report_world_make(&report);
	r = metrics_render(&report, stdout);
	report_fini(&report);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
