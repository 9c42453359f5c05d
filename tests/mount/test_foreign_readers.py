"""OpenSlide, libvips and tifffile see the known pixels of every case through the mount.

Where one of them cannot, the reason has to stand in `tests.oracles.known_limits`.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

from tests.fixtures.catalogue import BY_ID, CASES
from tests.fixtures.series import Level
from tests.mount.conftest import FLAVOURS, Mount, MountedCase
from tests.oracles.known_limits import explain, read_facts
from tests.oracles.opened import Pixels, Reader, ReaderFailed
from tests.oracles.readers import READERS
from tests.oracles.tiff_structure import problems

SHOWN = [case.id for case in CASES if not case.unusable_levels]
EXPECTED = ("Auto-corrected former TIFF subsampling values", "Nonstandard tile ")
"""libtiff says the one of 4:4:4 and 4:4:0, and is right then; with the tag that silences it
Bio-Formats shows wrong colours, however the tag is written.  It says the other of tile sizes that
are no multiple of 16, and reads them (docs/readers.md)."""

SEEN_BY = {"openslide": "svs", "libvips": "tiff", "tifffile": "ome"}
"""Each reader with the flavour that is made for it."""


@pytest.mark.promise("S-15")
@pytest.mark.fuse
@pytest.mark.parametrize("reader_name", list(SEEN_BY))
@pytest.mark.parametrize("case_id", SHOWN)
def test_a_foreign_reader_sees_the_known_pixels(
    case_id: str, reader_name: str, cases: dict[str, MountedCase]
) -> None:
    shown = cases[case_id]
    flavour = SEEN_BY[reader_name]
    reader = READERS[reader_name]
    if reader.missing() is not None:
        pytest.skip(f"{reader_name}: {reader.missing()}")
    path = shown.files[flavour]
    facts = read_facts(path, flavour)
    try:
        opened = reader.open(path)
    except ReaderFailed:
        if explain(reader_name, "open", facts, None) is None:
            raise
        return
    sizes = [(level.columns, level.rows) for level in shown.series.levels]
    seen = [size for size in opened.levels if size in sizes]
    if seen != sizes:
        assert explain(reader_name, "levels", facts, None), f"{opened.levels} instead of {sizes}"
    for level in shown.series.levels:
        if (level.columns, level.rows) in opened.levels:
            check_level(reader, opened.levels.index((level.columns, level.rows)), level, case_id,
                        cases)  # fmt: skip


def check_level(
    reader: Reader, number: int, level: Level, case_id: str, cases: dict[str, MountedCase]
) -> None:
    """The pixels of one level, of the plane that a flavour of one plane shows."""
    flavour = SEEN_BY[reader.name]
    path = cases[case_id].files[flavour]
    facts = read_facts(path, flavour)
    planes = sorted(level.pixels)
    first = [key for key in planes if key[0] == 0]
    middle = (len({plane for _, plane in cases[case_id].series.levels[0].pixels}) - 1) // 2
    key = planes[0] if flavour == "ome" else first[min(middle, len(first) - 1)]
    try:
        pixels = reader.open(path).read(number)
    except ReaderFailed:
        if explain(reader.name, "pixels", facts, None) is None:
            raise
        return
    distance = int(np.abs(flat(pixels) - flat(level.pixels[key])).max())
    if distance > BY_ID[case_id].tolerance:
        mean = float(np.abs(flat(pixels) - flat(level.pixels[key])).mean())
        assert explain(reader.name, "pixels", facts, mean), f"differs by up to {distance}"


def flat(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Grey as one sample, whatever the reader makes of it; colour as three."""
    wide = pixels.astype(np.int64)
    if wide.ndim == 3 and wide.shape[2] == 1:
        return wide[:, :, 0]
    if wide.ndim == 3 and wide.shape[2] >= 3:
        wide = wide[:, :, :3]
        if (wide == wide[:, :, :1]).all():
            return wide[:, :, 0]
    return wide


@pytest.mark.promise("S-15")
@pytest.mark.fuse
@pytest.mark.parametrize("case_id", SHOWN)
def test_every_flavour_is_a_valid_tiff(case_id: str, cases: dict[str, MountedCase]) -> None:
    """But for two liberties: tile sizes that are no multiple of 16 pass through all the same
    (docs/readers.md), and where the size of a pixel is not known no resolution is invented.
    """
    allowed = {"tile-multiple-of-16", "resolution-tag"}
    for flavour in FLAVOURS:
        assert problems(cases[case_id].files[flavour], allowed=allowed) == []


@pytest.mark.promise("S-15")
@pytest.mark.fuse
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_libtiff_has_nothing_to_complain_of(flavour: str, cases: dict[str, MountedCase]) -> None:
    if shutil.which("tiffinfo") is None:
        pytest.skip("there is no tiffinfo")
    paths = [shown.files[flavour] for shown in cases.values()]
    done = subprocess.run(
        ["tiffinfo", *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert [line for line in said if not any(words in line for words in EXPECTED)] == []


@pytest.mark.fuse
def test_what_is_not_shown_is_listed_with_its_reason(
    mount_of_all: Mount, cases: dict[str, MountedCase]
) -> None:
    content = json.loads((mount_of_all.point / ".dicomfs" / "rejected.json").read_bytes())
    listed = {key.split("/")[0] for one in content for key in one["files"]}
    assert {case.id for case in CASES} - set(cases) == listed
    assert {one["code"] for one in content} == {"missing-part"}
    assert all(one["message"] for one in content)
