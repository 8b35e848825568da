"""Advice: each rule on the mistake and on its neighbour that is right, and on everything that is right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from grader.advice import RULES, advice, without_comments, without_strings
from grader.harness.build import KIT, STAGES
from grader.selftest.corpus import Patch, apply, variants

MOST_SECONDS = 10  # of a processor
THREAD = "void serve(int fd) { pthread_create(&t, 0, run, 0); }\n"


def written(tmp_path: Path, code: str, stage: int = 4, file: str = "server.c") -> list[dict]:
    """The advice on one file with this code."""
    directory = tmp_path / STAGES[stage]
    directory.mkdir(parents=True)
    (directory / file).write_text(code, encoding="utf-8")
    return advice(tmp_path)


def body(statements: str) -> str:
    return f"int f(int fd)\n{{\n{statements}\n}}\n"


MISTAKES = {
    "A02": [body("memset(&where, '0', sizeof where);"), body("memset(buffer,\n  '0' , sizeof(buffer));")],
    "A08": [body("if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR | SO_REUSEPORT, &yes, sizeof yes)) return 1;"),
            body("setsockopt(fd, SOL_SOCKET, (SO_REUSEADDR|SO_KEEPALIVE), &yes, sizeof(int));")],
    "A26": [body("gets(line);"), body('return scanf("%s", line);'), body('fscanf(stdin, "%d %[^\\n]", &n, line);')],
    "A28": [body("struct linger now = {1, 0};\nsetsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);"),
            body("now.l_onoff = 1;\nnow.l_linger = 0;\nsetsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);")],
    "B31": [body("send(fd, a, 3, 0);\nusleep(1000);\nsend(fd, b, 3, 0);"), body("while (1) { frame_send(fd, line); sleep(1); }"),
            body('if (send(fd, a, 3, 0) == -1) fprintf(stderr, "%s", strerror(errno));\nusleep(1000);'),
            body("read_message(fd, line);\nusleep(1000);"), body("sendAll(fd, a);\nsleep(1);")],
    "C04": [body("int *arg = malloc(sizeof *arg);\npthread_create(&t, NULL, run, arg);"),
            body("struct c *c;\nc = (struct c *)calloc(1, sizeof *c);\npthread_create(&t, NULL, run, (void *)c);")],
    "C19": [THREAD + body('char *word = strtok(line, " ");'), THREAD + body('printf("%s", inet_ntoa(peer.sin_addr));'),
            THREAD + body("return localtime(&now)->tm_hour;")],
    "C20": ["void run(int *fd) { use(fd); }\n" + body("pthread_create(&t, NULL, (void *(*)(void *))run, &x);"),
            "static int run(void *p) { return 0; }\n" + body("pthread_create(&t, NULL, (void *)run, &x);")],
    "E11": [body("fcntl(fd, F_SETFD, O_NONBLOCK);"), body("int flags = fcntl(fd, F_GETFD);\nflags |= O_NONBLOCK;\nfcntl(fd, F_SETFD, flags);")],
}

RIGHT = {
    "A02": [body("memset(&where, 0, sizeof where);"), body("memset(digits, '0', width);"), body("memset(&where, '\\0', sizeof where);"),
            body("/* memset(&where, '0', sizeof where); */")],
    "A08": [body("setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);\nsetsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);"),
            body("flags = SO_REUSEADDR | SO_REUSEPORT;")],
    "A26": [body("fgets(line, sizeof line, stdin);"), body('scanf("%31s", line);'), body('scanf("%d%%s", &n);'), body('scanf("%ms %*s", &line);'),
            body('puts("gets(line); scanf(\\"%s\\", line);");'), body("mygets(line); file.gets(line); file->gets(line);"),
            "static char *gets(char *into) { return into; }\n" + body("gets(line);")],
    "A28": [body("struct linger a_while = {1, 5};\nsetsockopt(fd, SOL_SOCKET, SO_LINGER, &a_while, sizeof a_while);"),
            body("struct linger off = {0, 0};\nsetsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);")],
    "B31": [body("if (start_thread(fd) == -1) sleep(1);"), body("resend_later(fd);\nspread(fd);\nsleep(1);"),
            body("if (accept(fd, 0, 0) == -1) { usleep(1000); write(2, a, 3); }"), body("if (send(fd, a, 3, MSG_DONTWAIT) < 0 && errno == EAGAIN) usleep(1000);"),
            body("sleep(1);"), body("unsigned int sleep(unsigned int seconds);\nsend(fd, a, 3, 0);"), body("send(fd, a, 3, 0); // sleep(1)")],
    "C04": [body("int *arg = malloc(sizeof *arg);\npthread_create(&t, NULL, run, arg);\nfree(arg);"), body("pthread_create(&t, NULL, run, &table[n]);")],
    "C19": [body('char *word = strtok(line, " ");'), THREAD + body('char *word = strtok_r(line, " ", &rest);'),
            "int main(int argc, char **argv) { strtok(argv[1], x); pthread_create(&t, 0, run, 0); }\n",
            THREAD + "static char *ctime(int n) { return names[n]; }\n" + body("return ctime(3);")],
    "C20": ["static void *run(void *p) { return p; }\n" + body("pthread_create(&t, NULL, (void *(*)(void *))run, &x);"),
            "void *run(void *p) { return p; }\n" + body("pthread_create(&t, NULL, run, (void *)(intptr_t)fd);"),
            body("pthread_create(&t, NULL, (void *(*)(void *))of_another_file, &x);")],
    "E11": [body("fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);"), body("fcntl(fd, F_SETFD, FD_CLOEXEC);"),
            body("int flags = FD_CLOEXEC;\nfcntl(fd, F_SETFD, flags);")],
}


def cases(table: dict[str, list[str]]) -> list:
    return [pytest.param(row, code, id=f"{row}-{number}") for row, codes in table.items() for number, code in enumerate(codes)]


@pytest.mark.parametrize(("row", "code"), cases(MISTAKES))
def test_the_mistake_is_found(row: str, code: str, tmp_path: Path) -> None:
    found = written(tmp_path, code)
    assert [one["row"] for one in found] == [row]
    assert found[0]["file"] == "stage4_relay/server.c"
    assert 20 < len(found[0]["text"]) <= 140 and "{" not in found[0]["text"]


@pytest.mark.parametrize(("row", "code"), cases(RIGHT))
def test_its_neighbour_is_not(row: str, code: str, tmp_path: Path) -> None:
    assert [one for one in written(tmp_path, code) if one["row"] == row] == []


def test_every_rule_is_tested() -> None:
    assert {rule.row for rule in RULES} == set(MISTAKES) == set(RIGHT)
    assert all(len(rule.text) <= 140 for rule in RULES)


def test_the_line_is_the_line_of_the_call(tmp_path: Path) -> None:
    code = '/* one\n two */\nchar *s = "// \\"{";\n' + body("  if (x)\n    memset(&a, '0',\n      sizeof a);")
    assert [one["line"] for one in written(tmp_path, code)] == [7]


def test_what_is_special_to_threads_is_not_said_of_a_client_or_an_earlier_stage(tmp_path: Path) -> None:
    assert written(tmp_path / "client", MISTAKES["C19"][0], file="client.c") == []
    assert written(tmp_path / "stage2", MISTAKES["C19"][0], stage=2, file="framing.c") == []


def test_comments_and_strings_leave_every_place_as_it_was() -> None:
    text = "a /* \"b */ 'c' \"d /* e\" // f \\\n g\n'\"' h '\\'' \"\\\\\" i \"open\n#if 0\n#ifdef j\nj\n#else\nj\n#endif\n#else\nk\n#endif\n/* open"
    plain = without_comments(text)
    code = without_strings(plain)
    assert len(plain) == len(code) == len(text) and plain.count("\n") == code.count("\n") == text.count("\n")
    assert "".join(code.split()) == "a'c'\"\"''h''\"\"i\"#if0k#endif"


@pytest.mark.parametrize("text", ["", "\0" * 50, "{" * 5000, "(" * 5000, "memset(" * 3000, "/*" * 3000, '"' * 3001, "}" * 300 + "int f() { gets(", "#if 0\n" * 20000,
                                  body("sleep(1);send(" * 20000), "int f() { gets(x); }\n" * 20000, body("pthread_create(a,b,(c)d,e);" * 9000), body("sleep(1);" * 300 + "send_" * 30000)], ids=range(13))
def test_strange_files_are_read_in_peace_and_in_little_time(text: str, tmp_path: Path) -> None:
    start = time.process_time()
    written(tmp_path, text)
    assert time.process_time() - start < MOST_SECONDS


def test_nothing_is_said_of_what_is_right() -> None:
    assert advice(KIT / "solutions") == []
    assert advice(KIT) == []


@pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
def test_nothing_is_said_of_a_correct_variant(variant: Patch, tmp_path: Path) -> None:
    assert advice(apply(variant, tmp_path / "submission")) == []
