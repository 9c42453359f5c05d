"""What is said of the specimen, its preparation by codes old and new, and of how it was seen."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicomfs.dicom.description import Description, Focus
from dicomfs.dicom.encoding import Encoding
from dicomfs.dicom.header import Light, parse_header
from dicomfs.dicom.specimen import Detail, PreparationStep, Specimen
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


# ---------------------------------------------------------------- the whole of it

FIXATIVE: Code = ("430864009", "SCT", "Tissue fixative")
FIXATIVE_OLD: Code = ("F-6221B", "SRT", "Tissue fixative")
EMBEDDING: Code = ("430863003", "SCT", "Tissue embedding medium")
EMBEDDING_OLD: Code = ("F-6221A", "SRT", "Tissue embedding medium")
FORMALIN: Code = ("431510009", "SCT", "Formalin")
PARAFFIN: Code = ("311731000", "SCT", "Paraffin wax")


def specimen_of(specimen: Dataset, **top: object) -> Specimen:
    ds = Dataset()
    ds.SpecimenDescriptionSequence = Sequence([specimen])
    for keyword, value in top.items():
        setattr(ds, keyword, value)
    (found,) = described(ds).specimens
    return found


@pytest.mark.parametrize(("fixative", "embedding"), [
    (FIXATIVE, EMBEDDING), (FIXATIVE_OLD, EMBEDDING_OLD),
])  # fmt: skip
def test_fixation_and_embedding_in_codes_old_and_new(fixative: Code, embedding: Code) -> None:
    specimen = Dataset()
    specimen.SpecimenPreparationSequence = Sequence(
        [
            step(content(PROCESSING, ("9265001", "SCT", "Specimen processing")),
                 content(fixative, FORMALIN)),
            step(content(PROCESSING, ("9265001", "SCT", "Specimen processing")),
                 content(embedding, PARAFFIN), content(embedding, PARAFFIN)),
        ]
    )  # fmt: skip
    found = specimen_of(specimen)
    assert found.fixatives == ("Formalin",)
    assert found.embedding == ("Paraffin wax",)
    assert found.stains == ()


def test_the_steps_of_the_preparation() -> None:
    when = Dataset()
    when.ConceptNameCodeSequence = code(("111702", "DCM", "DateTime of processing"))
    when.ValueType, when.DateTime = "DATETIME", "20260102101500"
    who = Dataset()
    who.ConceptNameCodeSequence = code(("111700", "DCM", "Operator"))
    who.ValueType, who.PersonName = "PNAME", "Secret^Person"
    thickness = Dataset()
    thickness.ConceptNameCodeSequence = code(("1", "99X", "Thickness"))
    thickness.ValueType, thickness.NumericValue = "NUMERIC", "4"
    thickness.MeasurementUnitsCodeSequence = code(("um", "UCUM", "micrometer"))
    bare = Dataset()  # some writers put the code right into the item
    bare.ConceptNameCodeSequence = code(USING)
    bare.CodeValue, bare.CodingSchemeDesignator, bare.CodeMeaning = "C122989", "NCIt", "DAPI"
    specimen = Dataset()
    specimen.SpecimenPreparationSequence = Sequence(
        [
            step(
                content(("121041", "DCM", "Specimen Identifier"), "S26-1"),
                content(PROCESSING, STAINING),
                when,
                who,
                content(("111703", "DCM", "Processing step description"), "by hand"),
                thickness,
                bare,
            )
        ]
    )
    found = specimen_of(specimen)
    assert found.stains == ("DAPI",)
    assert found.steps == (
        PreparationStep(
            "Staining procedure",
            "20260102101500",
            (
                Detail("Processing step description", "by hand"),
                Detail("Thickness", "4 micrometer"),
                Detail("Using substance", "DAPI"),
            ),
        ),
    )


def test_where_the_specimen_was_taken() -> None:
    specimen = Dataset()
    specimen.SpecimenTypeCodeSequence = code(("430856003", "SCT", "Tissue section"))
    specimen.PrimaryAnatomicStructureSequence = code(("76752008", "SCT", "Breast"))
    specimen.PrimaryAnatomicStructureSequence[
        0
    ].PrimaryAnatomicStructureModifierSequence = Sequence(
        [*code(("G-A101", "SRT", "left")), *code(("255561001", "SCT", "Medial"))]
    )
    found = specimen_of(specimen)
    assert (found.kind, found.anatomy, found.laterality) == ("Tissue section", "Breast", "Left")
    assert found.modifiers == ("left", "Medial")
    whole = specimen_of(
        Dataset(), AnatomicRegionSequence=code(("64033007", "SCT", "Kidney")), ImageLaterality="R"
    )
    assert (whole.anatomy, whole.laterality) == ("Kidney", "Right")


def test_focus_and_the_volume_that_was_imaged() -> None:
    ds = Dataset()
    ds.FocusMethod, ds.ExtendedDepthOfField = "AUTO", "YES"
    ds.NumberOfFocalPlanes, ds.DistanceBetweenFocalPlanes = 5, 1.5
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight, ds.ImagedVolumeDepth = 15.0, 20.0, 4.0
    found = described(ds)
    assert found.focus == Focus("AUTO", 5, 1.5)
    assert (found.volume_mm, found.depth_um) == ((15.0, 20.0), 4.0)
    ds.ExtendedDepthOfField = "NO"
    assert described(ds).focus == Focus("AUTO")
    assert described(Dataset()).focus == Focus()


def test_light_and_filters() -> None:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = code(("111743", "DCM", "Epifluorescence illumination"))
    path.IlluminationColorCodeSequence = code(("R-102C0", "SRT", "Full Spectrum"))
    path.IlluminatorTypeCodeSequence = code(("1", "99X", "LED"))
    path.LightPathFilterTypeStackCodeSequence = code(("2", "99X", "Band pass"))
    path.LightPathFilterPassBand = [460, 500]
    path.ImagePathFilterPassThroughWavelength = 520
    path.CondenserLensPower = "2"
    ds = Dataset()
    ds.OpticalPathSequence = Sequence([path])
    data = dataset_bytes(ds, EXPLICIT_LE)
    (found,) = parse_header(data, Encoding(implicit_vr=False, big_endian=False), b"").optical_paths
    assert found.light == Light(
        methods=("Epifluorescence illumination",),
        colour="Full Spectrum",
        illuminator="LED",
        condenser_power=2.0,
        light_filters=("Band pass",),
        image_pass_nm=520.0,
        light_band_nm=(460.0, 500.0),
    )
