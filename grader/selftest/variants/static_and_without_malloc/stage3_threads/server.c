/* 128 static task slots, a counting semaphore for the free ones */
#include "link.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 128U
typedef struct { bool used; int32_t fd; link_rx_t rx; uint8_t in[256]; uint8_t tx[2U * LINK_MTU + 4U]; } slot_t;
static slot_t          g_slot[SLOTS];
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t g_print = PTHREAD_MUTEX_INITIALIZER;
static sem_t           g_free;

static bool answer(slot_t *s, const void *body, size_t len)
{
    return hal_tx(s->fd, s->tx, link_encode(s->tx, body, len)) == HAL_OK;
}

static void release(slot_t *s)
{
    pthread_mutex_lock(&g_lock);
    (void)close(s->fd);
    s->used = false;
    pthread_mutex_unlock(&g_lock);
    sem_post(&g_free);
}

static void *task(void *arg)
{
    slot_t *s = arg;
    bool run = true;
    while (run) {
        ssize_t n = recv(s->fd, s->in, sizeof(s->in), 0);
        ssize_t i;
        if ((n < 0) && (errno == EINTR)) { continue; }
        if (n <= 0) { break; }
        for (i = 0; run && (i < n); i++) {
            switch (link_feed(&s->rx, s->in[i])) {
            case LE_FRAME:
                if (link_is(&s->rx, "QUIT")) { (void)answer(s, "BYE", 3); run = false; }
                else {
                    pthread_mutex_lock(&g_print);
                    hal_line("received: ", s->rx.body, s->rx.len);
                    pthread_mutex_unlock(&g_print);
                    run = answer(s, s->rx.body, s->rx.len);
                }
                break;
            case LE_OVERRUN:
                (void)answer(s, "ERR too long", 12);
                run = false;
                break;
            case LE_MORE:
            default:
                break;
            }
        }
    }
    (void)shutdown(s->fd, SHUT_WR);
    release(s);
    return NULL;
}

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    int32_t lfd;
    pthread_attr_t attr;
    if ((argc > 3) || ((argc > 1) && !hal_parse_u16(argv[1], &port))) {
        fputs("error: bad arguments\nUSAGE: server [port [address]]\n", stderr);
        return 2;
    }
    lfd = hal_open_server((argc > 2) ? argv[2] : "127.0.0.1", port);
    if (lfd < 0) { return 1; }
    (void)sem_init(&g_free, 0, SLOTS);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, 32768);
    hal_puts("*** task server V3.0 ***\r\n\r\n");
    for (;;) {
        slot_t *s = NULL;
        uint32_t i;
        int32_t fd;
        pthread_t t;
        while (sem_wait(&g_free) != 0) { }
        fd = hal_wait_client(lfd);
        pthread_mutex_lock(&g_lock);
        for (i = 0U; i < SLOTS; i++) { if (!g_slot[i].used) { s = &g_slot[i]; s->used = true; s->fd = fd; break; } }
        pthread_mutex_unlock(&g_lock);
        link_reset(&s->rx);
        if (pthread_create(&t, &attr, task, s) != 0) {
            fputs("error: no task for a client\n", stderr);
            release(s);
        }
    }
}
