#include "link.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static link_rx_t g_rx;
static uint8_t   g_in[256];
static uint8_t   g_tx[2U * LINK_MTU + 4U];

static bool answer(int32_t fd, const void *body, size_t len)
{
    return hal_tx(fd, g_tx, link_encode(g_tx, body, len)) == HAL_OK;
}

static void session(int32_t fd)
{
    bool run = true;
    link_reset(&g_rx);
    while (run) {
        ssize_t n = recv(fd, g_in, sizeof(g_in), 0);
        ssize_t i;
        if ((n < 0) && (errno == EINTR)) { continue; }
        if (n <= 0) { break; }
        for (i = 0; run && (i < n); i++) {
            switch (link_feed(&g_rx, g_in[i])) {
            case LE_FRAME:
                if (link_is(&g_rx, "QUIT")) { (void)answer(fd, "BYE", 3); run = false; }
                else { hal_line("received: ", g_rx.body, g_rx.len); run = answer(fd, g_rx.body, g_rx.len); }
                break;
            case LE_OVERRUN:
                (void)answer(fd, "ERR too long", 12);
                run = false;
                break;
            case LE_MORE:
            default:
                break;
            }
        }
    }
    (void)shutdown(fd, SHUT_WR);
}

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
    hal_puts("*** frame server V2.0 ***\r\n\r\n");
    for (;;) {
        int32_t fd = hal_wait_client(lfd);
        session(fd);
        (void)close(fd);
    }
}
