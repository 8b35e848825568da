#include <setjmp.h>
#define MAXMES 4096
/* a conversation: input buffer, current message, and where errors jump to */
typedef struct con {
	int fd;
	unsigned char in[1024], *p, *e;
	unsigned char mes[MAXMES];
	int n;
	jmp_buf err;		/* longjmp value: */
} Con;
enum { GONE = 1, BROKEN, LONG };
extern void startcon(Con *, int);
extern void getmes(Con *);	/* the next message; jumps when there is none */
extern void putmes(Con *, const void *, int);
extern int  is(Con *, char *);
