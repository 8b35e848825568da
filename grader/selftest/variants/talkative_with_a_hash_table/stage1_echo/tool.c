#include "tool.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static FILE *logfile;
void Log_to(FILE *where) { logfile = where; }

void Log(const char *who, const char *fmt, ...)
{
    char line[10000];
    struct timeval tv;
    struct tm tm;
    va_list ap;
    int saved = errno;
    gettimeofday(&tv, NULL);
    localtime_r(&tv.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S", &tm);
    n += snprintf(line + n, sizeof line - n, ".%03d [%s] ", (int)(tv.tv_usec / 1000), who);
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    fprintf(logfile ? logfile : stdout, "%s\n", line);
    fflush(logfile ? logfile : stdout);
    errno = saved;
}

bool Port_parse(const char *text, int *port)
{
    char *rest = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0' || value == 0 || value > USHRT_MAX)
        return false;
    *port = (int)value;
    return true;
}

static bool oops(const char *what, const char *host, int port)
{
    fprintf(stderr, "error: cannot %s %s:%d: %s\n", what, host, port, strerror(errno));
    return false;
}

static bool fill(struct sockaddr_in *where, const char *host, int port)
{
    *where = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    if (inet_aton(host, &where->sin_addr))
        return true;
    fprintf(stderr, "error: %s: no such address\n", host);
    return false;
}

static bool server_open(Tcp *self, const char *host, int port)
{
    struct sockaddr_in where;
    if (!fill(&where, host, port))
        return false;
    self->fd = socket(PF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd < 0)
        return oops("create a socket for", host, port);
    setsockopt(self->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(self->fd, (struct sockaddr *)&where, sizeof where) != 0)
        return oops("bind", host, port);
    if (listen(self->fd, SOMAXCONN) != 0)
        return oops("listen on", host, port);
    return true;
}

static bool client_open(Tcp *self, const char *host, int port)
{
    struct sockaddr_in where;
    if (!fill(&where, host, port))
        return false;
    self->fd = socket(PF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd < 0)
        return oops("create a socket for", host, port);
    bool again = false;
    while (connect(self->fd, (struct sockaddr *)&where, sizeof where) != 0) {
        if (again && errno == EISCONN)
            break;
        if (errno != EINTR && errno != EALREADY)
            return oops("connect to", host, port);
        if (errno == EALREADY) poll(NULL, 0, 10);
        again = true;
    }
    return true;
}

static bool tcp_write(Tcp *self, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(self->fd, p, len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static long tcp_read(Tcp *self, void *data, size_t len)
{
    ssize_t n;
    while ((n = recv(self->fd, data, len, 0)) < 0 && errno == EINTR)
        ;
    return n;
}

static void tcp_close(Tcp *self)
{
    if (self->fd >= 0) {
        shutdown(self->fd, SHUT_RDWR);
        close(self->fd);
    }
    self->fd = -1;
}

Tcp Tcp_wrap(int fd) { return (Tcp){fd, NULL, tcp_write, tcp_read, tcp_close}; }
Tcp TcpServer_new(void) { return (Tcp){-1, server_open, NULL, NULL, tcp_close}; }
Tcp TcpClient_new(void) { return (Tcp){-1, client_open, tcp_write, tcp_read, tcp_close}; }

int Tcp_accept(Tcp *server)
{
    struct sockaddr_in from;
    for (;;) {
        socklen_t size = sizeof from;
        int fd = accept(server->fd, (struct sockaddr *)&from, &size);
        if (fd >= 0) {
            char text[INET_ADDRSTRLEN];
            inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
            Log("server", "client %d connected from %s:%d", fd, text, ntohs(from.sin_port));
            return fd;
        }
        Log("server", "accept: %s", strerror(errno));
        poll(NULL, 0, 50);
    }
}
