#ifndef TOOL_H
#define TOOL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
typedef struct Tcp Tcp;
struct Tcp {            /* "class" */
    int fd;
    bool (*open)(Tcp *self, const char *host, int port);
    bool (*write)(Tcp *self, const void *data, size_t len);
    long (*read)(Tcp *self, void *data, size_t len);
    void (*close)(Tcp *self);
};
Tcp TcpServer_new(void);
Tcp TcpClient_new(void);
Tcp Tcp_wrap(int fd);
int Tcp_accept(Tcp *server);
void Log(const char *who, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void Log_to(FILE *where);
bool Port_parse(const char *text, int *port);
#endif
