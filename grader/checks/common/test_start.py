"""How the programs start: their arguments, and what stands in the way."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.workload import first_arguments
from grader.harness import ports
from grader.harness.failures import ENDED, NO_LISTENER
from grader.harness.lab import Lab

USAGE_HINTS = (
    "Which arguments does the program take, and which values may a port have?",
    "Check argc before you touch argv, and the port before you open any socket.",
    "Print a line with the word usage to stderr and return 2 from main().",
)
# The last two are 5000 more than 2 to the 32nd and to the 64th.
BAD_PORTS = ("0", "65536", "99999999999", "http", "50x", "5000.5", "1e3", "", "4294972296", "18446744073709556616")


def _expect_usage(lab: Lab, role: str, arguments: tuple[str, ...]) -> None:
    shown = " ".join(repr(a) if not a else a for a in (f"./{role}", *arguments))
    program = lab.run(role, *arguments)
    program.expect_exit(2, seconds=1.5, cause=f"`{shown}` is wrong usage: the program should say so and exit with status 2.")
    program.expect_error("usage")


@check("server.usage", points={1: 0.5, 2: 0.25, 3: 0.25, 4: 0.25}, todo={1: "1.4", 2: "2.6", 3: "3.1", 4: "4.6"}, hints=USAGE_HINTS)
def test_the_server_refuses_wrong_arguments_with_a_usage_line(lab: Lab) -> None:
    """A program that was called wrongly says how to call it, and does nothing else.

    The server is started with the ports 0, 65536, 99999999999, http, 50x, 5000.5, 1e3, 5000 more than 2 to the 32nd and to the 64th
    and an empty word, and once with three arguments. Each time it must print a line with the word usage on stderr and end with exit status 2 within 1.5
    seconds.
    """
    for port in BAD_PORTS:
        _expect_usage(lab, "server", (port,))
    _expect_usage(lab, "server", ("15000", "127.0.0.1", "more"))


@check("client.usage", points={1: 0.5, 2: 0.25, 4: 0.25}, todo={1: "1.7", 2: "2.7", 4: "4.8"}, hints=USAGE_HINTS)
def test_the_client_refuses_wrong_arguments_with_a_usage_line(lab: Lab) -> None:
    """A wrong call is found before anything travels.

    The client is started with the ports 0, 65536, 99999999999, http, 50x, 5000.5, 1e3, 5000 more than 2 to the 32nd and to the 64th
    and an empty word, once with an argument too many, and in stage 4 also without a NAME. Each time it must print a line with the word usage on stderr and
    end with exit status 2 within 1.5 seconds. It may not connect.
    """
    first = first_arguments(lab)
    for port in BAD_PORTS:
        _expect_usage(lab, "client", (*first, "127.0.0.1", port))
    listener = lab.listen()
    _expect_usage(lab, "client", (*first, "127.0.0.1", str(listener.getsockname()[1]), "more"))
    if lab.stage == 4:
        _expect_usage(lab, "client", ())
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return
    lab.fail("Your client connected although it was called with too many arguments.")


@check("server.occupied_port", points={1: 0.5, 2: 0.25, 3: 0.5, 4: 0.25}, todo={1: "1.2", 2: "2.6", 3: "3.1", 4: "4.6"}, hints=(
    "What does bind() return when somebody else has the port?",
    "After this call has failed, which later lines can still make sense?",
    "Print which call failed and strerror(errno) to stderr, and exit with 1.",
))
def test_the_server_says_so_when_its_port_is_occupied(lab: Lab) -> None:
    """Every call can fail; a server that cannot listen says why and ends.

    Another program already listens on the port that the server is given. The server must name on stderr the call
    (bind or listen) or the reason (in use), and end with exit status 1.
    """
    port = lab.listen().getsockname()[1]
    server = lab.run("server", str(port))
    server.expect_exit(1, cause="The port was occupied: your server should say what failed and exit with status 1.")
    said = " ".join(server.error_lines()).lower()
    lab.require(any(word in said for word in ("in use", "eaddrinuse", "bind", "listen")),
                "On an occupied port your server should name on stderr what failed and why (server: bind: Address already in use).")


@check("server.bad_address", points={1: 0.25}, todo="1.2", hints=(
    "inet_pton() has three different results. Do you look at all of them?",
    "192.0.2.1 is a well-formed address, only not one of this machine. Which call says so?",
    "bind() fails with EADDRNOTAVAIL: print which call failed and strerror(errno) to stderr, and exit with 1.",
))
def test_the_server_refuses_an_address_that_is_not_its_own(lab: Lab) -> None:
    """Only an address of this machine can be bound (192.0.2.1 is kept for examples, RFC 5737).

    The server is started with the address 192.0.2.1. It must print an error on stderr and end with
    exit status 1. With an address of 70 letters x it must print an error and end with 1 or 2.
    """
    server = lab.run("server", str(ports.take()), "192.0.2.1")
    server.expect_exit(1, cause="192.0.2.1 is no address of this machine: your server should say what failed and exit with status 1.")
    server.expect_error()
    server = lab.run("server", str(ports.take()), "x" * 70)  # neither an address nor, being too long for one, a name
    server.expect_exit((1, 2), cause="The ADDRESS was text that is no address: your server should say so and end.")
    server.expect_error()


@check("client.refused", points={1: 0.5, 2: 0.25, 4: 0.25}, todo={1: "1.6", 2: "2.7", 4: "4.8"}, hints=(
    "What does connect() return when nobody listens? And inet_pton(), when HOST is no address?",
    "After one of these calls has failed, is there anything left that the client can do?",
    "Print which call failed and strerror(errno) to stderr, and exit with 1.",
))
def test_the_client_says_so_when_nobody_listens(lab: Lab) -> None:
    """connect() fails at once when no server has the port.

    The client is started with a port on which nobody listens. It must name on stderr the call (connect) or the
    reason (refused), and end with exit status 1. With 70 letters x for HOST it must print an error and end with 1 or 2.
    """
    listener = lab.listen()
    where = listener.getsockname()
    listener.close()
    first = first_arguments(lab)
    client = lab.client(where, *first)
    # It may try again for some seconds.
    client.expect_exit(1, seconds=10, cause="Nobody listened on the port: your client should say what failed and exit with status 1.")
    said = " ".join(client.error_lines()).lower()
    lab.require("refused" in said or "connect" in said,  # ECONNREFUSED, too
                "When nobody listens, your client should name on stderr what failed and why (client: connect: Connection refused).")
    client = lab.client(("x" * 70, lab.listen().getsockname()[1]), *first)  # no address, and too long for a name
    client.expect_exit((1, 2), cause="The HOST was text that is no address: your client should say so and end.")
    client.expect_error()


@check("server.restart", points={1: 0.5, 2: 0.25, 3: 0.5, 4: 0.25}, todo={1: "1.2", 2: "2.6", 3: "3.1", 4: "4.6"}, about=(ENDED, NO_LISTENER), hints=(
    "The old connection stays in TIME_WAIT for a minute. What does bind() say to that?",
    "A socket option tells bind() not to mind such connections. Which one, and when must it be set?",
    "SO_REUSEADDR must be set to 1, and before bind().",
))
def test_the_server_can_be_started_again_at_once(lab: Lab) -> None:
    """Who closes first keeps the connection in TIME_WAIT; a new server must not wait for its end.

    A client is served until the server has closed the connection (in stage 1 after the answer, later after BYE).
    The server is killed and started again on the same port: it must listen there, and a client must be able to
    connect.
    """
    server = lab.server()
    peer = lab.connect(server)
    if lab.stage == 1:
        peer.send(b"hello")
        peer.expect(b"hello")
    else:
        peer.send_message(b"QUIT")
        peer.expect_message(b"BYE")
    peer.expect_end()
    peer.close()
    server.end()
    again = lab.server(port=server.address[1])
    lab.connect(again)
