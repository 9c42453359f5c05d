"""Every case of the catalogue in every flavour: the right pixels, and the frames' own bytes.

The oracle is the fixture factory, which knows the pixels and the bytes of each frame; the reader is
tifffile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pytest
import tifffile

import dicomfs
from dicomfs.archive import Archive
from tests.archive.virtual_tiff import levels_of, named_pages, opened, tile_bytes
from tests.archive.whole_file import scaled_down
from tests.conftest import WrittenSeries
from tests.fixtures.cases import Case
from tests.fixtures.catalogue import CASES
from tests.fixtures.series import Level, Series

FLAVOURS = ("svs", "ome", "tiff")

REJECTED = {
    "jpeg-422-jfif-concatenation-missing-part": "missing-part",
    "j2k-rct-concatenation-missing-part": "missing-part",
    "native-rgb8-concatenation-missing-part": "missing-part",
}
"""Cases that show no slide, and the reason that is given. Without its largest level a slide is not
shown: a user would take a smaller level for it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A written series, the archive that shows it, and its TIFF in each flavour."""

    case: Case
    series: Series
    archive: Archive
    tiffs: dict[str, tuple[BinaryIO, tifffile.TiffFile]]

    def keys(self, flavour: str) -> list[tuple[int, int]]:
        """The (path, plane) of the planes that a flavour shows, in its order."""
        keys = sorted(self.series.levels[0].pixels)
        if flavour == "ome":
            return keys
        planes = len({plane for _, plane in keys})
        return [(0, (planes - 1) // 2)]


def nearest(level: Level, key: tuple[int, int]) -> tuple[int, int]:
    """The plane of a level that stands for one of the slide: itself, or the nearest there is."""
    path, plane = key
    there = sorted(p for own, p in level.pixels if own == path)
    return path, min(there, key=lambda candidate: abs(candidate - plane))


@pytest.fixture(
    scope="module",
    params=[case for case in CASES if case.id not in REJECTED],
    ids=lambda case: case.id,
)
def shown(request: pytest.FixtureRequest, written: WrittenSeries) -> Iterator[Shown]:
    series = written(request.param.id)
    with (
        dicomfs.open_archive(series.directory, flavours=FLAVOURS) as archive,
        ExitStack() as stack,
    ):
        tiffs = {name: stack.enter_context(opened(archive, name)) for name in FLAVOURS}
        yield Shown(request.param, series, archive, tiffs)


def test_the_series_is_one_slide(shown: Shown) -> None:
    catalogue = shown.archive.catalogue
    assert [entry.slide.series_instance_uid for entry in catalogue.slides] == [
        shown.series.series_uid
    ]
    assert catalogue.rejected == ()
    assert catalogue.files == len(shown.series.files)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_levels_show_the_known_pixels(shown: Shown, flavour: str) -> None:
    keys = shown.keys(flavour)
    samples = shown.series.levels[0].codec.samples
    axes = "C" * (len({path for path, _ in keys}) > 1) + "Z" * (len({z for _, z in keys}) > 1)
    axes += "YXS" if samples == 3 else "YX"
    _, tiff = shown.tiffs[flavour]
    levels = levels_of(tiff, flavour)
    assert len(levels) == len(shown.series.levels)
    for level, seen in zip(shown.series.levels, levels, strict=True):
        assert seen.axes == axes
        assert len(seen.pages) == len(keys)
        for index, key in enumerate(keys):
            expected = level.pixels[nearest(level, key)]
            pixels = seen.pixels(index)
            assert (pixels.shape, pixels.dtype) == (expected.shape, expected.dtype)
            difference = np.abs(pixels.astype(np.int64) - expected)
            assert difference.max() <= shown.case.tolerance, (level.index, key)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tiles_are_the_frames_or_decoded(shown: Shown, flavour: str) -> None:
    file, tiff = shown.tiffs[flavour]
    for level, seen in zip(shown.series.levels, levels_of(tiff, flavour), strict=True):
        for key, page in zip(shown.keys(flavour), seen.pages, strict=True):
            tiles = tile_bytes(file, page)
            assert len(tiles) == page.chunked[0] * page.chunked[1]
            if flavour in shown.case.level_flavours(level.index):
                assert page.chunks[:2] == level.tile
                check_frames(level, nearest(level, key), page, tiles)
            else:
                assert page.compression == 1
                size = int(np.prod(page.chunks)) * page.bitspersample // 8
                assert {len(tile) for tile in tiles} == {size}


def check_frames(
    level: Level, key: tuple[int, int], page: tifffile.TiffPage, tiles: list[bytes]
) -> None:
    """Tiles are the bytes of their frames, perhaps padded to even length; gaps share one tile."""
    frames = {(f.row, f.column): f.data for f in level.frames if (f.path, f.plane) == key}
    assert frames
    blanks = set()
    for index, data in enumerate(tiles):
        frame = frames.get(divmod(index, page.chunked[1]))
        if frame is None:
            blanks.add(page.dataoffsets[index])
        else:
            assert data in (frame, frame + b"\0")
    assert len(blanks) <= 1


def test_the_summary_says_how_tiles_are_stored(shown: Shown) -> None:
    """It speaks of the first flavour."""
    summary = shown.archive.slides[0].summary
    expected = [
        "pass-through" if FLAVOURS[0] in shown.case.level_flavours(level.index) else "decoded"
        for level in shown.series.levels
    ]
    assert [level["tiles"] for level in summary["levels"]] == expected


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_associated_images_show_the_known_pixels(shown: Shown, flavour: str) -> None:
    names = {"LABEL": "label", "OVERVIEW": "macro"}
    if flavour != "tiff":
        names["THUMBNAIL"] = "thumbnail"
    known = {
        names[kind]: image.pixels[0, 0]
        for kind, image in shown.series.associated.items()
        if kind in names and not (kind == "OVERVIEW" and shown.case.id == "unknown-flavour")
    }
    _, tiff = shown.tiffs[flavour]
    pages = named_pages(tiff, flavour)
    if flavour == "svs" and "thumbnail" not in known:
        # Readers count on one; Bio-Formats takes one as large as a level for a level.
        smallest = shown.series.levels[-1]
        width, height = pages["thumbnail"].imagewidth, pages["thumbnail"].imagelength
        assert width < smallest.columns
        assert height < smallest.rows
        whole = smallest.pixels[nearest(smallest, shown.keys(flavour)[0])]
        known["thumbnail"] = scaled_down(whole, width, height)
    assert set(pages) == set(known)
    for name, expected in known.items():
        difference = np.abs(pages[name].asarray().astype(np.int64) - expected)
        assert difference.max() <= shown.case.tolerance, name


@pytest.mark.parametrize("case_id", list(REJECTED))
def test_what_cannot_be_shown_is_refused_by_name(case_id: str, written: WrittenSeries) -> None:
    series = written(case_id)
    with dicomfs.open_archive(series.directory) as archive:
        assert archive.slides == []
        (rejection,) = archive.catalogue.rejected
    assert rejection.code == REJECTED[case_id]
    assert rejection.series_instance_uid == series.series_uid
    assert len(rejection.files) == len(series.files)
