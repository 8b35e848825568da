/* poll()s keyboard and line; half duplex: the next line waits for the reply */
#include "link.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static link_rx_t g_rx;
static uint8_t   g_in[256], g_key[256], g_line[LINK_MTU], g_tx[2U * LINK_MTU + 4U];
static size_t    g_key_n, g_key_i, g_line_n;
static bool      g_wait, g_quit, g_bye, g_eof, g_dead;

static void fire(int32_t fd)
{
    if (g_line_n > LINK_MTU) { fputs("error: line too long\n", stderr); g_line_n = 0U; return; }
    g_quit = (g_line_n == 4U) && (memcmp(g_line, "QUIT", 4) == 0);
    g_wait = true;
    if (hal_tx(fd, g_tx, link_encode(g_tx, g_line, g_line_n)) != HAL_OK) { perror("error: cannot send"); g_dead = true; }
    g_line_n = 0U;
}

static void keyboard(int32_t fd)
{
    while (!g_wait && !g_quit && !g_dead && (g_key_i < g_key_n)) {
        uint8_t c = g_key[g_key_i++];
        if (c == '\n') { fire(fd); }
        else {
            if (g_line_n < LINK_MTU) { g_line[g_line_n] = c; }
            g_line_n++;
        }
    }
    if (g_eof && !g_wait && !g_quit && !g_dead && (g_key_i == g_key_n)) {
        if (g_line_n > 0U) { fire(fd); }
        if (!g_wait && !g_dead && !g_quit) { memcpy(g_line, "QUIT", 4); g_line_n = 4U; fire(fd); }
    }
}

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    int32_t fd;
    int status = 1;
    if ((argc > 3) || ((argc > 2) && !hal_parse_u16(argv[2], &port))) {
        fputs("error: bad arguments\nUSAGE: client [address [port]]\n", stderr);
        return 2;
    }
    fd = hal_open_client((argc > 1) ? argv[1] : "127.0.0.1", port);
    if (fd < 0) { return 1; }
    link_reset(&g_rx);
    while (!g_dead) {
        struct pollfd p[2] = { { fd, POLLIN, 0 }, { (g_wait || g_quit || g_eof || g_key_i < g_key_n) ? -1 : 0, POLLIN, 0 } };
        if (poll(p, 2, -1) < 0) { if (errno == EINTR) { continue; } perror("error: poll"); break; }
        if (p[0].revents != 0) {
            ssize_t n = recv(fd, g_in, sizeof(g_in), 0), i;
            if ((n < 0) && ((errno == EINTR) || (errno == EAGAIN))) { continue; }
            if (n <= 0) {
                if (g_quit && g_bye) { status = 0; break; }
                fprintf(stderr, "error: connection lost (%s)\n", (n == 0) ? "closed by server" : strerror(errno));
                break;
            }
            for (i = 0; i < n; i++) {
                link_event_t e = link_feed(&g_rx, g_in[i]);
                if (e == LE_FRAME) { hal_line("", g_rx.body, g_rx.len); g_wait = false; g_bye = g_bye || link_is(&g_rx, "BYE"); }
                if (e == LE_OVERRUN) { fputs("error: message too long\n", stderr); g_dead = true; break; }
            }
        }
        if (p[1].revents != 0) {
            ssize_t n = read(0, g_key, sizeof(g_key));
            if (n > 0) { g_key_n = (size_t)n; g_key_i = 0U; }
            else if ((n == 0) || (errno != EINTR)) { g_eof = true; }
        }
        keyboard(fd);
    }
    (void)close(fd);
    return status;
}
