/*
 * One critical section for everything. A message for bob is put into bob's list (which may be as
 * long as it likes), and bob's own thread sends it: it waits in select() for its socket and for a
 * byte in its wake-up socket. A client that takes nothing for 5 s while something waits is dropped.
 */
#include "msg.h"

typedef struct tagITEM { struct tagITEM *next; int n, at; char data[]; } ITEM;
typedef struct tagCLIENT {
    struct tagCLIENT *next;
    SOCKET s, sWake[2];
    char szName[32];            /* "" = none; all guarded by g_cs */
    ITEM *first, **last;
    BOOL bClosed;               /* no more items */
    READER in;
} CLIENT;
static CLIENT *g_list;
static pthread_mutex_t g_cs = PTHREAD_MUTEX_INITIALIZER;

/* with g_cs */
static BOOL Post(CLIENT *c, const char *body, int len)
{
    ITEM *it;
    char b = 1;
    if (c->bClosed || !(it = malloc(sizeof(ITEM) + 2 * len + 4))) return FALSE;
    it->next = NULL;
    it->at = 0;
    it->n = Encode(it->data, body, len);
    if (!c->first) (void)!send(c->sWake[1], &b, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    *c->last = it;
    c->last = &it->next;
    return TRUE;
}
static CLIENT *Find(const char *p, int n)
{
    CLIENT *c;
    for (c = g_list; c; c = c->next)
        if (c->szName[0] && (int)strlen(c->szName) == n && !memcmp(c->szName, p, n)) return c;
    return NULL;
}
static BOOL IsName(const char *p, int n)
{
    int i;
    if (n < 1 || n > 31) return FALSE;
    for (i = 0; i < n; i++) {
        char ch = p[i];
        if (!(('A' <= ch && ch <= 'Z') || ('a' <= ch && ch <= 'z') || ('0' <= ch && ch <= '9') || ch == '-' || ch == '_')) return FALSE;
    }
    return TRUE;
}
static const char *Execute(CLIENT *me, const char *m, int n)  /* with g_cs; the reply, or NULL if posted */
{
    if (n >= 5 && !memcmp(m, "NAME ", 5)) {
        if (me->szName[0]) return "ERR already named";
        if (!IsName(m + 5, n - 5)) return "ERR bad name";
        if (Find(m + 5, n - 5)) return "ERR name taken";
        memcpy(me->szName, m + 5, n - 5);
        me->szName[n - 5] = 0;
        return "OK";
    }
    if (n >= 3 && !memcmp(m, "TO ", 3)) {
        const char *p = memchr(m + 3, ' ', n - 3);
        char from[MAX_BODY + 64];
        int k, t;
        CLIENT *to;
        if (!me->szName[0]) return "ERR name first";
        if (!p) return "ERR bad command";
        if (!(to = Find(m + 3, (int)(p - m - 3)))) return "ERR no such user";
        k = sprintf(from, "FROM %s ", me->szName);
        t = (int)(m + n - p - 1);
        if (k + t > MAX_BODY) return "ERR too long";
        memcpy(from + k, p + 1, t);
        return Post(to, from, k + t) ? "OK" : "ERR no such user";
    }
    if (n == 3 && !memcmp(m, "WHO", 3)) {
        char list[MAX_BODY];
        int k = sprintf(list, "OK");
        CLIENT *c;
        for (c = g_list; c; c = c->next) if (c->szName[0] && k < MAX_BODY - 40) k += sprintf(list + k, " %s", c->szName);
        Post(me, list, k);
        return NULL;
    }
    return "ERR bad command";
}
static void CloseWith(CLIENT *c, const char *psz)       /* with g_cs */
{
    c->szName[0] = 0;
    if (psz) Post(c, psz, strlen(psz));
    c->bClosed = TRUE;
}
/* sends what is there; FALSE if the connection is gone */
static BOOL Flush(CLIENT *me, DWORD *pdwStuck)
{
    BOOL bOk = TRUE;
    EnterCriticalSection(&g_cs);
    while (me->first) {
        ITEM *it = me->first;
        int k = send(me->s, it->data + it->at, it->n - it->at, MSG_NOSIGNAL);
        if (k == SOCKET_ERROR && WSAGetLastError() == WSAEINTR) continue;
        if (k == SOCKET_ERROR) { bOk = WSAGetLastError() == WSAEWOULDBLOCK; if (bOk && !*pdwStuck) *pdwStuck = GetTickCount(); break; }
        *pdwStuck = 0;
        it->at += k;
        if (it->at == it->n) { if (!(me->first = it->next)) me->last = &me->first; free(it); }
    }
    LeaveCriticalSection(&g_cs);
    return bOk;
}
static void *ThreadProc(void *lpParam)
{
    CLIENT *me = (CLIENT *)lpParam, **pp;
    DWORD dwStuck = 0;
    BOOL bClosing = FALSE;
    ITEM *it, *next;
    for (;;) {
        fd_set rd, wr;
        struct timeval tv = { 0, 250000 };
        int nMax = me->s > me->sWake[0] ? me->s : me->sWake[0], rc;
        BOOL bMore;
        if (!Flush(me, &dwStuck)) break;
        EnterCriticalSection(&g_cs);
        bMore = me->first != NULL;
        LeaveCriticalSection(&g_cs);
        if (!bMore && bClosing) break;
        if (bMore && dwStuck && GetTickCount() - dwStuck >= 5000) { printf("%s is dropped.\r\n", me->szName[0] ? me->szName : "?"); fflush(stdout); break; }
        FD_ZERO(&rd); FD_ZERO(&wr);
        FD_SET(me->sWake[0], &rd);
        if (!bClosing) FD_SET(me->s, &rd);
        if (bMore) FD_SET(me->s, &wr);
        rc = select(nMax + 1, &rd, &wr, NULL, bMore ? &tv : NULL);
        if (rc == SOCKET_ERROR) { if (WSAGetLastError() == WSAEINTR) continue; break; }
        if (FD_ISSET(me->sWake[0], &rd)) { char junk[64]; (void)!recv(me->sWake[0], junk, sizeof(junk), MSG_DONTWAIT); }
        if (!bClosing && FD_ISSET(me->s, &rd)) {
            rc = ReaderReceive(&me->in, me->s);
            if (rc == MSG_FAILED) break;
            EnterCriticalSection(&g_cs);
            if (rc == MSG_CLOSED) { CloseWith(me, NULL); bClosing = TRUE; }
            while (!bClosing && (rc = ReaderTake(&me->in)) != MSG_NONE) {
                if (rc == MSG_TOOLONG) { CloseWith(me, "ERR too long"); bClosing = TRUE; }
                else if (me->in.len == 4 && !memcmp(me->in.body, "QUIT", 4)) { CloseWith(me, "BYE"); bClosing = TRUE; }
                else { const char *psz = Execute(me, me->in.body, me->in.len); if (psz) Post(me, psz, strlen(psz)); }
            }
            LeaveCriticalSection(&g_cs);
        }
    }
    EnterCriticalSection(&g_cs);
    for (pp = &g_list; *pp != me; pp = &(*pp)->next) ;
    *pp = me->next;
    LeaveCriticalSection(&g_cs);
    for (it = me->first; it; it = next) { next = it->next; free(it); }
    shutdown(me->s, SHUT_WR);
    closesocket(me->s);
    closesocket(me->sWake[0]);
    closesocket(me->sWake[1]);
    free(me);
    return 0;
}
int main(int argc, char *argv[])
{
    SOCKET sListen;
    int nPort = 5000;
    pthread_attr_t attr;
    if (argc > 3 || (argc > 1 && !ParsePort(argv[1], &nPort))) { fprintf(stderr, "USAGE: SERVER [PORT [ADDRESS]]\r\n"); return 2; }
    sListen = CreateListener(argc > 2 ? argv[2] : "127.0.0.1", nPort);
    if (sListen == INVALID_SOCKET) return 1;
    printf("Relay started on port %d.\r\n", nPort);
    fflush(stdout);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (;;) {
        SOCKET s = AcceptClient(sListen);
        CLIENT *c = (CLIENT *)calloc(1, sizeof(CLIENT));
        pthread_t hThread;
        int rc;
        if (!c) { closesocket(s); continue; }
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, c->sWake) == SOCKET_ERROR) { ShowError("socketpair"); closesocket(s); free(c); continue; }
        c->s = s;
        c->last = &c->first;
        EnterCriticalSection(&g_cs);
        c->next = g_list;
        g_list = c;
        rc = pthread_create(&hThread, &attr, ThreadProc, c);
        if (rc) g_list = c->next;
        LeaveCriticalSection(&g_cs);
        if (rc) { fprintf(stderr, "CreateThread() failed: %s\r\n", strerror(rc)); closesocket(s); closesocket(c->sWake[0]); closesocket(c->sWake[1]); free(c); }
    }
}
