/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names that the kernel allows and a terminal or JSON does not. */
#include <string.h>

#include "tests/unit/unit.h"
#include "util/macros.h"
#include "util/text.h"

static void test_names_are_escaped(void **state)
{
	static const struct {
		const char *raw, *text;
	} rows[] = {
		{"", ""},
		{"br0", "br0"},
		{"a b~!", "a b~!"},
		{"br\033[31mX", "br\\x1b[31mX"},
		{"\xff\xfe", "\\xff\\xfe"},
		{"\xc3\xa4", "\\xc3\\xa4"},
		{"a\\x1b", "a\\x5cx1b"},
		{"\177\n", "\\x7f\\x0a"},
	};
	char text[TEXT_ESCAPED_BYTES(15)];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		text_escape(rows[i].raw, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
	text_escape("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", text, sizeof(text));
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

static void test_a_small_buffer_cuts_between_escapes(void **state)
{
	char text[8] = "xxxxxxx";

	text_escape("ab\1\2", text, 7);
	assert_string_equal(text, "ab\\x01");
	text_escape("ab\1\2", text, 6);
	assert_string_equal(text, "ab");
	text_escape("ab", text, 1);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_escaped),
		cmocka_unit_test(test_a_small_buffer_cuts_between_escapes),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
