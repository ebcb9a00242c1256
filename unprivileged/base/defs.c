#include "base/defs.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void bug_on(const char *cond, const char *file, int line)
{
	fprintf(stderr, "broken invariant: %s (%s:%d)\n", cond, file, line);
	abort();
}
