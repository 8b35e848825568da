#include "tool.h"
#include <stdlib.h>
#include <string.h>
#include <errno.h>

int main(int argc, char **argv)
{
    int port = 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || (argc > 1 && !Port_parse(argv[1], &port))) {
        fprintf(stderr, "echo server\n\nUsage:\n  server [PORT [ADDRESS]]\n\nPORT is 1..65535 (default 5000)\n");
        return 2;
    }
    Tcp server = TcpServer_new();
    if (!server.open(&server, address, port))
        return EXIT_FAILURE;
    printf("\n==============================\n   ECHO SERVER  \n==============================\n\n");
    Log("server", "listening on %s:%d", address, port);
    for (;;) {
        char message[5000];
        Tcp client = Tcp_wrap(Tcp_accept(&server));
        int id = client.fd;
        long n = client.read(&client, message, sizeof message);
        Log("server", "client %d: recv returned %ld", id, n);
        if (n > 0) {
            fputs("received: ", stdout);
            fwrite(message, 1, (size_t)n, stdout);
            fputs("\n\n", stdout);
            if (!client.write(&client, message, (size_t)n))
                Log("server", "client %d: send: %s", id, strerror(errno));
            else
                Log("server", "client %d: sent %ld bytes back", id, n);
        } else if (n < 0)
            Log("server", "client %d: recv: %s", id, strerror(errno));
        client.close(&client);
        Log("server", "client %d closed", id);
    }
}
