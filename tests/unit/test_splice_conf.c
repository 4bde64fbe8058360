/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the file to what acceptors are told: values, indexes, Maglev tables; states that outlive
 * configurations; references that end at zero (the sanitizer build sees to that). And where
 * acceptors run.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "control/acceptor_cpus.h"
#include "control/conf.h"
#include "control/plan.h"
#include "control/splice_conf.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

static struct conf *load(const char *text)
{
	_cleanup_fclose_ FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	assert_non_null(file);
	if (conf_load_stream(file, "test.conf", &conf, &errors) < 0)
		fail_msg("%s", errors.lines[0]);
	conf_errors_fini(&errors);
	return conf;
}

/* Of the text, after `previous`. */
static struct splice_config *make(const char *text, const struct splice_config *previous,
				  uint32_t *next_number)
{
	struct conf *conf = load(text);
	struct splice_config *config = NULL;

	assert_int_equal(splice_conf_make(conf, previous, next_number, &config), 0);
	/* Nothing of the file's value is borrowed. */
	conf_free(conf);
	return config;
}

#define APP "[backend app]\nserver = a 10.0.0.2:443\nserver = b 10.0.0.3:443 weight=3\n"

static void test_every_value_arrives(void **state)
{
	static const char text[] =
		"[daemon]\nmax_parked = 3MiB\nmax_parked_per_flow = 2MiB\nflow_log = 7\n"
		"[listener web]\nbind = 192.0.2.1:443\nsniff = auto\nengine = splice\n"
		"route = www.example.org -> other\nroute = *.example.org -> app\ndefault = app\n"
		"proxy_protocol = any\nproxy_from = 10.0.0.0/8\nproxy_from = 2001:db8::/32\n"
		"max_connections = 11\nmax_connections_per_source = 12\nsniff_timeout = 13s\n"
		"idle_timeout = 14s\nhalf_closed_timeout = 15s\nkeepalive = 16s\nuser_timeout = 17s\n"
		"[backend other]\nserver = x unix:/run/x\nbalance = least_connections\n"
		"send_proxy = v2\nconnect_timeout = 18s\nretries = 3\nhealth_interval = 19s\n"
		"health_rise = 4\nhealth_fall = 5\nmax_connections = 20\n" APP;
	uint32_t next_number = 0;
	struct splice_config *config = make(text, NULL, &next_number);
	const struct listener_config *web = &config->listeners[0];
	const struct backend_config *other = &config->backends[0], *app = &config->backends[1];
	const struct sockaddr_in *b;

	assert_int_equal(config->n_listeners, 1);
	assert_int_equal(config->n_backends, 2);
	assert_int_equal(config->max_parked_bytes, 3 << 20);
	assert_int_equal(config->max_flow_parked_bytes, 2 << 20);
	assert_int_equal(config->flow_log_every, 7);
	assert_string_equal(web->state->name, "web");
	assert_int_equal(web->sniff, SPLICE_SNIFF_AUTO);
	assert_int_equal(web->engine, SPLICE_SPLICE);
	assert_int_equal(web->n_routes, 2);
	assert_string_equal(web->routes[0].pattern, "www.example.org");
	assert_int_equal(web->routes[0].backend, 0);
	assert_string_equal(web->routes[1].pattern, "*.example.org");
	assert_int_equal(web->routes[1].backend, 1);
	assert_int_equal(web->default_backend, 1);
	assert_int_equal(web->proxy_protocol, PROXY_ANY);
	assert_int_equal(web->n_proxy_from, 2);
	assert_int_equal(web->proxy_from[0].len, 8);
	assert_int_equal(web->proxy_from[0].addr.family, 4);
	assert_int_equal(web->proxy_from[0].addr.addr.octet[0], 10);
	assert_int_equal(web->proxy_from[1].len, 32);
	assert_int_equal(web->proxy_from[1].addr.family, 6);
	assert_int_equal(web->max_connections, 11);
	assert_int_equal(web->max_per_source, 12);
	assert_int_equal(web->sniff_timeout_ns, 13 * NSEC_PER_SEC);
	assert_int_equal(web->idle_timeout_ns, 14 * NSEC_PER_SEC);
	assert_int_equal(web->half_closed_timeout_ns, 15 * NSEC_PER_SEC);
	assert_int_equal(web->keepalive_ns, 16 * NSEC_PER_SEC);
	assert_int_equal(web->user_timeout_ns, 17 * NSEC_PER_SEC);
	assert_string_equal(other->state->name, "other");
	assert_int_equal(other->balance, SPLICE_LEAST_CONNECTIONS);
	assert_int_equal(other->send_proxy, PROXY_V2);
	assert_int_equal(other->connect_timeout_ns, 18 * NSEC_PER_SEC);
	assert_int_equal(other->n_retries, 3);
	assert_true(other->has_health_check);
	assert_int_equal(other->health_interval_ns, 19 * NSEC_PER_SEC);
	assert_int_equal(other->health_rise, 4);
	assert_int_equal(other->health_fall, 5);
	assert_int_equal(other->max_connections, 20);
	assert_int_equal(other->servers[0].state->address.ss_family, AF_UNIX);
	assert_int_equal(app->n_servers, 2);
	assert_int_equal(app->servers[1].weight, 3);
	assert_null(app->maglev);
	b = (const struct sockaddr_in *)(const void *)&app->servers[1].state->address;
	assert_int_equal(ntohs(b->sin_port), 443);
	assert_int_equal(ntohl(b->sin_addr.s_addr), 0x0a000003);
	assert_true(app->servers[1].state->is_up);
	splice_config_unref(config);
}

static void test_a_listener_may_have_no_default(void **state)
{
	uint32_t next_number = 0;
	struct splice_config *config = make("[listener web]\nbind = 192.0.2.1:443\nsniff = tls\n"
					    "route = a.example -> app\n" APP,
					    NULL, &next_number);

	assert_int_equal(config->listeners[0].default_backend, SPLICE_NONE);
	splice_config_unref(config);
}

static void test_maglev_follows_weights(void **state)
{
	uint32_t next_number = 0, shares[2] = {0};
	struct splice_config *config =
		make(APP "balance = maglev\nmaglev_size = 65537\n", NULL, &next_number);
	const struct backend_config *app = &config->backends[0];

	assert_int_equal(app->maglev_size, 65537);
	for (uint32_t i = 0; i < app->maglev_size; i++) {
		assert_in_range(app->maglev[i], 0, 1);
		shares[app->maglev[i]]++;
	}
	assert_in_range(shares[1] * 100 / 65537, 74, 76);
	splice_config_unref(config);
}

#define WEB  "[listener web]\nbind = 192.0.2.1:443\ndefault = app\n"
#define MAIL "[listener mail]\nbind = 192.0.2.1:25\ndefault = app\n"

static void test_states_outlive_configurations(void **state)
{
	uint32_t next_number = 0;
	struct splice_config *first = make(WEB MAIL APP, NULL, &next_number), *second, *third;
	struct server_state *a = splice_conf_server(&first->backends[0], "a");
	struct server_state *b = splice_conf_server(&first->backends[0], "b");

	a->is_draining = true;
	b->is_up = false;
	first->backends[0].state->n_connections = 5;
	/* Another order, another weight; b has moved. */
	second = make(MAIL WEB "[backend app]\nserver = b 10.0.0.4:443\n"
			       "server = a 10.0.0.2:443 weight=9\n",
		      first, &next_number);
	assert_int_equal(second->listeners[0].state->number, 1);
	assert_int_equal(second->listeners[1].state->number, 0);
	assert_ptr_equal(second->listeners[1].state, first->listeners[0].state);
	assert_ptr_equal(second->backends[0].state, first->backends[0].state);
	assert_ptr_equal(splice_conf_server(&second->backends[0], "a"), a);
	assert_true(splice_conf_server(&second->backends[0], "b") != b);
	assert_true(splice_conf_server(&second->backends[0], "b")->is_up);
	splice_config_unref(first);
	assert_true(a->is_draining);
	assert_int_equal(second->backends[0].state->n_connections, 5);
	/* One that was away is another one. */
	third = make(MAIL APP, second, &next_number);
	splice_config_unref(second);
	second = make(WEB MAIL APP, third, &next_number);
	assert_int_equal(second->listeners[0].state->number, 2);
	assert_int_equal(second->listeners[1].state->number, 1);
	splice_config_unref(second);
	splice_config_unref(third);
}

/* It may be abandoned: what acceptors serve now is as it was (control/health.c changes it). */
static void test_making_one_changes_nothing(void **state)
{
	uint32_t next_number = 0;
	struct splice_config *first = make(APP, NULL, &next_number), *second;

	splice_conf_server(&first->backends[0], "a")->is_up = false;
	second = make(APP "health_check = off\n", first, &next_number);
	assert_false(splice_conf_server(&first->backends[0], "a")->is_up);
	splice_config_unref(first);
	splice_config_unref(second);
}

/* --- Where acceptors run ------------------------------------------------------------------------
 */

static struct topo eight_cpus(void)
{
	struct topo topo = {.n_cpus = 8};

	for (unsigned cpu = 0; cpu < topo.n_cpus; cpu++)
		topo.cpus[cpu] = (struct topo_cpu){.is_allowed = cpu != 3, .node = cpu / 4};
	return topo;
}

static void expect_acceptors(const struct plan *plan, uint32_t wanted, const int *cpus,
			     bool is_shared)
{
	/* A list in the configuration is in the plan, too. */
	struct conf conf = {.daemon = {.acceptors = wanted, .cpus.all = !plan->cpus[1]}};
	struct listeners_acceptor acceptors[CONF_MAX_ACCEPTORS];
	struct topo topo = eight_cpus();
	bool shared = !is_shared;
	uint32_t n = acceptor_cpus(plan, &topo, &conf, acceptors, &shared);

	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(acceptors[i].cpu, cpus[i]);
		assert_int_equal(acceptors[i].node, cpus[i] / 4);
	}
	assert_int_equal(cpus[n], -1);
	assert_int_equal(shared, is_shared);
}

static void test_acceptors_keep_off_the_workers(void **state)
{
	struct plan_worker workers[7] = {{.cpu = 1}, {.cpu = 2}, {.cpu = 4}};
	struct plan plan = {.workers = workers};

	expect_acceptors(&plan, 0, (int[]){0, 1, 2, 4, 5, 6, 7, -1}, false);
	plan.n_workers = 3;
	expect_acceptors(&plan, 0, (int[]){0, 5, 6, 7, -1}, false);
	expect_acceptors(&plan, 2, (int[]){0, 5, -1}, false);
	expect_acceptors(&plan, 5, (int[]){0, 5, 6, 7, 1, -1}, true);
	expect_acceptors(&plan, 9, (int[]){0, 5, 6, 7, 1, 2, 4, 0, 5, -1}, true);
	/* Every CPU has a worker: still one. */
	for (uint32_t i = 0; i < 7; i++)
		workers[i].cpu = i < 3 ? i : i + 1;
	plan.n_workers = 7;
	expect_acceptors(&plan, 0, (int[]){0, -1}, true);
}

static void test_acceptors_keep_to_the_list(void **state)
{
	struct plan_worker workers[] = {{.cpu = 1}};
	struct plan plan = {.workers = workers, .cpus = {[1] = true, [5] = true, [6] = true}};

	expect_acceptors(&plan, 0, (int[]){1, 5, 6, -1}, false);
	plan.n_workers = 1;
	expect_acceptors(&plan, 0, (int[]){5, 6, -1}, false);
	expect_acceptors(&plan, 4, (int[]){5, 6, 1, 5, -1}, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_value_arrives),
		cmocka_unit_test(test_a_listener_may_have_no_default),
		cmocka_unit_test(test_maglev_follows_weights),
		cmocka_unit_test(test_states_outlive_configurations),
		cmocka_unit_test(test_making_one_changes_nothing),
		cmocka_unit_test(test_acceptors_keep_off_the_workers),
		cmocka_unit_test(test_acceptors_keep_to_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
