"""Whole virtual TIFFs, judged without a TIFF library: sound by TIFF 6.0 and BigTIFF."""

from __future__ import annotations

from pathlib import Path

import pytest

import dicomfs
from tests.archive.virtual_tiff import SUFFIXES
from tests.conftest import WrittenSeries
from tests.oracles.tiff_structure import problems

CASES = [
    "jpeg-main",
    "jpeg-420-jfif",
    "jpeg-440-bare",
    "jpeg-rgb-ids",
    "jpeg-grey-channels",
    "jpeg-focal-planes",
    "jpeg-label-rgb-over-ycbcr",
    "jpeg-label-ybr-over-rgb-adobe",
    "jpeg-422-jfif-sparse-gaps",
    "jpeg-422-jfif-concatenation",
    "jpeg-fragments-bot",
    "jpeg-offsets-eot-exact",
    "jpeg-no-delimiter",
    "j2k-rct-sparse-gaps",
    "j2k-ycbcr",
    "j2k-grey16-planes",
    "native-rgb8-rectangular",
    "native-be-rgb8",
    "native-planes-and-paths-sparse",
    "native-odd-length",
    "native-tile-240",
    "native-deflated",
    "mixed-levels",
    "non-square-spacing",
    "staggered-jpeg",
    "cropped-edges-j2k",
    "without-icc",
    "without-SharedFunctionalGroupsSequence",
    "jpegls-sparse-gaps",
    "rle-grey16-planes",
    "jpegxl-lossy-rgb8",
    "too-few-frames",
    "tile-100",
    "tile-is-matrix",
]
ALLOWED = {
    # Frames of such sizes are shown as they are: every reader takes them (docs/readers.md).
    "tile-100": {"tile-multiple-of-16"},
    "tile-is-matrix": {"tile-multiple-of-16"},
    # The size of a pixel is not known.
    "without-SharedFunctionalGroupsSequence": {"resolution-tag"},
}


@pytest.mark.promise("S-15")
@pytest.mark.parametrize("case_id", CASES)
def test_every_flavour_is_sound(case_id: str, written: WrittenSeries, tmp_path: Path) -> None:
    with dicomfs.open_archive(written(case_id).directory, flavours=list(SUFFIXES)) as archive:
        paths = [path for path in archive.files() if path.endswith(tuple(SUFFIXES.values()))]
        assert len(paths) == 3
        for number, path in enumerate(paths):
            copy = tmp_path / f"{number}.tif"
            with archive.open(path) as file:
                copy.write_bytes(file.read())
            assert problems(copy, allowed=ALLOWED.get(case_id, set())) == [], path
