#include "mes.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

void startcon(Con *c, int fd)
{
	c->fd = fd;
	c->p = c->e = c->in;
	c->n = 0;
}

static int get(Con *c)
{
	int n;

	if (c->p == c->e) {
		while ((n = read(c->fd, c->in, sizeof c->in)) < 0 && errno == EINTR)
			;
		if (n <= 0)
			longjmp(c->err, n == 0 ? GONE : BROKEN);
		c->p = c->in;
		c->e = c->in + n;
	}
	return *c->p++;
}

static void add(Con *c, int ch)
{
	if (c->n == MAXMES)
		longjmp(c->err, LONG);
	c->mes[c->n++] = ch;
}

/* getmes: D, DO and DON are kept back until the next byte is known */
void getmes(Con *c)
{
	int ch, k = 0, i;

	for (c->n = 0; ; ) {
		ch = get(c);
		if (ch == "DONE"[k]) {
			if (++k == 4)
				return;
			continue;
		}
		for (i = 0; i < k; i++)
			add(c, "DONE"[i]);
		k = ch == 'D';
		if (!k)
			add(c, ch == '\\' ? get(c) : ch);
	}
}

static void put(Con *c, char *b, int n)
{
	int k;

	for (; n > 0; b += k, n -= k)
		while ((k = write(c->fd, b, n)) < 0)
			if (errno != EINTR)
				longjmp(c->err, BROKEN);
}

void putmes(Con *c, const void *v, int n)
{
	const char *s = v;
	char b[2 * MAXMES + 4], *q = b;

	for (; n > 0; n--, s++) {
		if (*s == '\\' || (n >= 4 && memcmp(s, "DONE", 4) == 0))
			*q++ = '\\';
		*q++ = *s;
	}
	memcpy(q, "DONE", 4);
	put(c, b, q + 4 - b);
}

int is(Con *c, char *s)
{
	return c->n == (int) strlen(s) && memcmp(c->mes, s, c->n) == 0;
}
