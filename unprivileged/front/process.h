/*
 * What a process passes on through exec: fds, signal state, environment, identity and capabilities.
 */
#ifndef FRONT_PROCESS_H
#define FRONT_PROCESS_H

#include "base/defs.h"

/* Open /dev/null on those of 0, 1 and 2 that are closed, so that no other file ever lands there. 0
 * or a negative errno. */
MUST_CHECK int process_open_stdio(void);

/*
 * Make fds[0..n-1] the fds first, first + 1, ... (inherited through exec) and close every fd behind
 * them. An entry of -1 leaves its place closed. 0 or a negative errno.
 */
MUST_CHECK int process_place_fds(const int *fds, size_t n, int first);

/* All dispositions default but those of @ignored, a list that ends with 0; nothing blocked. */
void process_reset_signals(const int *ignored);

/* The variables of the service manager that @environment has, in @out with a NULL at the end; all
 * others are dropped. */
enum {
	PROCESS_MANAGER_VARS = 5
};
void process_manager_environment(char **environment, char *out[PROCESS_MANAGER_VARS + 1]);

/*
 * Give up everything: as root change to the user "firezone", or else to 65534, without
 * supplementary groups; empty the bounding set where allowed, and all other capability sets.
 * @own_netns: as root, leave the host's network first if that can be had. Checked by reading back.
 * 0, or a negative errno and a sentence in @err.
 */
MUST_CHECK int process_shed(bool own_netns, char *err, size_t err_len);

/*
 * What the worker will be able to do, tried in children that may be killed for it: after
 * process_shed(), a user and a network namespace; the calls of Landlock.
 */
bool process_may_unshare(void);
bool process_may_landlock(void);

#endif
