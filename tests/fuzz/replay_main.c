/*
 * Runs a fuzz target on files instead of under libFuzzer: seeds and old crashes then run in every
 * build, with every compiler. Arguments are files and folders (read one level deep, in name order);
 * without arguments nothing runs.
 *
 * Exit: 0 when every input ran, 1 when one could not be read; a target that asserts ends by its
 * signal.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	INPUT_MAX = 4 * 1024 * 1024
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Run one file. The buffer is exactly as long as the input, so that a read past it is seen by the
 * sanitizers. */
static int run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	uint8_t *data = NULL;
	size_t len = 0;
	int rc = -1;

	if (!file || fstat(fileno(file), &st) < 0 || st.st_size > INPUT_MAX) {
		fprintf(stderr, "%s: cannot be read\n", path);
		goto close_file;
	}
	len = (size_t)st.st_size;
	data = malloc(len > 0 ? len : 1);
	if (!data || fread(data, 1, len, file) != len) {
		fprintf(stderr, "%s: cannot be read whole\n", path);
		goto free_data;
	}
	/* The last name on standard error is the input that a crash belongs to. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, len);
	rc = 0;

free_data:
	free(data);
close_file:
	if (file)
		fclose(file);
	return rc;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int run_folder(const char *path)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, not_hidden, alphasort);
	int rc = count < 0 ? -1 : 0;

	if (count < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char name[4096];
		int len = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);

		if (len < 0 || (size_t)len >= sizeof(name) || run_file(name) < 0)
			rc = -1;
		free(entries[i]);
	}
	free(entries);
	return rc;
}

int main(int argc, char **argv)
{
	int rc = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			rc = -1;
			continue;
		}
		if ((S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i])) < 0)
			rc = -1;
	}
	return rc < 0 ? 1 : 0;
}
