#include "echo.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <ctype.h>
#include <unistd.h>
#include <netdb.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>

char *progname = "prog";

/* die: print message and exit */
void die(char *what)
{
	fprintf(stderr, "%s: can't %s: %s\n", progname, what, strerror(errno));
	exit(1);
}

/* getport: convert s to a port, -1 if it is none */
int getport(char *s)
{
	int n = 0;
	char *p;

	for (p = s; isdigit((unsigned char) *p); p++)
		if ((n = 10 * n + *p - '0') > 65535)
			return -1;
	return (*p || p == s || n == 0) ? -1 : n;
}

/* opensock: a listening (server) or connected socket */
int opensock(char *host, char *port, int server)
{
	struct hostent *h;
	struct sockaddr_in a;
	int fd, one = 1;

	if ((h = gethostbyname(host)) == NULL) {
		fprintf(stderr, "%s: %s: %s\n", progname, host, hstrerror(h_errno));
		exit(1);
	}
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons(getport(port));
	memcpy(&a.sin_addr, h->h_addr_list[0], 4);
	if ((fd = socket(AF_INET, SOCK_STREAM, 0)) < 0)
		die("socket");
	if (server) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, (struct sockaddr *) &a, sizeof a) < 0)
			die("bind");
		if (listen(fd, 5) < 0)
			die("listen");
	} else
		while (connect(fd, (struct sockaddr *) &a, sizeof a) < 0) {
			if (errno == EISCONN)
				break;
			if (errno != EINTR && errno != EALREADY)
				die("connect");
		}
	return fd;
}
