#include "hal.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool hal_parse_u16(const char *p, uint16_t *out)
{
    uint32_t v = 0U;
    if (*p == '\0') { return false; }
    for (; *p != '\0'; p++) {
        if ((*p < '0') || (*p > '9')) { return false; }
        v = (v * 10U) + (uint32_t)(*p - '0');
        if (v > 65535U) { return false; }
    }
    if (v == 0U) { return false; }
    *out = (uint16_t)v;
    return true;
}

static void fault(const char *who, const char *what)
{
    fprintf(stderr, "error: cannot %s (%s)\n", what, strerror(errno));
    (void)who;
}

static bool fill(struct sockaddr_in *sa, const char *addr, uint16_t port)
{
    memset(sa, 0, sizeof(*sa));
    sa->sin_family = AF_INET;
    sa->sin_port = htons(port);
    sa->sin_addr.s_addr = inet_addr(addr);
    if (sa->sin_addr.s_addr == INADDR_NONE) {
        fprintf(stderr, "error: '%s' is not an IPv4 address\n", addr);
        return false;
    }
    return true;
}

int32_t hal_open_server(const char *addr, uint16_t port)
{
    struct sockaddr_in sa;
    int32_t on = 1;
    int32_t fd;
    if (!fill(&sa, addr, port)) { return -1; }
    fd = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0) { fault("server", "create socket"); return -1; }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) { fault("server", "set option"); close(fd); return -1; }
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) { fault("server", "bind"); close(fd); return -1; }
    if (listen(fd, 64) != 0) { fault("server", "listen"); close(fd); return -1; }
    return fd;
}

int32_t hal_open_client(const char *addr, uint16_t port)
{
    struct sockaddr_in sa;
    int32_t fd;
    int32_t rc;
    if (!fill(&sa, addr, port)) { return -1; }
    /* non-blocking connect with a time limit of 10 s */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0) { fault("client", "create socket"); return -1; }
    rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
    if ((rc != 0) && ((errno == EINPROGRESS) || (errno == EINTR))) {
        struct pollfd p = { .fd = fd, .events = POLLOUT, .revents = 0 };
        int err = 0;
        socklen_t sz = sizeof(err);
        do { rc = poll(&p, 1, 10000); } while ((rc < 0) && (errno == EINTR));
        if (rc == 0) { errno = ETIMEDOUT; rc = -1; }
        else if (rc > 0) {
            rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &sz);
            if ((rc == 0) && (err != 0)) { errno = err; rc = -1; }
        }
    }
    if (rc != 0) { fault("client", "connect"); close(fd); return -1; }
    return fd;
}

int32_t hal_wait_client(int32_t listener)
{
    int32_t fd;
    for (;;) {
        fd = accept(listener, NULL, NULL);
        if (fd >= 0) { return fd; }
        if ((errno == EINTR) || (errno == ECONNABORTED)) { continue; }
        fault("server", "accept");
        (void)usleep(500000);
    }
}

void hal_puts(const char *s)
{
    (void)!write(STDOUT_FILENO, s, strlen(s));
}

void hal_line(const char *label, const uint8_t *data, size_t len)
{
    struct iovec v[3] = {
        { (void *)(uintptr_t)label, strlen(label) },
        { (void *)(uintptr_t)data, len },
        { (void *)(uintptr_t)"\r\n", 2 } };
    (void)!writev(STDOUT_FILENO, v, 3);
}

hal_status_t hal_tx(int32_t fd, const uint8_t *data, size_t len)
{
    while (len > 0U) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) { continue; }
            if ((errno == EAGAIN) || (errno == EWOULDBLOCK)) {
                struct pollfd p = { .fd = fd, .events = POLLOUT, .revents = 0 };
                (void)poll(&p, 1, -1);
                continue;
            }
            return HAL_ERR;
        }
        data += n;
        len -= (size_t)n;
    }
    return HAL_OK;
}
