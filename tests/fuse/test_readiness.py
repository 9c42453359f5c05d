"""Waiting for the next request: at once where there is one, as trio does it where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints

from dicomfs.fuse import readiness


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def _wait_twice(read_end: int, write_end: int) -> None:
    os.write(write_end, b"1")
    with assert_no_checkpoints():
        await trio.lowlevel.wait_readable(read_end)
    os.read(read_end, 1)
    with trio.move_on_after(0.01) as scope:
        await trio.lowlevel.wait_readable(read_end)
    assert scope.cancelled_caught  # there was nothing to be read


def test_a_request_at_hand_is_not_waited_for(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_is_fuse", lambda fd: fd == pipe[0])
    before = trio.lowlevel.wait_readable
    with readiness.requests_at_hand():
        trio.run(_wait_twice, *pipe)
    assert trio.lowlevel.wait_readable is before


def test_other_files_are_waited_for_as_ever(pipe: tuple[int, int]) -> None:
    async def wait() -> None:
        os.write(pipe[1], b"1")
        with assert_checkpoints():
            await trio.lowlevel.wait_readable(pipe[0])

    with readiness.requests_at_hand():
        trio.run(wait)
