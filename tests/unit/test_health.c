/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Health checks: what says something about a server, and what does not. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "control/health.h"
#include "splice/config.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define INTERVAL_NS (5 * NSEC_PER_MSEC)
#define WAIT_NS     (5 * NSEC_PER_SEC)

static int connect_error; /* what connect() says; 0: it connects */
static unsigned n_connects;

int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	n_connects++;
	if (connect_error == 0)
		return __real_connect(fd, address, len);
	errno = connect_error;
	return -1;
}

static sd_event *event;
static struct health *health;
static struct server_state server;
static struct backend_state backend_state = {.name = "app"};
static struct backend_server servers[] = {{&server, 1}};
static struct backend_config backend = {
	.state = &backend_state,
	.has_health_check = true,
	.health_interval_ns = INTERVAL_NS,
	.connect_timeout_ns = NSEC_PER_SEC,
	.health_rise = 1,
	.health_fall = 2,
	.servers = servers,
	.n_servers = 1,
};
static struct splice_config config = {.backends = &backend, .n_backends = 1}, none;

/* A port that nobody listens on. */
static int setup(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(close(fd), 0);
	server = (struct server_state){.name = "a", .address_len = len, .refs = 1, .is_up = true};
	memcpy(&server.address, &address, len);
	connect_error = 0;
	n_connects = 0;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(health_new(event, &health), 0);
	assert_int_equal(health_apply(health, &config), 0);
	return 0;
}

static int teardown(void **state)
{
	health_free(health);
	event = sd_event_unref(event);
	assert_int_equal(server.refs, 1);
	return 0;
}

static void run_until_connects(unsigned n)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (n_connects < n) {
		assert_true(clock_now_ns() < until_ns);
		assert_true(sd_event_run(event, 100000) >= 0);
	}
}

static void run_until_down(void)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (server.is_up) {
		assert_true(clock_now_ns() < until_ns);
		assert_true(sd_event_run(event, 100000) >= 0);
	}
}

static void test_who_refuses_is_down(void **state)
{
	run_until_down();
	assert_true(health_counts(health, &server).n_failures > 0);
}

/* Those ports are used up by connections to this very server. */
static void test_what_we_lack_is_no_fault_of_the_server(void **state)
{
	const int errors[] = {EADDRNOTAVAIL, ENOBUFS, ENOMEM};

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		n_connects = 0;
		connect_error = errors[i];
		run_until_connects(4);
		assert_true(server.is_up);
		assert_int_equal(health_counts(health, &server).n_checks, 0);
	}
}

static void test_a_full_queue_is_life(void **state)
{
	connect_error = EAGAIN;
	run_until_connects(4);
	assert_true(server.is_up);
	assert_int_equal(health_counts(health, &server).n_failures, 0);
}

static void test_what_nobody_checks_any_more_is_up(void **state)
{
	run_until_down();
	assert_int_equal(health_apply(health, &none), 0);
	assert_true(server.is_up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_refuses_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_we_lack_is_no_fault_of_the_server, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_full_queue_is_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_nobody_checks_any_more_is_up, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
