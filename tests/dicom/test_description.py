"""What is said of the specimen: stains by their codes, old and new, and nothing else."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicomfs.dicom.description import Description
from dicomfs.dicom.encoding import Encoding
from dicomfs.dicom.header import parse_header
from tests.fixtures.codecs import EXPLICIT_LE
from tests.fixtures.datasets import dataset_bytes

Code = tuple[str, str, str]
PROCESSING: Code = ("111701", "DCM", "Processing type")
USING: Code = ("424361007", "SCT", "Using substance")
USING_OLD: Code = ("F-61D98", "SRT", "Using substance")
STAINING: Code = ("127790008", "SCT", "Staining procedure")
STAINING_OLD: Code = ("P3-00003", "SRT", "Staining")
FIXATION: Code = ("17636008", "SCT", "Specimen collection")
HEMATOXYLIN: Code = ("12710003", "SCT", "hematoxylin stain")
EOSIN: Code = ("36879007", "SCT", "water soluble eosin stain")


def code(values: Code) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = values
    return Sequence([item])


def content(name: Code, value: Code | str) -> Dataset:
    item = Dataset()
    item.ConceptNameCodeSequence = code(name)
    if isinstance(value, str):
        item.ValueType, item.TextValue = "TEXT", value
    else:
        item.ValueType, item.ConceptCodeSequence = "CODE", code(value)
    return item


def step(*items: Dataset) -> Dataset:
    ds = Dataset()
    ds.SpecimenPreparationStepContentItemSequence = Sequence(items)
    return ds


def described(ds: Dataset) -> Description:
    data = dataset_bytes(ds, EXPLICIT_LE)
    return parse_header(data, Encoding(implicit_vr=False, big_endian=False), b"").description


def stains_of(*steps: Dataset) -> tuple[str, ...]:
    specimen = Dataset()
    specimen.SpecimenPreparationSequence = Sequence(steps)
    ds = Dataset()
    ds.SpecimenDescriptionSequence = Sequence([specimen])
    (found,) = described(ds).specimens
    return found.stains


@pytest.mark.parametrize("staining", [STAINING, STAINING_OLD])
@pytest.mark.parametrize("using", [USING, USING_OLD])
def test_stains_in_codes_old_and_new(staining: Code, using: Code) -> None:
    one = step(content(PROCESSING, staining), content(using, HEMATOXYLIN), content(using, EOSIN))
    assert stains_of(one) == ("hematoxylin stain", "water soluble eosin stain")


def test_stains_in_words() -> None:
    assert stains_of(step(content(PROCESSING, STAINING), content(USING, "Ki-67"))) == ("Ki-67",)


def test_stains_of_several_steps_each_once() -> None:
    steps = [
        step(content(PROCESSING, STAINING), content(USING, EOSIN)),
        step(content(PROCESSING, FIXATION), content(USING, ("1", "99X", "formalin"))),
        step(content(USING, HEMATOXYLIN), content(PROCESSING, STAINING), content(USING, EOSIN)),
    ]
    assert stains_of(*steps) == ("water soluble eosin stain", "hematoxylin stain")


def test_what_is_no_stain() -> None:
    assert stains_of() == ()
    assert stains_of(step()) == ()
    assert stains_of(step(content(USING, HEMATOXYLIN))) == ()
    assert stains_of(step(content(PROCESSING, STAINING))) == ()
    assert stains_of(step(content(PROCESSING, "Staining"), content(USING, EOSIN))) == ()
    other = ("127790008", "99LOCAL", "Staining procedure")
    assert stains_of(step(content(PROCESSING, other), content(USING, EOSIN))) == ()
    assert stains_of(step(content(PROCESSING, STAINING), content(USING, ("1", "SCT", "")))) == ()


def test_specimens() -> None:
    one, two = Dataset(), Dataset()
    one.SpecimenIdentifier, one.SpecimenUID = "S-1", "2.25.1"
    one.SpecimenShortDescription, one.SpecimenDetailedDescription = "Short", "A long description"
    one.PrimaryAnatomicStructureSequence = code(("39607008", "SCT", "Lung"))
    two.SpecimenDetailedDescription = "Only a long one"
    ds = Dataset()
    ds.SpecimenDescriptionSequence = Sequence([one, two])
    first, second = described(ds).specimens
    assert (first.identifier, first.uid, first.description) == ("S-1", "2.25.1", "Short")
    assert first.anatomy == "Lung"
    assert (second.identifier, second.description, second.anatomy) == ("", "Only a long one", "")


def test_the_moment_of_acquisition() -> None:
    ds = Dataset()
    assert described(ds).acquisition_datetime == ""
    ds.AcquisitionDate, ds.AcquisitionTime = "20260102", "101112"
    assert described(ds).acquisition_datetime == "20260102101112"
    ds.AcquisitionDateTime = "20250101"
    assert described(ds).acquisition_datetime == "20250101"
