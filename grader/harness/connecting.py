"""A connection to a student's server while it is being made."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from .peer import Peer
from .program import Program

if TYPE_CHECKING:
    from .lab import Lab

CONNECT_SECONDS = 10.0  # a SYN for which the queue has no room is sent again after 1, 3 and 7 seconds (tcp_timeout_init(), RFC 6298)


class Connecting:
    """A client that asks for a connection. The kernel makes it, also while the server is halted, if its queue has room.

    How long that queue is (listen(2), backlog) is the server's affair. Made by `Lab.begin_connecting`.
    """

    def __init__(self, lab: Lab, server: Program, sock: socket.socket) -> None:
        assert server.address
        self._lab, self._server, self._address, self._sock = lab, server, server.address, sock
        sock.setblocking(False)
        self._result = sock.connect_ex(self._address)

    def made(self) -> bool:
        """True when it is there, or has failed."""
        if self._result in (errno.EINPROGRESS, errno.EALREADY):
            self._result = self._sock.connect_ex(self._address)
        return self._result not in (errno.EINPROGRESS, errno.EALREADY)

    def finish(self, name: str | None = None) -> Peer:
        """Waits for the connection, and fails the check if it does not come."""
        self._lab.until(self.made, CONNECT_SECONDS)
        if self._result not in (0, errno.EISCONN):
            self._sock.close()
            self._lab.until_done()  # a process that dies closes its sockets first
            self._lab.fail(f"Nobody could connect to your server: {os.strerror(self._result)}.")
        return self._lab.add_peer(self._sock, name or f"client {len(self._lab.peers) + 1}", self._server, self._address)

    def close(self) -> None:
        """Gives the wish for a connection up."""
        self._sock.close()
