#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Given. */
int net_init(void)
{
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;

    /* open() gives the lowest free number: this fills 0, 1 and 2. */
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd == -1)
            return -1;
    } while (fd <= 2);
    close(fd);
    return 0;
}

int net_parse_port(const char *text)
{
    /* TODO 1.1: convert text with strtol(), and refuse whatever is not a
     * number from 1 to 65535. See handouts/stage1.md. */
    errno = ENOSYS;
    return -1;
}

int net_listen(const char *address, int port, const char **failed)
{
    /* TODO 1.2: fill in a struct sockaddr_in, then call socket(),
     * setsockopt(), bind() and listen(). See handouts/stage1.md. */
    *failed = "net_listen";
    errno = ENOSYS;
    return -1;
}

int net_accept(int listener)
{
    /* TODO 1.3: call accept() until it brings a client; decide for each errno
     * whether to try again, to pause first, or to give up.
     * See handouts/stage1.md. */
    errno = ENOSYS;
    return -1;
}

int net_connect(const char *host, int port, const char **failed)
{
    /* TODO 1.6: fill in a struct sockaddr_in, then call socket() and
     * connect(), also when a signal interrupts it. See handouts/stage1.md. */
    *failed = "net_connect";
    errno = ENOSYS;
    return -1;
}
