#include "front/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_agent(const char *os_release, const char *want)
{
	char out[256];

	agent_format(os_release, strlen(os_release), "x86_64", "6.1.0-18-amd64", out, sizeof(out));
	assert_string_equal(out, want);
}

static void debian_looks_like_the_recording(void **state)
{
	(void)state;
	assert_agent("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian "
		     "GNU/Linux\"\nVERSION_ID=\"12\"\n"
		     "VERSION=\"12 (bookworm)\"\nID=debian\n",
		     "Debian/12.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
}

static void versions_are_padded_to_three_numbers(void **state)
{
	(void)state;
	assert_agent("ID=ubuntu\nVERSION_ID=\"24.04\"",
		     "Ubuntu/24.04.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
	assert_agent("VERSION_ID=3.20.1\nID=alpine",
		     "Alpine/3.20.1 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
	assert_agent("ID=arch\nVERSION_ID=rolling",
		     "Arch/0.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
}

static void strange_files_still_give_an_agent(void **state)
{
	char small[16];

	(void)state;
	assert_agent("", "Linux/0.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
	assert_agent("\n\nID=\nID_LIKE=x\n", "Linux/0.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
	assert_agent("ID=\"a\xc3\xbc b\"\n", "Ab/0.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)");
	agent_format("", 0, "a", "b", small, sizeof(small));
	assert_int_equal(strlen(small), sizeof(small) - 1);
}

static void this_host_has_an_agent_and_a_name(void **state)
{
	char out[256];

	(void)state;
	agent_user_agent(out, sizeof(out));
	assert_non_null(strstr(out, " gateway/1.5.2 ("));
	assert_true(agent_name(NULL, out, sizeof(out)));
	assert_true(strlen(out) > 0);
	assert_true(agent_name("", out, sizeof(out)));
	assert_true(agent_name("gw 1", out, sizeof(out)));
	assert_string_equal(out, "gw 1");
	assert_false(agent_name("12345", out, 5));
}

static void utf8_is_told_from_other_bytes(void **state)
{
	static const char *const good[] = {"", "abc", "gr\xc3\xbcn", "\xe2\x82\xac",
					   "\xf0\x9f\x98\x80"};
	static const char *const bad[] = {"\xff",
					  "\xc3",
					  "\xc0\x80",
					  "\xed\xa0\x80",
					  "\xf4\x90\x80\x80",
					  "\xe0\x80\x80",
					  "\xf0\x80\x80\x80",
					  "\x80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(agent_is_utf8(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(agent_is_utf8(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(debian_looks_like_the_recording),
	    cmocka_unit_test(versions_are_padded_to_three_numbers),
	    cmocka_unit_test(strange_files_still_give_an_agent),
	    cmocka_unit_test(this_host_has_an_agent_and_a_name),
	    cmocka_unit_test(utf8_is_told_from_other_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
