/* poll(), a growing string for what is typed and one for what is to be sent */
#include "stream.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static String typed, out;
static bool quit, eof, skip;

static bool take_lines(void)
{
    size_t at = 0;
    while (!quit && out.len < 20000) {
        char *begin = typed.data + at, *nl = typed.len > at ? memchr(begin, '\n', typed.len - at) : NULL;
        size_t n = nl ? (size_t)(nl - begin) : typed.len - at;
        if (!nl && n > 4096) { if (!skip) fprintf(stderr, "error: line too long\n"); skip = true; at = typed.len; continue; }
        if (!nl && !eof) break;
        if (!nl && n == 0) { if (!Stream_encode(&out, "QUIT", 4)) return false; quit = true; break; }
        if (skip) skip = false;
        else if (n > 4096) fprintf(stderr, "error: line too long\n");
        else {
            if (!Stream_encode(&out, begin, n)) return false;
            quit = n == 4 && memcmp(begin, "QUIT", 4) == 0;
        }
        at += n + (nl ? 1 : 0);
    }
    if (at) { memmove(typed.data, typed.data + at, typed.len - at); typed.len -= at; }
    return true;
}
int main(int argc, char **argv)
{
    int port = 5000, status = EXIT_FAILURE;
    const char *host = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc < 2 || argc > 4 || (argc > 3 && !Port_parse(argv[3], &port))) {
        fprintf(stderr, "chat client\n\nUsage:\n  client NAME [HOST [PORT]]\n");
        return 2;
    }
    Tcp tcp = TcpClient_new();
    if (!tcp.open(&tcp, host, port)) return EXIT_FAILURE;
    printf("*** Welcome to the chat, %s!\n*** Commands: TO name text / WHO / QUIT\n\n", argv[1]);
    fcntl(tcp.fd, F_SETFL, fcntl(tcp.fd, F_GETFL) | O_NONBLOCK);
    Stream s = {.tcp = &tcp};
    String hello = {0};
    bool ok = String_add(&hello, "NAME ", 5) && String_add(&hello, argv[1], strlen(argv[1])) && Stream_encode(&out, hello.data, hello.len);
    String_free(&hello);
    while (ok) {
        struct pollfd p[2] = {{.fd = tcp.fd, .events = POLLIN}, {.fd = eof || quit || out.len >= 20000 ? -1 : STDIN_FILENO, .events = POLLIN}};
        if (out.len) p[0].events |= POLLOUT;
        if (poll(p, 2, -1) < 0) { if (errno == EINTR) continue; perror("poll"); break; }
        if (p[0].revents & ~POLLOUT) {
            int r = Stream_more(&s), t;
            while ((t = Stream_take(&s)) == STREAM_MESSAGE) { Stream_show("", &s.body); }
            if (t == STREAM_TOO_LONG) { fprintf(stderr, "error: message too long\n"); break; }
            if (r == STREAM_END && quit && out.len == 0) { printf("\n*** Good bye!\n"); status = EXIT_SUCCESS; break; }
            if (r == STREAM_END) { fprintf(stderr, "error: the server has closed the connection\n"); break; }
            if (r == STREAM_ERROR) { fprintf(stderr, "error: connection lost: %s\n", strerror(errno)); break; }
        }
        if (out.len && (p[0].revents & POLLOUT)) {
            ssize_t n = send(tcp.fd, out.data, out.len, MSG_NOSIGNAL);
            if (n > 0) { memmove(out.data, out.data + n, out.len - (size_t)n); out.len -= (size_t)n; }
            else if (errno != EAGAIN && errno != EINTR) { fprintf(stderr, "error: cannot send: %s\n", strerror(errno)); break; }
        }
        if (p[1].revents) {
            char piece[4096];
            ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
            if (n > 0) ok = String_add(&typed, piece, (size_t)n);
            else if (n == 0) { eof = true; printf("*** end of input\n"); }
        }
        ok = ok && take_lines();
    }
    if (!ok) fprintf(stderr, "error: out of memory\n");
    String_free(&typed);
    String_free(&out);
    Stream_free(&s);
    tcp.close(&tcp);
    return status;
}
