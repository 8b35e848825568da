/*
 * hash table of names; writers send with a blocking send() under the receiver's lock;
 * a watchdog looks twice a second for clients that have been stuck for 5 seconds
 */
#include "stream.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct Client Client;
struct Client {
    Tcp tcp;
    pthread_mutex_t out;            /* one writer at a time */
    bool closed;                    /* out */
    pthread_mutex_t watch;          /* for since */
    double since;                   /* watch: a send() is going on since then, 0 = none */
    bool dropped;                   /* watch */
    int refs;                       /* relay.mutex */
    char name[32];                  /* relay.mutex */
    Client *next_name;              /* relay.mutex, same hash */
    Client *prev, *next;            /* relay.mutex, all clients */
};
#define BUCKETS 61
static struct { pthread_mutex_t mutex; Client *bucket[BUCKETS]; Client *all; int count; } relay = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + t.tv_nsec / 1e9; }
static unsigned hash(const char *s, size_t n) { unsigned h = 5381; while (n--) h = h * 33 + (unsigned char)*s++; return h % BUCKETS; }

static bool Client_send(Client *c, const char *body, size_t len, bool last)
{
    String wire = {0};
    bool ok = Stream_encode(&wire, body, len);
    size_t at = 0;
    pthread_mutex_lock(&c->out);
    ok = ok && !c->closed;
    while (ok && at < wire.len) {
        pthread_mutex_lock(&c->watch);
        c->since = now();
        pthread_mutex_unlock(&c->watch);
        ssize_t n = send(c->tcp.fd, wire.data + at, wire.len - at, MSG_NOSIGNAL);
        int e = errno;
        pthread_mutex_lock(&c->watch);
        c->since = 0;
        pthread_mutex_unlock(&c->watch);
        if (n > 0) at += (size_t)n;
        else if (e != EINTR) ok = false;
    }
    if (last || !ok) c->closed = true;
    pthread_mutex_unlock(&c->out);
    String_free(&wire);
    return ok;
}
static void *watchdog(void *unused)
{
    (void)unused;
    for (;;) {
        usleep(500 * 1000);
        pthread_mutex_lock(&relay.mutex);
        for (Client *c = relay.all; c; c = c->next) {
            pthread_mutex_lock(&c->watch);
            if (!c->dropped && c->since > 0 && now() - c->since >= 4.7) {
                c->dropped = true;
                shutdown(c->tcp.fd, SHUT_RDWR);
                Log("watchdog", "%s takes nothing: dropped", c->name[0] ? c->name : "(no name)");
            }
            pthread_mutex_unlock(&c->watch);
        }
        pthread_mutex_unlock(&relay.mutex);
    }
    return NULL;
}
static Client *find(const char *name, size_t n)
{
    Client *c = relay.bucket[hash(name, n)];
    while (c && !(strlen(c->name) == n && memcmp(c->name, name, n) == 0)) c = c->next_name;
    return c;
}
static void unname(Client *c)
{
    pthread_mutex_lock(&relay.mutex);
    if (c->name[0]) {
        Client **p = &relay.bucket[hash(c->name, strlen(c->name))];
        while (*p != c) p = &(*p)->next_name;
        *p = c->next_name;
        Log("server", "%s leaves the table", c->name);
        c->name[0] = '\0';
    }
    pthread_mutex_unlock(&relay.mutex);
}
static void unref(Client *c)
{
    pthread_mutex_lock(&relay.mutex);
    bool last = --c->refs == 0;
    if (last) {
        if (c->prev) c->prev->next = c->next; else relay.all = c->next;
        if (c->next) c->next->prev = c->prev;
        relay.count--;
    }
    pthread_mutex_unlock(&relay.mutex);
    if (!last) return;
    c->tcp.close(&c->tcp);
    pthread_mutex_destroy(&c->out);
    pthread_mutex_destroy(&c->watch);
    free(c);
}
static bool good(const char *s, size_t n)
{
    return n > 0 && n < 32 && memchr(s, 0, n) == NULL && ({ char t[32]; memcpy(t, s, n); t[n] = 0; strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == n; });
}
typedef struct { const char *word; bool (*run)(Client *, const char *, size_t); } Command;
static bool say(Client *c, const char *text) { return Client_send(c, text, strlen(text), false); }

static bool do_name(Client *me, const char *arg, size_t n)
{
    const char *answer = "OK";
    pthread_mutex_lock(&relay.mutex);
    if (me->name[0]) answer = "ERR already named";
    else if (!good(arg, n)) answer = "ERR bad name";
    else if (find(arg, n)) answer = "ERR name taken";
    else {
        Client **b = &relay.bucket[hash(arg, n)];
        memcpy(me->name, arg, n);
        me->name[n] = '\0';
        me->next_name = *b;
        *b = me;
    }
    pthread_mutex_unlock(&relay.mutex);
    Log("server", "client %d: NAME -> %s", me->tcp.fd, answer);
    return say(me, answer);
}
static bool do_to(Client *me, const char *arg, size_t n)
{
    const char *blank = n ? memchr(arg, ' ', n) : NULL;
    if (!me->name[0]) return say(me, "ERR name first");
    if (!blank) return say(me, "ERR bad command");
    pthread_mutex_lock(&relay.mutex);
    Client *to = find(arg, (size_t)(blank - arg));
    if (to) to->refs++;
    pthread_mutex_unlock(&relay.mutex);
    if (!to) { Log("server", "%s -> %.*s: no such user", me->name, (int)(blank - arg), arg); return say(me, "ERR no such user"); }
    String body = {0};
    size_t len = (size_t)(arg + n - blank - 1);
    bool ok = String_add(&body, "FROM ", 5) && String_add(&body, me->name, strlen(me->name)) && String_add(&body, " ", 1) && String_add(&body, blank + 1, len);
    bool fits = body.len <= 4096;
    Log("server", "%s -> %.*s: \"%.*s\"", me->name, (int)(blank - arg), arg, (int)len, blank + 1);
    if (ok && fits) ok = Client_send(to, body.data, body.len, false);
    String_free(&body);
    unref(to);
    return say(me, !fits ? "ERR too long" : ok ? "OK" : "ERR no such user");
}
static bool do_who(Client *me, const char *arg, size_t n)
{
    (void)arg; (void)n;
    String s = {0};
    bool ok = String_add(&s, "OK", 2);
    pthread_mutex_lock(&relay.mutex);
    for (Client *c = relay.all; ok && c; c = c->next)
        if (c->name[0]) ok = String_add(&s, " ", 1) && String_add(&s, c->name, strlen(c->name));
    pthread_mutex_unlock(&relay.mutex);
    if (ok) ok = Client_send(me, s.data, s.len, false);
    String_free(&s);
    return ok;
}
static bool do_quit(Client *me, const char *arg, size_t n)
{
    (void)arg; (void)n;
    unname(me);
    Client_send(me, "BYE", 3, true);
    return false;
}
static const Command commands[] = {{"NAME ", do_name}, {"TO ", do_to}, {"WHO", do_who}, {"QUIT", do_quit}};

static void *Client_run(void *arg)
{
    Client *me = arg;
    Stream s = {.tcp = &me->tcp};
    bool ok = true;
    int r = 0;
    while (ok && (r = Stream_next(&s)) == STREAM_MESSAGE) {
        const Command *cmd = NULL;
        for (size_t i = 0; i < sizeof commands / sizeof *commands && !cmd; i++) {
            size_t w = strlen(commands[i].word);
            if (s.body.len >= w && memcmp(s.body.data, commands[i].word, w) == 0 && (commands[i].word[w - 1] == ' ' || s.body.len == w)) cmd = &commands[i];
        }
        if (cmd) ok = cmd->run(me, s.body.data + strlen(cmd->word), s.body.len - strlen(cmd->word));
        else { Log("server", "client %d: bad command", me->tcp.fd); ok = say(me, "ERR bad command"); }
    }
    unname(me);
    if (ok && r == STREAM_TOO_LONG) Client_send(me, "ERR too long", 12, true);
    pthread_mutex_lock(&me->out);
    me->closed = true;
    shutdown(me->tcp.fd, SHUT_RDWR);
    pthread_mutex_unlock(&me->out);
    Log("server", "client %d says good bye", me->tcp.fd);
    Stream_free(&s);
    unref(me);
    return NULL;
}
int main(int argc, char **argv)
{
    int port = 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || (argc > 1 && !Port_parse(argv[1], &port))) {
        fprintf(stderr, "relay server\n\nUsage:\n  server [PORT [ADDRESS]]\n");
        return 2;
    }
    Tcp server = TcpServer_new();
    if (!server.open(&server, address, port)) return EXIT_FAILURE;
    pthread_t dog;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&dog, &detached, watchdog, NULL) != 0) { fprintf(stderr, "error: cannot create the watchdog thread\n"); return EXIT_FAILURE; }
    printf("\n==============================\n   RELAY SERVER  \n==============================\nCommands: NAME, TO, WHO, QUIT\n\n");
    Log("server", "listening on %s:%d", address, port);
    for (;;) {
        Tcp tcp = Tcp_wrap(Tcp_accept(&server));
        Client *c = calloc(1, sizeof *c);
        if (!c) { Log("server", "out of memory"); tcp.close(&tcp); continue; }
        c->tcp = tcp;
        c->refs = 1;
        pthread_mutex_init(&c->out, NULL);
        pthread_mutex_init(&c->watch, NULL);
        pthread_mutex_lock(&relay.mutex);
        c->next = relay.all;
        if (relay.all) relay.all->prev = c;
        relay.all = c;
        relay.count++;
        pthread_mutex_unlock(&relay.mutex);
        pthread_t t;
        int e = pthread_create(&t, &detached, Client_run, c);
        if (e) { Log("server", "pthread_create: %s", strerror(e)); unref(c); }
    }
}
