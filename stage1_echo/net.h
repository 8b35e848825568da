/*
 * net: from a port number to a connected socket.
 *
 * Every program of every stage begins here. A descriptor that one of these
 * functions returns is owned by the caller, who closes it. Addresses are
 * IPv4 in dotted form ("127.0.0.1").
 *
 * How errors are reported, here and in all later headers: the function
 * returns -1 and leaves the reason in errno. It prints nothing and never
 * exits; main() does both. net_listen and net_connect make several system
 * calls, so they also say which one failed:
 *
 *     const char *failed;
 *     int listener = net_listen("127.0.0.1", 5000, &failed);
 *     if (listener == -1) {
 *         fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
 *         return 1;
 *     }
 */
#ifndef NET_H
#define NET_H

/*
 * Makes the process safe for sockets; call it first in main().
 * Ignores SIGPIPE, so that writing to a pipe or socket whose reader has gone
 * is an error (EPIPE) and not the end of the process. Opens /dev/null in
 * place of a closed stdin, stdout or stderr, so that no socket gets the
 * number 0, 1 or 2 and receives what was meant for the terminal.
 * Returns 0, or -1 with errno set.
 */
int net_init(void);

/*
 * Converts a port number as typed by a user. Borrows text.
 * Returns the port, 1 to 65535, or -1 with errno EINVAL for anything else:
 * no number, something behind the number, a number out of range.
 */
int net_parse_port(const char *text);

/*
 * Opens a socket that listens on address and port. The port can be used
 * again at once, although old connections are still in TIME_WAIT.
 * Returns the listening descriptor, or -1 with errno set and *failed naming
 * the call: "inet_pton", "socket", "setsockopt", "bind" or "listen". Nothing
 * stays open after a failure. Borrows address; *failed is a string constant.
 */
int net_listen(const char *address, int port, const char **failed);

/*
 * Waits for the next client of a listening socket. What concerns only one
 * client (it was gone before it could be accepted) or passes (a signal, no
 * free descriptor, no memory) is handled here by trying again, without using
 * the processor meanwhile.
 * Returns the descriptor of the connection, or -1 with errno set if the
 * listening socket itself is unusable (EBADF, EINVAL, ENOTSOCK).
 */
int net_accept(int listener);

/*
 * Connects to a server. Never fails because of a signal.
 * Returns the connected descriptor, or -1 with errno set and *failed naming
 * the call: "inet_pton", "socket", "connect", or "setsockopt" for who sets an
 * option of the socket. Nothing stays open after a failure. Borrows host;
 * *failed is a string constant.
 */
int net_connect(const char *host, int port, const char **failed);

#endif
