#include "idle_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>

/* memory.h counts the wrapped functions; these are the ones behind them. */
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);

/* Whose calls are counted now; the library's hooks have no argument for it. */
static struct idle_memory *counted;

static void gained(void *p)
{
	if (!counted || !p)
		return;
	counted->bytes += (int64_t)malloc_usable_size(p);
	counted->calls++;
}

static void lost(void *p)
{
	if (counted && p)
		counted->bytes -= (int64_t)malloc_usable_size(p);
}

static void *take(size_t size, const char *file, int line)
{
	void *p = __real_malloc(size);

	(void)file;
	(void)line;
	gained(p);
	return p;
}

static void *retake(void *old, size_t size, const char *file, int line)
{
	void *p;

	(void)file;
	(void)line;
	lost(old);
	p = __real_realloc(old, size);
	gained(p);
	return p;
}

static void give(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	lost(p);
	__real_free(p);
}

bool idle_memory_install(void)
{
	return CRYPTO_set_mem_functions(take, retake, give) == 1;
}

void idle_memory_enter(struct idle_memory *m)
{
	counted = m;
}

void idle_memory_leave(void)
{
	counted = NULL;
}
