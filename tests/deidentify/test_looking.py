"""Worker processes, following a source, deflated data sets: the ways on which facts come in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import dicomfs
from dicomfs.archive import Archive
from tests.conftest import WrittenSeries
from tests.deidentify.planting import WORD, write_planted
from tests.deidentify.test_sentinel import in_index, traces
from tests.fixtures.catalogue import CASES
from tests.fixtures.series import SeriesSpec

PROFILE = dicomfs.Profile(b"a key of the tests")
SPEC = SeriesSpec(name="slide", codec="jpeg-422-jfif", width=300, height=200)


def test_worker_processes_de_identify_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_planted(source, SPEC)
    for number in range(220):  # so many that processes are worth while
        (source / f"{WORD} {number}.txt").write_text(WORD)
    broken = source / f"{WORD} broken.dcm"
    broken.write_bytes(bytes(128) + b"DICM" + WORD.encode())
    index = tmp_path / "index"
    with dicomfs.open_archive(source, index=index, deidentify=PROFILE) as archive:
        assert archive.status["slides"] == 1
        assert archive.status["not_dicom"] == 220
        assert archive.status["rejected"] == 1
        assert traces(archive) == {}
    assert in_index(index) == []


def wait_for(archive: Archive, slides: int) -> None:
    deadline = time.monotonic() + 60
    while archive.status["slides"] != slides:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_source_is_followed_under_sealed_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    archive = Archive.remembered(source, index=tmp_path / "index", deidentify=PROFILE)
    with archive:
        follower = archive.follow()
        assert follower.scanned.wait(60)
        paths = write_planted(source / WORD, SPEC)
        wait_for(archive, 1)
        assert traces(archive) == {}
        for path in paths:
            path.unlink()
        wait_for(archive, 0)
    assert in_index(tmp_path / "index") == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if "deflated" in case.id], ids=lambda case: case.id
)
def test_deflated_data_sets(tmp_path: Path, written: WrittenSeries, case: object) -> None:
    directory = written(case.id).directory  # type: ignore[attr-defined]
    sizes: list[list[tuple[int, int]]] = []
    for profile in (None, PROFILE):
        index = tmp_path / f"{len(sizes)}"
        with dicomfs.open_archive(directory, index=index, deidentify=profile) as archive:
            (slide,) = archive.slides
            sizes.append([(level.width, level.height) for level in slide.entry.slide.levels])
            for path in archive.files():
                with archive.open(path) as file:
                    assert file.read()
    assert sizes[0] == sizes[1]
