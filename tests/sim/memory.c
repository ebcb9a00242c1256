#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);

/* Whose calls are counted now; the wrapped functions have no argument for it. */
static struct memory *counted;

void memory_enter(struct memory *m)
{
	counted = m;
}

void memory_leave(void)
{
	counted = NULL;
}

static void *gained(void *p)
{
	if (counted && p) {
		counted->bytes += (int64_t)malloc_usable_size(p);
		counted->calls++;
		if (counted->bytes > counted->most)
			counted->most = counted->bytes;
	}
	return p;
}

static void lost(void *p)
{
	if (counted && p)
		counted->bytes -= (int64_t)malloc_usable_size(p);
}

void *__wrap_malloc(size_t size)
{
	return gained(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return gained(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size)
{
	void *q;

	lost(p);
	q = __real_realloc(p, size);
	if (!q && size > 0)
		gained(p);
	return gained(q);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (ckd_mul_size(&total, n, size)) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(p, total);
}

char *__wrap_strdup(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = __wrap_malloc(len);

	return copy ? memcpy(copy, text, len) : NULL;
}

void __wrap_free(void *p)
{
	lost(p);
	__real_free(p);
}
