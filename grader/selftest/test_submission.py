"""What is taken out of a submission, and what is not."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from grader.__main__ import _keep_apart
from grader.submission import BadSubmission, stage


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_zip_with_a_directory_on_top_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("alice/stage1_echo/server.c", "int main;")
        archive.writestr("alice/stage1_echo/helper.h", "")
        archive.writestr("alice/stage1_echo/net.h", "changed")  # a header of the kit
        archive.writestr("alice/Makefile", "all: evil")
        archive.writestr("alice/stage1_echo/conftest.py", "")
    assert sorted(stage(path, tmp_path / "out")) == ["stage1_echo/helper.h", "stage1_echo/server.c"]
    assert (tmp_path / "out/stage1_echo/server.c").read_text() == "int main;"


def test_paths_and_links_lead_nowhere(tmp_path: Path) -> None:
    link = tarfile.TarInfo("stage1_echo/net.c")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [(link, b""), (tarfile.TarInfo("../stage1_echo/../../evil.c"), b"x"),
               (tarfile.TarInfo("/stage1_echo/server.c"), b"good")]
    taken = stage(_tar(tmp_path / "work.tar.gz", members), tmp_path / "deep" / "out")
    assert taken == ["stage1_echo/server.c"]
    assert sorted(p.name for p in tmp_path.rglob("*.c")) == ["server.c"]


def test_a_directory_with_a_link_does_not_give_the_linked_file(tmp_path: Path) -> None:
    directory = tmp_path / "work" / "stage1_echo"
    directory.mkdir(parents=True)
    (directory / "server.c").write_text("")
    (directory / "net.c").symlink_to("/etc/passwd")
    assert stage(tmp_path / "work", tmp_path / "out") == ["stage1_echo/server.c"]


def test_too_much_is_refused_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stage1_echo/server.c", b"\0" * (50 << 20))
    with pytest.raises(BadSubmission, match="larger"):
        stage(path, tmp_path / "out")


@pytest.mark.parametrize("what", ["missing", "empty", "text"])
def test_what_is_no_submission_is_refused_with_a_reason(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    if what == "text":
        path.write_text("hello")
    with pytest.raises(BadSubmission, match="exist|none of the directories|neither"):
        stage(path, tmp_path / "out")


def test_a_submission_that_lies_in_OUT_is_not_deleted(tmp_path: Path) -> None:
    work = tmp_path / "submission"
    (work / "stage1_echo").mkdir(parents=True)
    (work / "stage1_echo" / "server.c").write_text("mine")
    for submission in (work, work / "stage1_echo", tmp_path / "build" / "work"):
        with pytest.raises(BadSubmission, match="OUT="):
            _keep_apart(submission, tmp_path)
    _keep_apart(tmp_path / "submissions", tmp_path)


@pytest.mark.parametrize(("name", "taken"), [
    ("größe.c", True), ("a-b.c.c", True), ("server (1).c", None), ("a;b.c", None), ("-I.c", None), ("._server.c", False), ("notes.txt", False)])
def test_a_file_whose_name_make_cannot_take_is_refused_and_not_left_out(name: str, taken: bool | None, tmp_path: Path) -> None:
    directory = tmp_path / "work" / "stage1_echo"
    directory.mkdir(parents=True)
    (directory / "server.c").write_text("")
    (directory / name).write_text("")
    if taken is None:
        with pytest.raises(BadSubmission, match="Rename"):
            stage(tmp_path / "work", tmp_path / "out")
    else:
        assert (f"stage1_echo/{name}" in stage(tmp_path / "work", tmp_path / "out")) == taken


def test_a_damaged_archive_is_refused_with_a_reason(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "whole.tar.gz", [(tarfile.TarInfo("stage1_echo/server.c"), b"int x;" * 5000)])
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(whole.read_bytes()[:100])
    with pytest.raises(BadSubmission):
        stage(damaged, tmp_path / "out")
