/*
 * Log lines: one event a line, a message, then key=value fields (human) or one flat object (JSON).
 * [spec operations 8]
 *
 * The core calls it with a context that it was given; where the line goes and what the time is are
 * injected, so the same core is silent in the simulator and reproducible in tests. Values are
 * escaped and cut at 512 bytes. Never pass secrets.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/defs.h"

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
	LOG_TRACE
};
enum log_format {
	LOG_HUMAN,
	LOG_JSON
};

struct log;

struct log_config {
	enum log_format format;
	/* RUST_LOG syntax: "info", "warn,tunnel=debug"; NULL or "" means "info". */
	const char *filter;
	/* Writes one whole line, newline included; must not block for long. */
	void (*write)(void *ctx, const char *line, size_t len);
	/* Wall clock, microseconds since 1970 UTC. */
	uint64_t (*wall_us)(void *ctx);
	void *ctx;
};

/* NULL when the filter is malformed (@err, if given, says why) or without memory. */
struct log *log_new(const struct log_config *cfg, char *err, size_t err_len);
void log_free(struct log *log);

/* True if a line of this level and target would be written; the macros below ask it before they
 * format anything. */
bool log_wants(const struct log *log, enum log_level level, const char *target);

struct log_field {
	const char *key;
	const char *text; /* NULL is written as "" */
	int64_t number;
	bool is_number;
};

#define KV_STR(k, v) ((struct log_field){.key = (k), .text = (v)})
#define KV_INT(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v), .is_number = true})

void log_write(struct log *log, enum log_level level, const char *target, const char *message,
	       const struct log_field *fields, size_t n);

/* log_at(log, LOG_INFO, "tunnel", "Resource granted", KV_STR("client", id), KV_INT("n", 3)); a NULL
 * log is silent. */
#define log_at(log_, level_, target_, message_, ...)                                \
	do {                                                                        \
		if (log_wants((log_), (level_), (target_))) {                       \
			const struct log_field fields_[] = {__VA_ARGS__};           \
			log_write((log_), (level_), (target_), (message_), fields_, \
				  ARRAY_LEN(fields_));                              \
		}                                                                   \
	} while (0)

/* The same without fields. */
#define log_say(log_, level_, target_, message_)                                     \
	do {                                                                         \
		if (log_wants((log_), (level_), (target_)))                          \
			log_write((log_), (level_), (target_), (message_), NULL, 0); \
	} while (0)

#endif
