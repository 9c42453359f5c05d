"""`dicomfs export`: whole files or none, and never over what is there already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import dicomfs
from dicomfs.archive import Archive, ArchiveFile
from dicomfs.cli import main
from tests.conftest import WrittenSeries
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

CASES = ("jpeg-main", "native-rgb8")


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def files_of(archive: Archive) -> dict[str, bytes]:
    found = {}
    for path in archive.files():
        if not path.startswith(".dicomfs/"):
            with archive.open(path) as file:
                found[path] = file.read()
    return found


@pytest.fixture
def source(written: WrittenSeries, tmp_path: Path) -> Path:
    """Two slides."""
    for case_id in CASES:
        shutil.copytree(written(case_id).directory, tmp_path / "source" / case_id)
    return tmp_path / "source"


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "dest"


def test_the_files_are_those_of_a_mount(source: Path, dest: Path) -> None:
    done = export(source, dest)
    assert done.exit_code == 0, done.output
    with dicomfs.open_archive(source) as archive:
        expected = files_of(archive)
    assert files_below(dest) == expected
    # A TIFF and two JSON files each, three images, and what tells of two patients and studies.
    assert len(expected) == 2 + 4 + 3 + 4
    assert f"{len(expected)} files of 2 slides" in done.stderr


def test_one_series(source: Path, dest: Path, written: WrittenSeries) -> None:
    uid = written("native-rgb8").series_uid
    assert export(source, dest, "--series", uid).exit_code == 0
    names = sorted(path.rpartition("/")[2] for path in files_below(dest))
    assert [name.partition(".")[2] for name in names] == ["dicom.json", "json", "svs"]


def test_series_that_are_not_there(source: Path, dest: Path, written: WrittenSeries) -> None:
    known = written("native-rgb8").series_uid
    done = export(source, dest, "--series", known, "--series", "1.2.3")
    assert done.exit_code == 1
    assert "no slide has the Series Instance UID 1.2.3" in done.stderr
    assert not dest.exists()


def test_flavours_and_decoded_tiles(source: Path, dest: Path) -> None:
    done = export(source, dest, "--flavour", "ome", "--flavour", "tiff", "--tiles", "decoded")
    assert done.exit_code == 0
    found = files_below(dest)
    endings = {name.rpartition("/")[2].partition(".")[2] for name in found}
    assert {"ome.tif", "tif"} <= endings
    assert "svs" not in endings
    with dicomfs.open_archive(source, flavours=["ome", "tiff"], decode=True) as archive:
        assert found == files_of(archive)


def test_nothing_is_overwritten(source: Path, dest: Path) -> None:
    assert export(source, dest).exit_code == 0
    before = files_below(dest)
    name = sorted(before)[0]
    (dest / name).write_bytes(b"precious")
    again = export(source, dest)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert (dest / name).read_bytes() == b"precious"
    # Nor is anything else written beside it.
    assert files_below(dest) == {**before, name: b"precious"}
    assert export(source, dest, "--overwrite").exit_code == 0
    assert files_below(dest) == before


def test_nothing_is_begun_where_something_is_in_the_way(source: Path, dest: Path) -> None:
    with dicomfs.open_archive(source) as archive:
        (blocked, *_) = sorted(files_of(archive))
    (dest / blocked).parent.mkdir(parents=True)
    (dest / blocked).symlink_to("/nowhere/at/all")
    assert export(source, dest).exit_code == 1
    assert [str(path.relative_to(dest)) for path in dest.rglob("*") if not path.is_dir()] == [
        blocked
    ]


def test_a_destination_below_the_source_is_no_source(source: Path) -> None:
    """Else the second time would find what the first one wrote."""
    dest = source / "out"
    assert export(source, dest).exit_code == 0
    before = files_below(dest)
    assert export(source, dest, "--overwrite").exit_code == 0
    assert files_below(dest) == before


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A slide whose file ends inside its fourth frame, beside one that is whole."""
    spec = SeriesSpec(width=300, height=200, downsamples=(1,), name="damaged")
    series = write_series(tmp_path / "source" / "damaged", spec)
    end = series.levels[0].frames[3].spans[0].start + 10
    series.paths[0].write_bytes(series.paths[0].read_bytes()[:end])
    write_series(tmp_path / "source" / "whole", SeriesSpec(width=300, height=200, name="whole"))
    return tmp_path / "source"


def test_a_file_that_cannot_be_read_leaves_nothing_behind(damaged: Path, dest: Path) -> None:
    done = export(damaged, dest)
    assert done.exit_code == 1
    assert "1 file could not be written" in done.stderr
    assert ".svs" in done.stderr
    assert "--damaged blank" in done.stderr
    names = list(files_below(dest))
    assert len([name for name in names if name.endswith(".svs")]) == 1
    assert len([name for name in names if name.endswith(".json")]) == 4 + 4
    assert not [name for name in names if "partial" in name]


def test_damage_can_be_exported_blank(damaged: Path, dest: Path) -> None:
    assert export(damaged, dest, "--damaged", "blank").exit_code == 0
    assert len([name for name in files_below(dest) if name.endswith(".svs")]) == 2


def test_a_file_shows_only_when_it_is_complete(
    source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is there at any moment of the copying is either whole or hidden."""
    with dicomfs.open_archive(source) as archive:
        expected = files_of(archive)
    seen: list[str] = []
    plain = ArchiveFile.readinto

    def watched(self: ArchiveFile, buffer: object, /) -> int:
        for name, content in files_below(dest).items():
            if name.rpartition("/")[2].startswith("."):
                seen.append(name)
            else:
                assert content == expected[name]
        return plain(self, buffer)

    monkeypatch.setattr(ArchiveFile, "readinto", watched)
    assert export(source, dest).exit_code == 0
    assert files_below(dest) == expected
    assert seen  # it was looked while files were half written


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The second read is interrupted by the user."""
    plain = ArchiveFile.readinto
    reads = []

    def broken(self: ArchiveFile, buffer: object, /) -> int:
        reads.append(self.name)
        if len(reads) == 2:
            raise KeyboardInterrupt
        return plain(self, buffer)

    monkeypatch.setattr(ArchiveFile, "readinto", broken)
    yield
    assert len(reads) == 2


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_export_leaves_no_partial_file(source: Path, dest: Path) -> None:
    assert export(source, dest).exit_code == 1
    assert not [name for name in files_below(dest) if "partial" in name]


def test_no_slides_is_exit_code_1(tmp_path: Path, dest: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = export(tmp_path / "empty", dest)
    assert done.exit_code == 1
    assert "there are no slides" in done.stderr
    assert not dest.exists()


def test_no_source_is_exit_code_1(tmp_path: Path, dest: Path) -> None:
    done = export(tmp_path / "missing", dest)
    assert done.exit_code == 1
    assert "is not a directory" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["a"], ["a", "b", "--flavour", "png"], ["a", "b", "--tiles", "x"], ["a", "b", "--series"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert export(*arguments).exit_code == 2


def test_a_destination_that_cannot_be_made(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = export(source, tmp_path / "file" / "dest")
    assert done.exit_code == 1
    assert "could not be written" in done.stderr
