#include "stream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(int r)
{
    if (r == STREAM_ERROR) fprintf(stderr, "error: connection: %s\n", strerror(errno));
    else fprintf(stderr, "error: %s\n", r == STREAM_END ? "the server has closed the connection" : "the server's message is too long");
    return EXIT_FAILURE;
}
int main(int argc, char **argv)
{
    int port = 5000;
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    if (argc > 3 || (argc > 2 && !Port_parse(argv[2], &port))) {
        fprintf(stderr, "message client\n\nUsage:\n  client [HOST [PORT]]\n");
        return 2;
    }
    Tcp tcp = TcpClient_new();
    if (!tcp.open(&tcp, host, port)) return EXIT_FAILURE;
    printf("*** Connected to %s:%d.\n*** Type a line and press Enter; QUIT ends.\n\n", host, port);
    Stream s = {.tcp = &tcp};
    char *line = NULL;
    size_t size = 0;
    int r = STREAM_MESSAGE, status = EXIT_SUCCESS;
    bool quit = false, bye = false;
    while (!quit) {
        if (isatty(0)) { printf("> "); fflush(stdout); }
        ssize_t n = getline(&line, &size, stdin);
        if (n > 0 && line[n - 1] == '\n') n--;
        if (n < 0) { printf("(end of input)\n"); quit = true; }
        else if (n > 4096) { fprintf(stderr, "error: this line has %zd bytes, only 4096 are allowed\n", n); continue; }
        else quit = n == 4 && memcmp(line, "QUIT", 4) == 0;
        if (!(n < 0 ? Stream_send(&tcp, "QUIT", 4) : Stream_send(&tcp, line, (size_t)n))) { r = STREAM_ERROR; break; }
        while ((r = Stream_next(&s)) == STREAM_MESSAGE) {
            Stream_show("", &s.body);
            if (quit) bye = bye || (s.body.len == 3 && memcmp(s.body.data, "BYE", 3) == 0);
            if (!quit) { printf("--------\n"); break; }
        }
        if (r != STREAM_MESSAGE) break;
    }
    if (!(quit && bye && r != STREAM_TOO_LONG)) status = fail(r);
    else printf("\n*** Connection closed. Good bye!\n");
    free(line);
    Stream_free(&s);
    tcp.close(&tcp);
    return status;
}
