"""The same key gives the same stand-ins wherever it is used, and another key other ones."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from pydicom import Dataset, Sequence

from dicomfs.dicom.confidentiality.deidentify import path_identifier
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.confidentiality.times import shift_datetime, shift_pair
from dicomfs.dicom.icc import without_words
from dicomfs.source.sealed import Seal
from tests.deidentify.datasets import PROFILE, hidden, patient
from tests.deidentify.planting import WORD, icc_profile

OTHER = Profile(b"another key, as long")


def moment(date: str, time: str) -> datetime:
    return datetime.strptime(date + time, "%Y%m%d%H%M%S")


def test_links_are_kept() -> None:
    one = hidden(patient(ContainerIdentifier="C1", AccessionNumber="A1", StudyInstanceUID="1.2"))
    two = hidden(patient(ContainerIdentifier="C2", AccessionNumber="A1", FrameOfReferenceUID="1.2"))
    assert one.PatientID == two.PatientID == str(one.PatientName)
    assert one.AccessionNumber == two.AccessionNumber
    assert one.ContainerIdentifier != two.ContainerIdentifier
    assert one.StudyInstanceUID == two.FrameOfReferenceUID
    assert all(re.fullmatch(r"[A-Z]-[A-Z2-7]{12}", str(value)) for value in
               (one.PatientID, one.AccessionNumber, one.ContainerIdentifier))  # fmt: skip


def test_another_key_gives_other_ones() -> None:
    ds = patient(AccessionNumber="A1", StudyInstanceUID="1.2", StudyDate="20200229")
    one, two = hidden(ds), hidden(ds, OTHER)
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID", "StudyDate"):
        assert one[keyword].value != two[keyword].value
    assert PROFILE.fingerprint != OTHER.fingerprint
    assert PROFILE.fingerprint != Profile(PROFILE.key, clean_descriptors=True).fingerprint
    assert PROFILE.key.hex() not in PROFILE.fingerprint
    assert "key" not in repr(PROFILE).replace("a key of", "")


def test_an_identifier_is_the_same_however_it_is_written() -> None:
    found = set()
    for name, character_set in (("Ärztin 1 ", "ISO_IR 100"), ("A\u0308rztin  1", "ISO_IR 192")):
        ds = patient(name, StudyDate="20200229")
        ds.SpecificCharacterSet = character_set
        after = hidden(ds)
        found.add((after.PatientID, after.StudyDate))
    assert len(found) == 1


def test_without_an_identifier_the_name_tells_the_patient() -> None:
    ds = patient("", StudyInstanceUID="1.2", StudyDate="20200229")
    one = hidden(ds)
    assert one.PatientID in ("", None)
    nobody = Dataset()
    nobody.StudyInstanceUID = "1.2"
    assert "PatientID" not in hidden(nobody)


def test_intervals_are_kept() -> None:
    first = patient(StudyDate="20200228", StudyTime="235900", ContentDate="20200301",
                    ContentTime="000100")  # fmt: skip
    second = patient(AcquisitionDateTime="20200301120000.000000+0100")
    one, two = hidden(first), hidden(second)
    start, end = moment(one.StudyDate, one.StudyTime), moment(one.ContentDate, one.ContentTime)
    assert (end - start).total_seconds() == 24 * 3600 + 120
    assert "+" not in two.AcquisitionDateTime
    acquired = moment(two.AcquisitionDateTime[:8], two.AcquisitionDateTime[8:14])
    assert (acquired - end).total_seconds() == 12 * 3600 - 60
    years = (moment("20200228", "235900") - start).days / 365.25
    assert 1 <= years <= 10.1


def test_other_patients_have_other_shifts() -> None:
    dates = {hidden(patient(f"P{n}", StudyDate="20200229")).StudyDate for n in range(20)}
    assert len(dates) > 15


def test_dates_of_the_patient_are_not_shifted_but_gone() -> None:
    ds = patient(
        PatientBirthDate="19700101", PatientBirthTime="010101", LastMenstrualDate="20200101"
    )
    after = hidden(ds)
    assert not after.PatientBirthDate
    assert "PatientBirthTime" not in after
    assert "LastMenstrualDate" not in after


@pytest.mark.parametrize(
    ("date", "time"),
    [("20200229", "10"), ("20200229", "1011"), ("2020.02.29", "10:11:12.5"), ("20200229", "235960"),
     ("", "101112"), ("20200229", "")],
)  # fmt: skip
def test_dates_and_times_stay_as_exact_as_they_were(date: str, time: str) -> None:
    new_date, new_time = shift_pair(date, time, timedelta(days=400, seconds=3723))
    assert bool(new_date) == bool(date)
    assert len(new_time) == len(time.replace(":", ""))
    assert (new_date, new_time) != (date, time)


@pytest.mark.parametrize(
    "text", ["2020", "202002", "20200229", "2020022910", "20200229101112.123456"]
)
def test_datetimes_stay_as_exact_as_they_were(text: str) -> None:
    assert len(shift_datetime(f"{text}+0100", timedelta(days=1000))) == len(text)


@pytest.mark.parametrize("nonsense", ["yesterday", "20201399", "00000000", "20200229x", "99"])
def test_what_is_no_date_goes(nonsense: str) -> None:
    after = hidden(patient(), PROFILE)
    ds = patient()
    ds.add_new(0x00080020, "LO", nonsense)  # as a writer might that knows no dates
    assert nonsense not in str(hidden(ds))
    assert "StudyDate" not in after


def test_optical_paths_are_still_found() -> None:
    item, other = Dataset(), Dataset()
    item.OpticalPathIdentifier, other.OpticalPathIdentifier = "Mustermann CD8", "1"
    after = hidden(patient(OpticalPathSequence=Sequence([item, other])))
    named, numbered = (path.OpticalPathIdentifier for path in after.OpticalPathSequence)
    assert numbered == "1"
    assert named == path_identifier("Mustermann CD8\0", PROFILE)
    assert "Mustermann" not in named
    assert len(named) <= 16


def test_an_icc_profile_keeps_its_colours_and_loses_its_words() -> None:
    import io

    import numpy as np
    from PIL import Image, ImageCms

    before = icc_profile()
    after = without_words(before)
    assert WORD.encode() in before
    assert WORD.encode() not in after
    assert len(before) == len(after)
    picture = Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    target = ImageCms.createProfile("LAB")
    shown = [
        ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(one)), target,
                                  outputMode="LAB")
        for one in (before, after)
    ]  # fmt: skip
    assert np.array_equal(np.asarray(shown[0]), np.asarray(shown[1]))
    assert without_words(b"no profile") == b""
    for cut in range(0, len(before), 97):
        assert WORD.encode() not in without_words(before[:cut])


def test_names_are_sealed() -> None:
    seal = Seal(PROFILE.key)
    for key in ("a", "Müller^Hans/1.dcm", "a/b/c", "\udcff\udc80/x", "n" * 255):
        sealed = seal.seal(key)
        assert seal.open(sealed) == key
        assert sealed.count("/") == key.count("/")
        assert Seal(PROFILE.key).seal(key) == sealed
        assert Seal(OTHER.key).seal(key) != sealed
    assert seal.seal("a/x").split("/")[1] != seal.seal("b/x").split("/")[1]
