"""Parsers get exactly the bytes they want, or an error."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicomfs.dicom.steps import Gather, Range, Steps, run_on_bytes
from dicomfs.errors import MalformedDicomError, ShortReadError
from dicomfs.source import drive as driving
from dicomfs.source.drive import drive, gather, read_exactly

DATA = random.Random(3).randbytes(2_000_000)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "object"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_ranges_are_cut_at_the_end_only(fd: int) -> None:
    wants = [(0, 10), (5, 0), (1_999_990, 10), (1_999_990, 11), (2_000_000, 1), (9**20, 4)]

    def parser() -> Steps[list[bytes]]:
        answers = []
        for offset, size in wants:
            answers.append((yield Range(offset, size)))
        return answers

    answers = drive(parser(), fd, len(DATA))
    assert answers == [DATA[offset : offset + size] for offset, size in wants]


def test_a_range_larger_than_memory_costs_what_is_there(fd: int) -> None:
    def parser() -> Steps[bytes]:
        return (yield Range(1_999_000, 2**62))

    assert drive(parser(), fd, len(DATA)) == DATA[1_999_000:]


def test_a_range_before_the_start_is_an_error(fd: int) -> None:
    def parser() -> Steps[bytes]:
        return (yield Range(-1, 4))

    with pytest.raises(ShortReadError):
        drive(parser(), fd, len(DATA))


def test_a_parser_that_wants_nothing_is_driven_too(fd: int) -> None:
    def parser(wants: list[Range]) -> Steps[str]:
        yield from wants
        return "done"

    assert drive(parser([]), fd, len(DATA)) == "done"


def test_errors_of_the_parser_pass_and_its_cleanup_runs(fd: int) -> None:
    cleaned: list[str] = []

    def parser(offset: int) -> Steps[None]:
        try:
            yield Range(offset, 1)
            raise MalformedDicomError("nonsense")
        finally:
            cleaned.append(f"at {offset}")

    with pytest.raises(MalformedDicomError, match="nonsense"):
        drive(parser(0), fd, len(DATA))
    with pytest.raises(ShortReadError):
        drive(parser(-5), fd, len(DATA))
    assert cleaned == ["at 0", "at -5"]


def test_a_file_that_is_shorter_than_its_object_is_an_error(fd: int) -> None:
    def parser() -> Steps[bytes]:
        return (yield Range(1_999_999, 2))

    with pytest.raises(ShortReadError):
        drive(parser(), fd, len(DATA) + 1)


def test_reads_that_come_in_parts_are_put_together(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 100), offset))
    assert read_exactly(fd, 7, 5000) == DATA[7:5007]
    with pytest.raises(ShortReadError):
        read_exactly(fd, 1_999_950, 51)
    offsets = np.arange(0, 1_900_000, 50_000, dtype=np.int64)
    assert gather(fd, offsets, 300, len(DATA)) == b"".join(
        DATA[at : at + 300] for at in offsets.tolist()
    )


def positions(shape: str, count: int, rng: random.Random) -> list[int]:
    top = len(DATA) - 64
    if shape == "near":
        return sorted(rng.randrange(min(top, 2000 * count)) for _ in range(count))
    if shape == "far":
        return sorted(rng.randrange(0, top, 5000) for _ in range(count))
    if shape == "touching":
        return [64 * i for i in range(count)]
    if shape == "same":
        return [rng.randrange(top)] * count
    if shape == "clusters":
        starts = [rng.randrange(top - 2000) for _ in range(1 + count // 10)]
        return [at + 100 * i for at in sorted(starts) for i in range(10)][:count]
    return [rng.randrange(top) for _ in range(count)]


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("shape", ["near", "far", "touching", "same", "clusters", "shuffled"])
@pytest.mark.parametrize("count", [1, 2, 255, 700, 3000])
def test_gather(
    fd: int, shape: str, count: int, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_SLOW", -1.0 if slow else 3600.0)
    rng = random.Random(f"{shape}{count}")
    offsets = np.array(positions(shape, count, rng), np.int64)
    for size in (1, 8, 64):

        def parser(want: Gather) -> Steps[bytes]:
            return (yield want)

        want = Gather(offsets, size)
        assert drive(parser(want), fd, len(DATA)) == run_on_bytes(parser(want), DATA)


def test_gathering_close_positions_takes_few_reads(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        reads.append(size)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    gather(fd, np.arange(0, 1_900_000, 500, dtype=np.int64), 8, len(DATA))
    assert len(reads) < 20
    assert max(reads) <= 1024 * 1024


@pytest.mark.parametrize("offsets", [[0, -1], [0, 1_999_993], [2**62], [-(2**63)]])
def test_gather_never_leaves_the_object(fd: int, offsets: list[int]) -> None:
    with pytest.raises(ShortReadError):
        gather(fd, np.array(offsets, np.int64), 8, len(DATA))


def test_gather_of_nothing(fd: int) -> None:
    assert gather(fd, np.array([], np.int64), 8, len(DATA)) == b""
    assert gather(fd, np.array([5], np.int64), 0, len(DATA)) == b""
