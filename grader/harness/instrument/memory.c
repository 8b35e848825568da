/* Allocations, failing. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REAL(void *, malloc, size_t);
REAL(void *, calloc, size_t, size_t);
REAL(void *, realloc, void *, size_t);
REAL(char *, strdup, const char *);
REAL(char *, strndup, const char *, size_t);
REAL(void *, reallocarray, void *, size_t, size_t);
REAL(void *, aligned_alloc, size_t, size_t);
REAL(int, posix_memalign, void **, size_t, size_t);
REAL(int, vasprintf, char **, const char *, va_list);

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

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return no_memory(count * size, FROM)
               ? NULL
               : __real_reallocarray(old, count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return no_memory(size, FROM)
               ? ENOMEM
               : __real_posix_memalign(memory, alignment, size);
}

int __wrap_vasprintf(char **text, const char *format, va_list values)
{
    return no_memory(0, FROM) ? -1 : __real_vasprintf(text, format, values);
}

int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = no_memory(0, FROM) ? -1 : __real_vasprintf(text, format, values);
    va_end(values);
    return n;
}
