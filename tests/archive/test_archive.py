"""An archive as Python code uses it: paths, files, errors with the errno of a mount."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

import dicomfs
from dicomfs.archive import Archive
from dicomfs.errors import UsageError
from dicomfs.vfs.nodes import Directory, File
from tests.archive.virtual_tiff import opened, tiff_paths
from tests.conftest import WrittenSeries
from tests.fixtures.series import Series, SeriesSpec
from tests.fixtures.wsm import write_series


@pytest.fixture
def archive(written: WrittenSeries) -> Iterator[Archive]:
    with dicomfs.open_archive(written("jpeg-main").directory) as opened:
        yield opened


def test_the_tree_is_patient_study_slide(archive: Archive) -> None:
    paths = sorted(archive.files())
    assert len(paths) == 10
    assert paths[:2] == [".dicomfs/rejected.json", ".dicomfs/status.json"]
    assert paths[-2:] == [
        f"{paths[2].rpartition('/')[0]}/study.json",
        f"{paths[2].split('/')[0]}/patient.json",
    ]
    patient, study, name = paths[2].split("/")
    assert patient.startswith("P-jpeg-main")
    assert study.startswith("2026-01-02 Synthetic slide")
    assert name.startswith("C-0815")
    stem = name.split(".")[0]
    assert paths[2:-2] == [
        f"{patient}/{study}/{stem}{ending}"
        for ending in (
            ".dicom.json",
            ".json",
            ".label.jpg",
            ".overview.jpg",
            ".svs",
            ".thumbnail.jpg",
        )
    ]


def test_every_path_is_found(archive: Archive) -> None:
    for path in archive.files():
        node = archive.find(path)
        assert isinstance(node, File)
        folder = archive.find(path.rpartition("/")[0])
        assert isinstance(folder, Directory)
        assert folder.children[node.name] is node
    assert isinstance(archive.find(""), Directory)


@pytest.mark.parametrize("path", ["nothing", "nothing/below", ".dicomfs/status.json/x", "../x"])
def test_what_is_not_there_is_not_found(path: str, archive: Archive) -> None:
    with pytest.raises(FileNotFoundError):
        archive.open(path)


def test_a_directory_is_no_file(archive: Archive) -> None:
    for path in ("", ".dicomfs"):
        with pytest.raises(IsADirectoryError):
            archive.open(path)


def test_files_are_binary_files(archive: Archive) -> None:
    (path,) = tiff_paths(archive, "svs")
    with archive.open(path) as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.name == path
        whole = file.read()
        assert (file.read(1), file.tell()) == (b"", len(whole))
        file.seek(100)
        buffer = bytearray(50)
        assert file.readinto(buffer) == 50  # type: ignore[attr-defined]
        assert buffer == whole[100:150]
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
    assert file.closed


def test_several_files_are_open_at_once(archive: Archive) -> None:
    (path,) = tiff_paths(archive, "svs")
    with archive.open(path) as one, archive.open(path) as other:
        one.seek(1000)
        other.seek(2000)
        first, second = one.read(3000), other.read(2000)
        assert first[1000:] == second


def test_the_json_beside_a_slide_is_its_summary(archive: Archive) -> None:
    (path,) = [p.replace(".svs", ".json") for p in archive.files() if p.endswith(".svs")]
    with archive.open(path) as file:
        content = json.loads(file.read())
    assert content == archive.slides[0].summary
    folder = path.rpartition("/")[0]
    names = {p.rpartition("/")[2] for p in archive.files() if p.startswith(folder)} - {"study.json"}
    assert set(content["files"]) | {path.rpartition("/")[2]} == names


def test_unknown_flavours_are_refused(written: WrittenSeries) -> None:
    with pytest.raises(UsageError, match="png"):
        dicomfs.open_archive(written("jpeg-main").directory, flavours=["svs", "png"])


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_no_directory_is_refused(missing: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if not missing:
        path.write_bytes(b"")
    with pytest.raises(UsageError, match="is not a directory"):
        dicomfs.open_archive(path)


@pytest.mark.parametrize("case_id", ["jpeg-422-jfif", "j2k-ycbcr", "native-be-grey16"])
def test_decoded_tiles_show_the_same(case_id: str, written: WrittenSeries) -> None:
    series = written(case_id)
    with (
        dicomfs.open_archive(series.directory, flavours=["ome"], decode=True) as archive,
        opened(archive, "ome") as (_, tiff),
    ):
        page = tiff.pages[0].aspage()
        assert page.compression == 1
        difference = page.asarray().astype(int) - series.levels[0].pixels[0, 0]
        assert np.abs(difference).max() <= int("ycbcr" in case_id)


def test_a_source_that_changes_is_stale(written: WrittenSeries, tmp_path: Path) -> None:
    """Never bytes of two versions in one file."""
    series = write_series(tmp_path, SeriesSpec(width=300, height=200, downsamples=(1,)))
    with dicomfs.open_archive(tmp_path) as archive:
        (path,) = tiff_paths(archive, "svs")
        content = series.paths[0].read_bytes()
        series.paths[0].unlink()
        series.paths[0].write_bytes(content[:-2000])
        with archive.open(path) as file, pytest.raises(OSError, match=r"\.svs") as raised:
            file.read()
        assert raised.value.errno == errno.ESTALE


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture(params=["jpeg-422-jfif", "j2k-rct", "native-rgb8", "jpegls-rgb8"])
def cut(request: pytest.FixtureRequest, tmp_path: Path) -> Series:
    """A slide of 3 x 2 frames whose file ends inside the fifth."""
    spec = SeriesSpec(width=300, height=200, downsamples=(1,), codec=request.param)
    series = write_series(tmp_path, spec)
    end = series.levels[0].frames[4].spans[0].start + 100
    series.paths[0].write_bytes(series.paths[0].read_bytes()[:end])
    return series


@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
def test_missing_tiles_cannot_be_read_and_others_can(cut: Series, flavour: str) -> None:
    level = cut.levels[0]
    with (
        dicomfs.open_archive(cut.directory, flavours=[flavour]) as archive,
        opened(archive, flavour) as (_, tiff),
    ):
        page = tiff.pages[0].aspage()
        for number in range(6):
            offset, count = page.dataoffsets[number], page.databytecounts[number]
            tiff.filehandle.seek(offset)
            if number >= 4:
                with pytest.raises(OSError, match="missing") as raised:
                    tiff.filehandle.read(count)
                assert raised.value.errno == errno.EIO
                continue
            data = tiff.filehandle.read(count)
            pixels, _, _ = page.decode(data, number)
            assert pixels is not None
            frame = level.frames[number]
            expected = level.codec.decode(frame.data, 128, 128)
            np.testing.assert_array_equal(pixels[0], expected[: pixels.shape[1], : pixels.shape[2]])
        warnings = archive.slides[0].summary["warnings"]
        assert {one["code"] for one in warnings} >= {"damaged-frames"}
        assert any("5, 6" in one["message"] for one in warnings)


@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
def test_missing_tiles_can_be_shown_blank(cut: Series, flavour: str) -> None:
    with (
        dicomfs.open_archive(cut.directory, flavours=[flavour], blank_damaged=True) as archive,
        opened(archive, flavour) as (_, tiff),
    ):
        seen = tiff.pages[0].aspage().asarray()
    expected = cut.levels[0].pixels[0, 0].copy()
    expected[128:, 128:] = 255
    np.testing.assert_array_equal(seen, expected)


def test_the_whole_of_a_damaged_file_is_an_error(cut: Series) -> None:
    """Not a short read, which would look like its end."""
    with dicomfs.open_archive(cut.directory) as archive:
        (path,) = tiff_paths(archive, "svs")
        with archive.open(path) as file, pytest.raises(OSError, match="svs") as raised:
            file.read()
        assert raised.value.errno == errno.EIO
        with archive.open(path) as file, tifffile.TiffFile(file) as tiff:
            assert len(tiff.pages) == 2  # the header is whole
