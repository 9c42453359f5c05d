"""What becomes of attributes: every row of Table E.1-1, and what the table does not list."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from dicomfs.dicom.confidentiality.pseudonyms import Profile, is_well_known
from dicomfs.dicom.confidentiality.table import (
    STRUCTURED_CONTENT,
    action_of,
    descriptors,
    device_identity,
    rows,
)
from dicomfs.dicom.encoding import Encoding
from tests.deidentify.datasets import BIG, IMPLICIT, KEY, LITTLE, hidden, patient
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS")
DATES = {"DA": "20200229", "TM": "101112", "DT": "20200229101112.5"}
PSEUDONYMS = frozenset(
    tag_for_keyword(keyword)
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyID",
                    "ContainerIdentifier", "SpecimenIdentifier", "ClinicalTrialSubjectID",
                    "ClinicalTrialSubjectReadingID")
)  # fmt: skip
KNOWN_ROWS = sorted(tag for tag in rows() if dictionary_has_tag(tag) and tag >= 0x00080000)


def value_of(vr: str) -> object:
    """A value of a VR that nobody would want to see again."""
    if vr == "AS":
        return "044Y"
    if vr in TEXTS:
        return "SECRET"
    if vr == "UI":
        return "1.2.3.4.5"
    if vr == "SQ":
        item = Dataset()
        item.PatientComments = "SECRET"
        item.Manufacturer = "Acme"
        return Sequence([item])
    return DATES.get(vr) or {"DS": "1.5", "IS": "7", "US": 7, "FD": 1.5, "UL": 7}.get(vr, b"SECRET")


@pytest.mark.parametrize("tag", KNOWN_ROWS, ids=lambda tag: f"{keyword_for_tag(tag)}")
def test_every_row_of_the_table(tag: int) -> None:
    vr = dictionary_VR(tag)[:2]
    ds = patient()
    ds.add_new(tag, vr, value_of(vr))
    after = hidden(ds).get(tag)
    action = action_of(tag)
    assert action in ("X", "Z", "D", "U")
    if vr in DATES and tag >> 16 not in (0x0010, 0x0016):
        assert after is not None
        assert after.value
        assert after.value != ds[tag].value
    elif tag in PSEUDONYMS:
        assert str(after.value)[1] == "-"
        assert "SECRET" not in str(after.value)
    elif tag in STRUCTURED_CONTENT:
        assert "SECRET" not in str(after)
    elif vr == "UI" and action != "X":
        assert after.value.startswith("2.25.")
    elif action == "X" or (action == "D" and vr in ("OB", "UN", "OW")):
        assert after is None
    elif action == "Z" or vr == "SQ":
        assert after is not None
        assert "SECRET" not in str(after)
        if action != "U":
            assert not after.value
    else:
        assert after.value not in (None, "", ds[tag].value)


def test_the_table_is_whole() -> None:
    assert len(rows()) == 652
    assert set(rows().values()) == {"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}
    assert descriptors() < rows().keys()
    assert device_identity() < rows().keys()
    for tag in (0x00100010, 0x00100020, 0x00400512, 0x00400551, 0x0020000D, 0x22000005):
        assert tag in rows()


def test_choices_keep_a_slide_valid() -> None:
    assert action_of(0x00181000) == "D"  # type 1 of Enhanced General Equipment
    assert action_of(0x22000005) == "Z"  # type 2 of Slide Label
    assert action_of(0x00080080) == "X"
    assert action_of(0x00082112) == "U"
    assert action_of(0x50000005) == action_of(0x60003000) == action_of(0x00091001) == "X"
    assert action_of(0x00080070) is None


@pytest.mark.parametrize("encoding", [IMPLICIT, LITTLE, BIG], ids=["implicit", "little", "big"])
def test_all_levels_in_every_encoding(encoding: Encoding) -> None:
    ds = patient(Rows=300, PatientComments="SECRET", StudyInstanceUID="1.2.3")
    inner = Dataset()
    inner.OperatorsName = "SECRET"
    inner.StudyInstanceUID = "1.2.3"
    inner.ReferencedFrameNumber = 7
    item = Dataset()
    item.ReferencedInstanceSequence = Sequence([inner])
    item.ReferencedFrameNumber = 5
    ds.ReferencedSeriesSequence = Sequence([item, Dataset()])
    after = hidden(ds, encoding=encoding)
    assert "SECRET" not in str(after)
    assert after.Rows == 300
    first, second = after.ReferencedSeriesSequence
    assert first.ReferencedFrameNumber == 5
    assert not list(second)
    innermost = first.ReferencedInstanceSequence[0]
    assert innermost.StudyInstanceUID == after.StudyInstanceUID != "1.2.3"
    assert innermost.ReferencedFrameNumber == 7


def test_what_the_table_does_not_list() -> None:
    ds = patient(
        Manufacturer="Acme",
        SoftwareVersions=["1.0", "2.0"],
        ModifyingSystem="SECRET",
        FilterMaterial="SECRET",
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "SECRET"],
        SeriesNumber="12",
        PixelSpacing=[0.5, 0.25],
    )
    ds.add_new(0x00281201, "OW", b"\1\2\3\4")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    ds.add_new(0x00420011, "OB", b"SECRET")
    ds.add_new(0x0009FFFF, "LO", "SECRET")
    ds.private_block(0x0011, "SECRET", create=True).add_new(1, "LO", "SECRET")
    ds.OtherPatientIDs = "SECRET"
    after = hidden(ds)
    assert after.Manufacturer == "Acme"
    assert list(after.SoftwareVersions) == ["1.0", "2.0"]
    assert list(after.ImageType) == ["ORIGINAL", "PRIMARY", "VOLUME", "OTHER"]
    assert after.SeriesNumber == 12
    assert list(after.PixelSpacing) == [0.5, 0.25]
    assert after.RedPaletteColorLookupTableData == b"\1\2\3\4"
    assert "SECRET" not in str(after)
    assert not any(element.tag.is_private for element in after)
    ds.PhotometricInterpretation = "RGB"
    assert "RedPaletteColorLookupTableData" not in hidden(ds)


def test_what_is_kept_never_repeats_a_name() -> None:
    ds = patient(
        Manufacturer="Scanned by ERIKA",
        ManufacturerModelName="model MRN-4711",
        SoftwareVersions="for-mustermanns",
        OpticalPathDescription="DAPI",
        Modality="SM",
    )
    after = hidden(ds)
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        assert after[keyword].value == "REMOVED"  # a slide has to have them
    assert after.OpticalPathDescription == "DAPI"
    assert after.Modality == "SM"


def test_it_says_what_was_done() -> None:
    every = Profile(KEY, retain_device_identity=True, clean_descriptors=True)
    after = hidden(patient(), every)
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    assert all(len(value) <= 64 for value in after.DeidentificationMethod)
    codes = [(item.CodeValue, item.CodingSchemeDesignator)
             for item in after.DeidentificationMethodCodeSequence]  # fmt: skip
    values = ("113100", "113107", "113104", "113105", "113109")
    assert codes == [(value, "DCM") for value in values]
    less = hidden(patient(), Profile(KEY, drop_structured_content=True))
    assert [item.CodeValue for item in less.DeidentificationMethodCodeSequence] == [
        "113100",
        "113107",
    ]


def test_device_identity_is_kept_where_that_is_asked_for() -> None:
    ds = patient(DeviceSerialNumber="SN-99", StationName="lab", DeviceUID="1.2.3.9")
    assert hidden(ds).DeviceSerialNumber == "REMOVED"
    assert "StationName" not in hidden(ds)
    after = hidden(ds, Profile(KEY, retain_device_identity=True))
    assert (after.DeviceSerialNumber, after.StationName) == ("SN-99", "lab")
    assert after.DeviceUID == "1.2.3.9"


def test_descriptors_are_cleaned_where_that_is_asked_for() -> None:
    ds = patient(
        StudyDescription="Biopsy of Dr. House, breast left, H&E 40x, room 17",
        SeriesDescription="Mustermann",
    )
    assert "StudyDescription" not in hidden(ds)
    after = hidden(ds, Profile(KEY, clean_descriptors=True))
    assert after.StudyDescription == "Biopsy of breast left H&E 40x"
    assert after.SeriesDescription in ("", None)


def specimen(*content: Dataset) -> Dataset:
    """A data set with a specimen and one preparation step."""
    step = Dataset()
    step.SpecimenPreparationStepContentItemSequence = Sequence(content)
    item = Dataset()
    item.SpecimenIdentifier = "S-2020-1"
    item.SpecimenPreparationSequence = Sequence([step])
    return patient(SpecimenDescriptionSequence=Sequence([item]))


def code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def content_item(name: tuple[str, str, str], **value: object) -> Dataset:
    item = Dataset()
    item.ValueType = "TEXT" if "TextValue" in value else "CODE"
    item.ConceptNameCodeSequence = code(*name)
    for keyword, content in value.items():
        setattr(item, keyword, content)
    return item


def test_stains_are_kept() -> None:
    using = ("424361007", "SCT", "Using substance")
    ds = specimen(
        content_item(using, ConceptCodeSequence=code("12710003", "SCT", "hematoxylin stain")),
        content_item(using, ConceptCodeSequence=code("X1", "99HOSPITAL", "Eosin of Dr. House")),
        content_item(using, TextValue="Eosin, as Erika Mustermann got it"),
        content_item(("121041", "DCM", "Specimen Identifier"), TextValue="S-2020-1"),
    )
    after = hidden(ds).SpecimenDescriptionSequence[0]
    step = after.SpecimenPreparationSequence[0]
    first, own, text, identifier = step.SpecimenPreparationStepContentItemSequence
    assert first.ConceptCodeSequence[0].CodeMeaning == "hematoxylin stain"
    assert first.ConceptNameCodeSequence[0].CodeValue == "424361007"
    assert own.ConceptCodeSequence[0].CodeMeaning == "Eosin of"
    assert "CodeValue" not in own.ConceptCodeSequence[0]
    assert "CodingSchemeDesignator" not in own.ConceptCodeSequence[0]
    assert text.TextValue == "Eosin"
    assert identifier.TextValue == after.SpecimenIdentifier != "S-2020-1"
    without = hidden(ds, Profile(KEY, drop_structured_content=True))
    assert not without.SpecimenDescriptionSequence[0].SpecimenPreparationSequence


def test_the_last_names_of_stains_are_no_secret_but_a_patients_name_is() -> None:
    item = content_item(("1", "SCT", "Using"), TextValue="Masson trichrome")
    ds = specimen(item)
    ds.PatientName = "Masson^Pierre"
    step = hidden(ds).SpecimenDescriptionSequence[0].SpecimenPreparationSequence[0]
    assert step.SpecimenPreparationStepContentItemSequence[0].TextValue == "trichrome"


def test_uids_of_the_standard_are_kept() -> None:
    ds = patient(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", SOPInstanceUID="1.2.3")
    after = hidden(ds)
    assert after.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.6"
    assert after.SOPInstanceUID.startswith("2.25.")
    assert after.SOPInstanceUID.is_valid
    assert is_well_known("1.2.840.10008.1.2.8.1")
    assert not is_well_known("1.2.840.10008.123456789.1")
    assert not is_well_known("1.2.840.113619.1")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="there is no dciodvfy")
def test_a_validator_finds_nothing_that_it_did_not_find_before(tmp_path: Path) -> None:
    spec = SeriesSpec(codec="jpeg-422-jfif", associated=("LABEL", "THUMBNAIL"), width=300,
                      height=200)  # fmt: skip
    for path in write_series(tmp_path / "plain", spec).paths:
        ds = pydicom.dcmread(path)
        after = hidden(pydicom.dcmread(path, stop_before_pixels=True))
        after.add_new(0x7FE00010, "OB", ds.PixelData)
        after["PixelData"].is_undefined_length = True
        after.file_meta = ds.file_meta
        after.file_meta.MediaStorageSOPInstanceUID = after.SOPInstanceUID
        target = tmp_path / path.name
        pydicom.dcmwrite(target, after, enforce_file_format=True)
        assert dciodvfy_errors(target) <= dciodvfy_errors(path)


def dciodvfy_errors(path: Path) -> set[str]:
    done = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}
