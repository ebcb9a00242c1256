/*
 * The event loop: the only room with descriptors and clocks. Feeds the core and carries out what it
 * says.
 *
 * loop_new() does all that needs files, the helper or late-loading libraries; the prison is entered
 * between it and loop_run().
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/defs.h"
#include "base/log.h"
#include "boot.h"

struct loop;

struct loop_config {
	const struct boot *boot;  /* read during loop_new() only; the caller wipes it afterwards */
	int helper_fd, health_fd; /* health_fd -1: none. The loop owns both after success */
	struct log *log;          /* outlives the loop */
};

/* NULL with one sentence for the operator in @err. */
struct loop *loop_new(const struct loop_config *cfg, char *err, size_t err_len);

/* Runs until a signal or a fatal error; returns the exit status. */
int loop_run(struct loop *l);
void loop_free(struct loop *l);

#endif
