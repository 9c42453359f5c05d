"""What a person wants to know of a slide: who, what, when, and with which instrument.

Reads PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.3.1 (General Series), C.7.5.2 (Enhanced
General Equipment), C.8.12.4 (Whole Slide Microscopy Image) and C.8.12.8 (Slide Label).  Text only;
nothing here decides how pixels are read.  The specimens are read by `dicomfs.dicom.specimen`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dicomfs.dicom.attributes import Attributes
from dicomfs.dicom.specimen import Specimen, read_specimens


@dataclass(frozen=True, slots=True)
class Focus:
    """How the slide was focused: PS3.3 C.8.12.4.

    method : Focus Method (0048,0011), AUTO or MANUAL; "" where absent
    extended_planes : Number of Focal Planes (0048,0013) that one stored plane was made of; None for
        one that was not made of several
    extended_step_um : Distance Between Focal Planes (0048,0014) of those, micrometres
    """

    method: str = ""
    extended_planes: int | None = None
    extended_step_um: float | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """Descriptive attributes of an instance; "" where absent.  Dates and times as in DICOM.

    volume_mm : Imaged Volume Width (0048,0001) and Height (0048,0002), millimetres
    depth_um : Imaged Volume Depth (0048,0003), micrometres
    """

    RECURS: ClassVar = True  # the instances of a slide have the same

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
    patient_id_issuer: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    patient_age: str = ""
    study_time: str = ""
    referring_physician: str = ""
    series_datetime: str = ""
    content_datetime: str = ""
    acquisition_seconds: float | None = None
    focus: Focus = Focus()
    volume_mm: tuple[float, float] | None = None
    depth_um: float | None = None


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
        specimens=read_specimens(top),
        acquisition_datetime=top.text("AcquisitionDateTime")
        or top.text("AcquisitionDate") + top.text("AcquisitionTime"),
        manufacturer=top.text("Manufacturer"),
        model=top.text("ManufacturerModelName"),
        serial_number=top.text("DeviceSerialNumber"),
        software=" ".join(version for version in top.texts("SoftwareVersions") if version),
        barcode=top.text("BarcodeValue"),
        label_text=top.text("LabelText"),
        patient_id_issuer=top.text("IssuerOfPatientID"),
        patient_birth_date=top.text("PatientBirthDate"),
        patient_sex=top.text("PatientSex"),
        patient_age=top.text("PatientAge"),
        study_time=top.text("StudyTime"),
        referring_physician=top.text("ReferringPhysicianName"),
        series_datetime=_moment(top, "Series"),
        content_datetime=_moment(top, "Content"),
        acquisition_seconds=top.number("AcquisitionDuration"),
        focus=_focus(top),
        volume_mm=_volume(top),
        depth_um=top.number("ImagedVolumeDepth"),
    )


def _moment(top: Attributes, of: str) -> str:
    """A date and the time that goes with it, as a DT value."""
    date = top.text(f"{of}Date")
    return date + top.text(f"{of}Time") if date else ""


def _focus(top: Attributes) -> Focus:
    if top.text("ExtendedDepthOfField").upper() != "YES":
        return Focus(top.text("FocusMethod"))
    return Focus(
        top.text("FocusMethod"),
        top.integer("NumberOfFocalPlanes"),
        top.number("DistanceBetweenFocalPlanes"),
    )


def _volume(top: Attributes) -> tuple[float, float] | None:
    width, height = top.number("ImagedVolumeWidth"), top.number("ImagedVolumeHeight")
    return None if width is None or height is None else (width, height)
