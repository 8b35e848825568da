#include "msg.h"

int ReaderTake(READER *r)
{
    int i, k = 0;
    for (i = 0; i < r->n; ) {
        if (r->n - i >= 4 && !memcmp(r->raw + i, "DONE", 4)) {
            r->len = k;
            r->n -= i + 4;
            memmove(r->raw, r->raw + i + 4, r->n);
            return MSG_OK;
        }
        if (r->n - i < 4 && !memcmp(r->raw + i, "DONE", r->n - i)) return MSG_NONE;
        if (r->raw[i] == '\\' && ++i == r->n) return MSG_NONE;
        if (k == MAX_BODY) return MSG_TOOLONG;
        r->body[k++] = r->raw[i++];
    }
    return MSG_NONE;
}

int ReaderReceive(READER *r, SOCKET s)
{
    int n;
    do n = recv(s, r->raw + r->n, sizeof(r->raw) - r->n, 0); while (n == SOCKET_ERROR && WSAGetLastError() == WSAEINTR);
    if (n == 0) return MSG_CLOSED;
    if (n == SOCKET_ERROR) return WSAGetLastError() == WSAEWOULDBLOCK ? MSG_NONE : MSG_FAILED;
    r->n += n;
    return MSG_OK;
}

int ReaderGet(READER *r, SOCKET s)
{
    for (;;) {
        int rc = ReaderTake(r);
        if (rc != MSG_NONE) return rc;
        if (WaitFor(s, FALSE, -1) == SOCKET_ERROR) return MSG_FAILED;
        rc = ReaderReceive(r, s);
        if (rc == MSG_CLOSED || rc == MSG_FAILED) return rc;
    }
}

int Encode(char *out, const char *body, int len)
{
    int i, n = 0;
    for (i = 0; i < len; i++) {
        if (body[i] == '\\' || (len - i >= 4 && !memcmp(body + i, "DONE", 4))) out[n++] = '\\';
        out[n++] = body[i];
    }
    memcpy(out + n, "DONE", 4);
    return n + 4;
}

BOOL SendMessageTo(SOCKET s, const char *body, int len)
{
    char wire[MAX_WIRE];
    int n = Encode(wire, body, len), at = 0;
    while (at < n) {
        int k = send(s, wire + at, n - at, MSG_NOSIGNAL);
        if (k != SOCKET_ERROR) at += k;
        else if (WSAGetLastError() == WSAEWOULDBLOCK) WaitFor(s, TRUE, -1);
        else if (WSAGetLastError() != WSAEINTR) return FALSE;
    }
    return TRUE;
}

static pthread_mutex_t csPrint = PTHREAD_MUTEX_INITIALIZER;
void PrintMessage(const char *label, const char *body, int len)
{
    EnterCriticalSection(&csPrint);
    printf("%s", label);
    for (int i = 0; i < len; i++) putchar(body[i]);
    printf("\r\n");
    fflush(stdout);
    LeaveCriticalSection(&csPrint);
}
