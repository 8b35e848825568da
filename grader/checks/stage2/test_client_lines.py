"""The client's way out: each line of stdin becomes one message, in its turn."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import answer, client_with_peer, say_goodbye, text
from grader.harness.failures import SURPLUS, UNPRINTED
from grader.harness.lab import Lab
from grader.harness.wire import encode


@check("client.lines", points={2: 0.25}, todo="2.7", about=(SURPLUS,), hints=(
    "Compare what your client sends with what the handout says: body, DONE, nothing else.",
    "The newline ends the line for you; it is not a part of the message.",
    "A zero byte at the end of your string is not a part of the message either."))
def test_each_line_becomes_one_message(lab: Lab) -> None:
    """The user types lines, the wire carries messages: the newline stays behind.

    Nine lines are typed one by one, with spaces, a tab, percent signs, UTF-8 and bytes that are no text. For each, the
    bytes of the line and DONE must arrive, and nothing else; the reply to it must be printed. Two more are answered with
    BYE and with a word behind ERR: only the end of the connection is the end.
    """
    client, peer = client_with_peer(lab)
    for line in (b"hello", b"two words", b"  spaces  around  ", b"   ", b"\ttab", b"%s %d %n", b"x", "größe €".encode(), b"\xff\xfe"):
        client.write(line + b"\n")
        answer(client, peer, line, b"got it")
    for word in (b"BYE", b"ERR is a word, too"):
        client.write(word + b"\n")
        answer(client, peer, word, word)
    client.write(b"still here\n")
    answer(client, peer, b"still here", b"yes")


@check("client.turns", points={2: 0.25}, todo="2.7", hints=(
    "Two lines were typed, and the reply to the first has not come. What may your client send?",
    "Send a line, wait for its reply, print it; only then take the next line.",
    "If sending and receiving are two loops in your program, make them one."))
def test_the_next_line_waits_for_the_reply(lab: Lab) -> None:
    """Question and answer take turns; so each reply belongs to the line before it.

    Three lines are typed at once. The server must receive one, and nothing more until it has replied, which it does after
    0.3 s. Every reply must be printed.
    """
    client, peer = client_with_peer(lab)
    client.write(b"first\nsecond\nthird\n")
    for line, following in ((b"first", b"second"), (b"second", b"third")):
        peer.expect(encode(line))
        lab.until(lambda: peer.received, 0.3)  # nothing can come later and prove it: the client waits for this side
        lab.require(not peer.received, f'Your client sent "{following.decode()}" before it had the reply to "{line.decode()}".')
        peer.send_message(b"reply to " + line)
        client.expect_line(b"reply to " + line)
    answer(client, peer, b"third", b"reply to third")


@check("client.reply_at_once", points={2: 0.25}, todo="2.7", about=(UNPRINTED,), hints=(
    "The reply has arrived, and the user types nothing. Is it on the screen?",
    "Does your client need the next line before it prints the reply to this one?",
    "Read one whole message after each line, print it with a newline, and do it before you read stdin again."))
def test_a_reply_is_printed_before_anything_else_is_typed(lab: Lab) -> None:
    """The user waits for the answer, not the answer for the user.

    Five lines are typed, each of them only when the reply to the one before is on stdout. Each must arrive as a
    message, and its reply be printed as a line.
    """
    client, peer = client_with_peer(lab)
    for number in range(5):
        client.write(b"question %d\n" % number)
        answer(client, peer, b"question %d" % number, b"answer %d" % number)


@check("client.pasted_lines", points={2: 0.25}, todo="2.7", hints=(
    "When many lines are pasted, one read() of stdin brings all of them.",
    "What becomes of the lines behind the first one in your buffer?",
    "fgets() and getline() cut stdin into lines for you; read() does not."))
def test_many_pasted_lines_are_sent_one_by_one(lab: Lab) -> None:
    """Stdin is a stream, too: lines arrive cut and joined like messages.

    100 lines are written to stdin at once. The server must receive every one as a message, in order; it replies to
    each, and every reply must be printed.
    """
    client, peer = client_with_peer(lab)
    lines = [b"line %d" % number for number in range(100)]
    client.write(b"\n".join(lines) + b"\n")
    for line in lines:
        answer(client, peer, line, b"got " + line)


@check("client.escapes", points={2: 0.5}, todo="2.2", hints=(
    "What if the user types the word DONE?",
    "Your client escapes what it sends in the same way as the server: before each backslash, before each DONE.",
    "'I am DONE' travels as 'I am \\DONEDONE', 'a\\b' as 'a\\\\bDONE'; a lone D stays as it is."))
def test_a_typed_DONE_or_backslash_is_escaped(lab: Lab) -> None:
    """A user may type anything; the protocol must not break on it.

    Nine lines with DONE, parts of DONE and backslashes are typed. Each must arrive with a backslash before each
    backslash and before each D that begins a DONE, and nowhere else.
    """
    client, peer = client_with_peer(lab)
    for line in (b"I am DONE", b"DONE", b"a\\b", b"\\", b"\\DONE", b"DODONE", b"D DO DON done", b"DONE\\", b"DONE and DONE"):
        client.write(line + b"\n")
        answer(client, peer, line, b"got it")


@check("client.empty_line", points={2: 0.25}, todo="2.7", hints=(
    "The user presses Enter and nothing else. Is that a line?",
    "An empty line is a message with an empty body: four bytes on the wire.",
    "Take the newline off only if it is there, and do not take a length of 0 for the end."))
def test_an_empty_line_is_an_empty_message(lab: Lab) -> None:
    """Nothing is also something that can be said; only the end of input is the end.

    Empty lines are typed: one alone, then two with another line behind them. For each of them DONE alone must
    arrive, and the reply to it must be printed; the first is answered with an empty message, which is an empty line.
    """
    client, peer = client_with_peer(lab)
    client.write(b"\n")
    answer(client, peer, b"", b"")
    client.write(b"\n\nafter\n")
    answer(client, peer, b"", b"second")
    answer(client, peer, b"", b"third")
    answer(client, peer, b"after", b"fourth")


@check("client.last_line", points={2: 0.25}, todo="2.7", about=(SURPLUS,), hints=(
    "A file need not end with a newline. What happens to its last line?",
    "Did your client cut off the last letter, or forget the line? And is QUIT without a newline still QUIT?",
    "Remove the last byte only if it is a newline."))
def test_a_last_line_without_newline_counts(lab: Lab) -> None:
    """printf 'hello' | ./client is a use of your client like any other.

    Two lines are typed, the second without a newline, and stdin ends. The server must receive both as messages,
    then QUIT; after BYE and the close the exit status must be 0. The same with QUIT as such a last line: it must arrive
    once.
    """
    client, peer = client_with_peer(lab)
    client.write(b"first\nlast words")
    client.close_stdin()
    answer(client, peer, b"first", b"one")
    answer(client, peer, b"last words", b"two")
    say_goodbye(client, peer)
    client, peer = client_with_peer(lab)
    client.write(b"QUIT")
    client.close_stdin()
    say_goodbye(client, peer)


@check("client.long_line", points={2: 0.25}, todo="2.7", hints=(
    "A line of 4096 bytes is one legal message. How large is your buffer for a line?",
    "fgets() with a small buffer returns a long line in parts: each part looks like a line.",
    "Leave room for the newline and the zero byte, or use getline(); and for twice the bytes after escaping."))
def test_a_line_of_4096_bytes_is_one_message(lab: Lab) -> None:
    """The longest legal line travels whole, even if every byte of it must be escaped.

    Lines of 1024, 4095 and 4096 letters, one of 4096 backslashes, a short one, and 4096 letters without a newline at the
    end of stdin are typed. Each must arrive as one message, rightly escaped, and the reply to it be printed.
    """
    client, peer = client_with_peer(lab)
    for line in (text(1024), text(4095), text(4096), b"\\" * 4096, b"short"):
        client.write(line + b"\n")
        answer(client, peer, line, b"got it")
    client.write(text(4096, 7))
    client.close_stdin()
    answer(client, peer, text(4096, 7), b"got it")


@check("client.too_long_line", points={2: 0.5}, todo="2.7", hints=(
    "A line of 4097 bytes is too long for a message. Who should notice it first?",
    "Say so on stderr, send nothing of that line, and go on with the next one.",
    "If your buffer is full and no newline has come, the rest, up to the newline or the end of stdin, must be thrown away, too."))
def test_a_longer_line_is_refused_and_the_next_one_is_sent(lab: Lab) -> None:
    """A client keeps to the protocol's limits itself, and one bad line costs only that line.

    Lines of 4097, 5000 and 20000 bytes are typed, each with the line after behind it. The server must receive after
    each time, and nothing of the long lines. There must be an error on stderr; at the end of stdin, behind 4097 bytes
    without a newline, QUIT must arrive, and the exit status must be 0.
    """
    client, peer = client_with_peer(lab)
    for size in (4097, 5000, 20000):
        client.write(text(size) + b"\nafter\n")
        answer(client, peer, b"after", b"still here")
    client.expect_error()
    client.write(text(4097))
    client.close_stdin()
    say_goodbye(client, peer)
