"""Virtual TIFFs through tifffile: the pages and the pixels of their levels.

The one job: a virtual file to what tifffile makes of it, level by level and plane by plane. Knows
nothing of what is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import tifffile

from dicomfs.archive import Archive
from tests.fixtures.pixels import Pixels

SUFFIXES = {"svs": ".svs", "ome": ".ome.tif", "tiff": ".tif"}


@dataclass(frozen=True, slots=True)
class ShownLevel:
    """A level as tifffile sees it.

    axes : of the level with all its planes; pages : one per plane
    """

    axes: str
    pages: tuple[tifffile.TiffPage, ...]

    def pixels(self, plane: int) -> Pixels:
        return self.pages[plane].asarray()


def tiff_paths(archive: Archive, flavour: str) -> list[str]:
    """The virtual TIFFs of a flavour, one per slide."""
    return [
        "/".join((*slide.folder, name))
        for slide in archive.slides
        for name, (own, _) in slide.plans.items()
        if own == flavour
    ]


@contextmanager
def opened(archive: Archive, flavour: str) -> Iterator[tuple[BinaryIO, tifffile.TiffFile]]:
    """The TIFF of the only slide of an archive."""
    (path,) = tiff_paths(archive, flavour)
    with archive.open(path) as file, tifffile.TiffFile(file) as tiff:
        yield file, tiff


def levels_of(tiff: tifffile.TiffFile, flavour: str) -> list[ShownLevel]:
    """The levels, largest first, as users of tifffile get at them."""
    if flavour == "tiff":
        pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
        return [ShownLevel(page.axes, (page,)) for page in pages if page.is_tiled]
    (kind,) = {series.kind for series in tiff.series}
    assert kind == flavour
    return [ShownLevel(level.axes, _pages(level)) for level in tiff.series[0].levels]


def _pages(level: tifffile.TiffPageSeries) -> tuple[tifffile.TiffPage, ...]:
    pages = []
    for page in level.pages:
        assert page is not None
        pages.append(page.aspage())
    return tuple(pages)


def tile_bytes(file: BinaryIO, page: tifffile.TiffPage) -> list[bytes]:
    """The stored bytes of every tile or strip."""
    tiles = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        tiles.append(file.read(count))
    return tiles


def named_pages(tiff: tifffile.TiffFile, flavour: str) -> dict[str, tifffile.TiffPage]:
    """The associated images by the name that readers of the flavour know them by."""
    if flavour == "tiff":
        pages: Sequence[tifffile.TiffPage] = [page.aspage() for page in tiff.pages]
        return {page.description: page for page in pages if not page.is_tiled}
    return {s.name.lower(): s.pages[0].aspage() for s in tiff.series[1:] if s.pages[0] is not None}
