"""The scenes for the lecture play to their end, and say who spoke to whom."""

from __future__ import annotations

import pytest

from grader import demo


@pytest.mark.parametrize("stage", [1, 4])
def test_a_scene_plays_to_its_end(stage: int, capsys: pytest.CaptureFixture) -> None:
    assert demo.play(stage, auto=True) == 0
    said = capsys.readouterr().out
    arrow, printed = {1: ('alice -> server  "hello"  5 bytes', "server | prints on stdout: received: hello"),
                      4: ('server -> bob  "FROM alice helloDONE"  20 bytes', "bob | prints on stdout: FROM alice hello")}[stage]
    assert arrow in said and printed in said, said


def test_a_limit_is_shown_with_who_speaks_to_whom(capsys: pytest.CaptureFixture) -> None:
    assert demo.show_limit(1) == 0
    said = capsys.readouterr().out
    for line in ('alice -> your server   "one message "  12 bytes', 'your server -> stdout  "received: one message \\n"',
                 'your server -> alice   "one message "  12 bytes'):
        assert line in said, said
