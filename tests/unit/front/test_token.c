#include "front/token.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
	char dir[64], file[96];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->dir, "/tmp/fzgw-token-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->file, sizeof(place->file), "%s/FIREZONE_TOKEN", place->dir);
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	unlink(place->file);
	rmdir(place->dir);
	free(place);
	return 0;
}

static void put_credential(const struct place *place, const char *text)
{
	FILE *file = fopen(place->file, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int read_from(const char *argument, const char *variable, const char *dir, char out[64],
		     enum token_from *from, char err[256])
{
	const struct token_sources sources = {argument, variable, dir};

	err[0] = '\0';
	return token_read(&sources, out, 64, from, err, 256);
}

static void argument_then_variable_then_credential(void **state)
{
	struct place *place = *state;
	enum token_from from;
	char out[64], err[256];

	put_credential(place, "  three.3\n");
	assert_int_equal(read_from("one.1", "two.2", place->dir, out, &from, err), 0);
	assert_string_equal(out, "one.1");
	assert_int_equal(from, TOKEN_FROM_ARGUMENT);
	assert_int_equal(read_from(NULL, "two.2", place->dir, out, &from, err), 0);
	assert_string_equal(out, "two.2");
	assert_int_equal(from, TOKEN_FROM_VARIABLE);
	assert_int_equal(read_from(NULL, NULL, place->dir, out, &from, err), 0);
	assert_string_equal(out, "three.3");
	assert_int_equal(from, TOKEN_FROM_CREDENTIAL);
}

static void empty_falls_through(void **state)
{
	struct place *place = *state;
	enum token_from from;
	char out[64], err[256];

	put_credential(place, "three.3");
	assert_int_equal(read_from("", " \n\t", place->dir, out, &from, err), 0);
	assert_string_equal(out, "three.3");
}

static void white_space_is_stripped(void **state)
{
	enum token_from from;
	char out[64], err[256];

	(void)state;
	assert_int_equal(read_from(NULL, "\r\n a.b\n c \n", NULL, out, &from, err), 0);
	assert_string_equal(out, "a.bc");
}

static void no_source_says_what_to_do(void **state)
{
	struct place *place = *state;
	enum token_from from;
	char out[64], err[256];

	assert_int_equal(read_from(NULL, "", NULL, out, &from, err), -ENOENT);
	assert_non_null(strstr(err, "FIREZONE_TOKEN"));
	assert_non_null(strstr(err, "CREDENTIALS_DIRECTORY"));
	assert_int_equal(read_from(NULL, NULL, place->dir, out, &from, err), -ENOENT);
	assert_non_null(strstr(err, place->file));
	put_credential(place, " \n");
	assert_int_equal(read_from(NULL, NULL, place->dir, out, &from, err), -ENOENT);
	assert_non_null(strstr(err, "empty"));
}

static void what_is_no_token_is_refused_and_not_repeated(void **state)
{
	struct place *place = *state;
	enum token_from from;
	char out[64], err[256], zero[64] = {0}, longest[65];

	assert_int_equal(read_from("abc\x01"
				   "def",
				   NULL, NULL, out, &from, err),
			 -EINVAL);
	assert_null(strstr(err, "abc"));
	assert_memory_equal(out, zero, sizeof(out));
	assert_int_equal(read_from(NULL, "gr\xc3\xbcn", NULL, out, &from, err), -EINVAL);
	memset(longest, 'x', 64);
	longest[63] = '\0';
	assert_int_equal(read_from(NULL, longest, NULL, out, &from, err), 0);
	longest[63] = 'x';
	longest[64] = '\0';
	assert_int_equal(read_from(NULL, longest, NULL, out, &from, err), -EINVAL);
	put_credential(place, "a\x7f");
	assert_int_equal(read_from(NULL, NULL, place->dir, out, &from, err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(argument_then_variable_then_credential, make_place,
					    remove_place),
	    cmocka_unit_test_setup_teardown(empty_falls_through, make_place, remove_place),
	    cmocka_unit_test(white_space_is_stripped),
	    cmocka_unit_test_setup_teardown(no_source_says_what_to_do, make_place, remove_place),
	    cmocka_unit_test_setup_teardown(what_is_no_token_is_refused_and_not_repeated,
					    make_place, remove_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
