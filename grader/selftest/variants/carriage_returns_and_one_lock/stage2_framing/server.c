/* serves ALL clients with one select() loop (stage 2 asks for one, but why not) */
#include "msg.h"

typedef struct tagCLIENT { SOCKET s; READER in; char *out; int nOut, capOut; BOOL bClosing; BOOL bShut; DWORD dwDeadline; } CLIENT;
static CLIENT *g_clients[FD_SETSIZE];
static int g_n;

static BOOL Queue(CLIENT *c, const char *body, int len)
{
    if (c->capOut - c->nOut < MAX_WIRE) {
        char *p = realloc(c->out, c->nOut + 2 * MAX_WIRE);
        if (!p) return FALSE;
        c->out = p;
        c->capOut = c->nOut + 2 * MAX_WIRE;
    }
    c->nOut += Encode(c->out + c->nOut, body, len);
    return TRUE;
}
static void Bye(CLIENT *c, const char *psz)
{
    Queue(c, psz, strlen(psz));
    c->bClosing = TRUE;
    c->dwDeadline = GetTickCount() + 1000;
}
static void Remove(int i)
{
    CLIENT *c = g_clients[i];
    closesocket(c->s);
    free(c->out);
    free(c);
    g_clients[i] = g_clients[--g_n];
}
static BOOL OnRead(CLIENT *c)       /* FALSE = gone */
{
    int rc;
    if (c->bShut) { char junk[1000]; int n = recv(c->s, junk, sizeof(junk), 0); return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)); }
    rc = ReaderReceive(&c->in, c->s);
    if (rc == MSG_NONE) return TRUE;
    if (rc == MSG_FAILED) return FALSE;
    if (rc == MSG_CLOSED) { c->bClosing = TRUE; c->dwDeadline = GetTickCount() + 10000; return TRUE; }
    while (!c->bClosing) {
        rc = ReaderTake(&c->in);
        if (rc == MSG_NONE) break;
        if (rc == MSG_TOOLONG) { Bye(c, "ERR too long"); break; }
        PrintMessage("received: ", c->in.body, c->in.len);
        if (c->in.len == 4 && !memcmp(c->in.body, "QUIT", 4)) Bye(c, "BYE");
        else if (!Queue(c, c->in.body, c->in.len)) return FALSE;
    }
    return TRUE;
}
static BOOL OnWrite(CLIENT *c)
{
    int n = send(c->s, c->out, c->nOut, MSG_NOSIGNAL);
    if (n > 0) { memmove(c->out, c->out + n, c->nOut - n); c->nOut -= n; return TRUE; }
    return WSAGetLastError() == WSAEWOULDBLOCK || WSAGetLastError() == WSAEINTR;
}
int main(int argc, char *argv[])
{
    SOCKET sListen;
    int nPort = 5000;
    if (argc > 3 || (argc > 1 && !ParsePort(argv[1], &nPort))) { fprintf(stderr, "USAGE: SERVER [PORT [ADDRESS]]\r\n"); return 2; }
    sListen = CreateListener(argc > 2 ? argv[2] : "127.0.0.1", nPort);
    if (sListen == INVALID_SOCKET) return 1;
    printf("Server started on port %d.\r\nPress Ctrl+C to stop it...\r\n", nPort);
    fflush(stdout);
    for (;;) {
        fd_set rd, wr;
        struct timeval tv = { 0, 200000 };
        BOOL bTimer = FALSE;
        int i, nMax = sListen, rc;
        FD_ZERO(&rd); FD_ZERO(&wr);
        if (g_n < 500) FD_SET(sListen, &rd);
        for (i = 0; i < g_n; i++) {
            CLIENT *c = g_clients[i];
            if (c->bClosing && c->nOut == 0 && !c->bShut) { shutdown(c->s, SHUT_WR); c->bShut = TRUE; }
            if (c->bShut || (!c->bClosing && c->nOut < 100000)) FD_SET(c->s, &rd);
            if (c->nOut) FD_SET(c->s, &wr);
            if (c->bClosing) bTimer = TRUE;
            if (c->s > nMax) nMax = c->s;
        }
        rc = select(nMax + 1, &rd, &wr, NULL, bTimer ? &tv : NULL);
        if (rc == SOCKET_ERROR) { if (WSAGetLastError() != WSAEINTR) ShowError("select"); continue; }
        for (i = g_n - 1; i >= 0; i--) {
            CLIENT *c = g_clients[i];
            BOOL bOk = TRUE;
            if (FD_ISSET(c->s, &rd)) bOk = OnRead(c);
            if (bOk && FD_ISSET(c->s, &wr)) bOk = OnWrite(c);
            if (bOk && c->bClosing && (long)(GetTickCount() - c->dwDeadline) > 0) bOk = FALSE;
            if (!bOk) Remove(i);
        }
        if (FD_ISSET(sListen, &rd)) {
            SOCKET s = accept(sListen, NULL, NULL);
            unsigned long ulMode = 1;
            if (s != INVALID_SOCKET) {
                CLIENT *c = calloc(1, sizeof(CLIENT));
                if (!c) { closesocket(s); continue; }
                ioctlsocket(s, FIONBIO, &ulMode);
                c->s = s;
                g_clients[g_n++] = c;
            } else if (WSAGetLastError() != WSAEINTR && WSAGetLastError() != WSAEWOULDBLOCK && WSAGetLastError() != ECONNABORTED) { ShowError("accept"); usleep(100000); }
        }
    }
}
