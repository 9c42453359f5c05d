"""What lies between frames and behind them, and frames that are none."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.encaps import generate_frames

import dicomfs
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.reading.clean_frames import slots_of
from tests.deidentify.planting import WORD, found_in
from tests.deidentify.test_sentinel import everything
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

PROFILE = dicomfs.Profile(b"a key of the tests")


def table(offsets: list[int], lengths: list[int], end: int) -> FrameTable:
    return FrameTable(np.array(offsets), np.array(lengths), end, None, "items")


def test_each_frame_has_the_bytes_up_to_the_next_one() -> None:
    slots = slots_of(table([100, 50, -1, 100, 170], [40, 30, 0, 40, 10], 180), 1000)
    assert slots is not None
    assert slots.start == 50
    assert slots.frames.tolist() == [1, 0, 4]
    assert slots.starts == array("q", [0, 50, 120, 130])


def test_frames_behind_the_end_have_no_slot() -> None:
    assert slots_of(table([-1], [0], 0), 100) is None
    assert slots_of(table([200], [10], 210), 100) is None
    slots = slots_of(table([90, 200], [20, 10], 210), 100)
    assert slots is not None
    assert slots.starts == array("q", [0, 10])


def item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A slide with a second fragment behind each frame, which is no picture, and one bad frame."""
    spec = SeriesSpec(codec="jpeg-422-jfif", width=600, height=400, downsamples=(1,))
    (path,) = write_series(tmp_path / "source", spec).paths
    ds = pydicom.dcmread(path)
    frames = list(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames)))
    frames[1] = (WORD.encode() * 100)[: len(frames[1]) // 2 * 2]
    offsets, body = [], b""
    for frame in frames:
        offsets.append(len(body))
        body += item(frame) + item(WORD.encode() + b" ")
    ds.PixelData = item(struct.pack(f"<{len(offsets)}I", *offsets)) + body
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in ds:
            delattr(ds, keyword)
    pydicom.dcmwrite(path, ds)
    return tmp_path / "source"


def test_bytes_that_are_no_picture_are_zeros(tmp_path: Path, source: Path) -> None:
    with dicomfs.open_archive(source, flavours=["ome"], index=tmp_path / "1") as archive:
        (path,) = [path for path in archive.files() if path.endswith(".ome.tif")]
        with archive.open(path) as file:
            assert WORD.encode() in file.read()
    with dicomfs.open_archive(
        source, flavours=["ome"], index=tmp_path / "2", deidentify=PROFILE
    ) as archive:
        assert not any(found_in(data) for data in everything(archive).values())
        (path,) = [path for path in archive.files() if path.endswith(".ome.tif")]
        with archive.open(path) as file, tifffile.TiffFile(file) as tiff:
            page = tiff.pages[0]
            sizes = []
            for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                file.seek(offset)
                data = file.read(size)
                sizes.append(data[:2])
        assert sizes.count(b"\0\0") == 1
        assert set(sizes) == {b"\0\0", b"\xff\xd8"}
