#include "front/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A directory of its own for every case: <root>/state/gateway_id and <root>/machine-id. */
struct place {
	char root[64], dir[80], file[96], machine[80];
	struct identity_places places;
	char id[1024], warning[256], err[512];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->root, "/tmp/fzgw-identity-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	snprintf(place->dir, sizeof(place->dir), "%s/state", place->root);
	snprintf(place->file, sizeof(place->file), "%s/gateway_id", place->dir);
	snprintf(place->machine, sizeof(place->machine), "%s/machine-id", place->root);
	place->places = (struct identity_places){place->dir, place->machine};
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	unlink(place->file);
	unlink(place->machine);
	rmdir(place->dir);
	rmdir(place->root);
	free(place);
	return 0;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int find(struct place *place, const char *given)
{
	return identity_find(given, &place->places, place->id, sizeof(place->id), place->warning,
			     sizeof(place->warning), place->err, sizeof(place->err));
}

static void given_id_is_taken_as_it_stands(void **state)
{
	struct place *place = *state;

	put(place->machine, "0123456789abcdef0123456789abcdef\n");
	assert_int_equal(find(place, " {\"id\":\"x\"} "), 0);
	assert_string_equal(place->id, " {\"id\":\"x\"} ");
	assert_int_equal(access(place->dir, F_OK), -1);
}

static void file_comes_before_the_machine_id(void **state)
{
	struct place *place = *state;
	struct stat st;

	put(place->machine, "0123456789abcdef0123456789abcdef\n");
	assert_int_equal(mkdir(place->dir, 0700), 0);
	put(place->file, "{\"id\": \"kept\", \"other\": 1}");
	assert_int_equal(find(place, ""), 0);
	assert_string_equal(place->id, "kept");
	assert_int_equal(stat(place->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(place->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0770);
}

static void machine_id_with_its_newline_gives_the_known_value(void **state)
{
	struct place *place = *state;

	put(place->machine, "0123456789abcdef0123456789abcdef\n");
	assert_int_equal(find(place, NULL), 0);
	assert_string_equal(place->id,
			    "eeefe5d1cb3807dfc3ae24794878ec3147027390d839d1d718d8e42bcfde3336");
	/* Not written down. */
	assert_int_equal(access(place->file, F_OK), -1);
}

static void directory_that_cannot_be_made_is_no_obstacle_to_a_derived_id(void **state)
{
	struct place *place = *state;

	put(place->machine, "0123456789abcdef0123456789abcdef\n");
	put(place->dir, "a file stands in the way");
	assert_int_equal(find(place, NULL), 0);
	assert_int_equal(strlen(place->id), 64);
	unlink(place->dir);
}

static void without_all_of_them_an_id_is_drawn_once(void **state)
{
	struct place *place = *state;
	char first[65];
	struct stat st;

	assert_int_equal(find(place, NULL), 0);
	assert_int_equal(strlen(place->id), 64);
	strcpy(first, place->id);
	assert_int_equal(stat(place->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(find(place, NULL), 0);
	assert_string_equal(place->id, first);
}

static void unusable_file_without_machine_id_is_fatal(void **state)
{
	static const char *const bad[] = {"",           "{}",       "{\"id\":\"\"}",
					  "{\"id\":7}", "[\"id\"]", "garbage"};
	struct place *place = *state;

	assert_int_equal(mkdir(place->dir, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		put(place->file, bad[i]);
		assert_true(find(place, NULL) < 0);
		assert_non_null(strstr(place->err, "FIREZONE_ID"));
	}
	put(place->machine, "0123456789abcdef0123456789abcdef\n");
	assert_int_equal(find(place, NULL), 0);
}

static void assert_external(const char *id, const char *want)
{
	char out[1024];

	assert_true(identity_external(id, out, sizeof(out)));
	assert_string_equal(out, want);
}

static void uuids_in_every_spelling_are_hashed(void **state)
{
	static const char *const uuids[] = {
	    "C9B3D4F0111142228333444455556666",
	    "{c9b3d4f0-1111-4222-8333-444455556666}",
	    "urn:uuid:c9b3d4f0-1111-4222-8333-444455556666",
	    "00000000-0000-0000-0000-000000000000",
	};
	char out[1024];

	(void)state;
	assert_external("11111111-2222-4333-8444-555555555555",
			"cf4c4732fd3b8f8a55b60871950a2f22c893ea7afd75d2146826534e3f67cc49");
	assert_external("c9b3d4f0-1111-4222-8333-444455556666",
			"632af9ffc7aa8a0b9a6a4b2fd4a2d4df4f1ecc9038f80ab27f61773b95f20d91");
	assert_external("4f8524fd33934a31a180a598f9457d80",
			"05c3f2f2c55836a4376ca0c0154d5d2d4898644c2366c64c2cc13ca6302dc701");
	for (size_t i = 0; i < ARRAY_LEN(uuids); i++) {
		assert_true(identity_external(uuids[i], out, sizeof(out)));
		assert_int_equal(strlen(out), 64);
		assert_string_not_equal(out, uuids[i]);
	}
}

static void other_ids_are_sent_raw(void **state)
{
	static const char *const raw[] = {
	    "eeefe5d1cb3807dfc3ae24794878ec3147027390d839d1d718d8e42bcfde3336",
	    "{\"id\":\"c9b3d4f0-1111-4222-8333-444455556666\"}",
	    " c9b3d4f0-1111-4222-8333-444455556666",
	    "{c9b3d4f0111142228333444455556666}",
	    "URN:UUID:c9b3d4f0-1111-4222-8333-444455556666",
	    "urn:uuid:c9b3d4f0111142228333444455556666",
	    "c9b3d4f01111-4222-8333-444455556666",
	    "c9b3d4f0-1111-4222-8333-44445555666g",
	    "my gateway",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(raw); i++)
		assert_external(raw[i], raw[i]);
}

static void random_uuid_has_version_and_variant(void **state)
{
	char a[37], b[37];

	(void)state;
	identity_random_uuid(a);
	identity_random_uuid(b);
	assert_int_equal(strlen(a), 36);
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(given_id_is_taken_as_it_stands, make_place,
					    remove_place),
	    cmocka_unit_test_setup_teardown(file_comes_before_the_machine_id, make_place,
					    remove_place),
	    cmocka_unit_test_setup_teardown(machine_id_with_its_newline_gives_the_known_value,
					    make_place, remove_place),
	    cmocka_unit_test_setup_teardown(
		directory_that_cannot_be_made_is_no_obstacle_to_a_derived_id, make_place,
		remove_place),
	    cmocka_unit_test_setup_teardown(without_all_of_them_an_id_is_drawn_once, make_place,
					    remove_place),
	    cmocka_unit_test_setup_teardown(unusable_file_without_machine_id_is_fatal, make_place,
					    remove_place),
	    cmocka_unit_test(uuids_in_every_spelling_are_hashed),
	    cmocka_unit_test(other_ids_are_sent_raw),
	    cmocka_unit_test(random_uuid_has_version_and_variant),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
