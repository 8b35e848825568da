"""Takes the student's files, and nothing else, out of a directory or an archive.

Archives are hostile: names are never used as paths, links and devices are passed over, and
sizes are counted while reading.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from .harness.build import KIT, STAGES
from .harness.wire import printable

MAX_FILES = 64
MAX_BYTES = 1 << 20
_FILE = re.compile(r"[^.].*\.[ch]", re.DOTALL)  # what begins with a dot is an editor's or macOS's
_NAME = re.compile(r"\w[\w.-]*")  # that make and the shell take for one word


class BadSubmission(Exception):
    """The submission cannot be taken; the message says why and what to do."""


def stage(submission: Path, target: Path) -> list[str]:
    """Copies the `.c` and `.h` files of the stage directories below `submission` to `target`.

    Returns their names, "stage1_echo/net.c". The kit's own headers are left out: the kit's are
    used. Raises BadSubmission.
    """
    given = {path.name for name in STAGES.values() for path in (KIT / name).glob("*.h")}
    try:
        taken = _take(submission, target, given)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise BadSubmission(f"{submission} cannot be read: {error}. Is the file whole, and not encrypted?") from error
    if not taken:
        wanted = ", ".join(STAGES.values())
        raise BadSubmission(f"{submission} has none of the directories {wanted} with .c files in it.")
    return taken


def _take(submission: Path, target: Path, given: set[str]) -> list[str]:
    taken: dict[str, None] = {}
    total = 0
    for name, stream in _members(submission):
        path = PurePosixPath(name.replace("\\", "/"))
        directory = next((part for part in path.parts[:-1] if part in STAGES.values()), None)
        if directory is None or path.parts[-2] != directory or not _FILE.fullmatch(path.name) or path.name in given:
            continue
        if not _NAME.fullmatch(path.name):
            raise BadSubmission(f"{directory}/{printable(path.name)} cannot be taken: a file name has letters, digits, dots, - and _ only. "
                                "Rename the file, or take it out.")
        if (key := f"{directory}/{path.name}") in taken:
            raise BadSubmission(f"{key} is there twice; a submission has each file once.")
        with stream() as file:
            data = file.read(MAX_BYTES - total + 1)
        total += len(data)
        taken[key] = None
        if total > MAX_BYTES or len(taken) > MAX_FILES:
            raise BadSubmission(f"The submission is larger than {MAX_FILES} files or {MAX_BYTES >> 20} MiB of source.")
        (target / directory).mkdir(parents=True, exist_ok=True)
        (target / key).write_bytes(data)
    return list(taken)


def _members(submission: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    if submission.is_dir():
        yield from _directory_members(submission)
    elif not submission.exists():
        raise BadSubmission(f"{submission} does not exist.")
    elif zipfile.is_zipfile(submission):
        with zipfile.ZipFile(submission) as archive:
            for info in archive.infolist():
                is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
                if not info.is_dir() and not is_link:
                    yield info.filename, lambda info=info: archive.open(info)
    elif tarfile.is_tarfile(submission):
        with tarfile.open(submission) as archive:
            for member in archive:
                if member.isreg():
                    yield member.name, lambda member=member: archive.extractfile(member)
    else:
        raise BadSubmission(f"{submission} is neither a directory nor a .zip or .tar.gz archive.")


def _directory_members(root: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    # The stage directories may stand in one directory more, as in archives.
    tops = [root] if any((root / name).is_dir() for name in STAGES.values()) else sorted(root.glob("*"))
    for top in tops:
        for name in STAGES.values():
            if top.is_symlink() or (top / name).is_symlink():
                continue
            for path in sorted((top / name).glob("*")):
                if path.is_file() and not path.is_symlink():
                    yield f"{name}/{path.name}", lambda path=path: path.open("rb")
