"""Tiles are made once, by few painters at a time, and kept within bounds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
import trio
import trio.testing

from dicomfs.errors import DamagedFrameError, DicomfsError, SourceError
from dicomfs.extents import AnyRun, ExtentTableBuilder, TileRun
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import SourceRange, VirtualFile
from tests.reading.doubles import (
    BAD_TILE,
    MemorySource,
    Painter,
    TableResolver,
    object_of,
    painted,
)

DATA = bytes(range(250)) * 10
OBJECT = object_of("a", len(DATA))


def tiled(painter: Painter | None, *runs: TileRun) -> VirtualFile:
    builder = ExtentTableBuilder()
    for run in runs:
        builder.tiles(run)
    table = builder.build()
    return VirtualFile(table, (OBJECT,), TableResolver(table, painter))


def expected(run: TileRun, tile: int) -> bytes:
    chunks = [DATA[at : at + size] for _, at, size in Painter().inputs(run, tile)]
    return painted(run, tile, chunks)


@pytest.mark.parametrize("warm", [True, False])
def test_a_tile_is_painted_once_for_all_who_read_it(warm: bool) -> None:
    source = MemorySource({"a": DATA})
    source.warm = lambda: warm
    reader = Reader(source)
    run = TileRun(3, 1000, 5)
    painter = Painter(gate=threading.Event())
    file = tiled(painter, run)
    answers: list[bytes] = []

    async def read(offset: int) -> None:
        buffer = bytearray(100)
        assert await reader.read_into(file, offset, memoryview(buffer)) == 100
        answers.append(bytes(buffer))

    async def main() -> None:
        assert painter.gate is not None
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(read, 2300)
            while not painter.painted:
                await trio.sleep(0.002)
            await trio.testing.wait_all_tasks_blocked(0.01)
            painter.gate.set()
        await read(2300)

    trio.run(main)
    assert answers == [expected(run, 2)[300:400]] * 51
    assert painter.painted == {(3, 2): 1}
    assert reader.stats().tiles_painted == 1
    assert source.reads["a"] == (0 if warm else 2)


def test_threads_share_tiles_as_well() -> None:
    reader = Reader(MemorySource({"a": DATA}))
    run = TileRun(3, 1000, 2)
    painter = Painter(gate=threading.Event())
    file = tiled(painter, run)

    def read(_: int) -> bytes:
        buffer = bytearray(1000)
        reader.read_into_blocking(file, 0, memoryview(buffer))
        return bytes(buffer)

    assert painter.gate is not None
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(read, range(6))
        painter.gate.set()
        assert list(answers) == [expected(run, 0)] * 6
    assert painter.painted == {(3, 0): 1}


def test_the_tiles_of_one_read_are_painted_side_by_side_within_the_limit() -> None:
    reader = Reader(MemorySource({"a": DATA}), replace(DEFAULT_LIMITS, decoders=3))
    run = TileRun(3, 100, 8)
    painter = Painter(gate=threading.Event())
    file = tiled(painter, run)
    buffer = bytearray(800)

    async def main() -> None:
        assert painter.gate is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read_into, file, 0, memoryview(buffer))
            with trio.fail_after(20):
                while painter.at_work < 3:
                    await trio.sleep(0.002)
            painter.gate.set()

    trio.run(main)
    assert buffer == b"".join(expected(run, tile) for tile in range(8))
    assert painter.most_at_work == 3


def test_kept_tiles_stay_within_the_bound() -> None:
    reader = Reader(MemorySource({"a": DATA}), replace(DEFAULT_LIMITS, decoded_bytes=3500))
    run = TileRun(3, 1000, 10)
    painter = Painter()
    file = tiled(painter, run)
    buffer = memoryview(bytearray(1000))

    async def main() -> None:
        for tile in [*range(10), 9, 8, 7, 0]:
            await reader.read_into(file, 1000 * tile, buffer)
            assert bytes(buffer) == expected(run, tile)
            assert reader.stats().decoded.nbytes <= 3500

    trio.run(main)
    assert reader.stats().decoded[:2] == (3, 3000)
    assert reader.stats().tiles_painted == 11


def test_a_tile_larger_than_the_bound_is_kept_while_it_is_read() -> None:
    reader = Reader(MemorySource({"a": DATA}), replace(DEFAULT_LIMITS, decoded_bytes=10))
    run = TileRun(3, 1000, 2)
    painter = Painter()
    file = tiled(painter, run)

    async def main() -> None:
        for offset in range(0, 2000, 100):
            await reader.read_into(file, offset, memoryview(bytearray(100)))

    trio.run(main)
    assert painter.painted == {(3, 0): 1, (3, 1): 1}
    assert reader.stats().decoded[:2] == (1, 1000)


def test_equal_tiles_of_different_files_are_different() -> None:
    reader = Reader(MemorySource({"a": DATA, "b": DATA[::-1]}))
    run = TileRun(3, 100, 1)
    one = tiled(Painter(), run)
    other = VirtualFile(one.table, (object_of("b", len(DATA)),), one.resolver)
    answers = []
    for file in (one, other):
        buffer = bytearray(100)
        trio.run(reader.read_into, file, 0, memoryview(buffer))
        answers.append(bytes(buffer))
    assert answers[0] == expected(run, 0)
    assert answers[1] != answers[0]


def both_ways(reader: Reader, file: VirtualFile, error: type[Exception], words: str) -> None:
    buffer = memoryview(bytearray(10))
    with pytest.raises(error, match=words):
        trio.run(reader.read_into, file, 0, buffer)
    with pytest.raises(error, match=words):
        reader.read_into_blocking(file, 0, buffer)


def test_a_tile_that_cannot_be_painted_fails_once_and_harms_no_other() -> None:
    painter = Painter()
    file = tiled(painter, TileRun(BAD_TILE, 100, 1), TileRun(4, 100, 1))
    reader = Reader(MemorySource({"a": DATA}))
    both_ways(reader, file, DamagedFrameError, "cannot be decoded")
    both_ways(reader, file, DamagedFrameError, "cannot be decoded")
    assert painter.painted[BAD_TILE, 0] == 1
    buffer = bytearray(100)
    assert trio.run(reader.read_into, file, 100, memoryview(buffer)) == 100
    assert buffer == expected(TileRun(4, 100, 1), 0)


def test_a_tile_of_the_wrong_size_is_damaged() -> None:
    file = tiled(Painter(wrong_size=True), TileRun(4, 100, 1))
    both_ways(Reader(MemorySource({"a": DATA})), file, DamagedFrameError, "99 bytes")


def test_tiles_without_a_painter_are_an_error() -> None:
    file = tiled(None, TileRun(4, 100, 1))
    both_ways(Reader(MemorySource({"a": DATA})), file, DicomfsError, "nobody who makes them")
    file = VirtualFile(file.table, file.objects, None)
    both_ways(Reader(MemorySource({"a": DATA})), file, DicomfsError, "nobody")


def test_a_source_that_fails_fails_the_tile() -> None:
    source = MemorySource({"a": DATA})
    reader = Reader(source)
    file = tiled(Painter(), TileRun(4, 100, 1))
    trio.run(reader.read_into, file, 0, memoryview(bytearray(0)))
    source.failure = SourceError("the medium reports an error")
    both_ways(reader, file, SourceError, "medium")


@dataclass
class Greedy(Painter):
    """Wants as many bytes as it is told to."""

    wanted: int = 0

    def inputs(self, run: AnyRun, tile: int) -> list[SourceRange]:
        return [SourceRange(0, 0, self.wanted)]


def test_frames_without_measure_are_not_read() -> None:
    limits = replace(DEFAULT_LIMITS, tile_pixels=100)
    source = MemorySource({"a": DATA})
    source.warm = lambda: False
    for size, fine in ((1600, True), (1601, False)):
        file = tiled(Greedy(wanted=size), TileRun(4, 10, 1))
        reader = Reader(source, limits)
        if fine:
            assert trio.run(reader.read_into, file, 0, memoryview(bytearray(10))) == 10
        else:
            reads = source.reads["a"]
            both_ways(reader, file, DamagedFrameError, "1601 bytes")
            assert source.reads["a"] == reads


@dataclass
class Broken(Painter):
    """Has a mistake in it."""

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        raise ZeroDivisionError("division by zero")


def test_a_mistake_in_a_painter_reaches_the_reader_with_its_origin() -> None:
    reader = Reader(MemorySource({"a": DATA}))
    file = tiled(Broken(), TileRun(4, 10, 1))
    with pytest.raises(RuntimeError, match="division by zero") as caught:
        trio.run(reader.read_into, file, 0, memoryview(bytearray(10)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.__cause__.__traceback__ is not None
