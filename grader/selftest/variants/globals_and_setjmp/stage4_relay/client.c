#include "echo.h"
#include "mes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

char line[MAXMES + 1];
int nline;			/* MAXMES+1: too long */
char out[2 * MAXMES + 4], *op = out, *oe = out;
unsigned char mes[MAXMES];
int nmes, k, esc, quit;
int s;

static void die1(char *m)
{
	fprintf(stderr, "%s: %s\n", progname, m);
	exit(1);
}

static void send_(char *m, int n)
{
	if (n == 4 && memcmp(m, "QUIT", 4) == 0)
		quit = 1;
	for (op = oe = out; n > 0; n--, m++) {
		if (*m == '\\' || (n >= 4 && memcmp(m, "DONE", 4) == 0))
			*oe++ = '\\';
		*oe++ = *m;
	}
	memcpy(oe, "DONE", 4);
	oe += 4;
}

static void add(int c)
{
	if (nmes == MAXMES)
		die1("message too long");
	mes[nmes++] = c;
}

static void receive(int c)
{
	int i;

	if (esc) {
		esc = 0;
		add(c);
	} else if (c == "DONE"[k]) {
		if (++k == 4) {
			for (i = 0; i < nmes; i++)
				putchar(mes[i]);
			putchar('\n');
			fflush(stdout);
			k = nmes = 0;
		}
	} else {
		for (i = 0; i < k; i++)
			add("DONE"[i]);
		k = c == 'D';
		if (c == '\\')
			esc = 1;
		else if (!k)
			add(c);
	}
}

static void typed(int c)
{
	if (c != '\n' && c != EOF) {
		if (nline <= MAXMES)
			line[nline++] = c;
		return;
	}
	if (c == EOF && nline == 0)
		send_("QUIT", 4);
	else if (nline > MAXMES)
		fprintf(stderr, "%s: line too long\n", progname);
	else
		send_(line, nline);
	nline = 0;
}

int main(int argc, char **argv)
{
	char b[2048], *p;
	int n;

	progname = argv[0];
	if (argc < 2 || argc > 4 || (argc > 3 && getport(argv[3]) < 0)) {
		fprintf(stderr, "Usage: %s name [host [port]]\n", progname);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s = opensock(argc > 2 ? argv[2] : "127.0.0.1", argc > 3 ? argv[3] : "5000", 0);
	nline = snprintf(line, sizeof line, "NAME %s", argv[1]);
	if (nline > MAXMES)
		die1("name too long");
	typed('\n');
	for (;;) {
		struct pollfd f[2] = { { s, POLLIN, 0 }, { 0, POLLIN, 0 } };

		if (op < oe)
			f[0].events |= POLLOUT;
		/* one byte of the keyboard, when the last line is on its way */
		if (op < oe || quit)
			f[1].fd = -1;
		if (poll(f, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			die("poll");
		}
		if (f[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			if ((n = read(s, b, sizeof b)) < 0 && errno != EINTR)
				die("read");
			if (n == 0) {
				if (quit && op == oe)
					return 0;
				die1("the server is gone");
			}
			for (p = b; n > 0 && p < b + n; p++)
				receive((unsigned char) *p);
		}
		if (f[0].revents & POLLOUT) {
			if ((n = send(s, op, oe - op, MSG_DONTWAIT)) > 0)
				op += n;
			else if (errno != EAGAIN && errno != EINTR)
				die("send");
		}
		if (f[1].revents) {
			if ((n = read(0, b, 1)) == 1)
				typed((unsigned char) b[0]);
			else if (n == 0)
				typed(EOF);
		}
	}
}
