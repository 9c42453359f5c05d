"""Parsers and who drives them: wants, answers, and the window on an object."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.dicom.steps import Gather, Range, Steps, Window, run_on_bytes
from tests.dicom.objects import drive

DATA = bytes(range(256)) * 4


def test_wants_are_answered_in_order() -> None:
    def parser() -> Steps[tuple[bytes, bytes, bytes]]:
        one = yield Range(10, 5)
        two = yield Gather(np.array([3, 900, 3], np.int64), 2)
        behind = yield Range(len(DATA) - 2, 100)
        return one, two, behind

    expected = (DATA[10:15], DATA[3:5] + DATA[900:902] + DATA[3:5], DATA[-2:])
    assert run_on_bytes(parser(), DATA) == expected
    assert run_on_bytes(parser(), memoryview(bytearray(DATA))) == expected
    assert drive(parser(), DATA) == expected


def test_a_parser_may_want_nothing() -> None:
    def parser() -> Steps[int]:
        return 7
        yield Range(0, 0)

    assert run_on_bytes(parser(), b"") == 7


def test_what_a_parser_raises_passes_through() -> None:
    def parser() -> Steps[None]:
        yield Range(0, 1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_on_bytes(parser(), DATA)


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 400)), max_size=20),
)
def test_a_window_gives_what_is_there(chunk: int, wants: list[tuple[int, int]]) -> None:
    def parser() -> Steps[list[bytes | None]]:
        window = Window(len(DATA), chunk)
        found = []
        for offset, size in wants:
            found.append((yield from window.take(offset, size)))
            there = yield from window.need(offset, size)
            assert there == (found[-1] is not None)
            if there and size:
                assert window.has(offset, size)
                at = offset - window.base
                assert window.data[at : at + size] == DATA[offset : offset + size]
        return found

    expected = [
        DATA[offset : offset + size] if offset + size <= len(DATA) else None
        for offset, size in wants
    ]
    seen = run_on_bytes(parser(), DATA)
    assert [one if size else None for one, (_, size) in zip(seen, wants, strict=True)] == [
        one if size else None for one, (_, size) in zip(expected, wants, strict=True)
    ]


def test_small_wants_make_few_reads() -> None:
    reads = []

    def parser() -> Steps[None]:
        window = Window(len(DATA), 256)
        for offset in range(0, len(DATA) - 8, 8):
            assert (yield from window.take(offset, 8)) == DATA[offset : offset + 8]

    def counted() -> Steps[None]:
        steps = parser()
        answer: bytes | None = None
        with contextlib.suppress(StopIteration):
            while True:
                want = next(steps) if answer is None else steps.send(answer)
                reads.append(want)
                answer = yield want

    run_on_bytes(counted(), DATA)
    assert len(reads) == 4
