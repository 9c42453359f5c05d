"""Whatever a virtual file is made of, a read returns exactly its bytes or an error."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from dicomfs.errors import DamagedFrameError, ShortReadError, SourceChangedError
from dicomfs.extents import ExtentTableBuilder, literal_table
from dicomfs.limits import MIB
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Source
from tests.reading.doubles import Known, MemorySource, object_of, random_file

pytestmark = pytest.mark.promise("S-1")


def contents_of(rng: random.Random) -> dict[str, bytes]:
    return {f"{i}.dcm": rng.randbytes(rng.randrange(600, 20_000)) for i in range(4)}


def reads_of(rng: random.Random, size: int) -> list[tuple[int, int]]:
    """Places to read: the whole file, its ends, tiny and large reads, behind the end."""
    reads = [(0, size), (0, size + 1000), (size, 10), (size + 5, 10), (0, 0), (max(0, size - 1), 2)]
    for _ in range(40):
        offset = rng.randrange(size + 10)
        reads.append((offset, rng.choice([1, rng.randrange(50), rng.randrange(1, 4000), size])))
    return reads


async def check(reader: Reader, known: Known, offset: int, size: int, blocking: bool) -> None:
    expected = known.content[offset : offset + size]
    frame = bytearray(b"." * (size + 20))
    buffer = memoryview(frame)[10 : 10 + size]

    async def read() -> int:
        if not blocking:
            return await reader.read_into(known.file, offset, buffer)
        return await trio.to_thread.run_sync(reader.read_into_blocking, known.file, offset, buffer)

    if any(known.faulty[offset : offset + size]):
        with pytest.raises(DamagedFrameError):
            await read()
    else:
        got = await read()
        assert got == len(expected)
        assert bytes(buffer[:got]) == expected
        assert bytes(buffer[got:]) == b"." * (size - got)
    assert frame[:10] == frame[-10:] == b"." * 10


@pytest.mark.parametrize("seed", range(20))
def test_reads_from_files(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    contents = contents_of(rng)
    for key, data in contents.items():
        (tmp_path / key).write_bytes(data)
    source = LocalDirectory(tmp_path)
    compare_all(source, contents, rng)
    source.close()


@pytest.mark.parametrize("seed", range(100, 120))
def test_reads_from_a_source_that_now_and_then_has_to_be_waited_for(seed: int) -> None:
    rng = random.Random(seed)
    contents = contents_of(rng)
    source = MemorySource(contents)
    luck = random.Random(seed)
    source.warm = lambda: luck.random() < 0.7
    compare_all(source, contents, rng)


def compare_all(source: Source, contents: dict[str, bytes], rng: random.Random) -> None:
    objects = list(source.objects())
    files = [random_file(rng, objects, contents) for _ in range(3)]
    reader = Reader(source)

    async def one_by_one() -> None:
        for known in files:
            for offset, size in reads_of(rng, known.file.size):
                await check(reader, known, offset, size, blocking=rng.random() < 0.4)

    async def at_once() -> None:
        async with trio.open_nursery() as nursery:
            for known in files:
                for offset, size in reads_of(rng, known.file.size):
                    nursery.start_soon(check, reader, known, offset, size, False)

    trio.run(rng.choice([one_by_one, at_once]))


def test_a_literal_needs_no_source() -> None:
    reader = Reader(MemorySource({}))
    file = VirtualFile(literal_table(b"header"), (), None)
    buffer = bytearray(10)
    assert trio.run(reader.read_into, file, 2, memoryview(buffer)) == 4
    assert reader.read_into_blocking(file, 2, memoryview(buffer)) == 4
    assert buffer[:4] == b"ader"
    assert reader.stats().inline_reads == 1


def test_a_negative_offset_is_a_mistake() -> None:
    reader = Reader(MemorySource({}))
    file = VirtualFile(literal_table(b"header"), (), None)
    with pytest.raises(ValueError, match="-1"):
        trio.run(reader.read_into, file, -1, memoryview(bytearray(3)))
    with pytest.raises(ValueError, match="-1"):
        reader.read_into_blocking(file, -1, memoryview(bytearray(3)))


def test_very_large_reads() -> None:
    data = random.Random(8).randbytes(9 * MIB)
    source = MemorySource({"a": data})
    builder = ExtentTableBuilder()
    builder.literal(b"head")
    builder.source(0, 0, len(data))
    file = VirtualFile(builder.build(), (object_of("a", len(data)),), None)
    buffer = bytearray(len(data))
    assert trio.run(Reader(source).read_into, file, 4, memoryview(buffer)) == len(data)
    assert buffer == data


def slide(tmp_path: Path) -> tuple[LocalDirectory, VirtualFile, bytes]:
    data = random.Random(9).randbytes(400_000)
    (tmp_path / "a.dcm").write_bytes(data)
    source = LocalDirectory(tmp_path)
    builder = ExtentTableBuilder()
    builder.source(0, 0, 400_000)
    return source, VirtualFile(builder.build(), tuple(source.objects()), None), data


@pytest.mark.parametrize("blocking", [False, True])
def test_a_source_that_shrinks_is_an_error_and_never_a_short_read(
    tmp_path: Path, blocking: bool
) -> None:
    source, file, data = slide(tmp_path)
    reader = Reader(source)
    buffer = bytearray(400_000)

    def read() -> int:
        if blocking:
            return reader.read_into_blocking(file, 0, memoryview(buffer))
        return trio.run(reader.read_into, file, 0, memoryview(buffer))

    for _ in range(2):
        assert read() == 400_000
        assert buffer == data
    with (tmp_path / "a.dcm").open("r+b") as stream:
        stream.truncate(399_999)
    for _ in range(2):
        with pytest.raises(SourceChangedError):
            read()


def test_an_extent_behind_the_end_of_its_object_is_an_error(tmp_path: Path) -> None:
    source, file, _ = slide(tmp_path)
    builder = ExtentTableBuilder()
    builder.source(0, 399_000, 1001)
    builder.source(0, 2**62, 10)
    builder.source(0, 2**63 - 5, 2**60)
    file = VirtualFile(builder.build(), file.objects, None)
    reader = Reader(source)
    source.read_into(file.objects[0], 0, memoryview(bytearray(1)))
    for offset in (0, 1001, 1011, 1100):
        with pytest.raises(ShortReadError):
            trio.run(reader.read_into, file, offset, memoryview(bytearray(1001)))
        with pytest.raises(ShortReadError):
            reader.read_into_blocking(file, offset, memoryview(bytearray(1001)))
