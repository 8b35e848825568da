/*
 * Parallel arrays, one lock for the table, one semaphore for each line out.
 * Tolerant: a word behind WHO or QUIT does not matter; NAME a b is no command.
 */
#include "echo.h"
#include "mes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <errno.h>
#include <ctype.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

#define N 128
#define TICK 100	/* ms */
int  fds[N];		/* descriptor, -1 = free */
char names[N][32];
int  writers[N];	/* how many are on their way to i */
int  mute[N];		/* says no more; under out[i] */
sem_t out[N];
pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static __thread Con con;
static __thread int me;

static void lock(void) { pthread_mutex_lock(&table); }
static void unlock(void) { pthread_mutex_unlock(&table); }
static void P(sem_t *s) { while (sem_wait(s) < 0) ; }
static void V(sem_t *s) { sem_post(s); }

/* tell: message m to client i; -1 if it is gone. 50 ticks without a byte are the end of it. */
static int tell(int i, const char *m, int n, int last)
{
	char b[2 * MAXMES + 4], *p = b, *q = b;
	int k, ticks = 0, r = 0;

	for (; n > 0; n--, m++) {
		if (*m == '\\' || (n >= 4 && memcmp(m, "DONE", 4) == 0))
			*q++ = '\\';
		*q++ = *m;
	}
	memcpy(q, "DONE", 4);
	q += 4;
	P(&out[i]);
	if (mute[i])
		r = -1;
	while (r == 0 && p < q) {
		if ((k = send(fds[i], p, q - p, MSG_DONTWAIT)) > 0) {
			p += k;
			ticks = 0;
		} else if (errno == EAGAIN && ticks < 50) {
			struct pollfd f = { fds[i], POLLOUT, 0 };
			if (poll(&f, 1, TICK) == 0)
				ticks++;
		} else if (errno != EINTR) {
			r = -1;
			mute[i] = 1;
			shutdown(fds[i], SHUT_RDWR);
		}
	}
	if (last)
		mute[i] = 1;
	V(&out[i]);
	return r;
}

static int say(const char *s) { return tell(me, s, strlen(s), 0); }

static int lookup(const char *s, int n)
{
	int i;

	for (i = 0; i < N; i++)
		if (fds[i] >= 0 && names[i][0] && (int) strlen(names[i]) == n && memcmp(names[i], s, n) == 0)
			return i;
	return -1;
}

static int goodname(const char *s, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!isalnum((unsigned char) s[i]) && s[i] != '_' && s[i] != '-')
			return 0;
	return n > 0 && n < 32;
}

static int name(const char *s, int n)
{
	char *r = "OK";

	if (n == 0 || memchr(s, ' ', n))
		return say("ERR bad command");
	lock();
	if (names[me][0])
		r = "ERR already named";
	else if (!goodname(s, n))
		r = "ERR bad name";
	else if (lookup(s, n) >= 0)
		r = "ERR name taken";
	else
		memcpy(names[me], s, n), names[me][n] = '\0';
	unlock();
	return say(r);
}

static int to(const char *s, int n)
{
	char b[MAXMES + 64];
	const char *t;
	int i, k, r;

	if (n == 0 || (t = memchr(s, ' ', n)) == NULL || t == s)
		return say("ERR bad command");
	lock();
	if (names[me][0] == '\0') {
		unlock();
		return say("ERR name first");
	}
	k = sprintf(b, "FROM %s ", names[me]);
	if ((i = lookup(s, t - s)) >= 0)
		writers[i]++;
	unlock();
	n -= t + 1 - s;
	if (i < 0)
		return say("ERR no such user");
	r = 1;
	if (k + n <= MAXMES) {
		memcpy(b + k, t + 1, n);
		r = tell(i, b, k + n, 0);
	}
	lock();
	writers[i]--;
	unlock();
	return say(r == 0 ? "OK" : r < 0 ? "ERR no such user" : "ERR too long");
}

static int who(void)
{
	char b[N * 33];
	int i, n = sprintf(b, "OK");

	lock();
	for (i = 0; i < N; i++)
		if (fds[i] >= 0 && names[i][0])
			n += sprintf(b + n, " %s", names[i]);
	unlock();
	return tell(me, b, n, 0);
}

static void forget(void)
{
	lock();
	names[me][0] = '\0';
	unlock();
}

static int command(char *s, int n)
{
	char *e = n ? memchr(s, ' ', n) : NULL;
	int w = e ? e - s : n;		/* length of the first word */

	if (w == 4 && memcmp(s, "NAME", 4) == 0)
		return name(s + 5, e ? n - 5 : 0);
	if (w == 2 && memcmp(s, "TO", 2) == 0)
		return to(s + 3, e ? n - 3 : 0);
	if (w == 3 && memcmp(s, "WHO", 3) == 0)
		return who();
	if (w == 4 && memcmp(s, "QUIT", 4) == 0) {
		forget();
		tell(me, "BYE", 3, 1);
		return -1;
	}
	return say("ERR bad command");
}

static void *client(void *arg)
{
	me = (int)(long) arg;
	startcon(&con, fds[me]);
	switch (setjmp(con.err)) {
	case 0:
		do
			getmes(&con);
		while (command((char *) con.mes, con.n) == 0);
		break;
	case LONG:
		forget();
		tell(me, "ERR too long", 12, 1);
	}
	forget();
	P(&out[me]);
	mute[me] = 1;
	shutdown(fds[me], SHUT_RDWR);
	V(&out[me]);
	for (;;) {
		lock();
		if (writers[me] == 0)
			break;
		unlock();
		usleep(20000);
	}
	close(fds[me]);
	fds[me] = -1;
	unlock();
	return 0;
}

int main(int argc, char **argv)
{
	int s, c, i;
	pthread_t t;

	progname = argv[0];
	if (argc > 3 || (argc > 1 && getport(argv[1]) < 0)) {
		fprintf(stderr, "Usage: %s [port [address]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < N; i++) {
		fds[i] = -1;
		sem_init(&out[i], 0, 1);
	}
	s = opensock(argc > 2 ? argv[2] : "127.0.0.1", argc > 1 ? argv[1] : "5000", 1);
	for (;;) {
		if ((c = accept(s, 0, 0)) < 0) {
			if (errno != EINTR) {
				perror(progname);
				sleep(1);
			}
			continue;
		}
		lock();
		for (i = 0; i < N && fds[i] >= 0; i++)
			;
		if (i < N) {
			fds[i] = c;
			names[i][0] = '\0';
			writers[i] = 0;
			mute[i] = 0;
		}
		unlock();
		if (i == N) {
			close(c);
			continue;
		}
		if (pthread_create(&t, 0, client, (void *)(long) i) == 0)
			pthread_detach(t);
		else {
			lock();
			close(c);
			fds[i] = -1;
			unlock();
		}
	}
}
