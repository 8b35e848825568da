/* Allocations, failing. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

REAL(void *, malloc, size_t);
REAL(void *, calloc, size_t, size_t);
REAL(void *, realloc, void *, size_t);
REAL(char *, strdup, const char *);
REAL(char *, strndup, const char *, size_t);

static int no_memory(size_t size, uint64_t from)
{
    struct rule *rule = rule_for(ALLOC, FAIL);
    if (rule == NULL)
        return 0;
    struct call *call = note(F_ALLOC, -1, size, from);
    call->fault = met(rule);
    errno = ENOMEM;
    done(call, -1);
    errno = ENOMEM;
    return 1;
}

void *__wrap_malloc(size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory(count * size, FROM) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return no_memory(0, FROM) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_strndup(text, size);
}
