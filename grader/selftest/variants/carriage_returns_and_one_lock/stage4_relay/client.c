#include "msg.h"
static READER g_r;
static char g_out[2 * MAX_WIRE];
static int g_nOut;
static char g_line[MAX_BODY];
static int g_nLine;
static BOOL g_bQuit, g_bEof;
static char g_key[1024];
static int g_nKey, g_iKey;

static void Say(const char *p, int n)
{
    g_nOut += Encode(g_out + g_nOut, p, n);
    g_bQuit = n == 4 && !memcmp(p, "QUIT", 4);
}
static void EndLine(void)
{
    if (g_nLine > MAX_BODY) fprintf(stderr, "Line too long, ignored.\r\n");
    else Say(g_line, g_nLine);
    g_nLine = 0;
}
int main(int argc, char *argv[])
{
    SOCKET s;
    int nPort = 5000, n, rc;
    unsigned long ulMode = 1;
    if (argc < 2 || argc > 4 || (argc > 3 && !ParsePort(argv[3], &nPort))) { fprintf(stderr, "USAGE: CLIENT NAME [HOST [PORT]]\r\n"); return 2; }
    s = CreateConnection(argc > 2 ? argv[2] : "127.0.0.1", nPort);
    if (s == INVALID_SOCKET) return 1;
    printf("Connected. Hello %s!\r\n\r\n", argv[1]);
    fflush(stdout);
    ioctlsocket(s, FIONBIO, &ulMode);
    n = snprintf(g_line, sizeof(g_line), "NAME %s", argv[1]);
    if (n >= (int)sizeof(g_line)) { fprintf(stderr, "Name too long.\r\n"); return 1; }
    Say(g_line, n);
    for (;;) {
        fd_set rd, wr;
        while (!g_bQuit && g_nOut < MAX_WIRE && g_iKey < g_nKey) {
            char c = g_key[g_iKey++];
            if (c == '\n') EndLine();
            else { if (g_nLine < MAX_BODY) g_line[g_nLine] = c; g_nLine++; }
        }
        if (g_bEof && !g_bQuit && g_nOut < MAX_WIRE && g_iKey == g_nKey) { if (g_nLine) { EndLine(); continue; } Say("QUIT", 4); }
        FD_ZERO(&rd); FD_ZERO(&wr);
        FD_SET(s, &rd);
        if (g_nOut) FD_SET(s, &wr);
        if (!g_bEof && !g_bQuit && g_iKey == g_nKey) FD_SET(STDIN_FILENO, &rd);
        if (select(s + 1, &rd, &wr, NULL, NULL) == SOCKET_ERROR) { if (WSAGetLastError() == WSAEINTR) continue; ShowError("select"); return 1; }
        if (FD_ISSET(s, &rd)) {
            int got = ReaderReceive(&g_r, s);
            while ((rc = ReaderTake(&g_r)) == MSG_OK) PrintMessage("", g_r.body, g_r.len);
            if (rc == MSG_TOOLONG) { fprintf(stderr, "Message too long.\r\n"); closesocket(s); return 1; }
            if (got == MSG_FAILED) { ShowError("recv"); closesocket(s); return 1; }
            if (got == MSG_CLOSED) {
                closesocket(s);
                if (g_bQuit && !g_nOut) { printf("Disconnected.\r\n"); return 0; }
                fprintf(stderr, "The server closed the connection.\r\n");
                return 1;
            }
        }
        if (FD_ISSET(s, &wr)) {
            n = send(s, g_out, g_nOut, MSG_NOSIGNAL);
            if (n > 0) memmove(g_out, g_out + n, g_nOut -= n);
            else if (WSAGetLastError() != WSAEWOULDBLOCK && WSAGetLastError() != WSAEINTR) { ShowError("send"); closesocket(s); return 1; }
        }
        if (FD_ISSET(STDIN_FILENO, &rd)) {
            n = read(STDIN_FILENO, g_key, sizeof(g_key));
            if (n > 0) { g_nKey = n; g_iKey = 0; }
            else if (n == 0) g_bEof = TRUE;
        }
    }
}
