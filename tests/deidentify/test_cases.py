"""Slides of every quirk are put together as well without identities as with them."""

from __future__ import annotations

from pathlib import Path

import pytest

import dicomfs
from dicomfs.archive import Archive
from tests.conftest import WrittenSeries
from tests.fixtures.cases import Case
from tests.fixtures.catalogue import CASES

PROFILE = dicomfs.Profile(b"a key of the tests")
LEFT_OUT = {"label", "overview", "label-in-image"}


def geometry(archive: Archive) -> list[object]:
    """What is shown, but for who it is of."""
    found: list[object] = []
    for files in archive.slides:
        slide = files.entry.slide
        levels = [
            (level.width, level.height, level.tile_width, level.tile_height, level.spacing_mm,
             level.frames, level.organization, str(level.encoding.codec), level.encoding.colour)
            for level in slide.levels
        ]  # fmt: skip
        found.append((levels, len(slide.channels), slide.focal_planes_um, slide.objective_power))
    rejected = {one.code for one in archive.catalogue.rejected} - LEFT_OUT
    return [*sorted(found, key=repr), rejected]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.group in ("geometry", "header", "damaged")],
    ids=lambda case: case.id,
)  # fmt: skip
def test_the_slide_stays_the_same(tmp_path: Path, written: WrittenSeries, case: Case) -> None:
    directory = written(case.id).directory
    found = []
    for number, profile in enumerate((None, PROFILE)):
        index = tmp_path / str(number)
        with dicomfs.open_archive(directory, index=index, deidentify=profile) as archive:
            found.append(geometry(archive))
    assert found[0] == found[1]
