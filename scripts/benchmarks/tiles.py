"""Tiles that dicomfs has to decode, compared with the decoder on the bare frames.

The one job: the section `tiles`. As many threads read tiles through the mount, in no order, as
threads of the peer decode frames that lie in memory. No tile is read twice, so neither the kernel
nor dicomfs has it at hand.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import imagecodecs
import numpy as np
import tifffile

from benchmarks.comparison import Comparison, compare
from benchmarks.mounts import dicomfs_mount
from benchmarks.plan import Plan
from benchmarks.report import Row
from benchmarks.slides import WrittenSlide, distinct_frames, in_page_cache, write_slide

SECTION: Final = "tiles"

_BAR: Final = 0.8
_ACROSS: Final = 64
_FEWEST: Final = 12  # tiles of one measurement
_MOST_BYTES: Final = 1e9  # of a slide

T = TypeVar("T")


def _rle(frame: bytes) -> object:
    """Decode to interleaved samples, as the other decoders do."""
    planes = np.frombuffer(imagecodecs.dicomrle_decode(frame, np.dtype(np.uint8)), np.uint8)
    planes = planes.reshape(3, -1)
    pixels = np.empty((planes.shape[1], 3), np.uint8)
    for sample, plane in enumerate(planes):
        pixels[:, sample] = plane
    return pixels


_CODECS: Final[tuple[tuple[str, str, Callable[[bytes], object]], ...]] = (
    ("JPEG-LS", "jpegls-rgb8", imagecodecs.jpegls_decode),
    ("JPEG 2000", "j2k-rct", imagecodecs.jpeg2k_decode),
    ("RLE", "rle-rgb8", _rle),
)
"""The name for people, that of the fixture, and what decodes a bare frame."""


def measure(plan: Plan) -> Iterator[Row]:
    """For each coding, side of a tile and number of threads: a slide, a mount, and its tiles."""
    for name, codec, decode in _CODECS:
        for side in plan.tile_sides:
            frames = distinct_frames(codec, side)
            portion = _portion(plan, frames, decode)
            # As many tiles again are not asked for, so that few are neighbours of one that was.
            down = -(-2 * portion * plan.repeats // _ACROSS)
            folder = plan.folder("tiles") / "slide"
            slide = write_slide(folder, _ACROSS, down, codec=codec, tile=side, factors=(1,))
            for threads in plan.tile_threads:
                found = _measure(plan, slide, frames, portion, threads, decode)
                what = f"{name}, tiles of {side} × {side}, {threads} thread{'s' * (threads > 1)}"
                yield Row(SECTION, what, "imagecodecs on bare frames", "tiles/s", found, _BAR)


def _portion(plan: Plan, frames: Sequence[bytes], decode: Callable[[bytes], object]) -> int:
    """How many tiles make a measurement of the wanted length and a slide of bearable size."""
    wanted = round(plan.decode_seconds * _rate(decode, frames, 1))
    bearable = round(_MOST_BYTES / len(frames[0])) // (2 * plan.repeats)
    return max(_FEWEST, min(wanted, bearable))


def _measure(
    plan: Plan,
    slide: WrittenSlide,
    frames: Sequence[bytes],
    portion: int,
    threads: int,
    decode: Callable[[bytes], object],
) -> Comparison:
    """Read and decode `portion` tiles again and again, through a mount of its own."""
    with dicomfs_mount(slide.folder, ["tiff"]) as mount:
        virtual = mount.find(".tif")
        places = _tile_places(virtual)
        random.Random(1).shuffle(places)

        def ours(number: int) -> float:
            return _rate_of_tiles(virtual, places[number * portion :][:portion], threads)

        def peer(number: int) -> float:
            wanted = [frames[index % len(frames)] for index in range(portion)]
            return _rate(decode, wanted, threads)

        return compare(ours, peer, plan.repeats, "more", lambda: in_page_cache(*slide.levels))


_Place = tuple[int, int]  # offset and size in bytes


def _tile_places(virtual: Path) -> list[_Place]:
    """Where the tiles of the first directory lie; reading them has the frame table made."""
    with tifffile.TiffFile(virtual) as tiff:
        page = tiff.pages.first
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


def _rate_of_tiles(virtual: Path, places: Sequence[_Place], threads: int) -> float:
    handle = os.open(virtual, os.O_RDONLY)

    def read(place: _Place) -> None:
        offset, size = place
        if len(os.pread(handle, size, offset)) != size:
            raise RuntimeError(f"a tile at {offset} is cut short")

    try:
        return _rate(read, places, threads)
    finally:
        os.close(handle)


def _rate(work: Callable[[T], object], things: Sequence[T], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        for _ in pool.map(work, things):
            pass
        return len(things) / (time.perf_counter() - begun)
