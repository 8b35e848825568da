/* poll() loop; keys come one by one into a line, the wire has one frame to be sent */
#include "link.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static link_rx_t g_rx;
static uint8_t   g_in[512], g_key[512], g_line[LINK_MTU + 8U], g_tx[2U * LINK_MTU + 4U];
static size_t    g_key_n, g_key_i, g_line_n, g_tx_n, g_tx_i;
static bool      g_quit, g_eof;

static void load(void)
{
    if (g_line_n > LINK_MTU) { fputs("error: line too long\n", stderr); }
    else {
        g_tx_n = link_encode(g_tx, g_line, g_line_n);
        g_tx_i = 0U;
        g_quit = (g_line_n == 4U) && (memcmp(g_line, "QUIT", 4) == 0);
    }
    g_line_n = 0U;
}

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    int32_t fd;
    int status = 1;
    if ((argc < 2) || (argc > 4) || ((argc > 3) && !hal_parse_u16(argv[3], &port)) || (strlen(argv[1]) > 4000U)) {
        fputs("error: bad arguments\nUSAGE: client name [address [port]]\n", stderr);
        return 2;
    }
    fd = hal_open_client((argc > 2) ? argv[2] : "127.0.0.1", port);
    if (fd < 0) { return 1; }
    link_reset(&g_rx);
    g_line_n = (size_t)sprintf((char *)g_line, "NAME %s", argv[1]);
    load();
    for (;;) {
        struct pollfd p[2];
        /* the next line, as soon as the wire is free */
        while ((g_tx_n == 0U) && !g_quit && (g_key_i < g_key_n)) {
            uint8_t c = g_key[g_key_i++];
            if (c == '\n') { load(); }
            else { if (g_line_n < LINK_MTU) { g_line[g_line_n] = c; } g_line_n++; }
        }
        if ((g_tx_n == 0U) && !g_quit && g_eof) {
            if (g_line_n == 0U) { memcpy(g_line, "QUIT", 4); g_line_n = 4U; }
            load();
            if (g_tx_n == 0U) { continue; }
        }
        p[0].fd = fd;
        p[0].events = (short)(POLLIN | ((g_tx_n > 0U) ? POLLOUT : 0));
        p[0].revents = 0;
        p[1].fd = ((g_tx_n == 0U) && !g_quit && !g_eof) ? 0 : -1;
        p[1].events = POLLIN;
        p[1].revents = 0;
        if (poll(p, 2, -1) < 0) { if (errno == EINTR) { continue; } perror("error: poll"); break; }
        if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            ssize_t n = recv(fd, g_in, sizeof(g_in), 0), i;
            link_event_t e = LE_MORE;
            if ((n < 0) && ((errno == EINTR) || (errno == EAGAIN))) { continue; }
            if (n <= 0) {
                if (g_quit && (g_tx_n == 0U) && (n == 0)) { status = 0; }
                else { fprintf(stderr, "error: connection lost (%s)\n", (n == 0) ? "closed by server" : strerror(errno)); }
                break;
            }
            for (i = 0; (i < n) && (e != LE_OVERRUN); i++) {
                e = link_feed(&g_rx, g_in[i]);
                if (e == LE_FRAME) { hal_line("", g_rx.body, g_rx.len); }
            }
            if (e == LE_OVERRUN) { fputs("error: message too long\n", stderr); break; }
        }
        if ((p[0].revents & POLLOUT) != 0) {
            ssize_t n = send(fd, g_tx + g_tx_i, g_tx_n - g_tx_i, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0) { g_tx_i += (size_t)n; if (g_tx_i == g_tx_n) { g_tx_n = 0U; } }
            else if ((errno != EAGAIN) && (errno != EINTR)) { perror("error: cannot send"); break; }
        }
        if (p[1].revents != 0) {
            ssize_t n = read(0, g_key, sizeof(g_key));
            if (n > 0) { g_key_n = (size_t)n; g_key_i = 0U; }
            else if ((n == 0) || (errno != EINTR)) { g_eof = true; }
        }
    }
    (void)close(fd);
    return status;
}
