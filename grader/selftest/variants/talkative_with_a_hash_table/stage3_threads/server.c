/* the thread of a finished client is joined by a "janitor" thread */
#include "stream.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct Session { Tcp tcp; pthread_t thread; struct Session *next; } Session;
static struct { pthread_mutex_t mutex; pthread_cond_t cond; Session *finished; int active; } pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0};

static void goodbye(Tcp *client, const char *text)
{
    char rest[1000];
    struct pollfd p = {client->fd, POLLIN, 0};
    Stream_send(client, text, strlen(text));
    shutdown(client->fd, SHUT_WR);
    while (poll(&p, 1, 1500) > 0 && recv(client->fd, rest, sizeof rest, 0) > 0)
        ;
}
static void *Session_run(void *arg)
{
    Session *me = arg;
    Stream s = {.tcp = &me->tcp};
    int r, count = 0, id = me->tcp.fd;
    while ((r = Stream_next(&s)) == STREAM_MESSAGE) {
        Log("server", "client %d: message %d of %zu bytes", id, ++count, s.body.len);
        Stream_show("received: ", &s.body);
        if (s.body.len == 4 && memcmp(s.body.data, "QUIT", 4) == 0) { goodbye(&me->tcp, "BYE"); break; }
        if (!Stream_send(&me->tcp, s.body.data, s.body.len)) { r = STREAM_ERROR; break; }
    }
    if (r == STREAM_TOO_LONG) goodbye(&me->tcp, "ERR too long");
    if (r == STREAM_ERROR) Log("server", "client %d: %s", id, strerror(errno));
    Stream_free(&s);
    me->tcp.close(&me->tcp);
    pthread_mutex_lock(&pool.mutex);
    me->next = pool.finished;
    pool.finished = me;
    pool.active--;
    Log("server", "client %d left, %d active\n", id, pool.active);
    pthread_cond_signal(&pool.cond);
    pthread_mutex_unlock(&pool.mutex);
    return NULL;
}
static void *janitor(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&pool.mutex);
        while (!pool.finished) pthread_cond_wait(&pool.cond, &pool.mutex);
        Session *s = pool.finished;
        pool.finished = s->next;
        pthread_mutex_unlock(&pool.mutex);
        pthread_join(s->thread, NULL);
        free(s);
    }
    return NULL;
}
int main(int argc, char **argv)
{
    int port = 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || (argc > 1 && !Port_parse(argv[1], &port))) {
        fprintf(stderr, "thread server\n\nUsage:\n  server [PORT [ADDRESS]]\n");
        return 2;
    }
    Tcp server = TcpServer_new();
    if (!server.open(&server, address, port)) return EXIT_FAILURE;
    pthread_t cleaner;
    if (pthread_create(&cleaner, NULL, janitor, NULL) != 0) { fprintf(stderr, "error: cannot create the janitor thread\n"); return EXIT_FAILURE; }
    printf("\n==============================\n   THREAD SERVER  \n==============================\n\n");
    Log("server", "listening on %s:%d", address, port);
    for (;;) {
        int fd = Tcp_accept(&server);
        Session *s = malloc(sizeof *s);
        if (!s) { Log("server", "out of memory"); shutdown(fd, SHUT_RDWR); Tcp t = Tcp_wrap(fd); t.close(&t); continue; }
        s->tcp = Tcp_wrap(fd);
        pthread_mutex_lock(&pool.mutex);
        int e = pthread_create(&s->thread, NULL, Session_run, s);
        if (e == 0) pool.active++;
        pthread_mutex_unlock(&pool.mutex);
        if (e != 0) { Log("server", "pthread_create: %s", strerror(e)); s->tcp.close(&s->tcp); free(s); }
    }
}
