"""The Python codec of the harness against its definition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.harness.build import KIT, Build
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.wire import encode, messages, show

# Letters that make trouble come often.
BODIES = st.lists(st.sampled_from([b"D", b"O", b"N", b"E", b"\\", b"DONE", b"\0", b"x"]), max_size=30).map(b"".join)


@given(st.lists(BODIES, max_size=5), st.integers(0, 400))
def test_what_is_encoded_is_decoded_as_far_as_it_has_come(bodies: list[bytes], cut: int) -> None:
    wire = b"".join(map(encode, bodies))
    whole, rest = messages(wire)
    assert whole == bodies and rest == b""
    whole, rest = messages(wire[:cut])
    assert whole == bodies[: len(whole)] and (len(whole) == len(bodies) or len(b"".join(map(encode, bodies[: len(whole) + 1]))) > cut)


@given(BODIES)
def test_an_encoded_body_has_no_end_before_its_end(body: bytes) -> None:
    assert messages(encode(body)[:-1])[0] == []


def test_the_examples_of_the_contract() -> None:
    assert encode(b"I am DONE") == b"I am \\DONEDONE"
    assert encode(b"a\\b") == b"a\\\\bDONE"
    assert messages(b"DODONE") == ([b"DO"], b"")
    assert messages(b"\\xDONE\\") == ([b"x"], b"\\")


def test_bytes_are_shown_so_that_every_one_is_visible() -> None:
    assert show(b"a\0b\n\xff\xc3\xa4") == '"a\\0b\\n\\xff\u00e4"'
    assert "936 bytes" in show(b"x" * 1000)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A connection to the reference server of stage 2, which decodes and encodes in C."""
    out: Path = tmp_path_factory.mktemp("codec")
    lab = Lab(2, Build(KIT / "solutions", out), logs=str(out))
    yield lab.connect(lab.server())
    lab.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(BODIES.filter(lambda body: body != b"QUIT"), min_size=1, max_size=5), cut=st.integers(0, 40))
def test_the_codec_in_C_and_the_one_in_Python_agree(reference: Peer, bodies: list[bytes], cut: int) -> None:
    wire = b"".join(map(encode, bodies))
    reference.send(wire[:cut])
    reference.send(wire[cut:])
    reference.expect(wire)
