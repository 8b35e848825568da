"""The client's way in: replies arrive cut and joined like every stream."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import answer, client_with_peer, text
from grader.harness.failures import EXIT_STATUS, STAYS, UNPRINTED
from grader.harness.lab import Lab
from grader.harness.wire import encode


@check("client.reply_in_pieces", points={2: 0.5}, todo="2.4", about=(UNPRINTED,), hints=(
    "The client is a receiver, too: what does one recv() bring it?",
    "Read until the DONE of the reply, however many calls it takes.",
    "Use for the client the same function that reads a message in your server."))
def test_a_reply_in_pieces_is_printed_whole(lab: Lab) -> None:
    """A reply may be cut anywhere, also in its DONE; the user sees one line.

    Five replies arrive in two pieces, cut in the body or in DONE; the second piece leaves when the client has read
    the first. Each must be printed as one line.
    """
    client, peer = client_with_peer(lab)
    for number, cut in enumerate((2, 5, 6, 7, 8)):
        body = b"part%d" % number
        client.write(b"again\n")
        peer.expect(encode(b"again"))
        peer.send_pieces(encode(body)[:cut], encode(body)[cut:])
        client.expect_line(body)


@check("client.reply_byte_by_byte", points={2: 0.25}, todo="2.4", about=(UNPRINTED,), hints=(
    "Here each recv() of your client returns one byte.",
    "Which of your variables remember what came before this byte?",
    "A half DONE, and a backslash, must be remembered between two recv() calls."))
def test_a_reply_may_come_byte_by_byte(lab: Lab) -> None:
    """The smallest piece is one byte, in this direction too.

    Three replies with an escaped DONE, a backslash and parts of DONE arrive one byte at a time, each when the one
    before has been read. Each must be printed as one line, without its escapes.
    """
    client, peer = client_with_peer(lab)
    for body in (b"slowly", b"DO not DON it", b"I am DONE \\ nearly"):
        client.write(b"tell me\n")
        peer.expect(encode(b"tell me"))
        peer.send_pieces(*(bytes([byte]) for byte in encode(body)))
        client.expect_line(body)


@check("client.replies_together", points={2: 0.5}, todo="2.7", about=(UNPRINTED,), hints=(
    "After QUIT several messages may arrive in one recv(). How many lines does your client print?",
    "What stands behind the first DONE in the buffer is the next message.",
    "Take messages out of the buffer until it holds no whole one; only then call recv() again."))
def test_messages_that_arrive_together_are_printed_one_by_one(lab: Lab) -> None:
    """One recv() may bring several messages: each gets its own line.

    When hello is answered and QUIT has arrived, the server sends 20 messages and BYE with one call, and closes.
    Each must be printed on a line of its own, in order, and the exit status must be 0.
    """
    client, peer = client_with_peer(lab)
    client.write(b"hello\nQUIT\n")
    answer(client, peer, b"hello", b"hello yourself")
    peer.expect(encode(b"QUIT"))
    bodies = [b"news number %d" % number for number in range(20)] + [b"BYE"]
    peer.send_message(*bodies)
    peer.close()
    for body in bodies:
        client.expect_line(body)
    client.expect_exit(0)


@check("client.unescapes", points={2: 0.5}, todo="2.3", about=(UNPRINTED,), hints=(
    "The user should see the text, not the wire: are there backslashes on the screen that nobody wrote?",
    "Drop a backslash and take the byte behind it as it is, whatever it is.",
    "The client's reader and the server's reader do the same work: one function can serve both."))
def test_a_reply_is_printed_without_its_escapes(lab: Lab) -> None:
    """Escapes belong to the journey; they are gone when the text has arrived.

    Seven replies are sent, with escapes that are needed and such as no sender needs (a backslash before an h), and
    with percent signs. For each a line with exactly its body must be printed.
    """
    client, peer = client_with_peer(lab)
    for wire, body in ((b"I am \\DONEDONE", b"I am DONE"), (b"a\\\\bDONE", b"a\\b"), (b"\\DONEDONE", b"DONE"),
                       (b"\\\\DONE", b"\\"), (b"\\h\\e\\y\\nDONE", b"heyn"), (b"%s%d%nDONE", b"%s%d%n"),
                       (b"D\\ONE now DODONE", b"DONE now DO")):
        client.write(b"tell me\n")
        peer.expect(encode(b"tell me"))
        peer.send(wire)
        client.expect_line(body)


@check("client.long_replies", points={2: 0.25}, todo="2.4", about=(UNPRINTED,), hints=(
    "A reply may have 4096 bytes. How large is the client's buffer?",
    "Does a long reply appear as one line, and is a short one behind it clean?",
    "The largest body and its DONE need room together, and on the wire the body may be twice as long."))
def test_long_replies_are_printed_whole(lab: Lab) -> None:
    """Sizes matter to a receiver on either side of the connection.

    Replies of 3000, 5, 4096, 4096, 1 and 4096 bytes are sent; the second of 4096 is all backslashes, the last ends
    with DON. Each must be printed whole, and nothing with it.
    """
    client, peer = client_with_peer(lab)
    for reply in (text(3000), b"short", text(4096), b"\\" * 4096, b"x", text(4093, 5) + b"DON"):
        client.write(b"more\n")
        answer(client, peer, b"more", reply)


@check("client.too_long_reply", points={2: 0.25}, todo="2.7", about=(EXIT_STATUS, STAYS), hints=(
    "A server may be broken or hostile: what if its reply never ends?",
    "A body of more than 4096 bytes breaks the protocol; the client cannot go on after it.",
    "Say so on stderr, close, and exit with 1."))
def test_an_over_long_reply_ends_the_client(lab: Lab) -> None:
    """Nobody on a network is trusted with the size of your buffer.

    A reply of 4096 bytes must be printed. To the next line the server replies with 4097 bytes: the client must end
    with exit status 1. The same holds if they are sent after QUIT.
    """
    client, peer = client_with_peer(lab)
    client.write(b"hello\n")
    answer(client, peer, b"hello", text(4096))
    client.write(b"again\n")
    peer.expect(encode(b"again"))
    peer.send(encode(text(4097)))
    client.expect_exit(1)
    client, peer = client_with_peer(lab)
    client.write(b"QUIT\n")
    peer.expect(encode(b"QUIT"))
    peer.send(encode(text(4097)))
    client.expect_exit(1)
