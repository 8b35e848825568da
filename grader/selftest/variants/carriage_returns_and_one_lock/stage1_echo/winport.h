/* winport.h - so that my Winsock code compiles here */
#ifndef WINPORT_H
#define WINPORT_H
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/select.h>
#include <sys/ioctl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
typedef int SOCKET;
typedef int BOOL;
typedef unsigned long DWORD;
typedef pthread_mutex_t CRITICAL_SECTION;
#define TRUE 1
#define FALSE 0
#define INVALID_SOCKET (-1)
#define SOCKET_ERROR (-1)
#define closesocket close
#define ioctlsocket ioctl
#define WSAGetLastError() errno
#define WSAEWOULDBLOCK EWOULDBLOCK
#define WSAEINTR EINTR
#define InitializeCriticalSection(cs) pthread_mutex_init(cs, NULL)
#define EnterCriticalSection pthread_mutex_lock
#define LeaveCriticalSection pthread_mutex_unlock
#define ZeroMemory(p, n) memset(p, 0, n)
DWORD GetTickCount(void);
SOCKET CreateListener(const char *pszAddress, int nPort);
SOCKET CreateConnection(const char *pszHost, int nPort);
int WaitFor(SOCKET s, BOOL bWrite, int nMilliseconds);  /* 1 ready, 0 timeout, -1 */
SOCKET AcceptClient(SOCKET sListen);
BOOL ParsePort(const char *psz, int *pnPort);
void ShowError(const char *pszFunction);
#endif
