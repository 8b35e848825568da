#include "winport.h"

DWORD GetTickCount(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (DWORD)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

void ShowError(const char *pszFunction)
{
    fprintf(stderr, "%s() failed. Error code : %d (%s)\n", pszFunction, WSAGetLastError(), strerror(WSAGetLastError()));
}

BOOL ParsePort(const char *psz, int *pnPort)
{
    char szCheck[32];
    *pnPort = atoi(psz);
    if (*pnPort < 1 || *pnPort > 65535) return FALSE;
    sprintf(szCheck, "%d", *pnPort);
    return strcmp(szCheck, psz) == 0;
}

int WaitFor(SOCKET s, BOOL bWrite, int nMilliseconds)
{
    DWORD dwStart = GetTickCount();
    for (;;) {
        fd_set set;
        struct timeval tv, *ptv = NULL;
        int rc;
        FD_ZERO(&set);
        FD_SET(s, &set);
        if (nMilliseconds >= 0) {
            long lLeft = nMilliseconds - (long)(GetTickCount() - dwStart);
            if (lLeft < 0) lLeft = 0;
            tv.tv_sec = lLeft / 1000;
            tv.tv_usec = (lLeft % 1000) * 1000;
            ptv = &tv;
        }
        rc = select(s + 1, bWrite ? NULL : &set, bWrite ? &set : NULL, NULL, ptv);
        if (rc != SOCKET_ERROR || WSAGetLastError() != WSAEINTR) return rc;
    }
}

SOCKET CreateListener(const char *pszAddress, int nPort)
{
    struct sockaddr_in addr;
    unsigned long ulMode = 1;
    int bReuse = TRUE;
    SOCKET s;
    ZeroMemory(&addr, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((u_short)nPort);
    if (inet_pton(AF_INET, pszAddress, &addr.sin_addr) != 1) {
        fprintf(stderr, "Invalid address: %s\n", pszAddress);
        return INVALID_SOCKET;
    }
    if ((s = socket(AF_INET, SOCK_STREAM, 0)) == INVALID_SOCKET) { ShowError("socket"); return INVALID_SOCKET; }
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, (const char *)&bReuse, sizeof(bReuse));
    if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) == SOCKET_ERROR) { ShowError("bind"); closesocket(s); return INVALID_SOCKET; }
    if (listen(s, SOMAXCONN) == SOCKET_ERROR) { ShowError("listen"); closesocket(s); return INVALID_SOCKET; }
    ioctlsocket(s, FIONBIO, &ulMode);
    return s;
}

SOCKET CreateConnection(const char *pszHost, int nPort)
{
    struct sockaddr_in addr;
    int n, bNoDelay = TRUE;
    SOCKET s;
    ZeroMemory(&addr, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((u_short)nPort);
    if (inet_pton(AF_INET, pszHost, &addr.sin_addr) != 1) {
        fprintf(stderr, "Invalid host: %s\n", pszHost);
        return INVALID_SOCKET;
    }
    if ((s = socket(AF_INET, SOCK_STREAM, 0)) == INVALID_SOCKET) { ShowError("socket"); return INVALID_SOCKET; }
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, (const char *)&bNoDelay, sizeof(bNoDelay));
    n = connect(s, (struct sockaddr *)&addr, sizeof(addr));
    while (n == SOCKET_ERROR && (WSAGetLastError() == WSAEINTR || WSAGetLastError() == EALREADY || WSAGetLastError() == EINPROGRESS)) {
        WaitFor(s, TRUE, 30000);
        n = connect(s, (struct sockaddr *)&addr, sizeof(addr));
        if (n == SOCKET_ERROR && WSAGetLastError() == EISCONN) n = 0;
    }
    if (n == SOCKET_ERROR) { ShowError("connect"); closesocket(s); return INVALID_SOCKET; }
    return s;
}

SOCKET AcceptClient(SOCKET sListen)
{
    for (;;) {
        SOCKET s;
        unsigned long ulMode = 1;
        if (WaitFor(sListen, FALSE, -1) == SOCKET_ERROR) { ShowError("select"); sleep(1); continue; }
        s = accept(sListen, NULL, NULL);
        if (s != INVALID_SOCKET) { ioctlsocket(s, FIONBIO, &ulMode); return s; }
        if (WSAGetLastError() == WSAEINTR || WSAGetLastError() == WSAEWOULDBLOCK || WSAGetLastError() == ECONNABORTED) continue;
        ShowError("accept");
        usleep(300 * 1000);     /* Sleep(300) */
    }
}
