/*
 * The threads of <threads.h>, passed on to the pthread functions. In glibc the
 * types are the same: mtx_t holds a pthread_mutex_t, cnd_t a pthread_cond_t,
 * and thrd_t is a pthread_t. gcc's ThreadSanitizer knows the pthread functions
 * only: it would see races between threads that are well locked.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

REAL(void *, malloc, size_t);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how,
                          void *(*run)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition,
                                  pthread_mutex_t *lock,
                                  const struct timespec *until);

static int c11_result(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case ENOMEM:
        return thrd_nomem;
    case ETIMEDOUT:
        return thrd_timedout;
    case EBUSY:
        return thrd_busy;
    default:
        return thrd_error;
    }
}

int __wrap_mtx_init(mtx_t *lock, int type)
{
    pthread_mutexattr_t how;

    pthread_mutexattr_init(&how);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE);
    return c11_result(pthread_mutex_init((pthread_mutex_t *)lock, &how));
}

int __wrap_mtx_lock(mtx_t *lock)
{
    return c11_result(__wrap_pthread_mutex_lock((pthread_mutex_t *)lock));
}

int __wrap_mtx_trylock(mtx_t *lock)
{
    return c11_result(pthread_mutex_trylock((pthread_mutex_t *)lock));
}

int __wrap_mtx_unlock(mtx_t *lock)
{
    return c11_result(__wrap_pthread_mutex_unlock((pthread_mutex_t *)lock));
}

void __wrap_mtx_destroy(mtx_t *lock)
{
    pthread_mutex_destroy((pthread_mutex_t *)lock);
}

int __wrap_cnd_init(cnd_t *condition)
{
    return c11_result(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int __wrap_cnd_signal(cnd_t *condition)
{
    return c11_result(pthread_cond_signal((pthread_cond_t *)condition));
}

int __wrap_cnd_broadcast(cnd_t *condition)
{
    return c11_result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int __wrap_cnd_wait(cnd_t *condition, mtx_t *lock)
{
    return c11_result(__wrap_pthread_cond_wait((pthread_cond_t *)condition,
                                               (pthread_mutex_t *)lock));
}

int __wrap_cnd_timedwait(cnd_t *condition, mtx_t *lock,
                         const struct timespec *until)
{
    return c11_result(__wrap_pthread_cond_timedwait(
        (pthread_cond_t *)condition, (pthread_mutex_t *)lock, until));
}

int __wrap_mtx_timedlock(mtx_t *lock, const struct timespec *until)
{
    return c11_result(pthread_mutex_timedlock((pthread_mutex_t *)lock, until));
}

void __wrap_call_once(once_flag *flag, void (*function)(void))
{
    pthread_once((pthread_once_t *)flag, function);
}

void __wrap_cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

/* A C11 thread returns an int, a pthread a pointer. */
struct c11_start {
    thrd_start_t run;
    void *argument;
};

static void *run_c11(void *given)
{
    struct c11_start start = *(struct c11_start *)given;

    free(given);
    return (void *)(intptr_t)start.run(start.argument);
}

int __wrap_thrd_create(thrd_t *thread, thrd_start_t run, void *argument)
{
    struct c11_start *start = __real_malloc(sizeof *start);

    if (start == NULL)
        return thrd_nomem;
    *start = (struct c11_start){run, argument};
    int error = __wrap_pthread_create(thread, NULL, run_c11, start);
    if (error != 0)
        free(start);
    return c11_result(error);
}

int __wrap_thrd_join(thrd_t thread, int *value)
{
    void *result = NULL;
    int error = __wrap_pthread_join(thread, &result);

    if (value != NULL)
        *value = (int)(intptr_t)result;
    return c11_result(error);
}

int __wrap_thrd_detach(thrd_t thread)
{
    return c11_result(pthread_detach(thread));
}
