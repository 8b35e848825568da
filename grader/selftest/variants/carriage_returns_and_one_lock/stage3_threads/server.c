#include "msg.h"
typedef struct tagCLIENT { SOCKET s; READER in; } CLIENT;

static void Bye(SOCKET s, const char *psz)
{
    char junk[1000];
    SendMessageTo(s, psz, strlen(psz));
    shutdown(s, SHUT_WR);
    while (WaitFor(s, FALSE, 1000) == 1 && recv(s, junk, sizeof(junk), 0) > 0) ;
}
static void *ThreadProc(void *lpParam)
{
    CLIENT *c = (CLIENT *)lpParam;
    int rc;
    for (;;) {
        rc = ReaderGet(&c->in, c->s);
        if (rc == MSG_TOOLONG) { Bye(c->s, "ERR too long"); break; }
        if (rc != MSG_OK) break;
        PrintMessage("received: ", c->in.body, c->in.len);
        if (c->in.len == 4 && !memcmp(c->in.body, "QUIT", 4)) { Bye(c->s, "BYE"); break; }
        if (!SendMessageTo(c->s, c->in.body, c->in.len)) break;
    }
    closesocket(c->s);
    free(c);
    return 0;
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
        SOCKET s = AcceptClient(sListen);
        CLIENT *c = (CLIENT *)malloc(sizeof(CLIENT));
        pthread_t hThread;
        int rc = ENOMEM;
        if (c) { c->s = s; c->in.n = 0; rc = pthread_create(&hThread, NULL, ThreadProc, c); }
        if (rc == 0) pthread_detach(hThread);
        else { fprintf(stderr, "CreateThread() failed: %s\r\n", strerror(rc)); free(c); closesocket(s); }
    }
}
