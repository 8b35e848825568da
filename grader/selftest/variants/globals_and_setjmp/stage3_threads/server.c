/* each thread keeps its conversation in thread-local storage */
#include "echo.h"
#include "mes.h"
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

static __thread Con con;
static int nclients;		/* just for the log */

static void converse(int fd)
{
	startcon(&con, fd);
	switch (setjmp(con.err)) {
	case 0:
		for (;;) {
			getmes(&con);
			printf("received: %.*s\n", con.n, (char *) con.mes);
			fflush(stdout);
			if (is(&con, "QUIT")) {
				putmes(&con, "BYE", 3);
				return;
			}
			putmes(&con, con.mes, con.n);
		}
	case LONG:
		if (setjmp(con.err) == 0)
			putmes(&con, "ERR too long", 12);
		break;
	case BROKEN:
		perror(progname);
	}
}

static void *client(void *arg)
{
	int fd = (int)(long) arg;

	printf("+ %d clients\n", __sync_add_and_fetch(&nclients, 1));
	converse(fd);
	close(fd);
	printf("- %d clients\n", __sync_sub_and_fetch(&nclients, 1));
	return 0;
}

int main(int argc, char **argv)
{
	int s, c, e;
	pthread_t t;

	progname = argv[0];
	if (argc > 3 || (argc > 1 && getport(argv[1]) < 0)) {
		fprintf(stderr, "Usage: %s [port [address]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s = opensock(argc > 2 ? argv[2] : "127.0.0.1", argc > 1 ? argv[1] : "5000", 1);
	for (;;) {
		if ((c = accept(s, 0, 0)) < 0) {
			if (errno != EINTR) {
				perror(progname);
				sleep(1);
			}
			continue;
		}
		while ((e = pthread_create(&t, 0, client, (void *)(long) c)) == EAGAIN && __sync_fetch_and_add(&nclients, 0) > 0)
			usleep(100000);		/* wait for a place */
		if (e == 0)
			pthread_detach(t);
		else
			close(c);
	}
}
