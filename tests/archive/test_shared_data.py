"""Slides of other people's writers, where a folder of them is at hand.

$DICOMFS_TEST_DATA, else `shared/data` beside the repository; skipped where there is neither. The
oracles: frames decoded one by one with Pillow and imagecodecs, and wsidicom.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import wsidicom

import dicomfs
from dicomfs.archive import Archive
from tests.archive.virtual_tiff import ShownLevel, levels_of, tiff_paths
from tests.oracles.dicom_slides import assemble_level

_REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("DICOMFS_TEST_DATA") or _REPOSITORY.parent / "shared" / "data")

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="no folder of sample slides"),
    # The oracles warn of what these files do.
    pytest.mark.filterwarnings("ignore"),
]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a folder that holds one slide.

    size : of level 0; tiles : of each level, "p" for frames as they are, "d" for decoded ones
    compared : levels whose pixels are compared
    """

    folder: str
    size: tuple[int, int]
    tiles: str
    compared: tuple[int, ...] = (0,)
    channels: int = 1
    planes: int = 1
    associated: int = 0
    notes: tuple[str, ...] = ()


_CMU = (2220, 2967)
_REDUCED = (2, 3, 4)
_DCMTK = (957, 715)
_ABSENT = ("missing-attribute",)
SLIDES = [
    *[
        Known(f"made/dcmtk/{name}", _DCMTK, tiles, notes=_ABSENT)
        for name, tiles in {
            "jpeg-422-bot": "p",
            "jpeg-extended51": "p",
            "jpeg-rgb": "p",
            "jpegll70": "d",
            "jpegls-lossless-bot": "d",
            "jpegls-lossless-nobot-multifrag8k": "d",
            "jpegls-near3": "d",
            "raw-NO-PREAMBLE-META": "p",
            "raw-deflated": "p",
            "raw-explicit-undeflen-seq": "p",
            "raw-grouplength": "p",
            "raw-implicit": "p",
            "rle-bot": "d",
            "rle-nobot-multifrag64k": "d",
        }.items()
    ],
    Known("made/orthancwsi/cmu1-j2k-t2-max1mb", _CMU, "ppppp", (3, 4), notes=_ABSENT),
    Known("made/orthancwsi/cmu1-jpeg-t4-max1mb", _CMU, "ppppp", (1, *_REDUCED), notes=_ABSENT),
    Known("made/pydicom/mono16-native", (640, 480), "p"),
    Known("made/pydicom/vectra-3path-pyramid4-j2k", (1920, 1440), "pppp", (2, 3), channels=3),
    Known("made/pydicom/zstack-3ch5z-tiledfull-native", (439, 167), "p", channels=3, planes=5),
    Known("made/wsidicomizer/cmu1-j2k-lossless-ybr-bot", _CMU, "pdddp", (3, 4), associated=3),
    Known("made/wsidicomizer/cmu1-j2k-lossy-rgb", _CMU, "p", (), associated=3),
    Known("made/wsidicomizer/cmu1-j2k-lossy-ybr-pyramid", _CMU, "pdddp", _REDUCED, associated=3),
    Known("made/wsidicomizer/cmu1-jpeg-420", _CMU, "p", associated=3),
    Known("made/wsidicomizer/cmu1-jpeg-422", _CMU, "pdddp", (1, *_REDUCED), associated=3),
    Known("made/wsidicomizer/cmu1-jpeg-444", _CMU, "pdddp", _REDUCED, associated=3),
    Known(
        "made/wsidicomizer/cmu1-jpeg-NO-BOT-ITEM-invalid",
        _CMU,
        "pdddp",
        _REDUCED,
        associated=3,
        notes=("pixel-data",),
    ),
    Known("made/wsidicomizer/cmu1-jpeg-emptybot-nolabel", _CMU, "pdddp", _REDUCED),
    Known("made/wsidicomizer/cmu1-jpeg-eot-pyramid", _CMU, "pdddp", (2, 4), associated=3),
    Known("made/wsidicomizer/cmu1-jpeg-passthrough-bot", _CMU, "p", (), associated=3),
    Known("made/wsidicomizer/cmu1-jpeg-rgb", _CMU, "p", (), associated=3),
    Known("made/wsidicomizer/cmu1-jpegls-lossless", _CMU, "d", (), associated=3),
    Known("made/wsidicomizer/cmu1-jpegls-near", _CMU, "d", (), associated=3),
    Known("made/wsidicomizer/cmu1tiff-openslide-jpeg512-pyramid-bot", _CMU, "ppppp", _REDUCED),
    Known(
        "public/Booritas+slideio-tutorial/images/BPAEC",
        (3072, 2304),
        "pppppppp",
        (2, 3, 4, 5, 6, 7),
        channels=3,
        associated=1,
        notes=("unknown-flavour",),
    ),
    Known("public/openslide+openslide-python/tests/fixtures", (16, 16), "p", associated=1),
]

SEVERAL = {
    "public/GoogleCloudPlatform+medical-imaging": 6,
    "public/GoogleCloudPlatform+wsi-to-dicom-converter": 2,
    "public/ImagingDataCommons+highdicom": 6,
    "public/ImagingDataCommons+libdicom": 0,
    "public/pydicom+pydicom-data": 0,
    "made/highdicom": 0,
}
"""Folders of files that do not belong together, and at least how many slides are in them."""


@contextmanager
def shown(known: Known) -> Iterator[tuple[Archive, list[ShownLevel]]]:
    folder = DATA / known.folder
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    with dicomfs.open_archive(folder, flavours=["ome"]) as archive:
        (path,) = tiff_paths(archive, "ome")
        with archive.open(path) as file, tifffile.TiffFile(file) as tiff:
            yield archive, levels_of(tiff, "ome")


def folders(known: Known) -> str:
    return known.folder.rpartition("/")[2]


@pytest.mark.parametrize("known", SLIDES, ids=folders)
def test_the_slide_opens_with_the_right_pixels(known: Known) -> None:
    with shown(known) as (archive, levels):
        (entry,) = archive.catalogue.slides
        slide = entry.slide
        assert archive.catalogue.rejected == ()
        assert (slide.levels[0].width, slide.levels[0].height) == known.size
        tiles = "".join(level["tiles"][0] for level in archive.slides[0].summary["levels"])
        assert tiles == known.tiles
        assert (len(slide.channels), len(slide.focal_planes_um)) == (known.channels, known.planes)
        assert len(slide.associated) == known.associated
        assert {note.code for note in slide.notes} == set(known.notes)
        for number in known.compared:
            files = [DATA / known.folder / entry.objects[member].key
                     for member in slide.levels[number].members]  # fmt: skip
            truth = assemble_level(files)
            assert (slide.levels[number].width, slide.levels[number].height) == truth.size
            assert truth.focal_planes == known.planes
            planes = [(channel, z) for channel in truth.channels for z in range(known.planes)]
            for page, key in enumerate(planes):
                covered = truth.covered[key]
                seen = levels[number].pixels(page)[covered]
                np.testing.assert_array_equal(seen, truth.matrices[key][covered])


@pytest.mark.parametrize(
    "folder",
    [
        "made/wsidicomizer/cmu1-j2k-lossless-ybr-bot",
        "made/wsidicomizer/cmu1-jpegls-lossless",
        "made/wsidicomizer/cmu1-jpeg-422",
        "made/orthancwsi/cmu1-jpeg-t4-max1mb",
        "made/orthancwsi/cmu1-j2k-t2-max1mb",
    ],
)
def test_wsidicom_sees_the_same(folder: str) -> None:
    """A region of level 0 that no tile border follows."""
    left, top, width, height = 1111, 777, 420, 390
    (known,) = [one for one in SLIDES if one.folder == folder]
    with shown(known) as (archive, _):
        with wsidicom.WsiDicom.open(DATA / folder) as slide:
            expected = np.asarray(slide.read_region((left, top), 0, (width, height)))
        (path,) = tiff_paths(archive, "ome")
        with archive.open(path) as file:
            zarr = region(file, (left, top, width, height))
        assert np.abs(zarr.astype(int) - expected).max() <= 1


def region(file: object, box: tuple[int, int, int, int]) -> np.ndarray:
    """A region of the first page of a TIFF, of the tiles under it alone."""
    left, top, width, height = box
    with tifffile.TiffFile(file) as tiff:  # type: ignore[arg-type]
        page = tiff.pages[0].aspage()
        tile_height, tile_width = page.chunks[:2]
        across = page.chunked[1]
        rows = range(top // tile_height, -(-(top + height) // tile_height))
        columns = range(left // tile_width, -(-(left + width) // tile_width))
        canvas = np.zeros((len(rows) * tile_height, len(columns) * tile_width, 3), np.uint8)
        wanted = [row * across + column for row in rows for column in columns]
        offsets = [page.dataoffsets[index] for index in wanted]
        counts = [page.databytecounts[index] for index in wanted]
        for data, index in tiff.filehandle.read_segments(offsets, counts, wanted):
            pixels, place, _ = page.decode(data, index)
            assert pixels is not None
            y = place[-3] - rows[0] * tile_height
            x = place[-2] - columns[0] * tile_width
            canvas[y : y + tile_height, x : x + tile_width] = pixels[0][:tile_height, :tile_width]
        y, x = top - rows[0] * tile_height, left - columns[0] * tile_width
        return canvas[y : y + height, x : x + width]


@pytest.mark.parametrize("folder", SEVERAL)
def test_files_that_do_not_belong_together(folder: str) -> None:
    """Annotations, segmentations, reports, test images: none is taken for a part of a slide."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not there")
    with dicomfs.open_archive(DATA / folder) as archive:
        catalogue = archive.catalogue
        assert len(catalogue.slides) >= SEVERAL[folder]
        assert [one for one in catalogue.rejected if one.code == "internal"] == []
        # Every file is accounted for, and every slide can be read to its end.
        shown = {obj.key for entry in catalogue.slides for obj in entry.objects}
        rejected = {key for one in catalogue.rejected for key in one.files}
        others = sum(one.instances for one in catalogue.other_series)
        assert len(shown | rejected) + others + catalogue.not_dicom == catalogue.files
        for path in archive.files():
            with archive.open(path) as file:
                size = file.seek(0, 2)
                file.seek(0)
                assert len(file.read()) == size


def test_everything_at_once() -> None:
    """One folder of all of it: nothing makes the program fail or warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dicomfs.open_archive(DATA / "public") as archive:
            catalogue = archive.catalogue
    assert len(catalogue.slides) >= sum(
        count for folder, count in SEVERAL.items() if folder.startswith("public/")
    )
    assert [one for one in catalogue.rejected if one.code == "internal"] == []
