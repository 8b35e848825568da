#include "winport.h"

int main(int argc, char *argv[])
{
    SOCKET s;
    int nPort = 5000, n;
    char szBuf[8192];
    const char *pszMessage = argc > 1 ? argv[1] : "hello";
    if (argc > 4 || (argc > 3 && !ParsePort(argv[3], &nPort))) {
        fprintf(stderr, "USAGE: CLIENT [MESSAGE [HOST [PORT]]]\r\n");
        return 2;
    }
    s = CreateConnection(argc > 2 ? argv[2] : "127.0.0.1", nPort);
    if (s == INVALID_SOCKET) return 1;
    if (send(s, pszMessage, strlen(pszMessage), MSG_NOSIGNAL) == SOCKET_ERROR) { ShowError("send"); return 1; }
    shutdown(s, SHUT_WR);               /* no more to say */
    n = recv(s, szBuf, sizeof(szBuf), 0);
    if (n == SOCKET_ERROR) { ShowError("recv"); return 1; }
    if (n == 0) { fprintf(stderr, "The server sent no reply.\r\n"); return 1; }
    printf("reply: ");
    fwrite(szBuf, 1, n, stdout);
    printf("\r\n");
    while (recv(s, szBuf, sizeof(szBuf), 0) > 0) ;
    closesocket(s);
    return 0;
}
