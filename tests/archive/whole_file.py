"""What a virtual TIFF has to hold, byte for byte, put together without the code under test.

The one job: given the file's header as it was read in one piece, everything behind it: each Pixel
Data element where its frames are pointed at, sliced out of the DICOM file by the places that the
fixture factory knows, and each made tile from the known pixels of the frames. PS3.5 A.4.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.fixtures.cases import Case
from tests.fixtures.codecs import DEFLATED
from tests.fixtures.pixels import Pixels
from tests.fixtures.series import BLANK, Frame, Level, Series
from tests.oracles.tiff_directories import Directory, walk

_ENCAPSULATED = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"


def expected_file(path: Path, case: Case, series: Series, flavour: str) -> bytearray:
    """The whole of a virtual TIFF of a slide of one plane.

    path : the file as it was read in one piece; only its header is used
    """
    whole = path.read_bytes()
    expected = bytearray(len(whole))
    directories = [one for one in walk(path).directories if one.tiled]
    starts = [len(whole)]
    by_size = {(level.columns, level.rows): level for level in series.levels}
    seen: set[int] = set()
    for directory in directories:
        if int(directory.segments()[0][0]) in seen:
            continue  # the chain repeats what the SubIFDs list
        seen.add(int(directory.segments()[0][0]))
        level = by_size[directory.size]
        if flavour in case.level_flavours(level.index):
            starts += _spans(expected, directory, level, series)
        else:
            starts += _made(expected, directory, level)
    smallest = by_size[min(by_size)]
    starts += _thumbnail(expected, path, smallest.pixels[0, 0])
    header = min(starts)
    expected[:header] = whole[:header]
    return expected


def _frame_at(level: Level, tile: int, across: int) -> Frame | None:
    row, column = divmod(tile, across)
    try:
        return level.frame(row, column)
    except KeyError:
        return None


def _spans(
    expected: bytearray, directory: Directory, level: Level, series: Series
) -> Iterator[int]:
    """Put the Pixel Data of every file of a level in place; yields where each starts."""
    offsets = directory.segments()[0].tolist()
    across = -(-level.columns // level.tile[1])
    shifts: dict[int, int] = {}
    for tile, offset in enumerate(offsets):
        frame = _frame_at(level, tile, across)
        if frame is not None:
            shift = offset - frame.spans[0].start
            assert shifts.setdefault(frame.file, shift) == shift
    for file, shift in shifts.items():
        content = _plain(series.paths[file].read_bytes(), series)
        frames = sorted((f for f in level.frames if f.file == file), key=lambda f: f.index)
        start = frames[0].spans[0].start
        if level.codec.encapsulated:
            start = content.rindex(_ENCAPSULATED, 0, start) + len(_ENCAPSULATED)
        end = frames[-1].spans[-1].start + frames[-1].spans[-1].length
        value = bytearray(content[start:end])
        for frame in frames:
            if len(frame.spans) > 1:
                first = frame.spans[0].start - start
                last = frame.spans[-1].start + frame.spans[-1].length - start
                value[first:last] = frame.data.ljust(last - first, b"\0")
        expected[shift + start : shift + end] = value
        yield shift + start


def _plain(content: bytes, series: Series) -> bytes:
    """The file, inflated where its data set is deflated (PS3.5 A.5)."""
    if series.spec.transfer_syntax != DEFLATED:
        return content
    meta = 128 + 4 + 12 + int.from_bytes(content[140:144], "little")
    return content[:meta] + zlib.decompress(content[meta:], -15)


def _made(expected: bytearray, directory: Directory, level: Level) -> Iterator[int]:
    """Paint the tiles of a level from its frames, those written last on top."""
    width, height = directory.segment_size
    across, down = -(-level.columns // width), -(-level.rows // height)
    rows, columns = level.tile
    samples = level.codec.samples
    dtype = np.dtype(f"<u{level.codec.bits_allocated // 8}")
    depth = (samples,) if samples > 1 else ()
    canvas = np.full(
        (down * height + rows, across * width + columns, *depth), BLANK[samples], dtype
    )
    for frame in level.frames:
        pixels = level.codec.decode(frame.data, rows, columns)
        canvas[frame.top : frame.top + rows, frame.left : frame.left + columns] = pixels
    offsets = directory.segments()[0].tolist()
    for offset, (row, column) in zip(
        offsets, itertools.product(range(down), range(across)), strict=True
    ):
        tile = canvas[row * height : (row + 1) * height, column * width : (column + 1) * width]
        data = tile.tobytes()
        expected[offset : offset + len(data)] = data
        yield offset


def _thumbnail(expected: bytearray, path: Path, smallest: Pixels) -> Iterator[int]:
    """The thumbnail of a slide without one: its smallest level scaled down."""
    for directory in walk(path).directories:
        if not directory.tiled:
            (offset,), (count,) = (values.tolist() for values in directory.segments())
            data = scaled_down(smallest, *directory.size).tobytes()
            assert count == len(data)
            expected[offset : offset + count] = data
            yield offset


def scaled_down(pixels: Pixels, width: int, height: int) -> Pixels:
    """Each pixel the mean of those of its share of rows and columns, which are nearly equal."""
    rows = np.array([pixels.shape[0] * index // height for index in range(height + 1)])
    columns = np.array([pixels.shape[1] * index // width for index in range(width + 1)])
    # Sums over everything above and left of a pixel; those of a block are differences of them.
    above = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1, *pixels.shape[2:]), np.int64)
    above[1:, 1:] = pixels.astype(np.int64).cumsum(0).cumsum(1)
    blocks = np.diff(np.diff(above[rows][:, columns], axis=0), axis=1)
    areas = np.outer(np.diff(rows), np.diff(columns))
    if pixels.ndim == 3:
        areas = areas[:, :, None]
    scaled: Pixels = np.rint(blocks / areas).astype(pixels.dtype)
    return scaled
