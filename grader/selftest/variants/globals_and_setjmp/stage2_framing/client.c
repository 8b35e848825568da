#include "echo.h"
#include "mes.h"
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <stdlib.h>

Con con;
char line[MAXMES + 2];	/* one more than a message, and the newline */

/* getline_: a line without its newline; -1 at the end, MAXMES+1 if too long */
static int getline_(void)
{
	int n = 0, c;

	while ((c = getc(stdin)) != EOF && c != '\n')
		if (n <= MAXMES)
			line[n++] = c;
	return c == EOF && n == 0 ? -1 : n;
}

static void show(void)
{
	int i;

	for (i = 0; i < con.n; i++)
		putchar(con.mes[i]);
	putchar('\n');
	fflush(stdout);
}

static volatile int quit, bye;

int main(int argc, char **argv)
{
	int n;

	progname = argv[0];
	if (argc > 3 || (argc > 2 && getport(argv[2]) < 0)) {
		fprintf(stderr, "Usage: %s [host [port]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	startcon(&con, opensock(argc > 1 ? argv[1] : "127.0.0.1", argc > 2 ? argv[2] : "5000", 0));
	switch (setjmp(con.err)) {
	case 0:
		while (!quit) {
			if ((n = getline_()) > MAXMES) {
				fprintf(stderr, "%s: line too long\n", progname);
				continue;
			}
			if (n < 0)
				n = strlen(strcpy(line, "QUIT"));
			if (n == 4 && strncmp(line, "QUIT", 4) == 0)
				quit = 1;
			putmes(&con, line, n);
			getmes(&con);
			show();
		}
		for (;;) {
			if (is(&con, "BYE"))
				bye = 1;
			getmes(&con);
			show();
		}
	case LONG:
		fprintf(stderr, "%s: reply too long\n", progname);
		return 1;
	case BROKEN:
		if (!bye)
			die("talk to the server");
		break;
	case GONE:
		if (!bye) {
			fprintf(stderr, "%s: the server is gone\n", progname);
			return 1;
		}
	}
	return 0;
}
