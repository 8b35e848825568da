#include "tool.h"
#include <stdlib.h>
#include <string.h>
#include <errno.h>

int main(int argc, char **argv)
{
    int port = 5000;
    const char *message = argc > 1 ? argv[1] : "hello", *host = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 4 || (argc > 3 && !Port_parse(argv[3], &port))) {
        fprintf(stderr, "echo client\n\nUsage:\n  client [MESSAGE [HOST [PORT]]]\n\nPORT is 1..65535 (default 5000)\n");
        return 2;
    }
    Tcp client = TcpClient_new();
    Log("client", "connecting to %s:%d ...", host, port);
    if (!client.open(&client, host, port))
        return EXIT_FAILURE;
    Log("client", "connected");
    if (!client.write(&client, message, strlen(message))) {
        fprintf(stderr, "error: cannot send: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    Log("client", "sent %zu bytes: %s", strlen(message), message);
    char reply[5000];
    long n = client.read(&client, reply, sizeof reply);
    if (n <= 0) {
        fprintf(stderr, "error: %s\n", n ? strerror(errno) : "no reply");
        return EXIT_FAILURE;
    }
    fputs("\nreply: ", stdout);
    fwrite(reply, 1, (size_t)n, stdout);
    fputs("\n\n", stdout);
    client.close(&client);
    Log("client", "good bye");
    return EXIT_SUCCESS;
}
