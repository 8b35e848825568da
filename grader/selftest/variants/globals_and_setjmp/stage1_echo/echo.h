extern int   opensock(char *host, char *port, int server);
extern int   getport(char *s);
extern void  die(char *what);
extern char *progname;
