"""What a de-identified data set says of its de-identification: PS3.15 E.1.1, PS3.16 CID 7050."""

from __future__ import annotations

from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.confidentiality.writing import sequence, text
from dicomfs.dicom.dataset import DataSet
from dicomfs.dicom.encoding import Encoding

_METHOD = "PS3.15 Basic Application Level Confidentiality Profile", "by dicomfs"
_METHOD_CODES = (  # PS3.16 CID 7050
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
_STRUCTURED_CODE = ("113104", "Clean Structured Content Option")
_DESCRIPTORS_CODE = ("113105", "Clean Descriptors Option")
_DEVICE_CODE = ("113109", "Retain Device Identity Option")


def statement(profile: Profile, encoding: Encoding) -> DataSet:
    """The elements that say what was done; `encoding` says their byte order."""
    codes = list(_METHOD_CODES)
    if not profile.drop_structured_content:
        codes.append(_STRUCTURED_CODE)
    if profile.clean_descriptors:
        codes.append(_DESCRIPTORS_CODE)
    if profile.retain_device_identity:
        codes.append(_DEVICE_CODE)
    items: list[DataSet] = [
        {
            0x00080100: text("SH", value, encoding),
            0x00080102: text("SH", "DCM", encoding),
            0x00080104: text("LO", meaning, encoding),
        }
        for value, meaning in codes
    ]
    return {
        0x00120062: text("CS", "YES", encoding),
        0x00120063: text("LO", "\\".join(_METHOD), encoding),
        0x00120064: sequence(items, encoding),
        0x00280303: text("CS", "MODIFIED", encoding),
    }
