#include "stdout_log.h"

#include <time.h>
#include <unistd.h>

static void write_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	(void)!write(STDOUT_FILENO, line, len);
}

static uint64_t wall_us(void *ctx)
{
	struct timespec ts = {0};

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

struct log *stdout_log_new(enum log_format format, const char *filter, char *err, size_t err_len)
{
	struct log_config config = {
	    .format = format,
	    .filter = filter,
	    .write = write_line,
	    .wall_us = wall_us,
	};

	return log_new(&config, err, err_len);
}
