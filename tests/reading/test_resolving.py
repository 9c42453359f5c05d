"""What header facts do not tell is found out once, when somebody needs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from dicomfs.errors import DicomfsError, MalformedDicomError, SourceError
from dicomfs.extents import ExtentTable, ExtentTableBuilder
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from tests.reading.doubles import MemorySource, TableResolver, object_of

DATA = bytes(range(250)) * 10


def tables() -> tuple[ExtentTable, ExtentTable]:
    """The same file, before and after it was resolved."""
    base, full = ExtentTableBuilder(), ExtentTableBuilder()
    for builder in (base, full):
        builder.literal(b"II+\0")
        if builder is base:
            builder.deferred(10)
        else:
            builder.literal(b"0123456789")
        builder.source(0, 0, 1000)
        builder.source(1, 0, 1000)
    return base.build(), full.build()


def virtual_file(nbytes: int = 1000) -> tuple[VirtualFile, TableResolver]:
    base, full = tables()
    resolver = TableResolver(full, None, files=(1, 0), nbytes=nbytes)
    objects = (object_of("a", len(DATA)), object_of("b", len(DATA)))
    return VirtualFile(base, objects, resolver), resolver


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({"a": DATA, "b": DATA[::-1]})


def test_frames_are_looked_for_once_and_only_when_needed(source: MemorySource) -> None:
    reader = Reader(source)
    file, resolver = virtual_file()
    buffers = [bytearray(20) for _ in range(30)]

    async def main() -> None:
        early = bytearray(2000)
        await reader.read_into(file, 14, memoryview(early))
        assert early == DATA[:1000] + DATA[::-1][:1000]
        await reader.read_into(file, 0, memoryview(early)[:4])
        assert resolver.resolved == 0
        async with trio.open_nursery() as nursery:
            for buffer in buffers:
                nursery.start_soon(reader.read_into, file, 0, memoryview(buffer))
        await reader.read_into(file, 0, memoryview(buffers[0]))

    trio.run(main)
    assert buffers == [b"II+\x000123456789" + DATA[:6]] * 30
    assert resolver.resolved == 1
    assert source.runs == {"a": 1, "b": 1}
    assert reader.stats().files_resolved == 1
    assert reader.stats().resolved[:2] == (1, 1000)
    buffer = bytearray(20)
    assert reader.read_into_blocking(file, 0, memoryview(buffer)) == 20
    assert buffer == buffers[0]
    assert resolver.resolved == 1


def test_threads_resolve_too(source: MemorySource) -> None:
    reader = Reader(source)
    file, resolver = virtual_file()
    buffer = bytearray(20)
    assert reader.read_into_blocking(file, 0, memoryview(buffer)) == 20
    assert buffer == b"II+\x000123456789" + DATA[:6]
    assert trio.run(reader.read_into, file, 0, memoryview(buffer)) == 20
    assert resolver.resolved == 1


def test_what_is_kept_of_resolved_files_is_bounded(source: MemorySource) -> None:
    reader = Reader(source, replace(DEFAULT_LIMITS, resolved_bytes=2500))
    files = [virtual_file() for _ in range(4)]

    async def main() -> None:
        for _ in range(2):
            for file, _ in files:
                buffer = bytearray(10)
                assert await reader.read_into(file, 4, memoryview(buffer)) == 10
                assert buffer == b"0123456789"
                assert reader.stats().resolved.nbytes <= 2500

    trio.run(main)
    assert [resolver.resolved for _, resolver in files] == [2, 2, 2, 2]


def test_a_file_larger_than_the_bound_is_not_resolved_on_every_read(source: MemorySource) -> None:
    reader = Reader(source, replace(DEFAULT_LIMITS, resolved_bytes=10))
    file, resolver = virtual_file()
    for _ in range(5):
        trio.run(reader.read_into, file, 4, memoryview(bytearray(1)))
    assert resolver.resolved == 1


def both_ways(reader: Reader, file: VirtualFile, error: type[Exception], words: str) -> None:
    buffer = memoryview(bytearray(10))
    with pytest.raises(error, match=words):
        trio.run(reader.read_into, file, 4, buffer)
    with pytest.raises(error, match=words):
        reader.read_into_blocking(file, 4, buffer)


def test_a_damaged_file_is_not_looked_through_again_at_once(source: MemorySource) -> None:
    reader = Reader(source)
    file, resolver = virtual_file()
    resolver.failure = MalformedDicomError("no item where one should be")
    for _ in range(3):
        both_ways(reader, file, MalformedDicomError, "no item")
    assert resolver.resolved == 1
    assert source.runs == {"a": 1, "b": 1}
    buffer = bytearray(1000)
    assert trio.run(reader.read_into, file, 14, memoryview(buffer)) == 1000
    assert buffer == DATA[:1000]


def test_an_error_of_the_source_is_raised_as_it_is(source: MemorySource) -> None:
    source.failure = SourceError("the medium reports an error")
    file, resolver = virtual_file()
    both_ways(Reader(source), file, SourceError, "medium")
    assert resolver.resolved == 0


def test_a_resolved_file_of_another_size_is_an_error(source: MemorySource) -> None:
    file, resolver = virtual_file()
    builder = ExtentTableBuilder()
    builder.zeros(file.size + 1)
    resolver.table = builder.build()
    both_ways(Reader(source), file, DicomfsError, "not resolved")


def test_a_resolved_file_in_which_something_is_deferred_is_an_error(source: MemorySource) -> None:
    file, resolver = virtual_file()
    resolver.table = file.table
    both_ways(Reader(source), file, DicomfsError, "not resolved")


def test_deferred_bytes_without_a_resolver_are_an_error(source: MemorySource) -> None:
    file, _ = virtual_file()
    both_ways(Reader(source), VirtualFile(file.table, file.objects, None), DicomfsError, "nobody")


def test_the_size_is_that_of_the_table() -> None:
    file, _ = virtual_file()
    assert file.size == 2014


def test_nothing_is_kept_of_files_that_nobody_has_any_more(source: MemorySource) -> None:
    """A changed source is another file; what is known of the old ones must not add up."""
    reader = Reader(source)
    for _ in range(5):
        file, _ = virtual_file(nbytes=1000)
        reader.read_into_blocking(file, 0, memoryview(bytearray(20)))
        assert reader.stats().resolved.entries <= 2
    kept, _ = virtual_file()
    reader.read_into_blocking(kept, 0, memoryview(bytearray(20)))
    del file
    other, _ = virtual_file()
    reader.read_into_blocking(other, 0, memoryview(bytearray(20)))
    assert reader.stats().resolved.entries == 2
