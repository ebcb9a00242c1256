/*
 * The log of the front and the worker: lines to standard output, stamped with the system's clock.
 * [spec operations 8]
 */
#ifndef STDOUT_LOG_H
#define STDOUT_LOG_H

#include "base/log.h"

/* NULL when @filter is malformed (@err says why) or without memory. Free with log_free(). */
struct log *stdout_log_new(enum log_format format, const char *filter, char *err, size_t err_len);

#endif
