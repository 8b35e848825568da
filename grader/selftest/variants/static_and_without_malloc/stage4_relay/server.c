/* two tasks for each connection: rx executes commands, tx empties the slot's ring */
#include "link.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 128U
#define RING  16384U
#define STUCK_MS 5000
typedef enum { ST_FREE, ST_OPEN, ST_LEAVING, ST_DEAD } state_t;
typedef struct {
    state_t  state;                 /* lock */
    char     name[32];              /* g_table */
    uint32_t users;                 /* g_table */
    int32_t  fd;
    pthread_t rx_task, tx_task;
    pthread_mutex_t lock;
    pthread_cond_t  change;
    uint32_t head, count;           /* lock */
    uint8_t  ring[RING];            /* lock */
    link_rx_t rx;
    uint8_t  in[512];
    uint8_t  msg[LINK_MTU + 64U];
    uint8_t  wire[2U * LINK_MTU + 4U];
} slot_t;

static slot_t          g_slot[SLOTS];
static bool            g_used[SLOTS];                 /* g_table */
static pthread_mutex_t g_table = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  g_unused = PTHREAD_COND_INITIALIZER;
static sem_t           g_free;
static pthread_attr_t  g_attr;

/* puts a whole frame into the ring; waits for room. me = whose wire buffer is used */
static bool post(slot_t *to, slot_t *me, const void *body, size_t len, state_t after)
{
    size_t n = link_encode(me->wire, body, len), i;
    bool ok;
    pthread_mutex_lock(&to->lock);
    while ((to->state == ST_OPEN) && (RING - to->count < n)) { pthread_cond_wait(&to->change, &to->lock); }
    ok = (to->state == ST_OPEN);
    if (ok) {
        for (i = 0U; i < n; i++) { to->ring[(to->head + to->count + i) % RING] = me->wire[i]; }
        to->count += (uint32_t)n;
        if (after != ST_OPEN) { to->state = after; }
        pthread_cond_broadcast(&to->change);
    }
    pthread_mutex_unlock(&to->lock);
    return ok;
}

static bool say(slot_t *me, const char *text) { return post(me, me, text, strlen(text), ST_OPEN); }

static void *tx_task(void *arg)
{
    slot_t *s = arg;
    uint8_t chunk[2048];
    pthread_mutex_lock(&s->lock);
    for (;;) {
        uint32_t n, i;
        ssize_t k;
        while ((s->state == ST_OPEN) && (s->count == 0U)) { pthread_cond_wait(&s->change, &s->lock); }
        if ((s->state == ST_DEAD) || (s->count == 0U)) { break; }
        n = (s->count < sizeof(chunk)) ? s->count : (uint32_t)sizeof(chunk);
        for (i = 0U; i < n; i++) { chunk[i] = s->ring[(s->head + i) % RING]; }
        pthread_mutex_unlock(&s->lock);
        k = send(s->fd, chunk, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if ((k < 0) && ((errno == EAGAIN) || (errno == EINTR))) {
            bool again = (errno == EINTR);
            struct pollfd p = { .fd = s->fd, .events = POLLOUT, .revents = 0 };
            int rc;
            k = 0;
            if (!again) {
                do { rc = poll(&p, 1, STUCK_MS); } while ((rc < 0) && (errno == EINTR));
                if (rc == 0) { k = -1; }
            }
        }
        pthread_mutex_lock(&s->lock);
        if (k < 0) { s->state = ST_DEAD; break; }
        s->head = (s->head + (uint32_t)k) % RING;
        s->count -= (uint32_t)k;
        pthread_cond_broadcast(&s->change);
    }
    if (s->state == ST_OPEN) { s->state = ST_DEAD; }
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    (void)shutdown(s->fd, SHUT_RDWR);
    return NULL;
}

static bool name_ok(const uint8_t *p, size_t n)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t i;
    if ((n == 0U) || (n > 31U)) { return false; }
    for (i = 0U; i < n; i++) { if (memchr(ok, p[i], sizeof(ok) - 1U) == NULL) { return false; } }
    return true;
}

static slot_t *lookup(const uint8_t *p, size_t n)
{
    uint32_t i;
    for (i = 0U; i < SLOTS; i++) {
        if (g_used[i] && (n > 0U) && (strlen(g_slot[i].name) == n) && (memcmp(g_slot[i].name, p, n) == 0)) { return &g_slot[i]; }
    }
    return NULL;
}

static void forget(slot_t *me)
{
    pthread_mutex_lock(&g_table);
    me->name[0] = '\0';
    pthread_mutex_unlock(&g_table);
}

static bool cmd_name(slot_t *me, const uint8_t *p, size_t n)
{
    const char *r = "OK";
    if (!name_ok(p, n)) { return say(me, "ERR bad name"); }
    pthread_mutex_lock(&g_table);
    if (me->name[0] != '\0') { r = "ERR already named"; }
    else if (lookup(p, n) != NULL) { r = "ERR name taken"; }
    else { memcpy(me->name, p, n); me->name[n] = '\0'; }
    pthread_mutex_unlock(&g_table);
    return say(me, r);
}

static bool cmd_to(slot_t *me, const uint8_t *p, size_t n)
{
    const uint8_t *sp = memchr(p, ' ', n);
    slot_t *to;
    size_t k;
    bool ok;
    if (sp == NULL) { return say(me, "ERR bad command"); }
    pthread_mutex_lock(&g_table);
    if (me->name[0] == '\0') { pthread_mutex_unlock(&g_table); return say(me, "ERR name first"); }
    k = (size_t)sprintf((char *)me->msg, "FROM %s ", me->name);
    to = lookup(p, (size_t)(sp - p));
    if (to != NULL) { to->users++; }
    pthread_mutex_unlock(&g_table);
    if (to == NULL) { return say(me, "ERR no such user"); }
    n -= (size_t)(sp + 1 - p);
    ok = (k + n <= LINK_MTU);
    if (ok) {
        memcpy(me->msg + k, sp + 1, n);
        ok = post(to, me, me->msg, k + n, ST_OPEN);
        k = 0U;
    }
    pthread_mutex_lock(&g_table);
    to->users--;
    pthread_cond_broadcast(&g_unused);
    pthread_mutex_unlock(&g_table);
    return say(me, ok ? "OK" : (k != 0U) ? "ERR too long" : "ERR no such user");
}

static bool cmd_who(slot_t *me)
{
    size_t k = 2U;
    uint32_t i;
    memcpy(me->msg, "OK", 2);
    pthread_mutex_lock(&g_table);
    for (i = 0U; i < SLOTS; i++) {
        if (g_used[i] && (g_slot[i].name[0] != '\0') && (k + 32U < LINK_MTU)) { k += (size_t)sprintf((char *)me->msg + k, " %s", g_slot[i].name); }
    }
    pthread_mutex_unlock(&g_table);
    return post(me, me, me->msg, k, ST_OPEN);
}

static bool command(slot_t *me)
{
    const uint8_t *b = me->rx.body;
    const size_t n = me->rx.len;
    if ((n >= 5U) && (memcmp(b, "NAME ", 5) == 0)) { return cmd_name(me, b + 5, n - 5U); }
    if ((n >= 3U) && (memcmp(b, "TO ", 3) == 0)) { return cmd_to(me, b + 3, n - 3U); }
    if (link_is(&me->rx, "WHO")) { return cmd_who(me); }
    if (link_is(&me->rx, "QUIT")) { forget(me); (void)post(me, me, "BYE", 3, ST_LEAVING); return false; }
    return say(me, "ERR bad command");
}

static void release(slot_t *s)
{
    pthread_mutex_lock(&g_table);
    while (s->users > 0U) { pthread_cond_wait(&g_unused, &g_table); }
    (void)close(s->fd);
    g_used[s - g_slot] = false;
    pthread_mutex_unlock(&g_table);
    (void)sem_post(&g_free);
}

static void *rx_task(void *arg)
{
    slot_t *s = arg;
    bool run = true;
    if (pthread_create(&s->tx_task, NULL, tx_task, s) != 0) {
        fputs("error: no tx task\n", stderr);
        release(s);
        return NULL;
    }
    while (run) {
        ssize_t n = recv(s->fd, s->in, sizeof(s->in), 0), i;
        if ((n < 0) && (errno == EINTR)) { continue; }
        if (n <= 0) { break; }
        for (i = 0; run && (i < n); i++) {
            link_event_t e = link_feed(&s->rx, s->in[i]);
            if (e == LE_FRAME) { run = command(s); }
            if (e == LE_OVERRUN) { forget(s); (void)post(s, s, "ERR too long", 12, ST_LEAVING); run = false; }
        }
    }
    forget(s);
    pthread_mutex_lock(&s->lock);
    if (s->state == ST_OPEN) { s->state = ST_LEAVING; }
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->tx_task, NULL);
    release(s);
    return NULL;
}

int main(int argc, char **argv)
{
    uint16_t port = 5000U;
    int32_t lfd;
    uint32_t i;
    if ((argc > 3) || ((argc > 1) && !hal_parse_u16(argv[1], &port))) {
        fputs("error: bad arguments\nUSAGE: server [port [address]]\n", stderr);
        return 2;
    }
    lfd = hal_open_server((argc > 2) ? argv[2] : "127.0.0.1", port);
    if (lfd < 0) { return 1; }
    (void)sem_init(&g_free, 0, SLOTS);
    for (i = 0U; i < SLOTS; i++) { (void)pthread_mutex_init(&g_slot[i].lock, NULL); (void)pthread_cond_init(&g_slot[i].change, NULL); }
    (void)pthread_attr_init(&g_attr);
    (void)pthread_attr_setdetachstate(&g_attr, PTHREAD_CREATE_DETACHED);
    hal_puts("*** relay V4.0 ***\r\n\r\n");
    for (;;) {
        slot_t *s = NULL;
        int32_t fd;
        while (sem_wait(&g_free) != 0) { }
        fd = hal_wait_client(lfd);
        pthread_mutex_lock(&g_table);
        for (i = 0U; (i < SLOTS) && (s == NULL); i++) { if (!g_used[i]) { g_used[i] = true; s = &g_slot[i]; } }
        s->name[0] = '\0';
        s->users = 0U;
        s->fd = fd;
        pthread_mutex_unlock(&g_table);
        pthread_mutex_lock(&s->lock);
        s->state = ST_OPEN;
        s->head = 0U;
        s->count = 0U;
        pthread_mutex_unlock(&s->lock);
        link_reset(&s->rx);
        if (pthread_create(&s->rx_task, &g_attr, rx_task, s) != 0) { fputs("error: no rx task\n", stderr); release(s); }
    }
}
