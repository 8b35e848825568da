#include "winport.h"

int main(int argc, char *argv[])
{
    SOCKET sListen;
    int nPort = 5000;
    if (argc > 3 || (argc > 1 && !ParsePort(argv[1], &nPort))) {
        fprintf(stderr, "USAGE: SERVER [PORT [ADDRESS]]\r\n");
        return 2;
    }
    sListen = CreateListener(argc > 2 ? argv[2] : "127.0.0.1", nPort);
    if (sListen == INVALID_SOCKET) return 1;
    printf("Server started on port %d.\r\nPress Ctrl+C to stop it...\r\n", nPort);
    fflush(stdout);
    for (;;) {
        char szBuf[8192];
        int n, nSent;
        SOCKET s = AcceptClient(sListen);
        WaitFor(s, FALSE, -1);
        n = recv(s, szBuf, sizeof(szBuf) - 1, 0);
        if (n > 0) {
            printf("received: ");
            for (int i = 0; i < n; i++) putchar(szBuf[i]);
            printf("\r\n");
            fflush(stdout);
            nSent = send(s, szBuf, n, MSG_NOSIGNAL);
            if (nSent != n) ShowError("send");
            /* graceful shutdown as in the MSDN example */
            if (shutdown(s, SHUT_WR) != SOCKET_ERROR)
                while (WaitFor(s, FALSE, 500) == 1 && recv(s, szBuf, sizeof(szBuf), 0) > 0) ;
        } else if (n == 0) printf("Connection closing...\r\n");
        else ShowError("recv");
        closesocket(s);
    }
}
