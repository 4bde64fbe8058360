/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one line about the daemon: what it says, in which order, and what it leaves out if it must.
 */
#include <stdio.h>
#include <string.h>

#include "control/report.h"
#include "control/status.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define MAX_PORTS 64

static struct conf_port confs[MAX_PORTS];
static struct report_port ports[MAX_PORTS];
static struct report_worker workers[2];
static struct report report;

static void make(uint32_t n_ports)
{
	report = (struct report){
		.ports = ports,
		.n_ports = n_ports,
		.workers = workers,
		.n_workers = 2,
		.config_sha256 = "0123456789abcdef",
	};
	memset(workers, 0, sizeof(workers));
	(void)snprintf(workers[1].name, sizeof(workers[1].name), "sluice-w1");
	for (uint32_t i = 0; i < n_ports; i++) {
		(void)snprintf(confs[i].name, sizeof(confs[i].name), "customer%u", i);
		(void)snprintf(confs[i].interface, sizeof(confs[i].interface), "enp%us0f0", i);
		ports[i] = (struct report_port){
			.conf = &confs[i],
			.state = PORT_FORWARDING,
			.is_attached = true,
			.mode = XSK_MODE_ZEROCOPY,
			.n_queues = 8,
		};
	}
}

static void test_all_is_well(void **state)
{
	make(2);
	ports[1].state = PORT_PASSING;
	ports[1].mode = XSK_MODE_N;
	status_summarise(&report, "");
	assert_string_equal(
		report.status_line,
		"2 of 2 ports up: customer0 (enp0s0f0, zerocopy, 8 queues, forwarding), "
		"customer1 (enp1s0f0, passing); config 01234567");
	assert_false(report.is_degraded);
	make(0);
	status_summarise(&report, "");
	assert_string_equal(report.status_line, "0 of 0 ports up; config 01234567");
}

static void test_listeners_and_what_they_lack_are_told(void **state)
{
	static struct report_listener listeners[2] = {{.engine = SPLICE_COPY},
						      {.engine = SPLICE_SPLICE}};
	static struct report_backend backends[5];

	for (uint32_t i = 0; i < ARRAY_SIZE(backends); i++) {
		backends[i].is_up = true;
		(void)snprintf(backends[i].name, sizeof(backends[i].name), "b%u", i);
	}
	make(0);
	report.splice = (struct report_splice){
		.is_running = true,
		.sockmap_is_on = true,
		.sockops_is_on = true,
		.listeners = listeners,
		.n_listeners = ARRAY_SIZE(listeners),
		.backends = backends,
		.n_backends = ARRAY_SIZE(backends),
	};
	status_summarise(&report, "");
	assert_string_equal(report.status_line, "2 listeners; config 01234567");
	assert_false(report.is_degraded);
	report.splice.sockops_is_on = false;
	(void)snprintf(report.splice.sockops_why_not, sizeof(report.splice.sockops_why_not), "why");
	status_summarise(&report, "");
	assert_string_equal(report.status_line,
			    "2 listeners; sock_ops is off: why; config 01234567");
	assert_false(report.is_degraded);
	/* Nobody wants it. */
	report.splice.sockmap_is_on = false;
	status_summarise(&report, "");
	assert_false(report.is_degraded);
	listeners[1].engine = SPLICE_AUTO;
	status_summarise(&report, "");
	assert_true(report.is_degraded);
	report.splice.sockmap_is_on = true;
	backends[1].is_up = false;
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "; backend b1 has no server that is up;"));
	assert_true(report.is_degraded);
	for (uint32_t i = 0; i < 4; i++)
		backends[i].is_up = false;
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "; 4 of 5 backends have no server that is up;"));
	make(1);
	report.splice = (struct report_splice){
		.listeners = listeners,
		.n_listeners = 1,
		.sockmap_is_on = true,
		.sockops_why_not = "why",
	};
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "1 of 1 ports up, 1 listener; sock_ops is off: "
						   "why; ports: customer0 ("));
	assert_false(report.is_degraded);
	make(1);
	listeners[0].engine = SPLICE_SOCKMAP;
	report.splice = (struct report_splice){
		.is_running = true,
		.listeners = listeners,
		.n_listeners = 1,
		.sockops_is_on = true,
		.totals.n_truncations = 3,
	};
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line,
			       "1 of 1 ports up, 1 listener; sockmap is off: ; "
			       "3 connections were cut with bytes undelivered;"));
	assert_null(strstr(report.status_line, "wakeup"));
	report.splice.totals.n_unawaited = 1;
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "; a connection lost its wakeup"));
	assert_true(report.is_degraded);
}

static void test_a_stop_is_told_first(void **state)
{
	make(1);
	report.is_draining = true;
	report.splice = (struct report_splice){
		.n_listeners = 2,
		.n_conns = 3,
		.sockmap_is_on = true,
		.sockops_is_on = true,
	};
	report.splice.listeners = (struct report_listener[2]){{.engine = SPLICE_COPY}};
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "stopping, 3 connections left, 1 of 1 ports up, "
						   "2 listeners closed; ports: customer0"));
	make(0);
	report.is_draining = true;
	report.splice.n_conns = 1;
	status_summarise(&report, "");
	assert_string_equal(report.status_line,
			    "stopping, 1 connection left, 0 of 0 ports up; config 01234567");
}

static void test_policies_in_force_are_named(void **state)
{
	struct policy_state *policy = &report.tables.policy;

	make(0);
	policy->ports[POLICY_XFRM4] = 3;
	(void)snprintf(policy->what[POLICY_XFRM4], sizeof(policy->what[0]), "XFRM policies");
	policy->ports[POLICY_RP_FILTER] = 3; /* obeyed: nothing passes for it */
	status_summarise(&report, "");
	assert_string_equal(report.status_line,
			    "0 of 0 ports up; passing by policy xfrm4 on 2 ports: XFRM policies; "
			    "config 01234567");
	assert_false(report.is_degraded);
	policy->ports[POLICY_XFRM4] = 0;
	policy->netfilter_bypassed = true;
	report.tables.n_refused = 7;
	status_summarise(&report, "");
	assert_string_equal(report.status_line,
			    "0 of 0 ports up; netfilter is bypassed; no room for 7 routes, which "
			    "are the kernel's; config 01234567");
	policy->ports[POLICY_UNKNOWN] = 1;
	status_summarise(&report, "");
	assert_true(report.is_degraded);
}

static void test_problems_come_before_ports(void **state)
{
	make(2);
	ports[1].state = PORT_ABSENT;
	ports[1].mode = XSK_MODE_N;
	ports[1].is_attached = false;
	(void)snprintf(ports[1].problem, sizeof(ports[1].problem), "it went");
	workers[1].is_stalled = true;
	status_summarise(&report, "CPU 3 went\nso did CPU 4");
	assert_string_equal(
		report.status_line,
		"1 of 2 ports up; CPU 3 went; so did CPU 4; worker sluice-w1 does not "
		"respond; port customer1: it went; ports: customer1 (enp1s0f0, absent), "
		"customer0 (enp0s0f0, zerocopy, 8 queues, forwarding); config 01234567");
	assert_true(report.is_degraded);
}

static void test_a_port_without_its_program_does_not_forward(void **state)
{
	make(1);
	ports[0].is_attached = false;
	(void)snprintf(ports[0].problem, sizeof(ports[0].problem), "attaching it again");
	status_summarise(&report, "");
	assert_string_equal(report.status_line,
			    "0 of 1 ports up; port customer0: attaching it again; ports: customer0 "
			    "(enp0s0f0, zerocopy, 8 queues, not attached); config 01234567");
}

/* It forwards all the same: up, and degraded; the plan's own sentence is said once. */
static void test_an_error_of_the_plan_is_said_once(void **state)
{
	const char *at;

	make(2);
	(void)snprintf(ports[0].problem, sizeof(ports[0].problem), "an address appeared");
	status_summarise(&report, "port customer0: an address appeared");
	assert_true(report.is_degraded);
	at = strstr(report.status_line, "an address appeared");
	assert_non_null(at);
	assert_null(strstr(at + 1, "an address appeared"));
	assert_int_equal(strncmp(report.status_line, "2 of 2 ports up; ", 17), 0);
}

static void test_many_ports_do_not_crowd_out_the_problem(void **state)
{
	make(MAX_PORTS);
	(void)snprintf(ports[63].problem, sizeof(ports[63].problem), "the last one's trouble");
	ports[63].state = PORT_FAILED;
	status_summarise(&report, "");
	assert_non_null(strstr(report.status_line, "63 of 64 ports up; port customer63: the last "
						   "one's trouble; ports: customer63 ("));
	assert_non_null(strstr(report.status_line, " more; config 01234567"));
	assert_in_range(strlen(report.status_line), 512, sizeof(report.status_line) - 1);
}

static void test_many_problems_are_counted(void **state)
{
	make(MAX_PORTS);
	for (uint32_t i = 0; i < MAX_PORTS; i++) {
		memset(ports[i].problem, 'x', sizeof(ports[i].problem) - 1);
		ports[i].state = PORT_FAILED;
	}
	status_summarise(&report, "first of all");
	assert_int_equal(
		strncmp(report.status_line, "0 of 64 ports up; first of all; port cus", 40), 0);
	assert_non_null(strstr(report.status_line, " more problems; ports: customer0 ("));
	assert_non_null(strstr(report.status_line, " more; config 01234567"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listeners_and_what_they_lack_are_told),
		cmocka_unit_test(test_a_stop_is_told_first),
		cmocka_unit_test(test_policies_in_force_are_named),
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(test_problems_come_before_ports),
		cmocka_unit_test(test_a_port_without_its_program_does_not_forward),
		cmocka_unit_test(test_an_error_of_the_plan_is_said_once),
		cmocka_unit_test(test_many_ports_do_not_crowd_out_the_problem),
		cmocka_unit_test(test_many_problems_are_counted),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
