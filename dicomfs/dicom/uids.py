"""The unique identifiers that decide what an object is and how its pixels are encoded.

SOP classes: PS3.4 B.5; transfer syntaxes: PS3.6 table A-1.  Plain constants, because the dictionary
of pydicom 3.0 does not know the newest transfer syntaxes and raises on them.
"""

from __future__ import annotations

from enum import StrEnum

_SOP = "1.2.840.10008.5.1.4.1.1"
_TS = "1.2.840.10008.1.2"


class SopClass(StrEnum):
    """SOP classes that dicomfs shows: tiled pyramids, and single frames from a microscope."""

    WHOLE_SLIDE_MICROSCOPY = f"{_SOP}.77.1.6"
    CONFOCAL_TILED_PYRAMIDAL = f"{_SOP}.77.1.9"
    VL_MICROSCOPIC = f"{_SOP}.77.1.2"
    VL_SLIDE_COORDINATES_MICROSCOPIC = f"{_SOP}.77.1.3"


SHOWN_SOP_CLASSES = frozenset(SopClass)

SINGLE_IMAGE_SOP_CLASSES = frozenset(
    (SopClass.VL_MICROSCOPIC, SopClass.VL_SLIDE_COORDINATES_MICROSCOPIC)
)
"""Classes of which every instance is an image of its own, not a part of a slide."""


class TransferSyntax(StrEnum):
    """Transfer syntaxes that decide something."""

    IMPLICIT_LITTLE_ENDIAN = _TS
    EXPLICIT_LITTLE_ENDIAN = f"{_TS}.1"
    ENCAPSULATED_UNCOMPRESSED = f"{_TS}.1.98"
    DEFLATED = f"{_TS}.1.99"
    EXPLICIT_BIG_ENDIAN = f"{_TS}.2"
    JPEG_BASELINE = f"{_TS}.4.50"
    JPEG_EXTENDED = f"{_TS}.4.51"
    JPEG_LOSSLESS = f"{_TS}.4.57"
    JPEG_LOSSLESS_SV1 = f"{_TS}.4.70"
    JPEG_LS_LOSSLESS = f"{_TS}.4.80"
    JPEG_LS_NEAR_LOSSLESS = f"{_TS}.4.81"
    JPEG_2000_LOSSLESS = f"{_TS}.4.90"
    JPEG_2000 = f"{_TS}.4.91"
    JPEG_XL_LOSSLESS = f"{_TS}.4.110"
    JPEG_XL_JPEG_RECOMPRESSION = f"{_TS}.4.111"
    JPEG_XL = f"{_TS}.4.112"
    HTJ2K_LOSSLESS = f"{_TS}.4.201"
    HTJ2K_LOSSLESS_RPCL = f"{_TS}.4.202"
    HTJ2K = f"{_TS}.4.203"
    RLE_LOSSLESS = f"{_TS}.5"
    DEFLATED_IMAGE_FRAME = f"{_TS}.8.1"


_JPIP = frozenset(f"{_TS}.4.{n}" for n in (94, 95, 204, 205))
_VIDEO = tuple(f"{_TS}.{n}" for n in ("4.100", "4.101", "4.102", "4.103", "4.104", "4.105", "4.106",
                                      "4.107", "4.108", "7.1", "7.2", "7.3"))  # fmt: skip


def is_jpip(uid: str) -> bool:
    """Whether the transfer syntax refers to pixels on a JPIP server."""
    return uid in _JPIP


def is_video(uid: str) -> bool:
    """Whether the transfer syntax is a video stream (PS3.5 A.4.5 to A.4.10, and SMPTE ST 2110)."""
    return uid.startswith(_VIDEO)


def transfer_syntax_name(uid: str) -> str:
    """A short name for people; the UID itself where there is none."""
    return _NAMES.get(uid, uid or "none declared")


def sop_class_name(uid: str) -> str:
    """The name of a SOP class as PS3.6 has it; the UID itself where it has none."""
    name = _CLASS_NAMES.get(uid.removeprefix(f"{_SOP}."))
    if name is None:
        from pydicom.uid import UID  # takes its time, and for slides it is not needed

        return str(UID(uid).name)
    return f"{name} Storage"


_CLASS_NAMES = {
    "2": "CT Image",
    "4": "MR Image",
    "7": "Secondary Capture Image",
    "11.1": "Grayscale Softcopy Presentation State",
    "11.2": "Color Softcopy Presentation State",
    "11.8": "Advanced Blending Presentation State",
    "30": "Parametric Map",
    "66.4": "Segmentation",
    "66.7": "Label Map Segmentation",
    "77.1.2": "VL Microscopic Image",
    "77.1.3": "VL Slide-Coordinates Microscopic Image",
    "77.1.4": "VL Photographic Image",
    "77.1.6": "VL Whole Slide Microscopy Image",
    "77.1.8": "Confocal Microscopy Image",
    "77.1.9": "Confocal Microscopy Tiled Pyramidal Image",
    "88.11": "Basic Text SR",
    "88.22": "Enhanced SR",
    "88.33": "Comprehensive SR",
    "88.34": "Comprehensive 3D SR",
    "88.59": "Key Object Selection Document",
    "91.1": "Microscopy Bulk Simple Annotations",
    "104.1": "Encapsulated PDF",
}

_NAMES: dict[str, str] = {
    TransferSyntax.IMPLICIT_LITTLE_ENDIAN: "Implicit VR Little Endian",
    TransferSyntax.EXPLICIT_LITTLE_ENDIAN: "Explicit VR Little Endian",
    TransferSyntax.ENCAPSULATED_UNCOMPRESSED: "Encapsulated Uncompressed",
    TransferSyntax.DEFLATED: "Deflated Explicit VR Little Endian",
    TransferSyntax.EXPLICIT_BIG_ENDIAN: "Explicit VR Big Endian",
    TransferSyntax.JPEG_BASELINE: "JPEG Baseline",
    TransferSyntax.JPEG_EXTENDED: "JPEG Extended",
    TransferSyntax.JPEG_LOSSLESS: "JPEG Lossless",
    TransferSyntax.JPEG_LOSSLESS_SV1: "JPEG Lossless SV1",
    TransferSyntax.JPEG_LS_LOSSLESS: "JPEG-LS Lossless",
    TransferSyntax.JPEG_LS_NEAR_LOSSLESS: "JPEG-LS Near-lossless",
    TransferSyntax.JPEG_2000_LOSSLESS: "JPEG 2000 Lossless",
    TransferSyntax.JPEG_2000: "JPEG 2000",
    TransferSyntax.JPEG_XL_LOSSLESS: "JPEG XL Lossless",
    TransferSyntax.JPEG_XL_JPEG_RECOMPRESSION: "JPEG XL JPEG Recompression",
    TransferSyntax.JPEG_XL: "JPEG XL",
    TransferSyntax.HTJ2K_LOSSLESS: "HTJ2K Lossless",
    TransferSyntax.HTJ2K_LOSSLESS_RPCL: "HTJ2K Lossless RPCL",
    TransferSyntax.HTJ2K: "HTJ2K",
    TransferSyntax.RLE_LOSSLESS: "RLE Lossless",
    TransferSyntax.DEFLATED_IMAGE_FRAME: "Deflated Image Frame",
}
