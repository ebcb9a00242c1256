/*
 * Gives up capabilities and proves by reading back that they are gone. Used by the front after the
 * helper's start and by the worker before its prison.
 */
#ifndef CAPS_H
#define CAPS_H

#include "base/defs.h"

/* Empties the bounding set where CAP_SETPCAP allows it. True if it is empty now. */
bool caps_empty_bounding_set(void);

/* Empties the effective, permitted, inheritable and ambient sets of this process. 0, or -EPERM when
 * one is not empty. */
MUST_CHECK int caps_drop(void);

#endif
