/*
 * Printing. A line that is made by several calls shows when another thread
 * prints between them.
 */
#define _GNU_SOURCE
#include "core.h"

#include <stdarg.h>
#include <stdio.h>

REAL(int, vfprintf, FILE *, const char *, va_list);
REAL(int, __vfprintf_chk, FILE *, int, const char *, va_list);
REAL(int, puts, const char *);
REAL(int, fputs, const char *, FILE *);
REAL(int, fputc, int, FILE *);
REAL(size_t, fwrite, const void *, size_t, size_t, FILE *);
REAL(int, fflush, FILE *);
REAL(void, flockfile, FILE *);
REAL(int, ftrylockfile, FILE *);
REAL(void, funlockfile, FILE *);

static __thread int locked;    /* streams that this thread has locked */
static __thread int unflushed; /* it has printed, and has not flushed since */

int64_t printed(int64_t result)
{
    static const char *last_printer;

    STORE(last_printer, &myself);
    unflushed = 1;
    /* Nobody can come in between before the stream is unlocked. */
    if (locked <= 0)
        let_another_go_first(PRINT, &last_printer);
    return result;
}

int __wrap_vprintf(const char *format, va_list values)
{
    return (int)printed(__real_vfprintf(stdout, format, values));
}

int __wrap_vfprintf(FILE *stream, const char *format, va_list values)
{
    return (int)printed(__real_vfprintf(stream, format, values));
}

int __wrap_printf(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = __real_vfprintf(stdout, format, values);
    va_end(values);
    return (int)printed(n);
}

int __wrap_fprintf(FILE *stream, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = __real_vfprintf(stream, format, values);
    va_end(values);
    return (int)printed(n);
}

/* What these calls become in a file that says #define _FORTIFY_SOURCE. */

int __wrap___vprintf_chk(int flag, const char *format, va_list values)
{
    return (int)printed(__real___vfprintf_chk(stdout, flag, format, values));
}

int __wrap___vfprintf_chk(FILE *stream, int flag, const char *format,
                          va_list values)
{
    return (int)printed(__real___vfprintf_chk(stream, flag, format, values));
}

int __wrap___printf_chk(int flag, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = __real___vfprintf_chk(stdout, flag, format, values);
    va_end(values);
    return (int)printed(n);
}

int __wrap___fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = __real___vfprintf_chk(stream, flag, format, values);
    va_end(values);
    return (int)printed(n);
}

int __wrap_puts(const char *text)
{
    return (int)printed(__real_puts(text));
}

int __wrap_fputs(const char *text, FILE *stream)
{
    return (int)printed(__real_fputs(text, stream));
}

int __wrap_fputc(int c, FILE *stream)
{
    return (int)printed(__real_fputc(c, stream));
}

int __wrap_putc(int c, FILE *stream)
{
    return (int)printed(__real_fputc(c, stream));
}

int __wrap_putchar(int c)
{
    return (int)printed(__real_fputc(c, stdout));
}

size_t __wrap_fwrite(const void *data, size_t size, size_t count, FILE *stream)
{
    return (size_t)printed((int64_t)__real_fwrite(data, size, count, stream));
}

/*
 * What putchar_unlocked() and its relatives print is seen here only: they are
 * no calls, but lines of a header. They need a lock of the student's own.
 */
int __wrap_fflush(FILE *stream)
{
    int result = __real_fflush(stream);

    if (!unflushed)
        printed(0);
    unflushed = 0;
    return result;
}

/* ThreadSanitizer does not know that a stream's lock is a lock. */

void __wrap_flockfile(FILE *stream)
{
    __real_flockfile(stream);
    taken_over_as((uintptr_t)stream);
    locked++;
}

int __wrap_ftrylockfile(FILE *stream)
{
    int result = __real_ftrylockfile(stream);
    if (result == 0) {
        taken_over_as((uintptr_t)stream);
        locked++;
    }
    return result;
}

void __wrap_funlockfile(FILE *stream)
{
    locked--;
    handed_over_as((uintptr_t)stream);
    __real_funlockfile(stream);
    printed(0);
}
