"""The hints fit the failure, and its words say what was due."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import hint
from grader.execution import Choice
from grader.harness import failures
from grader.harness.build import KIT, Build
from grader.harness.failures import CRASH, ENDED, EXIT_STATUS, KINDS, NO_LISTENER, NO_NEWLINE, NOT_CLOSED, SIGPIPE, SURPLUS, UNPRINTED, Failed
from grader.harness.lab import Lab
from grader.harness.program import _shown
from grader.record import Outcome, Record
from grader.report.wrap import wrap
from grader.session import all_specs, run

MAX_HINT = 150
SPECS = {spec.id: spec for spec in all_specs()}
NARROW = 67  # columns beside "hint 1/3" on a terminal of 80


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(("stage", "role"), [(1, "client"), (4, "server")])
def test_each_kind_has_three_short_hints_of_which_the_first_fits_the_screen(kind: str, stage: int, role: str) -> None:
    hints = failures.hints(kind, stage, role)
    assert len(hints) == 3 and [h for h in hints if len(h) > MAX_HINT or "{" in h] == []
    assert len(wrap(hints[0], NARROW)) <= 2, hints[0]


def test_what_is_not_written_may_be_in_an_earlier_stage() -> None:
    assert "stage3" not in " ".join(failures.hints(failures.NOT_WRITTEN, 3, "server"))


def test_what_a_check_is_about_is_a_kind_and_its_first_hint_fits_the_screen() -> None:
    for spec in SPECS.values():
        assert set(spec.about) <= KINDS, spec.id
        assert len(wrap(spec.hints[0], NARROW)) <= 2, spec.id


def test_a_kind_that_is_raised_has_hints() -> None:
    names = {name for name, value in vars(failures).items() if name.isupper() and isinstance(value, str) and not name.startswith("_")}
    assert {getattr(failures, name) for name in names} == KINDS | {failures.REPORTED}


def test_the_hints_of_a_failure_replace_those_of_a_check_that_is_not_about_it(tmp_path: Path) -> None:
    restart, silent = SPECS["stage1.server.restart"], SPECS["stage1.server.silent_client"]
    record = Record(tmp_path / "record.json", "somebody")
    record.add([restart, silent], "make check ONLY=", lambda _spec: True)
    for spec in (restart, silent):
        record.set(spec.id, Outcome("failed", "It is open.", kind=NOT_CLOSED))
    first, second = record.as_dict()["checks"]
    assert first["hints"] == failures.hints(NOT_CLOSED, 1, "server") and second["hints"] == list(silent.hints)
    record.set(restart.id, Outcome("passed"))
    assert record.as_dict()["checks"][0]["hints"] == list(restart.hints)


def _broken(tmp_path: Path, file: str, right: str, wrong: str) -> Path:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    path = source / file
    text = path.read_text()
    assert text.count(right) == 1, text
    path.write_text(text.replace(right, wrong))
    return source


NET_ANSWER = "(size_t)len, MSG_NOSIGNAL)"
LINE = "    print_message(message, (size_t)len);\n"


@pytest.mark.parametrize(("right", "wrong", "id", "kind", "words"), [
    (LINE, LINE + "    abort();\n", "server.basic", CRASH,
     "`make SAN=asan stage1`, then run `build/asan/stage1_echo/server` by hand and do the same: it names the line."),
    (LINE, LINE + "    exit(3);\n", "server.basic", ENDED, "ended by itself with exit status 3"),
    (LINE, LINE + "    signal(SIGPIPE, SIG_DFL);\n    raise(SIGPIPE);\n", "server.basic", SIGPIPE, "SIGPIPE"),
    (LINE, "", "server.basic", UNPRINTED,
     'Nothing arrived on stdout, where your server should print the line "received: hello": does it end with \\n, and is it flushed?'),
    (LINE, '    fwrite("received: ", 1, 10, stdout); fwrite(message, 1, (size_t)len, stdout); fflush(stdout);\n', "server.basic", NO_NEWLINE,
     'printed "received: hello" without the newline that ends the line.'),
    (NET_ANSWER, "(size_t)len + 1, MSG_NOSIGNAL)", "server.any_bytes", SURPLUS, "sent 256 bytes to client 1 where 255 were due: behind"),
    ("int main(int argc, char **argv)\n{\n", "int main(int argc, char **argv)\n{\n    pause();\n", "server.basic", NO_LISTENER, "does not listen on"),
], ids=["crash", "ended", "sigpipe", "unprinted", "no_newline", "surplus", "no_listener"])
def test_a_failure_of_the_server_has_its_kind_its_words_and_its_hints(right: str, wrong: str, id: str, kind: str, words: str, tmp_path: Path) -> None:
    source = _broken(tmp_path, "stage1_echo/server.c", right, wrong)
    path = source / "stage1_echo" / "server.c"
    path.write_text("#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n" + path.read_text())
    record = run(source, tmp_path / "out", Choice(only=f"stage1.{id}"))
    check = next(c for c in record["checks"] if c["id"] == f"stage1.{id}")
    assert check["verdict"] == "failed" and words in check["cause"], check["cause"]
    assert check["kind"] == kind and check["hints"] == failures.hints(kind, 1, "server"), check


def test_a_client_without_a_newline_is_told_so(tmp_path: Path) -> None:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    (source / "stage1_echo" / "client.c").write_text(
        '#include "net.h"\n#include <stdio.h>\n#include <sys/socket.h>\n#include <unistd.h>\n'
        "int main(int argc, char **argv)\n{\n    const char *failed;\n    char reply[1000];\n"
        "    int fd = net_connect(argv[2], net_parse_port(argv[3]), &failed);\n    send(fd, argv[1], 5, 0);\n"
        '    long len = recv(fd, reply, sizeof reply, 0);\n    printf("reply: %.*s", (int)len, reply);\n\n    return 0;\n}\n')
    record = run(source, tmp_path / "out", Choice(only="stage1.client.basic"))
    checks = {c["id"]: c for c in record["checks"]}
    basic = checks["stage1.client.basic"]
    assert (basic["kind"], basic["cause"]) == (NO_NEWLINE, 'Your client printed "reply: world" without the newline that ends the line.')


def test_an_exit_status_that_was_not_due_comes_with_the_last_words(tmp_path: Path) -> None:
    source = _broken(tmp_path, "stage1_echo/client.c", "int main(int argc, char **argv)\n{\n",
                     'static void odd(void)\n{\n    fprintf(stderr, "client: odd\\n");\n    _Exit(4);\n}\n\n'
                     "int main(int argc, char **argv)\n{\n    atexit(odd);\n")
    path = source / "stage1_echo" / "client.c"
    path.write_text("#include <stdlib.h>\n" + path.read_text())
    record = run(source, tmp_path / "out", Choice(only="stage1.client.reply"))
    check = next(c for c in record["checks"] if c["id"] == "stage1.client.reply")
    assert check["kind"] == EXIT_STATUS and "ended with exit status 4 where 0 was due" in check["cause"], check


def test_make_hint_shows_the_hints_of_the_last_failure(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    spec, path = SPECS["stage1.server.restart"], tmp_path / "record.json"
    crash = failures.hints(CRASH, 1, "server")

    def said(verdict: str) -> str:
        path.write_text(json.dumps({"checks": [{"id": spec.id, "verdict": verdict, "cause": "It died.", "kind": CRASH, "hints": crash}]}))
        assert hint.show_next(spec.id, tmp_path / "hints.json", path) == 0
        text = capsys.readouterr().out
        assert all(len(line) <= 60 for line in text.splitlines()), text
        return text

    first, second, passed = said("failed"), said("failed"), said("passed")
    assert "`build/asan/stage1_echo/server`" in first and "It died." in first
    assert "hint 3/3" in second and " ".join(crash[2].split()) in " ".join(second.split())
    assert "It died." not in passed and spec.hints[0][:30] in passed
    assert "hint 3/3" not in first + passed, "the hints of each kind are counted for themselves"
    assert "TODO 1.2" in said("passed") and "TODO" not in second, "the TODO is about what the check is about"


@pytest.fixture
def talking(tmp_path: Path) -> Iterator:
    """A lab in which the solution's server answers QUIT, for words about what it sends."""
    lab = Lab(2, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    yield lab
    lab.close()


@pytest.mark.parametrize(("sent", "expected", "words"), [
    (b"QUITXDONE", b"BYEDONE", 'sent "QUITXDONE" to client 1 instead of "BYEDONE" (9 bytes instead of 7).'),
    (b"xbodyDONE", b"bodyDONE", 'sent "x" to client 1 before "bodyDONE", which nobody asked for.'),
    (b"firDONEsecondDONE", b"firstDONE", 'sent "firDONEsecondDONE" to client 1 instead of "firstDONE" (17 bytes instead of 9).'),
])
def test_whole_messages_stand_in_a_cause(talking: Lab, sent: bytes, expected: bytes, words: str) -> None:
    peer = talking.connect(talking.server())
    peer.send(sent)
    with pytest.raises(Failed) as failure:
        peer.expect(expected)
    assert words in failure.value.cause, failure.value.cause


def test_what_came_together_with_an_answer_is_found_with_the_next_one(talking: Lab) -> None:
    peer = talking.connect(talking.server())
    peer.send(b"oneDONEtwoDONE")
    assert talking.until(lambda: peer.received == b"oneDONEtwoDONE")
    peer.expect_message(b"one")
    assert peer.received == b"twoDONE"
    peer.send(b"threeDONE")
    with pytest.raises(Failed) as failure:
        peer.expect(b"threeDONE")
    assert failure.value.kind == SURPLUS and '"twoDONE"' in failure.value.cause, failure.value.cause


def test_one_byte_is_not_1_bytes_and_what_follows_is_counted(talking: Lab) -> None:
    peer = talking.connect(talking.server())
    peer.send(b"hDONE")
    assert talking.until(lambda: len(peer.received) == 5)
    with pytest.raises(Failed) as failure:
        peer.expect(b"hDONEand more of it", seconds=0.2)
    assert "5 bytes of 19" in failure.value.cause
    peer.received[:] = b"h"
    with pytest.raises(Failed) as failure:
        peer.expect(b"hello", seconds=0.2)
    assert "1 byte of 5" in failure.value.cause, failure.value.cause


@pytest.mark.parametrize(("printed", "kind", "words"), [
    (b"", UNPRINTED, "Nothing arrived on stdout, where your server should print"),
    (b"\n", "", 'did not print the line "received: x" on stdout; it printed only an empty line.'),
    (b"\nmore\n", "", 'did not print the line "received: x" on stdout; it printed "more".'),
])
def test_an_empty_line_is_not_nothing(talking: Lab, printed: bytes, kind: str, words: str) -> None:
    server = talking.server()
    server.output[:] = printed
    with pytest.raises(Failed) as failure:
        server.expect_line(b"received: x", seconds=0.1)
    assert failure.value.kind == kind and words in failure.value.cause, failure.value.cause


SENDS = "    if (frame_write(reader->fd, line, len) == -1)\n"


@pytest.mark.parametrize(("right", "wrong", "verdict"), [
    ('if (got == 1)\n        frame_print("",', 'if (got == 1)\n        frame_print("Reply: ",', "failed"),
    (SENDS, '    fputs("Reply: ", stdout);\n    fflush(stdout);\n' + SENDS, "passed"),
], ids=["printed with the reply", "printed before the line is sent"])
def test_what_stands_before_a_reply_is_a_prompt_if_it_was_there_before_the_reply_came(right: str, wrong: str, verdict: str, tmp_path: Path) -> None:
    source = _broken(tmp_path, "stage2_framing/client.c", right, wrong)
    record = run(source, tmp_path / "out", Choice(only="stage2.client.basic"))
    assert [c["verdict"] for c in record["checks"] if c["id"] == "stage2.client.basic"] == [verdict], record["checks"]


@pytest.mark.parametrize(("line", "right"), [
    (b"> hello", True), (b"you> > hello", True), (b"Message: Message: hello", True), (b"hello", True),
    (b"[12] alice: hello", True), (b"[12] alice: (9:00:01.1) [3] alice: hello", True), (b"[12] bob: hello", False), (b"[] alice: hello", False),
    (b"Reply: hello", False), (b">" * 4000 + b"!hello", False), (b"ab" * 2000 + b"!hello", False),
])
def test_only_prompts_may_stand_before_a_line_and_no_line_takes_long_to_judge(talking: Lab, line: bytes, right: bool) -> None:
    client = talking.server()
    for prompt in (b"Message: ", b"a", b"b", b"ab", b"ba", b"aba", b"[3] alice: [4] alice: ", b"(22:08:20.790) "):
        client._learn_prompt(prompt)
    assert client._matches(line, b"hello") == right


@pytest.mark.parametrize(("line", "shown"), [
    (b"\x1b[38:5:208mhello\x1b[m", b"hello"), (b"\x1b[2 qhello\x1b[!p\x1b[>4;1m", b"hello"), (b"\x1b]0;a title\x07hello\x0f", b"hello"),
    (b"you> \rhello\r", b"hello"), (b"waiting ...\x1b[2K\x1b[Ghello", b"hello"), (b"waiting\x1b[1Ghello", b"hello"),
    (b"waiting ...\x1b[2K\x1b[G", b""), (b"waiting ...\r\x1b[K", b""), (b"waiting ...\r           \r", b""),
    (b"waiting ...\r           \rhello", b"hello"), (b"hello\x1b[K", b"hello"), (b"hello\x1b[K\r", b"hello"),
    (b"> \b \b\b \bhello", b"hello"), (b"? \b\bx", b"x"), (b"? \b\b", b""), (b"\b\bhello", b"hello"),
    (b"hello world", b"hello world"), (b"a\x1bnd b", b"a\x1bnd b"), (b"one\rtwo", b"two")])
def test_a_line_is_taken_as_a_terminal_shows_it(line: bytes, shown: bytes) -> None:
    assert _shown(line) == shown


def test_a_line_is_parted_once_however_it_comes(talking: Lab) -> None:
    client = talking.server()
    for part, lines in ((b"one", []), (b"\n\ntwo\nth", [b"one", b"", b"two"]), (b"ree\n", [b"one", b"", b"two", b"three"])):
        client.output += part
        assert client.lines() == lines


def test_a_connection_that_was_reset_at_once_is_a_connection(talking: Lab) -> None:
    server = talking.server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        peer = talking.add_peer(ours, "client 1", server, listener.getsockname())
        talking.until(lambda: peer.ended)
        assert peer.ended == "reset"


@pytest.mark.parametrize("width", [20, 37, 77])
def test_no_escape_and_no_command_is_broken_across_lines(width: int) -> None:
    lines = wrap('Your server sent "' + "\\x89\\n" * 40 + '" and `make SAN=asan 1` then', width)
    assert all(len(line) <= width for line in lines), lines
    assert all(re.fullmatch(r'(?:\\x[0-9a-f]{2}|\\n|[^\\])*', line) for line in lines), lines
    assert any("`make SAN=asan 1`" in line for line in lines), lines


def test_a_text_that_is_cut_says_so() -> None:
    assert wrap("one two three four", 9, 2) == ["one two", "three ..."]
    assert wrap("one two", 9, 2) == ["one two"]
