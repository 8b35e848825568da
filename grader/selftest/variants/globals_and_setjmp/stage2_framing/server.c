#include "echo.h"
#include "mes.h"
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <errno.h>
#include <sys/socket.h>

Con con;

static void converse(int fd)
{
	startcon(&con, fd);
	switch (setjmp(con.err)) {
	case 0:
		for (;;) {
			getmes(&con);
			fputs("received: ", stdout);
			fwrite(con.mes, 1, con.n, stdout);
			putchar('\n');
			fflush(stdout);
			if (is(&con, "QUIT")) {
				putmes(&con, "BYE", 3);
				return;
			}
			putmes(&con, con.mes, con.n);
		}
	case GONE:
		break;
	case BROKEN:
		perror(progname);
		break;
	case LONG:
		if (setjmp(con.err) == 0)
			putmes(&con, "ERR too long", 12);
		break;
	}
}

int main(int argc, char **argv)
{
	int s, c;

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
		converse(c);
		close(c);
	}
}
