"""What lies beside a slide harms no slide: strangers, damaged files, other series, odd folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dicomfs
from dicomfs.archive import Archive
from dicomfs.catalog.catalogue import Catalogue
from tests.archive.virtual_tiff import levels_of, opened
from tests.conftest import WrittenSeries
from tests.fixtures.headers import uid
from tests.fixtures.series import Series
from tests.fixtures.strangers import truncated, write_strangers

SLIDE = "native-rgb8"


@contextmanager
def shown(source: Path) -> Iterator[tuple[Archive, Catalogue]]:
    with dicomfs.open_archive(source) as archive:
        yield archive, archive.catalogue


def series_of(catalogue: Catalogue) -> list[str]:
    return [entry.slide.series_instance_uid for entry in catalogue.slides]


def copy_of(series: Series, folder: Path) -> list[Path]:
    """The files of a series, copied into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(path, folder / path.name)) for path in series.paths]


def check_slide(archive: Archive, series: Series) -> None:
    """The archive's only slide has the series' pixels."""
    with opened(archive, "svs") as (_, tiff):
        for level, seen in zip(series.levels, levels_of(tiff, "svs"), strict=True):
            assert (seen.pixels(0) == level.pixels[0, 0]).all()


def test_strangers_are_counted_and_left_alone(written: WrittenSeries, tmp_path: Path) -> None:
    series = written(SLIDE)
    files = copy_of(series, tmp_path / "slide")
    strangers = write_strangers(tmp_path / "strangers")
    with shown(tmp_path) as (archive, catalogue):
        check_slide(archive, series)
        assert catalogue.files == len(files) + len(strangers)
        assert catalogue.not_dicom >= 3  # a text, an empty file, zeros
        classes = {other.modality for other in catalogue.other_series}
        assert {"CT", "SEG", "ANN", "SR"} <= classes
        by_modality = {other.modality: other for other in catalogue.other_series}
        ct = by_modality["CT"]
        assert ct.series_instance_uid == uid("strangers", "ct.dcm")
        assert ct.study_instance_uid == uid("strangers", "study")
        assert (ct.sop_class_uid, ct.instances) == ("1.2.840.10008.5.1.4.1.1.2", 1)


def test_a_photograph_is_a_slide_of_its_own(tmp_path: Path) -> None:
    """VL Microscopic: a single image from a microscope."""
    strangers = write_strangers(tmp_path)
    with shown(tmp_path) as (_, catalogue):
        assert series_of(catalogue) == [uid("strangers", "photograph.dcm")]
        (entry,) = catalogue.slides
        assert [obj.key for obj in entry.objects] == ["photograph.dcm"]
        level = entry.slide.levels[0]
        assert (level.width, level.height) == (48, 32)
        assert strangers["photograph.dcm"].dicom
        assert [other.modality for other in catalogue.other_series if other.modality == "GM"] == []


def test_strangers_in_the_very_series_of_a_slide(written: WrittenSeries, tmp_path: Path) -> None:
    """Forbidden, and seen: sorted by SOP class, not by series."""
    series = written(SLIDE)
    copy_of(series, tmp_path)
    strangers = write_strangers(
        tmp_path / "more", study_uid=series.study_uid, series_uid=series.series_uid
    )
    strangers["photograph.dcm"].path.unlink()
    with shown(tmp_path) as (archive, catalogue):
        assert series_of(catalogue) == [series.series_uid]
        check_slide(archive, series)
        assert {other.series_instance_uid for other in catalogue.other_series} >= {
            series.series_uid
        }


@pytest.mark.parametrize("size", [0, 100, 132, 200, 1000, 3000])
def test_a_file_that_was_cut_off_harms_no_neighbour(
    size: int, written: WrittenSeries, tmp_path: Path
) -> None:
    series, other = written(SLIDE), written("jpeg-422-jfif")
    copy_of(series, tmp_path / "one")
    truncated(other.paths[0], tmp_path / "cut.dcm", size)
    with shown(tmp_path) as (archive, catalogue):
        assert series_of(catalogue) == [series.series_uid]
        check_slide(archive, series)
        rejected = [one for one in catalogue.rejected if one.files == ("cut.dcm",)]
        known = [one for one in catalogue.other_series if not one.series_instance_uid]
        # Whatever became of it, it is accounted for once.
        assert len(rejected) + catalogue.not_dicom + len(known) == 1
        if size >= 1000:
            (rejection,) = rejected
            assert rejection.code == "unreadable"
            assert "cut off" in rejection.message


def test_one_bad_file_among_the_good_of_a_series(written: WrittenSeries, tmp_path: Path) -> None:
    """The level that cannot be read is missing; the others are shown."""
    series = written("jpeg-main")
    files = copy_of(series, tmp_path)
    small = next(
        path for path, file in zip(files, series.files, strict=True)
        if (file.flavour, file.level) == ("VOLUME", 2)
    )  # fmt: skip
    truncated(series.paths[files.index(small)], small, 2000)
    with shown(tmp_path) as (_, catalogue):
        (entry,) = catalogue.slides
        assert [(level.width, level.height) for level in entry.slide.levels] == [
            (600, 450),
            (300, 225),
        ]
        assert set(entry.slide.associated) == {"label", "overview", "thumbnail"}
        assert [(one.code, one.files) for one in catalogue.rejected] == [
            ("unreadable", (small.name,))
        ]


def test_noise_in_a_header_harms_no_neighbour(written: WrittenSeries, tmp_path: Path) -> None:
    series = written(SLIDE)
    copy_of(series, tmp_path / "good")
    content = bytearray(written("jpeg-422-jfif").paths[0].read_bytes())
    for number in range(40):
        broken = bytearray(content)
        at = 300 + 37 * number
        broken[at : at + 8] = b"\xff\xfe\xff\xff\xff\xff\xff\xff"
        (tmp_path / f"{number}.dcm").write_bytes(broken)
    with shown(tmp_path) as (_, catalogue):
        assert series.series_uid in series_of(catalogue)
        assert catalogue.files == len(series.paths) + 40
        assert not [one for one in catalogue.rejected if one.code == "internal"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(written: WrittenSeries, tmp_path: Path) -> None:
    series = written(SLIDE)
    copy_of(series, tmp_path / "good")
    (secret,) = copy_of(written("native-odd-length"), tmp_path / "secret")
    secret.chmod(0)
    with shown(tmp_path) as (archive, catalogue):
        check_slide(archive, series)
        assert [(one.code, one.files) for one in catalogue.rejected] == [
            ("unreadable", (f"secret/{secret.name}",))
        ]


def test_a_series_spread_over_folders_is_one_slide(written: WrittenSeries, tmp_path: Path) -> None:
    series = written(SLIDE)
    for number, path in enumerate(series.paths):
        folder = tmp_path / "deep" / str(number) / "er"
        folder.mkdir(parents=True)
        shutil.copy(path, folder / path.name)
    write_strangers(tmp_path / "deep" / "0")
    (tmp_path / "deep" / "0" / "photograph.dcm").unlink()
    with shown(tmp_path) as (archive, catalogue):
        check_slide(archive, series)
        (entry,) = catalogue.slides
        assert {obj.key.split("/")[1] for obj in entry.objects} == {"0", "1"}


def test_parts_of_a_concatenation_spread_over_folders(
    written: WrittenSeries, tmp_path: Path
) -> None:
    series = written("native-rgb8-concatenation")
    for number, path in enumerate(reversed(series.paths)):
        (tmp_path / str(number)).mkdir()
        shutil.copy(path, tmp_path / str(number) / "part")
    with shown(tmp_path) as (archive, _):
        check_slide(archive, series)


def test_several_series_in_one_folder(written: WrittenSeries, tmp_path: Path) -> None:
    cases = [SLIDE, "native-odd-length", "jpeg-422-jfif", "j2k-grey16"]
    for case_id in cases:
        for number, path in enumerate(written(case_id).paths):
            shutil.copy(path, tmp_path / f"{number}-{case_id}")
    with shown(tmp_path) as (_, catalogue):
        assert sorted(series_of(catalogue)) == sorted(written(c).series_uid for c in cases)
        assert catalogue.rejected == ()


def test_a_rejected_series_harms_no_neighbour(written: WrittenSeries, tmp_path: Path) -> None:
    good, bad = written(SLIDE), written("jpeg-422-jfif-concatenation-missing-part")
    copy_of(good, tmp_path / "good")
    copy_of(bad, tmp_path / "bad")
    with shown(tmp_path) as (archive, catalogue):
        check_slide(archive, good)
        (rejection,) = catalogue.rejected
        assert (rejection.code, rejection.series_instance_uid) == ("missing-part", bad.series_uid)
        assert sorted(rejection.files) == sorted(f"bad/{path.name}" for path in bad.paths)


def test_a_slide_twice_is_one_slide_with_a_warning(written: WrittenSeries, tmp_path: Path) -> None:
    series = written(SLIDE)
    copy_of(series, tmp_path / "one")
    copy_of(series, tmp_path / "two")
    with shown(tmp_path) as (archive, catalogue):
        check_slide(archive, series)
        (entry,) = catalogue.slides
        assert {note.code for note in entry.slide.notes} == {"duplicate"}


def test_an_empty_source(tmp_path: Path) -> None:
    with shown(tmp_path) as (archive, catalogue):
        assert (catalogue.slides, catalogue.rejected, catalogue.other_series) == ((), (), ())
        assert (catalogue.files, catalogue.not_dicom) == (0, 0)
        assert sorted(archive.files()) == [".dicomfs/rejected.json", ".dicomfs/status.json"]


def test_what_is_not_shown_is_listed_with_its_reason(
    written: WrittenSeries, tmp_path: Path
) -> None:
    copy_of(written("jpeg-422-jfif-concatenation-missing-part"), tmp_path)
    with shown(tmp_path) as (archive, catalogue):
        with archive.open(".dicomfs/rejected.json") as file:
            (listed,) = json.loads(file.read())
        (rejection,) = catalogue.rejected
        assert listed == {
            "series_instance_uid": rejection.series_instance_uid,
            "code": "missing-part",
            "message": rejection.message,
            "files": list(rejection.files),
        }
        with archive.open(".dicomfs/status.json") as file:
            status = json.loads(file.read())
        assert (status["slides"], status["rejected"]) == (0, 1)
