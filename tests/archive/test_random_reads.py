"""100,000 reads anywhere, of any size: exactly the bytes that belong there."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import dicomfs
from dicomfs.archive import Archive
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs.nodes import File
from tests.archive.virtual_tiff import tiff_paths
from tests.archive.whole_file import expected_file
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import BY_ID
from tests.oracles.tiff_directories import walk

FILES = {
    "jpeg-fragments-bot": "svs",  # several fragments per frame, passing through
    "jpeg-fragments-of-length-zero": "tiff",
    "jpeg-422-jfif-sparse-gaps": "svs",
    "j2k-rct-concatenation-sparse": "svs",  # three source files per level
    "native-implicit-sparse-private": "tiff",
    "native-trailing": "svs",
    "jpegls-sparse-gaps": "svs",  # decoded
    "staggered": "svs",  # re-tiled
    "jpeg-no-delimiter": "tiff",
    "native-deflated": "svs",
}
"""Cases, and the flavour in which they are read."""

READS = 100_000 // len(FILES)


@dataclass(frozen=True, slots=True)
class Known:
    archive: Archive
    path: str
    file: VirtualFile
    content: bytearray
    edges: list[int]  # where something begins: tiles, strips, directories, the end


@pytest.fixture(scope="module", params=list(FILES))
def known(
    request: pytest.FixtureRequest, written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    series, flavour = written(request.param), FILES[request.param]
    copy = tmp_path_factory.mktemp("whole") / "whole.tif"
    with dicomfs.open_archive(series.directory, flavours=[flavour]) as archive:
        (path,) = tiff_paths(archive, flavour)
        node = archive.find(path)
        assert isinstance(node, File)
        with archive.open(path) as file:
            copy.write_bytes(file.read())
        edges = {0, node.content.size}
        for directory in walk(copy).directories:
            offsets, counts = directory.segments()
            edges |= {directory.offset, *offsets.tolist(), *(offsets + counts).tolist()}
        content = expected_file(copy, BY_ID[request.param], series, flavour)
        yield Known(archive, path, node.content, content, sorted(edges))


def test_the_whole_file_is_what_it_should_be(known: Known) -> None:
    assert len(known.content) == known.file.size
    buffer = bytearray(known.file.size)
    assert known.archive.reader.read_into_blocking(known.file, 0, memoryview(buffer)) == len(buffer)
    assert buffer == known.content


def test_reads_anywhere_are_exact(known: Known) -> None:
    rng = random.Random(20)
    reader, file, content, edges = known.archive.reader, known.file, known.content, known.edges
    size = len(content)
    buffer = memoryview(bytearray(1 << 17))
    expected = memoryview(content)
    sizes = (0, 1, 2, 8, 9, 64, 500, 4096, 5000, 20_000)
    for number in range(READS):
        if number % 2:
            offset = max(0, rng.choice(edges) + rng.randrange(-9, 10))
        else:
            offset = rng.randrange(size + 5)
        want = rng.choice(sizes) if number % 40 else rng.randrange(1 << 17)
        view = buffer[:want]
        got = reader.read_into_blocking(file, offset, view)
        assert got == max(0, min(want, size - offset))
        assert view[:got] == expected[offset : offset + got], (offset, want)


def test_the_file_object_reads_the_same(known: Known) -> None:
    """The whole interface of a binary file, against BytesIO."""
    rng = random.Random(21)
    twin = io.BytesIO(bytes(known.content))
    with known.archive.open(known.path) as file:
        for _ in range(300):
            whence = rng.choice((io.SEEK_SET, io.SEEK_CUR, io.SEEK_END))
            step = rng.randrange(-50_000, 50_000)
            base = {io.SEEK_SET: 0, io.SEEK_CUR: twin.tell(), io.SEEK_END: len(known.content)}
            if base[whence] + step >= 0:
                assert file.seek(step, whence) == twin.seek(step, whence)
            want = rng.choice((-1, 0, 1, 100, 70_000, 400_000))
            assert file.read(want) == twin.read(want)
            assert file.tell() == twin.tell()
