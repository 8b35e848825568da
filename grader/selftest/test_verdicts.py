"""The five verdicts: what luck and the grader's own faults cost, which is nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.checks.common import workload
from grader.execution import Choice, Run
from grader.harness.build import KIT, Build
from grader.harness.failures import REPORTED
from grader.harness.instrument import held_unlock, short
from grader.harness.lab import Failed, Lab
from grader.harness.program import Program
from grader.record import Outcome, Record
from grader.report.terminal import HEIGHT, WIDTH, screen
from grader.selftest.corpus import apply, mutant_named
from grader.session import all_specs, run


def _one(record: dict, id: str) -> dict:
    return next(c for c in record["checks"] if c["id"] == id)


def _ends_once(source: Path) -> Path:
    """A submission whose server of stage 1 ends behind its first answer, and never again."""
    shutil.copytree(KIT / "solutions", source)
    server = source / "stage1_echo" / "server.c"
    text = server.read_text()
    assert text.count("    print_message(message, (size_t)len);\n") == 1
    server.write_text("#include <fcntl.h>\n" + text.replace(
        "    print_message(message, (size_t)len);\n",
        '    print_message(message, (size_t)len);\n    if (open("seen", O_CREAT | O_EXCL, 0600) != -1)\n        return 0;\n'))
    return source


def test_what_fails_once_and_passes_when_repeated_is_unstable_and_costs_nothing(tmp_path: Path) -> None:
    source = _ends_once(tmp_path / "work")
    check = _one(run(source, tmp_path / "out", Choice(only="stage1.server.basic")), "stage1.server.basic")
    assert check["verdict"] == "unstable" and check["points"] == check["max_points"]
    assert check["cause"].startswith("It failed once and passed when repeated.")


def test_a_check_that_is_run_several_times_has_one_verdict(tmp_path: Path) -> None:
    source = _ends_once(tmp_path / "work")
    check = _one(run(source, tmp_path / "out", Choice(only="stage1.server.basic", times=5)), "stage1.server.basic")
    assert check["verdict"] == "unstable" and check["cause"].startswith("Of 5 runs 4 passed, 1 unstable. It failed once"), check
    check = _one(run(KIT / "solutions", tmp_path / "out", Choice(only="stage1.server.basic", times=5)), "stage1.server.basic")
    assert check["verdict"] == "passed" and check["cause"] == ""


def test_an_error_of_the_grader_is_never_the_students_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments, **_options):
        raise RuntimeError("a bug of the grader")

    monkeypatch.setattr(Lab, "connect", broken)
    check = _one(run(KIT / "solutions", tmp_path, Choice(only="stage1.server.basic")), "stage1.server.basic")
    assert check["verdict"] == "grader error" and check["points"] == check["max_points"]
    assert "a bug of the grader" in check["cause"]


def test_a_record_says_not_run_until_a_check_has_ended(tmp_path: Path) -> None:
    spec = replace(all_specs()[0], id="stage1.server.x", points=1.0)
    record = Record(tmp_path / "record.json", "somebody")
    record.add([spec], "make check ONLY=", lambda _spec: True)
    assert record.as_dict()["checks"][0]["verdict"] == "not run" and record.as_dict()["score"] == 0
    record.set(spec.id, Outcome("passed"))
    assert record.as_dict()["score"] == 1.0


def test_what_a_program_says_cannot_steer_the_terminal_of_who_reads_the_record(tmp_path: Path) -> None:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    server = source / "stage1_echo" / "server.c"
    server.write_text(server.read_text().replace("int main(int argc, char **argv)\n{\n", 'int main(int argc, char **argv)\n{\n'
                                                 '    fprintf(stderr, "\\033[2J\\033[31mpassed\\n");\n    return 3;\n'))
    check = _one(run(source, tmp_path / "out", Choice(only="stage1.server.basic")), "stage1.server.basic")
    assert check["verdict"] == "failed" and "\\x1b[2J" in check["cause"], check["cause"]
    assert "\x1b" not in json.dumps(check, ensure_ascii=False)


SCRIBBLES = r'''
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
__attribute__((constructor)) static void scribble(void)
{
    const char *path = getenv("RELAYLAB_INSTRUMENT");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd == -1)
        return;
    unsigned char *page = mmap(NULL, 400000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int i = 4; i < 400000; i++)
        page[i] = 0xfb;
}
'''


@pytest.mark.parametrize("trick", [SCRIBBLES, '#line 7 "\udcff.c"\n'], ids=["a_page_that_was_scribbled_into", "a_name_that_is_not_UTF8"])
def test_what_keeps_the_grader_from_explaining_gives_no_points(trick: str, tmp_path: Path) -> None:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    server = source / "stage1_echo" / "server.c"
    text = server.read_text()
    assert text.count("(size_t)len, MSG_NOSIGNAL)") == 1
    wrong = text.replace("(size_t)len, MSG_NOSIGNAL)", "(size_t)len - 1, MSG_NOSIGNAL)").replace("/* Receives one", trick + "/* Receives one")
    server.write_text(wrong, encoding="utf-8", errors="surrogateescape")
    check = _one(run(source, tmp_path / "out", Choice(only="stage1.server.basic")), "stage1.server.basic")
    assert check["verdict"] == "failed" and check["points"] == 0, check


# What a program can do to the page that it shares with the grader; see "What the instrument cannot do" in README.md.
FORGES = r'''
#include "%s/grader/harness/instrument/instrument.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
__attribute__((constructor)) static void forge(void)
{
    const char *path = getenv("RELAYLAB_INSTRUMENT");
    int file = path ? open(path, O_RDWR) : -1;
    if (file == -1)
        return;
    struct page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    %s
}
'''
PRETENDS = "for (int i = 0; i < RULES; i++) page->rules[i].met = page->rules[i].seen = page->rules[i].hits = 0x7fffffff;"
DISARMS = "for (int i = 0; i < RULES; i++) page->rules[i].armed = 0;"
A_DIRECTORY_INSTEAD = "unlink(path); mkdir(path, 0700);"
CUTS_SHORT = "if (truncate(path, 0) == -1) return;"
CALLS_THAT_NEVER_WERE = r'''
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    page->calls_len = 0xf0000000; /* 0xffffffff would be 0 again with the next call */
    for (int i = 0; i < CALLS; i++) {
        struct call *call = &page->calls[i];
        call->began = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)i * (i % 3 ? 1000 : 0x123456789abcdu);
        call->ended = i % 5 ? call->began + 1 : (uint64_t)i * 0xfffffffffu;
        call->from = 0x1000 + (uint64_t)i * (i % 7 ? 16 : 0xffffffffffffu);
        call->asked = -i;
        call->result = i % 2 ? i * 0x7fffffffffffll : -i;
        call->state = i % 11 ? CALL_ENDED : CALL_BEGUN;
        call->thread = (int)getpid() + i % 2000 - 1000;
        call->function = (unsigned)i % 30;
        call->error = i - 100;
        call->fault = (unsigned)i % 20;
        call->size = (unsigned)i % 60;
        for (int k = 0; k < CALL_DATA; k++)
            call->data[k] = (char)(i + 0x80 * k);
    }
'''


def _forging(trick: str, file: str, right: str, wrong: str, directory: Path) -> Path:
    """The solutions with a mistake in one file, and with a program that writes into the page before main()."""
    source = directory / "work"
    shutil.copytree(KIT / "solutions", source)
    text = (source / file).read_text()
    assert text.count(right) == 1
    (source / file).write_text(FORGES % (KIT, trick) + text.replace(right, wrong))
    return source


@pytest.mark.parametrize(("trick", "verdict"), [(PRETENDS, "failed"), (DISARMS, "not reached"), (CALLS_THAT_NEVER_WERE, "failed"),
                                                (A_DIRECTORY_INSTEAD, "not reached"), (CUTS_SHORT, "failed")],
                         ids=["pretends_that_a_fault_was_met", "disarms_the_faults", "calls_that_never_were", "a_directory_in_its_place", "cuts_the_file_short"])
def test_who_writes_into_the_page_of_the_faults_gets_no_points_for_a_mistake(trick: str, verdict: str, tmp_path: Path) -> None:
    source = _forging(trick, "stage2_framing/framing.c", "        len -= (size_t)n;\n    }\n    return 0;", "        len = 0;\n    }\n    return 0;", tmp_path)
    check = _one(run(source, tmp_path / "out", Choice(only="stage2.server.short_send")), "stage2.server.short_send")
    assert check["verdict"] == verdict and check["points"] == 0, check


def test_calls_that_never_were_do_not_keep_a_hang_from_being_told(tmp_path: Path) -> None:
    source = _forging(CALLS_THAT_NEVER_WERE, "stage2_framing/server.c", "        int got = frame_read(", "        pause();\n        int got = frame_read(", tmp_path)
    check = _one(run(source, tmp_path / "out", Choice(only="stage2.server.basic")), "stage2.server.basic")
    assert check["verdict"] == "failed" and check["points"] == 0, check
    lines = [line for _style, line in screen(check)]
    assert len(lines) <= HEIGHT and all(len(line) <= WIDTH for line in lines), lines


def _outcome(verdict: str, kind: str = "", cause: str = "") -> Outcome:
    return Outcome(verdict, cause or verdict, kind=kind)


@pytest.mark.parametrize(("judged", "verdict", "cause"), [
    ([("failed", "traced")], "failed", "traced"),
    ([("passed", ""), ("passed", "")], "unstable", "It failed once and passed when repeated. The first time: first"),
    ([("grader error", ""), ("grader error", "")], "unstable", "It failed once and could not be judged when repeated. The first time: first"),
    ([("passed", ""), ("failed", "again")], "failed", "first"),
    ([("not reached", ""), ("failed", "again")], "failed", "first"),
], ids=["fails_again", "was_luck", "was_never_judged_again", "fails_only_as_it_is_built_for_students", "a_fault_was_not_met"])
def test_only_the_program_that_failed_can_show_that_it_was_luck(judged: list, verdict: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter(_outcome(verdict, cause=cause) for verdict, cause in judged)
    plan = object.__new__(Run)
    monkeypatch.setattr(Run, "_judge", lambda *_arguments, **_options: next(outcomes))
    repeated = plan._repeat(all_specs()[0], _outcome("failed", cause="first"))
    assert (repeated.verdict, repeated.cause) == (verdict, cause)


def test_what_a_tool_reports_the_second_time_explains_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = object.__new__(Run)
    monkeypatch.setattr(Run, "_judge", lambda *_arguments, **_options: _outcome("failed", REPORTED, "In your server, f() has a data race."))
    assert plan._repeat(all_specs()[0], _outcome("failed")).kind == REPORTED


def test_a_race_counts_that_is_still_being_reported_when_the_conversation_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def goes_wrong(lab: Lab, server: Program) -> None:
        for _ in range(8):
            lab.connect(server).send_message(b"hello")
        raise Failed("the first answer was wrong")

    monkeypatch.setattr(workload, "serve", goes_wrong)
    mutant = mutant_named("clients_counted_without_a_lock")
    check = _one(run(apply(mutant, tmp_path / "work"), tmp_path / "out", Choice(only=mutant.caught_by)), mutant.caught_by)
    assert check["verdict"] == "failed" and "has a data race" in check["cause"], check["cause"]


def test_a_fault_is_met_when_the_call_is_counted_later_than_its_bytes_arrive(tmp_path: Path) -> None:
    lab = Lab(2, Build(KIT / "solutions", tmp_path), logs=str(tmp_path))
    counted = iter([3, 3, 9])
    fault = short("send", 3)
    page = SimpleNamespace(met=lambda _fault: 1, seen=lambda _fault: 1, moved=lambda _family: next(counted))
    lab.require_met(SimpleNamespace(instrument=page, role="server", peers=[SimpleNamespace(sent=0, total=9)]), fault)
    assert next(counted, None) is None
    lab.close()


def test_a_thread_is_let_go_before_the_server_may_take_it_for_stuck(tmp_path: Path) -> None:
    lab = Lab(4, Build(KIT / "solutions", tmp_path), patience=8.0, logs=str(tmp_path))
    hold, let_go = held_unlock(), []
    lab.let_go_if_needed(SimpleNamespace(instrument=SimpleNamespace(disarm=let_go.append)), hold, lambda: False)
    assert let_go == [hold] and lab.charged < 3  # contract: the least after which who takes nothing may be dropped
    lab.close()


def test_limits_hold_before_the_first_instruction(tmp_path: Path) -> None:
    """AddressSanitizer reads a limit and sets it, and ends the program if it was lowered in between."""
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    server = source / "stage1_echo" / "server.c"
    server.write_text(server.read_text() + r"""
#include <sys/resource.h>
__attribute__((constructor)) static void tell_limits(void)
{
    struct rlimit files, core;
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_CORE, &core);
    fprintf(stderr, "%d files, core of %d bytes\n", (int)files.rlim_max, (int)core.rlim_max);
}
""")
    lab = Lab(1, Build(source, tmp_path), logs=str(tmp_path))
    try:
        server_ = lab.server(nofile=50)
        lab.until(server_.error_lines)
        assert server_.error_lines() == ["50 files, core of 0 bytes"]
    finally:
        lab.close()
