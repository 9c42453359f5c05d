"""Writes the slides that are measured, fast: a few encoded tiles, repeated as often as needed.

The one job: folders of conforming WSM instances of any number of frames. Knows nothing of mounts or
clocks.

PS3.5 A.4 (encapsulation); PS3.3 C.7.6.17.3 (TILED_FULL).
"""

import dataclasses
import functools
import itertools
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import imagecodecs
import numpy as np

from tests.fixtures.codecs import CODECS, Codec
from tests.fixtures.datasets import dataset_bytes
from tests.fixtures.headers import Instance, instance_dataset, uid
from tests.fixtures.pixels import Pixels, picture
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import file_front, write_series

Table = Literal["bot", "empty"]

JPEG: Final = "jpeg-420-jfif"
SPACING_MM: Final = 0.0005

_DISTINCT: Final = 4  # tiles a side of the picture that is encoded
_ITEM: Final = b"\xfe\xff\x00\xe0"
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"
_DELIMITER: Final = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenSlide:
    """A slide on disk. levels: one file each, the largest first."""

    folder: Path
    levels: tuple[Path, ...]

    @property
    def source(self) -> Path:
        """The file of level 0."""
        return self.levels[0]


def write_slide(
    folder: Path,
    across: int,
    down: int,
    *,
    codec: str = JPEG,
    quality: int | None = None,
    tile: int = 256,
    factors: Sequence[int] = (1, 4, 16),
    table: Table = "bot",
) -> WrittenSlide:
    """Write a pyramid whose level 0 has `across` x `down` tiles.

    quality: of JPEG, 0 to 100: 90 makes frames of about 21 KB, 20 of 6 KB. None for other codecs.
    factors: by how much each level is smaller than level 0.
    """
    coding = CODECS[codec]
    frames = distinct_frames(codec, tile, quality)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for level, factor in enumerate(factors):
        path = folder / f"level-{level}.dcm"
        rows, columns = -(-down * tile // factor), -(-across * tile // factor)
        _write_level(path, folder.name, coding, frames, level, (rows, columns), tile, table)
        paths.append(path)
    return WrittenSlide(folder, tuple(paths))


@functools.cache
def distinct_frames(codec: str, tile: int, quality: int | None = None) -> tuple[bytes, ...]:
    """The frames that `write_slide` repeats: the tiles of one picture, padded to even length."""
    encode: Callable[[Pixels], bytes] = CODECS[codec].encode
    if quality is not None:

        def encode(pixels: Pixels) -> bytes:
            return bytes(imagecodecs.jpeg8_encode(pixels, level=quality, subsampling="420"))

    whole = picture(_DISTINCT * tile, _DISTINCT * tile)
    frames = []
    for y, x in itertools.product(range(0, _DISTINCT * tile, tile), repeat=2):
        data = encode(np.ascontiguousarray(whole[y : y + tile, x : x + tile]))
        frames.append(data + b"\0" * (len(data) % 2))
    return tuple(frames)


def _write_level(
    path: Path,
    name: str,
    codec: Codec,
    frames: Sequence[bytes],
    level: int,
    matrix: tuple[int, int],
    tile: int,
    table: Table,
) -> None:
    count = -(-matrix[0] // tile) * -(-matrix[1] // tile)
    items = [_ITEM + struct.pack("<I", len(frame)) + frame for frame in frames]
    period = b"".join(items)
    basic = b""
    if table == "bot":
        sizes = np.resize(np.array([len(item) for item in items], np.int64), count)
        starts = np.cumsum(sizes) - sizes
        if int(starts[-1]) >= 2**32:
            raise ValueError("a Basic Offset Table counts to 4 GiB")
        basic = starts.astype("<u4").tobytes()
    with path.open("wb") as file:
        file.write(_head(name, codec, level, matrix, tile, count, len(period) / len(items)))
        file.write(_PIXEL_DATA + _ITEM + struct.pack("<I", len(basic)) + basic)
        for _ in range(count // len(items)):
            file.write(period)
        file.write(b"".join(items[: count % len(items)]))
        file.write(_DELIMITER)


def _head(
    name: str,
    codec: Codec,
    level: int,
    matrix: tuple[int, int],
    tile: int,
    count: int,
    frame_bytes: float,
) -> bytes:
    """File meta information and the data set up to Pixel Data."""
    spacing = SPACING_MM * 4**level
    sop_uid = uid(name, "level", level)
    instance = Instance(
        series=name,
        flavour="VOLUME",
        level=level,
        number=level + 1,
        sop_uid=sop_uid,
        codec=codec,
        photometric=codec.photometric,
        rows=tile,
        columns=tile,
        matrix=matrix,
        spacing=(spacing, spacing),
        origin=(20.0, 40.0, 0.0),
        paths=("1",),
        acquisition=0,
        planes=1,
        plane_step=1.0,
        organization="TILED_FULL",
        positions=(),
        undefined_lengths=False,
        concatenation=None,
        icc=True,
        compression_ratio=tile * tile * 3 / frame_bytes,
    )
    dataset = instance_dataset(instance)
    dataset.NumberOfFrames = count
    syntax = codec.transfer_syntax
    front = file_front(SeriesSpec(name=name, codec=codec.name), sop_uid, syntax)
    return front + dataset_bytes(dataset, syntax)


def write_archive(folder: Path, slides: int) -> int:
    """Write many small slides, each in a folder of its own; returns the number of instances.

    A slide has three levels, a label and an overview. All are copies of the first, with UIDs of
    their own.
    """
    spec = SeriesSpec(name="archive", associated=("LABEL", "OVERVIEW"))
    first = write_series(folder / "slide-00000", spec)
    contents = [(path.name, path.read_bytes()) for path in first.paths]
    for number in range(1, slides):
        place = folder / f"slide-{number:05d}"
        place.mkdir()
        # Of the same length, so that nothing else changes.
        ending = b"%06d" % number
        for name, content in contents:
            changed = re.sub(rb"(2\.25\.\d{20,33})\d{6}", rb"\g<1>" + ending, content)
            (place / name).write_bytes(changed)
    return slides * len(contents)


def in_page_cache(*paths: Path) -> None:
    """Have the kernel hold files in memory, and nothing of them waiting to be written.

    To be called before every measurement: kernels exist that give up what was not used for a while.
    """
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            os.fsync(file.fileno())
            while file.readinto(buffer):
                pass
