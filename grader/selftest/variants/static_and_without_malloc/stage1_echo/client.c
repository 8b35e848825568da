#include "hal.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t g_buf[2048];

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    const char *msg = (argc > 1) ? argv[1] : "hello";
    int32_t fd;
    ssize_t n;
    struct pollfd p;
    if ((argc > 4) || ((argc > 3) && !hal_parse_u16(argv[3], &port))) {
        fputs("error: bad arguments\nUSAGE: client [message [address [port]]]\n", stderr);
        return 2;
    }
    fd = hal_open_client((argc > 2) ? argv[2] : "127.0.0.1", port);
    if (fd < 0) { return 1; }
    if (hal_tx(fd, (const uint8_t *)msg, strlen(msg)) != HAL_OK) { perror("error: cannot send"); return 1; }
    p.fd = fd;
    p.events = POLLIN;
    (void)poll(&p, 1, -1);
    n = recv(fd, g_buf, sizeof(g_buf), 0);
    if (n > 0) { hal_line("reply: ", g_buf, (size_t)n); }
    else if (n == 0) { fputs("error: no reply\n", stderr); }
    else { perror("error: cannot receive"); }
    (void)close(fd);
    return (n > 0) ? 0 : 1;
}
