#include "echo.h"
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

char buf[BUFSIZ];

int main(int argc, char **argv)
{
	int s, n, i;
	char *msg = "hello", *host = "127.0.0.1", *port = "5000";

	progname = argv[0];
	switch (argc) {
	case 4:
		port = argv[3];
		/* fall through */
	case 3:
		host = argv[2];
		/* fall through */
	case 2:
		msg = argv[1];
		/* fall through */
	case 1:
	case 0:
		if (getport(port) > 0)
			break;
		/* fall through */
	default:
		fprintf(stderr, "Usage: %s [message [host [port]]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s = opensock(host, port, 0);
	if (write(s, msg, strlen(msg)) < 0)
		die("write");
	if ((n = read(s, buf, sizeof buf)) < 0)
		die("read");
	if (n == 0) {
		fprintf(stderr, "%s: no reply\n", progname);
		return 1;
	}
	fputs("reply: ", stdout);
	for (i = 0; i < n; i++)
		putchar(buf[i]);
	putchar('\n');
	return 0;
}
