"""What a person wants to know of a slide: specimen, stain, scanner, dates.

Reads PS3.3 C.7.6.22 (Specimen), C.7.5.2 (Enhanced General Equipment), C.7.2.1 (General Study) and
PS3.16 TID 8001 (Specimen Preparation).  Text only; nothing here decides how pixels are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicomfs.dicom.attributes import Attributes


@dataclass(frozen=True, slots=True)
class Specimen:
    """An item of the Specimen Description Sequence (0040,0560)."""

    identifier: str
    uid: str
    description: str
    anatomy: str
    stains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """Descriptive attributes of an instance; "" where absent.  Dates and times as in DICOM."""

    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_id: str
    study_description: str
    series_number: str
    series_description: str
    container_identifier: str
    specimens: tuple[Specimen, ...]
    acquisition_datetime: str
    manufacturer: str
    model: str
    serial_number: str
    software: str
    barcode: str
    label_text: str


def read_description(top: Attributes) -> Description:
    """Read the descriptive attributes of a data set."""
    return Description(
        patient_id=top.text("PatientID"),
        patient_name=top.text("PatientName"),
        accession_number=top.text("AccessionNumber"),
        study_date=top.text("StudyDate"),
        study_id=top.text("StudyID"),
        study_description=top.text("StudyDescription"),
        series_number=top.text("SeriesNumber"),
        series_description=top.text("SeriesDescription"),
        container_identifier=top.text("ContainerIdentifier"),
        specimens=tuple(_specimen(item) for item in top.items("SpecimenDescriptionSequence")),
        acquisition_datetime=top.text("AcquisitionDateTime")
        or top.text("AcquisitionDate") + top.text("AcquisitionTime"),
        manufacturer=top.text("Manufacturer"),
        model=top.text("ManufacturerModelName"),
        serial_number=top.text("DeviceSerialNumber"),
        software=" ".join(version for version in top.texts("SoftwareVersions") if version),
        barcode=top.text("BarcodeValue"),
        label_text=top.text("LabelText"),
    )


def _specimen(item: Attributes) -> Specimen:
    return Specimen(
        item.text("SpecimenIdentifier"),
        item.text("SpecimenUID"),
        item.text("SpecimenShortDescription") or item.text("SpecimenDetailedDescription"),
        item.meaning("PrimaryAnatomicStructureSequence"),
        tuple(_stains(item)),
    )


_STAINING = {("127790008", "SCT"), ("P3-00003", "SRT")}  # Processing type: Staining
_USING_SUBSTANCE = {("424361007", "SCT"), ("F-61D98", "SRT")}
_PROCESSING_TYPE = {("111701", "DCM")}


def _stains(specimen: Attributes) -> list[str]:
    """The substances of all staining steps, in order, each once."""
    found: dict[str, None] = {}
    for step in specimen.items("SpecimenPreparationSequence"):
        content = list(step.items("SpecimenPreparationStepContentItemSequence"))
        if not any(
            _concept(item) in _PROCESSING_TYPE
            and _code(item.item("ConceptCodeSequence")) in _STAINING
            for item in content
        ):
            continue
        for item in content:
            if _concept(item) in _USING_SUBSTANCE:
                name = item.meaning("ConceptCodeSequence") or item.text("TextValue")
                if name:
                    found[name] = None
    return list(found)


def _concept(item: Attributes) -> tuple[str, str]:
    return _code(item.item("ConceptNameCodeSequence"))


def _code(item: Attributes) -> tuple[str, str]:
    return item.text("CodeValue"), item.text("CodingSchemeDesignator")
