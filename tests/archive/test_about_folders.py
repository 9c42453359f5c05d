"""`patient.json` and `study.json`: what they count, and that they follow the source."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import UID

import dicomfs
from dicomfs.archive import Archive
from dicomfs.vfs.nodes import File
from tests.conftest import WrittenSeries
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series
from tests.schemas import validate

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def documents(archive: Archive, name: str) -> list[dict[str, Any]]:
    """The content of all files of a name, in the order of their paths."""
    found = []
    for path in sorted(archive.files()):
        if path.endswith(f"/{name}.json"):
            node = archive.find(path)
            assert isinstance(node, File)
            with archive.open(path) as file:
                data = file.read()
            assert len(data) == node.size
            found.append(json.loads(data))
            validate(found[-1], name)
    return found


def stranger(like: Path, to: Path, series: str, number: int) -> None:
    """An object of another kind in the study of a slide."""
    ds = pydicom.dcmread(like, stop_before_pixels=True)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(SEGMENTATION)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{series}.{number}")
    ds.SeriesInstanceUID, ds.Modality = series, "SEG"
    ds.save_as(to)


@pytest.fixture
def source(written: WrittenSeries, tmp_path: Path) -> Path:
    """A study with two slides and a series of two segmentations, and a patient of another study."""
    folder = tmp_path / "source"
    main = written("jpeg-main")
    shutil.copytree(main.directory, folder / "one")
    second = write_series(folder / "two", SeriesSpec(name="second", downsamples=(1,)))
    for path in second.paths:
        ds = pydicom.dcmread(path)
        there = pydicom.dcmread(main.paths[0])
        ds.StudyInstanceUID, ds.PatientID = there.StudyInstanceUID, there.PatientID
        ds.save_as(path)
    for number in (1, 2):
        stranger(main.paths[0], folder / f"seg{number}.dcm", "1.2.3.4", number)
    write_series(folder / "other", SeriesSpec(name="elsewhere", downsamples=(1,)))
    return folder


def test_what_is_counted(source: Path, written: WrittenSeries) -> None:
    with dicomfs.open_archive(source) as archive:
        patients, studies = documents(archive, "patient"), documents(archive, "study")
        uids = {slide.entry.slide.series_instance_uid for slide in archive.slides}
    instances = len(list((source / "one").iterdir())) + len(list((source / "two").iterdir()))
    assert [one["number_of_study_related_series"] for one in studies] == [1, 3]
    study = studies[1]
    assert study["number_of_study_related_instances"] == instances + 2
    assert study["modalities_in_study"] == ["SEG", "SM"]
    assert study["sop_classes_in_study"] == [SEGMENTATION, SLIDE]
    assert study["study_datetime"] == "2026-01-02T10:11:12"
    assert [len(one["slides"]) for one in study["series"]] == [1, 1, 0]
    assert {one["series_instance_uid"] for one in study["series"][:2]} < uids
    assert study["series"][2] == {
        "series_instance_uid": "1.2.3.4",
        "modality": "SEG",
        "sop_class_uids": [SEGMENTATION],
        "sop_classes": ["Segmentation Storage"],
        "number_of_series_related_instances": 2,
        "slides": [],
    }
    patient = patients[1]
    there = pydicom.dcmread(written("jpeg-main").paths[0])
    assert patient["patient_id"] == there.PatientID
    assert patient["patient_name"] == str(there.PatientName)
    assert patient["number_of_patient_related_studies"] == 1
    assert patient["number_of_patient_related_series"] == 3
    assert patient["number_of_patient_related_instances"] == instances + 2
    (listed,) = patient["studies"]
    assert listed["study_instance_uid"] == study["study_instance_uid"]


def test_the_files_named_are_there(source: Path) -> None:
    with dicomfs.open_archive(source) as archive:
        paths = set(archive.files())
        for path in [path for path in paths if path.endswith("/study.json")]:
            with archive.open(path) as file:
                content = json.loads(file.read())
            folder = path.rpartition("/")[0]
            for stem in [stem for series in content["series"] for stem in series["slides"]]:
                assert f"{folder}/{stem}.json" in paths
        for path in [path for path in paths if path.endswith("/patient.json")]:
            with archive.open(path) as file:
                content = json.loads(file.read())
            for study in content["studies"]:
                assert f"{path.split('/')[0]}/{study['folder']}/study.json" in paths


def test_they_follow_slides_and_others_that_come_and_go(source: Path) -> None:
    def numbers(archive: Archive) -> tuple[int, int, int]:
        inodes = [
            archive.find(path).inode
            for path in sorted(archive.files())
            if path.endswith(("/study.json", "/patient.json"))
        ]
        seen.append(inodes)
        patient = documents(archive, "patient")[1]
        study = documents(archive, "study")[1]
        assert (
            patient["number_of_patient_related_series"] == study["number_of_study_related_series"]
        )
        return (
            study["number_of_study_related_series"],
            study["number_of_study_related_instances"],
            patient["number_of_patient_related_instances"],
        )

    seen: list[list[int]] = []
    with dicomfs.open_archive(source) as archive:
        follower = archive._make_follower()
        before = numbers(archive)
        (source / "seg2.dcm").unlink()
        follower.catch_up()
        assert numbers(archive) == (3, before[1] - 1, before[2] - 1)
        (source / "seg1.dcm").unlink()
        follower.catch_up()
        assert numbers(archive) == (2, before[1] - 2, before[2] - 2)
        second = len(list((source / "two").iterdir()))
        shutil.rmtree(source / "two")
        follower.catch_up()
        assert numbers(archive) == (1, before[1] - 2 - second, before[2] - 2 - second)
        follower.catch_up()
        numbers(archive)
        count = len(list(archive.files()))
        folders = {path.rpartition("/")[0] for path in archive.files()}
        patients = {path.split("/")[0] for path in archive.files()}
        assert len(archive.tree) == 1 + count + len(folders | patients)
    # Other bytes are another file; the patient next door is the same.
    assert all(one[2:] != other[2:] for one, other in pairwise(seen[:4]))
    assert seen[3] == seen[4]
    assert len({tuple(one[:2]) for one in seen}) == 1


def test_nothing_is_said_of_what_is_not_known(tmp_path: Path) -> None:
    drop = (
        *("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
    )
    write_series(tmp_path, SeriesSpec(downsamples=(1,), associated=(), drop=drop))
    with dicomfs.open_archive(tmp_path) as archive:
        (patient,), (study,) = documents(archive, "patient"), documents(archive, "study")
    assert (patient["patient_name"], patient["patient_birth_date"]) == ("", None)
    assert (study["study_datetime"], study["accession_number"]) == (None, "")
