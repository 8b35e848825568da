#include "msg.h"
static READER g_r;
int main(int argc, char *argv[])
{
    SOCKET s;
    int nPort = 5000, n, c, rc;
    static char szLine[MAX_BODY + 1];
    BOOL bQuit = FALSE, bBye = FALSE;
    if (argc > 3 || (argc > 2 && !ParsePort(argv[2], &nPort))) { fprintf(stderr, "USAGE: CLIENT [HOST [PORT]]\r\n"); return 2; }
    s = CreateConnection(argc > 1 ? argv[1] : "127.0.0.1", nPort);
    if (s == INVALID_SOCKET) return 1;
    printf("Connected.\r\n");
    while (!bQuit) {
        n = 0;
        while ((c = fgetc(stdin)) != EOF && c != '\n') { if (n < MAX_BODY) szLine[n] = (char)c; n++; }
        if (c == EOF && n == 0) { strcpy(szLine, "QUIT"); n = 4; }
        if (n > MAX_BODY) { fprintf(stderr, "Line too long (%d), ignored.\r\n", n); continue; }
        bQuit = n == 4 && !memcmp(szLine, "QUIT", 4);
        if (!SendMessageTo(s, szLine, n)) { ShowError("send"); closesocket(s); return 1; }
        do {
            rc = ReaderGet(&g_r, s);
            if (rc == MSG_OK) PrintMessage("", g_r.body, g_r.len);
            if (rc == MSG_OK && g_r.len == 3 && !memcmp(g_r.body, "BYE", 3)) bBye = bQuit;
        } while (bQuit && rc == MSG_OK);
        if (rc != MSG_OK && !bQuit) break;
    }
    closesocket(s);
    if (bQuit && bBye && rc != MSG_TOOLONG) { printf("Disconnected.\r\n"); return 0; }
    if (rc == MSG_FAILED) ShowError("recv");
    else fprintf(stderr, rc == MSG_TOOLONG ? "Reply too long.\r\n" : "The server closed the connection.\r\n");
    return 1;
}
