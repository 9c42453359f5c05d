"""Worker processes, following a source, deflated data sets: the ways on which facts come in."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from pydicom import Dataset

import dicomfs
from dicomfs.archive import Archive
from dicomfs.vfs.options import LayoutOptions
from tests.conftest import WrittenSeries
from tests.deidentify.planting import WORD, write_planted
from tests.deidentify.test_sentinel import in_index, traces
from tests.fixtures.catalogue import CASES
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

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


def named_in_a_frame(ds: Dataset, flavour: str, level: int) -> None:
    """A name that only the per-frame groups have, and that the scanner has too."""
    ds.Manufacturer = "Acme"
    for item in ds.get("PerFrameFunctionalGroupsSequence", []):
        item.OperatorsName = "Acme^Anna"
        item.PatientComments = WORD


def test_what_is_said_of_a_size_holds(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, organization="TILED_SPARSE", edit=named_in_a_frame)
    write_series(tmp_path / "source", spec)
    with dicomfs.open_archive(
        tmp_path / "source", index=tmp_path / "index", deidentify=PROFILE
    ) as archive:
        (path,) = [path for path in archive.files() if path.endswith(".dicom.json")]
        with archive.open(path) as file:
            content = json.load(file)
        assert "52009230" in content[0]
        assert "Acme" not in json.dumps(content)
        assert traces(archive) == {}


def wait_for(archive: Archive, slides: int) -> None:
    deadline = time.monotonic() + 60
    while archive.status["slides"] != slides:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_source_is_followed_under_sealed_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    archive = Archive.remembered(source, LayoutOptions(profile=PROFILE), index=tmp_path / "index")
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
