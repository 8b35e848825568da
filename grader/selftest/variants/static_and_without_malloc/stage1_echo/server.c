#include "hal.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t g_buf[2048];

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    int32_t lfd;
    if ((argc > 3) || ((argc > 1) && !hal_parse_u16(argv[1], &port))) {
        fputs("error: bad arguments\nUSAGE: server [port [address]]\n", stderr);
        return 2;
    }
    lfd = hal_open_server((argc > 2) ? argv[2] : "127.0.0.1", port);
    if (lfd < 0) { return 1; }
    hal_puts("*** echo server V1.0 ***\r\n");
    for (;;) {
        int32_t fd = hal_wait_client(lfd);
        ssize_t n = recv(fd, g_buf, sizeof(g_buf), 0);
        if (n > 0) {
            hal_line("received: ", g_buf, (size_t)n);
            (void)hal_tx(fd, g_buf, (size_t)n);
        }
        (void)shutdown(fd, SHUT_RDWR);
        (void)close(fd);
    }
}
