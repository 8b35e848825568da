#include "echo.h"
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <errno.h>
#include <sys/socket.h>

char buf[BUFSIZ];

int main(int argc, char **argv)
{
	int s, c, n, i;

	progname = argv[0];
	if (argc > 3 || (argc > 1 && getport(argv[1]) < 0)) {
		fprintf(stderr, "Usage: %s [port [address]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s = opensock(argc > 2 ? argv[2] : "127.0.0.1", argc > 1 ? argv[1] : "5000", 1);
	while ((c = accept(s, 0, 0)) >= 0 || errno != EBADF) {
		if (c < 0) {
			perror(progname);
			sleep(1);
			continue;
		}
		if ((n = read(c, buf, sizeof buf)) > 0) {
			fputs("received: ", stdout);
			for (i = 0; i < n; i++)
				putchar(buf[i]);
			putchar('\n');
			fflush(stdout);
			if (write(c, buf, n) != n)
				perror(progname);
		}
		close(c);
	}
	die("accept");
}
