/* Threads and locks: failing, late, delayed, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

REAL(void *, malloc, size_t);

static unsigned threads_begun;

REAL(int, pthread_create, pthread_t *, const pthread_attr_t *,
     void *(*)(void *), void *);
REAL(int, pthread_mutex_unlock, pthread_mutex_t *);
REAL(int, pthread_rwlock_unlock, pthread_rwlock_t *);
REAL(int, pthread_spin_unlock, pthread_spinlock_t *);
REAL(int, sem_post, sem_t *);

/* A thread that does not start before its maker has gone on. */
struct late_start {
    void *(*run)(void *);
    void *argument;
    struct rule *rule;
    unsigned thread, accepts;
};

/*
 * Waits until the maker makes the next thread; or, if it waits for a client
 * instead, values[0] naps of 1 ms: they get longer on a busy machine, where
 * the maker, too, gets on slowly. In all at most values[1] ms by the clock.
 */
static void start_late(const struct late_start *start)
{
    uint64_t end = in_ms(start->rule->values[1]);
    int after_accept = 0;

    while (now() < end && LOAD(threads_begun) == start->thread &&
           after_accept <= start->rule->values[0]) {
        after_accept += LOAD(accepts_begun) != start->accepts;
        pause_ms(1);
    }
}

static void *late_thread(void *argument)
{
    struct late_start start = *(struct late_start *)argument;
    free(argument);
    start_late(&start);
    return start.run(start.argument);
}

/* What a thread that is to start late needs, or NULL: it starts at once. */
static struct late_start *make_late(void *argument, struct call *call)
{
    unsigned thread = ADD(threads_begun, 1);
    struct rule *rule = rule_for(THREAD, LATE);
    struct late_start *start =
        rule != NULL ? __real_malloc(sizeof *start) : NULL;

    if (start == NULL)
        return NULL;
    call->fault = met(rule);
    start->argument = argument;
    start->rule = rule;
    start->thread = thread;
    start->accepts = LOAD(accepts_begun);
    return start;
}

/*
 * ThreadSanitizer needs most of a megabyte of each stack, and takes it from
 * one that the student brings (pthread_attr_setstack()): such a thread gets a
 * stack of the system's instead. Returns the attributes to use, perhaps *own.
 */
static const pthread_attr_t *with_room(const pthread_attr_t *how,
                                       pthread_attr_t *own)
{
    void *stack;
    size_t size;
    int state;

    /* glibc gives the end of the stack minus its size: 0 - size is none. */
    if (how == NULL || !has_tsan() ||
        pthread_attr_getstack(how, &stack, &size) != 0 ||
        (uintptr_t)stack + size == 0)
        return how;
    pthread_attr_getdetachstate(how, &state);
    pthread_attr_init(own);
    pthread_attr_setdetachstate(own, state);
    return own;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how,
                          void *(*run)(void *), void *argument)
{
    pthread_attr_t own;
    how = with_room(how, &own);
    struct call *call = note(F_THREAD, -1, 0, FROM);
    if (fails(THREAD, call, 0))
        return errno; /* the pthread functions return the error */
    struct late_start *start = make_late(argument, call);
    if (start == NULL)
        return (int)done(call,
                         __real_pthread_create(thread, how, run, argument));
    start->run = run;
    return (int)done(call,
                     __real_pthread_create(thread, how, late_thread, start));
}

REAL(int, pthread_mutex_lock, pthread_mutex_t *);
REAL(int, pthread_join, pthread_t, void **);
REAL(int, pthread_cond_wait, pthread_cond_t *, pthread_mutex_t *);
REAL(int, pthread_cond_timedwait, pthread_cond_t *, pthread_mutex_t *,
     const struct timespec *);
REAL(int, pthread_rwlock_rdlock, pthread_rwlock_t *);
REAL(int, pthread_rwlock_wrlock, pthread_rwlock_t *);
REAL(int, pthread_spin_lock, pthread_spinlock_t *);
REAL(int, sem_wait, sem_t *);

/* A thread that has given back a lock waits, if a rule says so. */
static int unlocked(int result)
{
    struct rule *rule = rule_for(UNLOCK, DELAY);
    if (rule != NULL) {
        met(rule);
        pause_ms((unsigned)rule->values[0]);
    }
    if ((rule = rule_for(UNLOCK, HOLD)) != NULL) {
        met(rule);
        hold(rule, NULL, NULL);
    }
    return result;
}

static const char *last_locker; /* the thread that was the last to ask */

/* A thread that has a lock lets another one ask for one, if a rule says so. */
static int take_locks_in_turn(int result)
{
    let_another_go_first(LOCK, &last_locker);
    return result;
}

/* Only a lock that somebody has is noted: those that are free are too many. */
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    STORE(last_locker, &myself);
    if (page == NULL || *(volatile int *)&lock->__data.__lock == 0)
        return take_locks_in_turn(__real_pthread_mutex_lock(lock));
    struct call *call = note(F_LOCK, -1, 0, FROM);
    return take_locks_in_turn((int)done(call, __real_pthread_mutex_lock(lock)));
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    STORE(last_locker, &myself);
    return take_locks_in_turn(__real_pthread_rwlock_rdlock(lock));
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    STORE(last_locker, &myself);
    return take_locks_in_turn(__real_pthread_rwlock_wrlock(lock));
}

int __wrap_pthread_spin_lock(pthread_spinlock_t *lock)
{
    STORE(last_locker, &myself);
    return take_locks_in_turn(__real_pthread_spin_lock(lock));
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    struct call *call = note(F_JOIN, -1, 0, FROM);
    return (int)done(call, __real_pthread_join(thread, result));
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct call *call = note(F_CONDITION, -1, 0, FROM);
    return (int)done(call, __real_pthread_cond_wait(condition, lock));
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition,
                                  pthread_mutex_t *lock,
                                  const struct timespec *until)
{
    struct call *call = note(F_CONDITION, -1, 0, FROM);
    return (int)done(call,
                     __real_pthread_cond_timedwait(condition, lock, until));
}

int __wrap_sem_wait(sem_t *semaphore)
{
    struct call *call = note(F_SEMAPHORE, -1, 0, FROM);
    STORE(last_locker, &myself);
    return take_locks_in_turn((int)done(call, __real_sem_wait(semaphore)));
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    return unlocked(__real_pthread_mutex_unlock(lock));
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    return unlocked(__real_pthread_rwlock_unlock(lock));
}

int __wrap_pthread_spin_unlock(pthread_spinlock_t *lock)
{
    return unlocked(__real_pthread_spin_unlock(lock));
}

int __wrap_sem_post(sem_t *semaphore)
{
    return unlocked(__real_sem_post(semaphore));
}
