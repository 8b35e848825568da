#include "stream.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void goodbye(Tcp *client, const char *text)
{
    char rest[1000];
    struct pollfd p = {client->fd, POLLIN, 0};
    Stream_send(client, text, strlen(text));
    shutdown(client->fd, SHUT_WR);
    while (poll(&p, 1, 1500) > 0 && recv(client->fd, rest, sizeof rest, 0) > 0)
        ;
}
static void talk(Tcp *client)
{
    Stream s = {.tcp = client};
    int r, count = 0;
    while ((r = Stream_next(&s)) == STREAM_MESSAGE) {
        Log("server", "client %d: message %d of %zu bytes", client->fd, ++count, s.body.len);
        Stream_show("received: ", &s.body);
        if (s.body.len == 4 && memcmp(s.body.data, "QUIT", 4) == 0) {
            goodbye(client, "BYE");
            break;
        }
        if (!Stream_send(client, s.body.data, s.body.len)) {
            r = STREAM_ERROR;
            break;
        }
    }
    if (r == STREAM_TOO_LONG) { Log("server", "client %d: message too long", client->fd); goodbye(client, "ERR too long"); }
    if (r == STREAM_ERROR) Log("server", "client %d: %s", client->fd, strerror(errno));
    Stream_free(&s);
}
int main(int argc, char **argv)
{
    int port = 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || (argc > 1 && !Port_parse(argv[1], &port))) {
        fprintf(stderr, "message server\n\nUsage:\n  server [PORT [ADDRESS]]\n");
        return 2;
    }
    Tcp server = TcpServer_new();
    if (!server.open(&server, address, port)) return EXIT_FAILURE;
    printf("\n==============================\n   MESSAGE SERVER  \n==============================\n\n");
    Log("server", "listening on %s:%d", address, port);
    for (;;) {
        Tcp client = Tcp_wrap(Tcp_accept(&server));
        talk(&client);
        Log("server", "closing client %d", client.fd);
        client.close(&client);
        printf("\n");
    }
}
