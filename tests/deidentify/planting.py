"""Plants a sentinel wherever a slide can carry what somebody wrote: the hostile patient's file.

Every text, coded string, date, time and UID that the dictionary of pydicom knows, private elements,
per-frame groups, file meta information, preamble, trailing padding, code streams, names of files
and folders.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path

import imagecodecs
import pydicom
from pydicom import Dataset, Sequence
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.encaps import encapsulate, generate_frames

from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

WORD = "QZXSENTINEL"
DATE, TIME, ZONE = "18470312", "012345.678912", "+0417"
ROOT = "1.2.826.0.1.31337"

_LENGTHS = {"AE": 16, "SH": 16, "CS": 16, "LO": 64, "PN": 64, "ST": 1024, "LT": 4096}
_TEXTS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))

_READ = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        "SpecificCharacterSet", "ImageType", "PhotometricInterpretation", "Modality", "CodeValue",
        "DimensionOrganizationType", "BurnedInAnnotation", "SpecimenLabelInImage", "ValueType",
        "CodingSchemeDesignator", "ExtendedDepthOfField", "FocusMethod", "LossyImageCompression",
        "OpticalPathIdentifier", "SOPClassUID", "PixelPresentation",
    )
)  # fmt: skip
"""What decides whether the file is a slide at all."""

_GROUPING = frozenset(("ConcatenationUID", "PyramidUID", "AcquisitionUID"))
"""What would make another slide of it where it was not there."""


def new_uid(uid: str) -> str:
    """A UID of the sentinel's root that stands for another, the same in every file."""
    if uid.startswith("1.2.840.10008."):
        return uid
    return f"{ROOT}.{int(hashlib.sha256(uid.encode()).hexdigest()[:12], 16)}"


def _text(vr: str) -> str:
    if vr == "UR":
        return f"http://{WORD}.example/"
    return f"{WORD}^GIVEN" if vr == "PN" else f"{WORD} {vr}"[: _LENGTHS.get(vr, 100)]


def _value(vr: str, old: object, name: str) -> object:
    if vr in _TEXTS:
        return WORD if vr in ("CS", "AE") else _text(vr)
    if vr == "UI":
        return new_uid(str(old) if old else name)
    return {"DA": DATE, "TM": TIME, "DT": DATE + TIME + ZONE, "AS": "099Y"}[vr]


def plant(ds: Dataset, *, everything: bool = True) -> None:
    """Plant in what there is, recursively, and at the top level in everything there could be."""
    for element in list(ds):
        if element.VR == "SQ":
            for item in element.value:
                plant(item, everything=False)
        elif element.VR in (*_TEXTS, "UI", "DA", "TM", "DT") and element.tag not in _READ:
            if element.VR == "UI" and element.VM > 1:
                element.value = [new_uid(str(uid)) for uid in element.value]
            else:
                element.value = _value(element.VR, element.value, element.keyword)
    if not everything:
        block = ds.private_block(0x0099, f"{WORD} OWN", create=True)
        block.add_new(0x02, "LO", WORD)
        return
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        group = tag >> 16
        if tag in ds or tag in _READ or not keyword or group in (0, 2, 4) or group > 0x5000:
            continue
        if keyword in _GROUPING:
            continue
        if vr in (*_TEXTS, "UI", "DA", "TM", "DT", "AS") and "CodingScheme" not in keyword:
            ds.add_new(tag, vr, _value(vr, None, keyword))
    _plant_sequences(ds)
    block = ds.private_block(0x0011, f"{WORD} PRIVATE", create=True)
    block.add_new(0x01, "LO", WORD)
    block.add_new(0x02, "OB", WORD.encode() + b" ")
    block.add_new(0x03, "SQ", Sequence([_item()]))
    ds.add_new(0x00281201, "OW", WORD.encode() + b" ")
    ds.add_new(0x60003000, "OW", WORD.encode() + b" ")
    ds.add_new(0x60004000, "LT", WORD)
    ds.add_new(0x00081301, "LO", WORD)


def _item() -> Dataset:
    item = Dataset()
    item.PersonName = f"{WORD}^NESTED"
    item.InstitutionName = WORD
    item.Date = DATE
    item.ReferencedSOPInstanceUID = f"{ROOT}.77"
    item.TextValue = f"{WORD} says hello"
    return item


def _plant_sequences(ds: Dataset) -> None:
    """An item with sentinels in the sequences of the table, and in some that it does not list."""
    from dicomfs.dicom.confidentiality.table import rows

    for tag in [*rows(), tag_for_keyword("ReferencedSeriesSequence") or 0]:
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            continue
        if vr == "SQ" and tag not in ds and tag >> 16 < 0x5000:
            ds.add_new(tag, "SQ", Sequence([_item()]))
    for specimen in ds.get("SpecimenDescriptionSequence", []):
        step = Dataset()
        step.SpecimenPreparationStepContentItemSequence = Sequence([_item()])
        specimen.SpecimenPreparationSequence.append(step)
        specimen.SpecimenDetailedDescription = WORD


# ---------------------------------------------------------------- code streams


def segment(marker: int, body: bytes) -> bytes:
    """A marker segment of a JPEG or JPEG 2000 stream."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def icc_profile() -> bytes:
    """A profile with the sentinel in its description, copyright and a private tag."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    (count,) = struct.unpack_from(">I", profile, 128)
    planted = 0
    for number in range(count):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in (b"desc", b"cprt") and size >= 8 + len(WORD):
            profile[at + size - len(WORD) : at + size] = WORD.encode()
            planted += 1
    assert planted
    return bytes(profile)


def planted_jpeg(frame: bytes, number: int) -> bytes:
    """A JPEG frame with the sentinel where a decoder does not look, each time somewhere else."""
    word = WORD.encode()
    end = frame.rindex(b"\xff\xd9")
    ways = [
        frame[:2] + segment(0xFE, word) + frame[2:],
        frame[:2] + segment(0xE1, b"Exif\0\0" + word) + segment(0xED, word) + frame[2:],
        frame[:end] + segment(0xFE, word) + frame[end:],
        frame[: end + 2] + word,
        frame[:2] + segment(0xE2, b"ICC_PROFILE\0\x01\x01" + icc_profile()) + frame[2:],
        frame[:2] + segment(0xEF, word) + b"\xff\xff" + frame[2:] + b"\xff\xd8" + word,
    ]
    return ways[number % len(ways)]


def planted_jpeg_2000(frame: bytes, number: int) -> bytes:
    """A JPEG 2000 frame with the sentinel in a comment of its headers, or behind its end."""
    comment = segment(0x64, b"\0\x01" + WORD.encode())
    start = frame.index(b"\xff\x90")
    (length,) = struct.unpack_from(">I", frame, start + 6)
    ways = [
        frame[:start] + comment + frame[start:],
        frame[: start + 6]
        + struct.pack(">I", length + len(comment) if length else 0)
        + frame[start + 10 : start + 12]
        + comment
        + frame[start + 12 :],
        frame + WORD.encode(),
    ]
    return ways[number % len(ways)]


def write_planted(directory: Path, spec: SeriesSpec) -> list[Path]:
    """Write a series, plant the sentinel in each of its files, and name them after it."""
    folder = directory / f"{WORD}^{spec.name}"
    folder.mkdir(parents=True)
    paths = []
    for number, path in enumerate(write_series(directory / "plain", spec).paths):
        ds = pydicom.dcmread(path)
        plant(ds)
        for item in ds.get("OpticalPathSequence", []):
            item.ICCProfile = icc_profile()
            item.OpticalPathDescription = WORD
        ds.preamble = (WORD.encode() * 12)[:128]
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.ImplementationVersionName = WORD
        ds.file_meta.SourceApplicationEntityTitle = WORD
        ds.file_meta.PrivateInformationCreatorUID = pydicom.uid.UID(f"{ROOT}.1")
        ds.file_meta.PrivateInformation = WORD.encode() + b" "
        syntax = pydicom.uid.UID(ds.file_meta["TransferSyntaxUID"].value)
        if syntax.is_encapsulated:
            frames = list(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames)))
            change = {"1.2.840.10008.1.2.4.50": planted_jpeg,
                      "1.2.840.10008.1.2.4.90": planted_jpeg_2000,
                      "1.2.840.10008.1.2.4.91": planted_jpeg_2000}.get(syntax)  # fmt: skip
            if change is not None:
                frames = [change(frame, index) for index, frame in enumerate(frames)]
            ds.PixelData = encapsulate(frames)
            for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
                if keyword in ds:
                    delattr(ds, keyword)
        ds.add_new(0xFFFCFFFC, "OB", WORD.encode() + b" ")
        target = folder / f"{WORD} {number}.dcm"
        pydicom.dcmwrite(target, ds)
        path.unlink()
        paths.append(target)
    return paths


# ---------------------------------------------------------------- looking for it

_ENCODED = base64.b64encode(b"\0\0" + WORD.encode())[3:-4]
NEEDLES: tuple[bytes, ...] = (
    WORD.lower().encode(),
    WORD.encode("utf-16-le").lower(),
    base64.b64encode(WORD.encode())[:-4].lower(),
    base64.b64encode(b"\0" + WORD.encode())[2:-4].lower(),
    _ENCODED.lower(),
    ROOT.encode(),
    DATE.encode(),
    b"1847-03-12",
    b"1847:03:12",
    b"03/12/1847",
    b"012345.678",
    b"01:23:45",
    b"+04:17",
    ZONE.encode(),
)


def found_in(data: bytes) -> list[bytes]:
    """Which traces of the sentinel are in some bytes."""
    lower = data.lower()
    return [needle for needle in NEEDLES if needle in lower]
