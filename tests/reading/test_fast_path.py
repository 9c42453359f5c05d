"""What is at hand is read on the event loop, without letting anything else run."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import assert_no_checkpoints

from dicomfs.extents import ExtentTableBuilder, TileRun
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.local import LocalDirectory
from tests.reading.doubles import MemorySource, Painter, TableResolver, object_of

DATA = bytes(range(256)) * 40


def mixed_file() -> VirtualFile:
    builder = ExtentTableBuilder()
    builder.literal(b"head")
    builder.source(0, 100, 1000)
    builder.zeros(50)
    builder.source(0, 10, 20)
    return VirtualFile(builder.build(), (object_of("a", len(DATA)),), None)


EXPECTED = b"head" + DATA[100:1100] + bytes(50) + DATA[10:30]


def test_no_checkpoint_where_everything_is_at_hand() -> None:
    reader = Reader(MemorySource({"a": DATA}))

    async def main() -> bytes:
        buffer = bytearray(len(EXPECTED))
        with assert_no_checkpoints():
            assert await reader.read_into(mixed_file(), 0, memoryview(buffer)) == len(buffer)
            assert await reader.read_into(mixed_file(), 2000, memoryview(bytearray(5))) == 0
        return bytes(buffer)

    assert trio.run(main) == EXPECTED
    assert reader.stats().inline_reads == 1
    assert reader.stats().waited_reads == 0


def test_the_checkpoint_is_there_where_a_read_waits() -> None:
    source = MemorySource({"a": DATA})
    source.warm = lambda: False
    reader = Reader(source)

    async def main() -> bytes:
        buffer = bytearray(len(EXPECTED))
        with pytest.raises(AssertionError), assert_no_checkpoints():
            await reader.read_into(mixed_file(), 0, memoryview(buffer))
        return bytes(buffer)

    assert trio.run(main) == EXPECTED
    assert reader.stats().waited_reads == 1


def test_resolved_files_and_painted_tiles_are_at_hand() -> None:
    builder = ExtentTableBuilder()
    builder.literal(b"head")
    builder.tiles(TileRun(1, 100, 3))
    table = builder.build()
    base = ExtentTableBuilder()
    base.deferred(4)
    base.tiles(TileRun(1, 100, 3))
    file = VirtualFile(base.build(), (object_of("a", len(DATA)),), TableResolver(table, Painter()))
    reader = Reader(MemorySource({"a": DATA}))

    async def main() -> None:
        first, second = bytearray(304), bytearray(304)
        await reader.read_into(file, 0, memoryview(first))
        with assert_no_checkpoints():
            await reader.read_into(file, 0, memoryview(second))
        assert first == second

    trio.run(main)


def test_a_file_in_the_page_cache_is_read_inline(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    source = LocalDirectory(tmp_path)
    objects = tuple(source.objects())
    file = VirtualFile(mixed_file().table, objects, None)
    reader = Reader(source)

    async def main() -> None:
        buffer = bytearray(len(EXPECTED))
        await reader.read_into(file, 0, memoryview(buffer))  # opens the file
        if not source.read_into_nowait(objects[0], 0, memoryview(bytearray(1))):
            pytest.skip("the file system of the test's folder cannot be read without waiting")
        buffer[:] = bytes(len(EXPECTED))
        with assert_no_checkpoints():
            await reader.read_into(file, 0, memoryview(buffer))
        assert buffer == EXPECTED

    trio.run(main)


def test_a_read_of_very_many_extents_does_not_hold_up_the_loop() -> None:
    builder = ExtentTableBuilder()
    for i in range(3000):
        builder.source(0, i, 1)
    file = VirtualFile(builder.build(), (object_of("a", len(DATA)),), None)
    source = MemorySource({"a": DATA})
    reader = Reader(source)

    async def main() -> None:
        buffer = bytearray(3000)
        with pytest.raises(AssertionError), assert_no_checkpoints():
            await reader.read_into(file, 0, memoryview(buffer))
        assert buffer == DATA[:3000]
        with assert_no_checkpoints():
            await reader.read_into(file, 1000, memoryview(buffer)[:60])
        assert buffer[:60] == DATA[1000:1060]

    trio.run(main)
