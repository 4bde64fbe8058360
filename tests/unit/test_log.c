/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What reaches standard error: prefixes, one line each, and the rate limit of a call site. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "test"

/* Standard error of `fn`, as text to be freed. */
static char *capture(void (*fn)(void))
{
	char path[] = "/tmp/sluice-test-log.XXXXXX";
	int file = mkstemp(path), saved = dup(STDERR_FILENO);
	char *text = calloc(1, 65536);

	assert_true(file >= 0 && saved >= 0 && text);
	unlink(path);
	dup2(file, STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	assert_true(pread(file, text, 65535, 0) >= 0);
	close(file);
	close(saved);
	return text;
}

static unsigned n_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void say_one(void)
{
	errno = ENOENT;
	log_err("port %s: %m", "wan\nlan");
	log_debug("not shown");
}

static void test_a_message_is_one_line_with_its_domain(void **state)
{
	uint64_t n_err = log_count(LOG_LEVEL_ERR), n_debug = log_count(LOG_LEVEL_DEBUG);
	_cleanup_free_ char *text = NULL;

	unsetenv("JOURNAL_STREAM");
	log_init(LOG_LEVEL_INFO);
	text = capture(say_one);
	assert_string_equal(text, "test: port wan lan: No such file or directory\n");
	assert_int_equal(log_count(LOG_LEVEL_ERR), n_err + 1);
	assert_int_equal(log_count(LOG_LEVEL_DEBUG), n_debug + 1);
}

static void test_under_systemd_a_line_carries_its_priority(void **state)
{
	_cleanup_free_ char *text = NULL;

	setenv("JOURNAL_STREAM", "8:1", 1);
	log_init(LOG_LEVEL_INFO);
	unsetenv("JOURNAL_STREAM");
	text = capture(say_one);
	assert_string_equal(text, "<3>test: port wan lan: No such file or directory\n");
	log_init(LOG_LEVEL_INFO);
}

static void repeat(void)
{
	for (unsigned i = 0; i < LOG_SITE_BURST + 7; i++)
		log_notice("again %u", i);
	log_notice("another site");
}

static void test_a_site_that_repeats_itself_is_cut_off_and_counted(void **state)
{
	uint64_t n_suppressed = log_n_suppressed();
	_cleanup_free_ char *text = capture(repeat);

	assert_int_equal(n_lines(text), LOG_SITE_BURST + 1);
	assert_non_null(strstr(text, "another site"));
	assert_int_equal(log_n_suppressed(), n_suppressed + 7);
}

static struct log_site old_site;

static void say_after_the_window(void)
{
	log_write_at(&old_site, LOG_LEVEL_NOTICE, LOG_DOMAIN, "back");
}

static void test_the_next_window_says_how_many_were_withheld(void **state)
{
	_cleanup_free_ char *text = NULL;

	/* A window that began at the first nanosecond of this boot is over. */
	old_site.window_ns = 1;
	old_site.n_in_window = LOG_SITE_BURST + 3;
	text = capture(say_after_the_window);
	assert_string_equal(text, "test: back (and 3 more like it before)\n");
}

static void say_too_much(void)
{
	char long_text[8192];

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	log_err("%s", long_text);
}

static void test_a_message_that_is_too_long_is_cut(void **state)
{
	_cleanup_free_ char *text = capture(say_too_much);

	assert_int_equal(n_lines(text), 1);
	assert_true(strlen(text) <= 2048);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_is_one_line_with_its_domain),
		cmocka_unit_test(test_under_systemd_a_line_carries_its_priority),
		cmocka_unit_test(test_a_site_that_repeats_itself_is_cut_off_and_counted),
		cmocka_unit_test(test_the_next_window_says_how_many_were_withheld),
		cmocka_unit_test(test_a_message_that_is_too_long_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
