"""Opening a slide and looking at it with other people's readers, through the mount and without.

The one job: the section `open`. The same readers read the virtual SVS, a copy of it on disk and,
where they can, the DICOM files. Sources and copies lie in the page cache throughout. The readers
run in this process, but for the command of libvips.
"""

import contextlib
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import tifffile

from benchmarks.comparison import Measure, compare, compared
from benchmarks.mounts import (
    DICOMFS,
    PLAIN,
    Mount,
    bindfs_mount,
    dicomfs_mount,
    drop_pages,
    environment,
    plain_mount,
)
from benchmarks.plan import Plan
from benchmarks.report import Row, against_bar
from benchmarks.slides import WrittenSlide, in_page_cache, write_slide

SECTION: Final = "open"

_TILE: Final = 256
_REGION: Final = 512
_LEVEL: Final = 2
_QUALITY: Final = 20  # frames of 6 KB, so that 100,000 of them are a file of 0.6 GB

_COPY: Final = "the same file, exported to disk"
_THREADS: Final = 8
_FRESH_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.3
_DICOM: Final = "OpenSlide on the DICOM files"

Rate = Callable[[Path, int], float]
"""Reads from a slide, at places that depend on a number; returns how much per second."""


def measure(plan: Plan) -> Iterator[Row]:
    """First tiles with both kinds of offset table, then regions and a whole level."""
    with_openslide = importlib.util.find_spec("openslide") is not None
    if not with_openslide:
        plan.skip("openslide-python is not installed: no first tiles, no regions")
    across, down = plan.open_grid
    folder = plan.folder("open") / "slide"
    for table in plan.open_tables:
        slide = write_slide(folder, across, down, quality=_QUALITY, table=table)
        copies = plan.folder("exported")
        _export(folder, copies)
        if with_openslide:
            offsets = {"bot": "offset table", "empty": "no offset table"}[table]
            what = f"{across * down:,} frames, {offsets}"
            yield from _first_tiles(plan, slide, copies, what)
    with dicomfs_mount(folder, ("svs", "tiff")) as mount:
        pairs = {
            ending: (mount.find(ending), next(copies.rglob(f"*{ending}")))
            for ending in (".svs", ".tif")
        }
        if with_openslide:
            with _mounted_copies(copies, mount) as mounts:
                yield from _regions(plan, *pairs[".svs"], slide, mounts)
        yield from _whole_level(plan, pairs, slide)


@contextlib.contextmanager
def _mounted_copies(copies: Path, like: Mount) -> Iterator[dict[str, Path]]:
    """The copies as other mounts show them: by the name for people, the folders."""
    with contextlib.ExitStack() as mounts:
        found = {PLAIN: mounts.enter_context(plain_mount(copies, like)).point}
        if shutil.which("bindfs"):
            found["bindfs"] = mounts.enter_context(bindfs_mount(copies, like)).point
        yield found


def _first_tiles(plan: Plan, slide: WrittenSlide, copies: Path, what: str) -> Iterator[Row]:
    """To the first decoded tile: from nothing, from what is remembered, and once mounted.

    copies: where the virtual SVS of the slide lies as a file
    """
    fresh: list[float] = []
    once_mounted: list[float] = []
    again: list[float] = []
    least: list[float] = []
    of_dicom: list[float] = []
    for number in range(plan.starts):
        in_page_cache(*slide.levels, *copies.rglob("*.svs"))
        memory = plan.folder("memory")
        with dicomfs_mount(slide.folder, memory=memory) as mount:
            once_mounted.append(first_tile(mount.find(".svs"), number))
            fresh.append(time.perf_counter() - mount.begun)
        with dicomfs_mount(slide.folder, memory=memory) as mount:
            again.append(_from_the_start(mount, number))
        with plain_mount(copies) as mount:
            least.append(_from_the_start(mount, number))
        of_dicom.append(first_tile(slide.source, number))
    starts = {
        "mount and first tile": (fresh, _FRESH_SECONDS),
        "mount again and first tile": (again, _AGAIN_SECONDS),
    }
    for start, (times, bar) in starts.items():
        yield against_bar(SECTION, f"{start}, {what}", "seconds", times, bar, "less")
        found = compared(times, of_dicom, "less")
        yield Row(SECTION, f"{start}, {what}", _DICOM, "seconds", found)
    found = compared(again, least, "less")
    peer = f"{_COPY}, through {PLAIN}"
    yield Row(SECTION, f"mount again and first tile, {what}", peer, "seconds", found)
    found = compared(once_mounted, of_dicom, "less")
    yield Row(SECTION, f"first tile once mounted, {what}", _DICOM, "seconds", found, bar=0.1)


def _from_the_start(mount: Mount, number: int) -> float:
    """Seconds from the start of a mount's program to the first decoded tile."""
    first_tile(mount.find(".svs"), number)
    return time.perf_counter() - mount.begun


def first_tile(path: Path, seed: int) -> float:
    """Seconds until OpenSlide has opened a slide and decoded a region of one tile."""
    import openslide

    begun = time.perf_counter()
    with openslide.OpenSlide(path) as slide:
        (place,) = _places(slide.dimensions, 1, seed)
        slide.read_region(place, 0, (_TILE, _TILE))
        return time.perf_counter() - begun


def _places(dimensions: tuple[int, int], count: int, seed: int) -> list[tuple[int, int]]:
    """Upper left corners of random regions, in pixels; the same for the same seed."""
    places = random.Random(seed)
    width, height = (side - _REGION for side in dimensions)
    return [(places.randrange(width), places.randrange(height)) for _ in range(count)]


def _regions(
    plan: Plan, virtual: Path, copy: Path, slide: WrittenSlide, mounts: Mapping[str, Path]
) -> Iterator[Row]:
    """Random regions of the largest level.

    mounts: folders of other mounts that show the folder of the copy
    """
    import openslide

    def rate(path: Path, seed: int) -> float:
        # Opened anew each time: OpenSlide keeps what it has decoded.
        with openslide.OpenSlide(path) as opened:
            places = _places(opened.dimensions, plan.regions, seed)
            begun = time.perf_counter()
            for place in places:
                opened.read_region(place, 0, (_REGION, _REGION))
            return len(places) / (time.perf_counter() - begun)

    what = f"regions of {_REGION} × {_REGION} with OpenSlide"
    for name, path, bar in ((_COPY, copy, 0.85), (_DICOM, slide.source, 1.0)):
        yield from _compared(plan, rate, what, "regions/s", (virtual, slide), (name, path), bar)

    def side_by_side(path: Path, seed: int) -> float:
        with openslide.OpenSlide(path) as opened, ThreadPoolExecutor(_THREADS) as pool:
            places = _places(opened.dimensions, plan.regions, seed)
            begun = time.perf_counter()
            for _ in pool.map(
                lambda place: opened.read_region(place, 0, (_REGION, _REGION)), places
            ):
                pass
            return len(places) / (time.perf_counter() - begun)

    at_once = f"regions with OpenSlide, {_THREADS} threads"
    yield from _compared(
        plan, side_by_side, at_once, "regions/s", (virtual, slide), (_COPY, copy), 0.85
    )
    # What a copy costs that is read through a mount as well.
    for name, folder in mounts.items():
        (mounted,) = folder.rglob(copy.name)
        for how, each in ((what, rate), (at_once, side_by_side)):
            found = compare(
                _first_time(each, virtual),
                _first_time(each, mounted),
                plan.repeats,
                "more",
                lambda: in_page_cache(*slide.levels, copy),
            )
            peer = f"that copy, through {name}"
            yield Row(SECTION, f"{how}, first time", peer, "regions/s", found)
    yield from _cold(plan, rate, virtual, copy, slide)


def _cold(plan: Plan, rate: Rate, virtual: Path, copy: Path, slide: WrittenSlide) -> Iterator[Row]:
    """Random regions while nothing is in memory: neither the virtual file, nor source, nor copy."""
    os.sync()  # what has not been written yet cannot be dropped

    def cold(path: Path) -> Callable[[int], float]:
        def measured(number: int) -> float:
            for file in (virtual, copy, *slide.levels):
                drop_pages(file)
            return rate(path, number)

        return measured

    what = f"regions of {_REGION} × {_REGION} with OpenSlide, nothing in memory"
    for name, path, bar in ((_COPY, copy, 0.85), (_DICOM, slide.source, 1.0)):
        found = compare(cold(virtual), cold(path), plan.repeats, "more")
        yield Row(SECTION, what, name, "regions/s", found, bar)


def _whole_level(
    plan: Plan, pairs: dict[str, tuple[Path, Path]], slide: WrittenSlide
) -> Iterator[Row]:
    """All pixels of a small level at once, as tifffile and libvips read it.

    pairs: by ending, the virtual file and its copy
    """

    def with_tifffile(path: Path, _: int) -> float:
        begun = time.perf_counter()
        with tifffile.TiffFile(path) as tiff:
            tiles = len(tiff.series[0].levels[_LEVEL].keyframe.dataoffsets)
            tiff.series[0].levels[_LEVEL].asarray()
        return tiles / (time.perf_counter() - begun)

    virtual, copy = pairs[".svs"]
    with tifffile.TiffFile(copy) as tiff:
        count = len(tiff.series[0].levels[_LEVEL].keyframe.dataoffsets)

    def with_vips(path: Path, _: int) -> float:
        begun = time.perf_counter()
        _vips(path)
        return count / (time.perf_counter() - begun)

    ours, peer = (virtual, slide), (_COPY, copy)
    yield from _compared(plan, with_tifffile, "whole level, tifffile", "tiles/s", ours, peer, 0.85)
    if not shutil.which("vips"):
        plan.skip("vips is not installed (Debian package libvips-tools): no whole level with it")
        return
    # libvips reads an SVS with OpenSlide, which opens the file anew for every tile.
    for ending, loader, bar in ((".tif", "TIFF", 0.85), (".svs", "OpenSlide", None)):
        virtual, copy = pairs[ending]
        try:
            _vips(copy)
        except subprocess.CalledProcessError as error:
            plan.skip(f"vips cannot read {ending}: {error.stderr.decode().strip()}")
            continue
        what = f"whole level, vips avg, its loader for {loader}"
        ours, peer = (virtual, slide), (_COPY, copy)
        yield from _compared(plan, with_vips, what, "tiles/s", ours, peer, bar)


def _vips(path: Path) -> None:
    """Decode a level and throw it away but for the mean of its pixels."""
    level = f"level={_LEVEL}" if path.suffix == ".svs" else f"page={_LEVEL}"
    place = f"{path}[{level},access=sequential]"
    subprocess.run(["vips", "avg", place], capture_output=True, check=True)


def _compared(
    plan: Plan,
    rate: Rate,
    what: str,
    unit: str,
    ours: tuple[Path, WrittenSlide],
    peer: tuple[str, Path],
    bar: float | None,
) -> Iterator[Row]:
    """Rows for reading what the kernel does not have of the virtual file, and what it has.

    ours: the virtual file and its source. peer: its name for people and its file.
    """
    virtual, slide = ours
    name, path = peer

    def second_time(number: int) -> float:
        rate(virtual, number)
        return rate(virtual, number)

    def of_peer(number: int) -> float:
        return rate(path, number)

    def warm() -> None:
        in_page_cache(*slide.levels, path)

    for when, of_ours in (("first", _first_time(rate, virtual)), ("second", second_time)):
        found = compare(of_ours, of_peer, plan.repeats, "more", warm)
        yield Row(SECTION, f"{what}, {when} time", name, unit, found, bar)


def _first_time(rate: Rate, path: Path) -> Measure:
    """Reads what the kernel does not have of a file."""

    def measured(number: int) -> float:
        drop_pages(path)
        return rate(path, number)

    return measured


def _export(folder: Path, destination: Path) -> None:
    """The virtual SVS and TIFF as real files."""
    flavours = ("--flavour", "svs", "--flavour", "tiff")
    subprocess.run(
        [*DICOMFS, "--quiet", "export", *flavours, os.fspath(folder), os.fspath(destination)],
        env=environment(destination),
        stdout=sys.stderr,
        check=True,
    )
    os.sync()  # what is written meanwhile would be measured
