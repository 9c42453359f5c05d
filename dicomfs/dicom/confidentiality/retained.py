"""What de-identification knows of single attributes beside Table E.1-1 of PS3.15.

Which ones identify and get a stand-in, and what stays of those that the table does not list.  Only
tags, terms and expressions; `dicomfs.dicom.confidentiality.deidentify` applies them.
"""

from __future__ import annotations

import re

CHARACTER_SET = 0x00080005
IMAGE_TYPE = 0x00080008
CODE_VALUES = (0x00080100, 0x00080119, 0x00080120)
SCHEME = 0x00080102
SCHEME_VERSION = 0x00080103
MEANING = 0x00080104
CONCEPT_NAME = 0x0040A043
TEXT_VALUE = 0x0040A160
ICC_PROFILE = 0x00282000
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
STUDY_UID = 0x0020000D
OPTICAL_PATH = 0x00480106

IDENTIFIERS = {
    PATIENT_ID: "patient",
    PATIENT_NAME: "patient",
    0x00080050: "accession",
    0x00200010: "study",
    0x00400512: "container",
    0x00400551: "specimen",
    0x00120040: "subject",
    0x00120042: "subject",
}
"""Attributes whose value gets a keyed stand-in, and in which domain."""

NAMING = frozenset((*IDENTIFIERS, 0x00101000, 0x00101090))
"""Attributes of which every word leads to the patient: identifiers, others, record locator."""

REQUIRED_TEXTS = frozenset(
    (
        0x00080070,  # Manufacturer
        0x00081090,  # Manufacturer's Model Name
        0x00181020,  # Software Versions
    )
)
"""Texts that the table does not list and that a slide has to have (PS3.3 C.7.5.2)."""

KEPT_TEXTS = frozenset(
    (
        *REQUIRED_TEXTS,
        0x00480107,  # Optical Path Description: the name of a channel
        *CODE_VALUES, SCHEME, SCHEME_VERSION, MEANING, OPTICAL_PATH,
    )
)  # fmt: skip
"""Texts that the table does not list and without which a slide could not be used."""

KEPT_BINARY = frozenset(
    (ICC_PROFILE, 0x00281201, 0x00281202, 0x00281203, 0x00281221, 0x00281222, 0x00281223)
)
"""ICC profile, and palettes where pixels are indices of colours."""

UNSHIFTED_GROUPS = frozenset((0x0010, 0x0016))  # of the patient, and where a camera was when

DEFINED_TERMS = {
    0x00201040: re.compile(r"SLIDE_CORNER", re.ASCII),
    0x00280004: re.compile(r"MONOCHROME[12]|RGB|PALETTE COLOR|YBR_[A-Z0-9_]{1,12}|XYB", re.ASCII),
    0x00209311: re.compile(r"3D|3D_TEMPORAL|TILED_FULL|TILED_SPARSE", re.ASCII),
    0x00280301: re.compile(r"YES|NO", re.ASCII),
    0x00480010: re.compile(r"YES|NO", re.ASCII),
    0x00480012: re.compile(r"YES|NO", re.ASCII),
    0x00282110: re.compile(r"0[01]", re.ASCII),
}
"""Defined terms that a slide needs, whoever may be called like one of them."""

IMAGE_TYPES = frozenset(
    ("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL",
     "LOCALIZER", "NONE", "RESAMPLED", "MIXED")
)  # fmt: skip

CODING_SCHEMES = frozenset(
    ("SCT", "SRT", "SNM3", "99SDM", "DCM", "UCUM", "LN", "NCIt", "FMA", "UMLS", "MSH", "RADLEX",
     "ITIS_TSN", "ICDO3", "I9C", "I10", "I10P", "NEU", "BI")
)  # fmt: skip
"""Coding schemes of PS3.16 section 8 whose meanings are nobody's own words."""

CODED_STRING = re.compile(r"[A-Z0-9_ \-+./&:]{0,32}", re.ASCII)
NUMBER = re.compile(r"[ ]*[+-]?[\d.]*(?:[eE][+-]?\d+)?[ ]*", re.ASCII)
CODE_VALUE = re.compile(r"[A-Za-z0-9.:_{}/\[\]*%+\-]{1,64}", re.ASCII)
