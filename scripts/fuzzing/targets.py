"""The targets: each a function that is given bytes and raises only where dicomfs has a bug.

The one job: `TARGETS`. One rule for all of them: the bytes are understood, or one error of
`dicomfs.errors` says why not. Anything else passes through and is a finding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from dicomfs.catalog.codec import decode
from dicomfs.catalog.records import instance_of
from dicomfs.dicom.codestream import Codec, Colour, jpeg_2000_tiles, read_code_stream
from dicomfs.dicom.dataset import read_elements, read_items
from dicomfs.dicom.elements import Layout, PixelDataElement
from dicomfs.dicom.encoding import Encoding
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.frames import read_first_frame, read_frame_table, read_last_frame
from dicomfs.dicom.header import parse_header
from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.per_frame import read_frame_items
from dicomfs.dicom.read import read_instance
from dicomfs.dicom.steps import Range, run_on_bytes
from dicomfs.errors import DicomfsError
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.reading.decode import decode_frame
from dicomfs.slide.build import build_slide
from dicomfs.slide.encoding import DEFLATE, NATIVE, RLE, PixelEncoding
from dicomfs.slide.summary import summarise
from dicomfs.tiff.flavours import plan_flavour
from dicomfs.tiff.storage import Flavour

_ENCODINGS: Final = (
    Encoding(implicit_vr=False, big_endian=False),
    Encoding(implicit_vr=True, big_endian=False),
    Encoding(implicit_vr=False, big_endian=True),
)
_MOST_FRAMES: Final = 1000


def _instance(data: bytes) -> None:
    """A DICOM file, its header and its frame table."""
    try:
        found = run_on_bytes(read_instance(len(data)), data)
        if isinstance(found, Instance):
            _follow(data, run_on_bytes(found.frame_table(), data))
    except DicomfsError:
        return
    assert isinstance(found, Instance | Stranger)


def _follow(data: bytes, table: FrameTable) -> None:
    for frame in range(min(len(table), _MOST_FRAMES)):
        for offset, size in table.ranges(frame):
            # A writer may forget the last byte of an odd length.
            assert 0 <= offset <= offset + size <= len(data) + 1


def _slide(data: bytes) -> None:
    """A DICOM file to the plan of a virtual TIFF in every flavour."""
    try:
        found = run_on_bytes(read_instance(len(data)), data)
        if not isinstance(found, Instance):
            return
        slide = build_slide([found])
        for flavour in Flavour:
            for decoded in (False, True):
                plan = plan_flavour(slide, flavour, decode=decoded)
                assert 0 < plan.size < 2**63
        summarise(slide, dict.fromkeys(range(len(slide.levels)), False), {})
    except DicomfsError:
        return


def _deflated(data: bytes) -> None:
    """The same of a data set that is deflated as a whole: the first half is inflated anew."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    half = len(data) // 2
    stream = compressor.compress(data[:half]) + compressor.flush() + data[half:]
    meta = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
    for body in (stream, data):
        _instance(bytes(128) + b"DICM" + meta + body)


def _code_stream(data: bytes) -> None:
    """The markers of a frame."""
    found = read_code_stream(data)
    assert found is None or (found.width >= 0 and found.components >= 0)
    assert jpeg_2000_tiles(data) >= 0


def _per_frame(data: bytes) -> None:
    """The items of a per-frame functional groups sequence."""
    kind, body = data[:1] or b"\0", data[1:]
    span = Range(0, len(body))
    try:
        items = run_on_bytes(
            read_frame_items(
                len(body),
                span,
                _ENCODINGS[kind[0] % 3],
                DEFAULT_LIMITS,
                delimited=bool(kind[0] & 128),
            ),
            body,
        )
    except DicomfsError:
        return
    assert len(items.columns) == len(items.rows) == len(items.z_um) == len(items.paths)


def _data_set(data: bytes) -> None:
    """The elements of a header, items of sequences, and the attributes made of them."""
    encoding = _ENCODINGS[data[0] % 3] if data else _ENCODINGS[0]
    body = data[1:]
    try:
        waiting = [read_elements(body, encoding)]
        for _ in range(50):
            if not waiting:
                break
            for element in waiting.pop().values():
                if element.vr in ("SQ", "UN"):
                    waiting += read_items(element)
    except DicomfsError:
        pass
    try:
        parse_header(body, encoding, b"")
    except DicomfsError:
        return


def _encapsulated(data: bytes) -> None:
    """Pixel data: its items and both offset tables."""
    frames = 1 + (data[0] if data else 0) % 20
    eot = 8 * frames if data[1:2] > b"\x7f" else 0
    body = data[2:]
    layout = Layout(
        len(body),
        "1.2.840.10008.1.2.4.50",
        _ENCODINGS[0],
        (),
        PixelDataElement(0x7FE00010, b"OB", min(2 * eot, len(body)), None),
        Range(0, eot) if eot and len(body) > 2 * eot else None,
        Range(eot, eot) if eot and len(body) > 2 * eot else None,
        None,
        None,
    )
    try:
        _follow(body, run_on_bytes(read_frame_table(layout, frames, 300, DEFAULT_LIMITS), body))
        run_on_bytes(read_first_frame(layout, 100), body)
        run_on_bytes(read_last_frame(layout, frames, 100), body)
    except DicomfsError:
        return


def _decoding(data: bytes) -> None:
    """Frames that are decoded here and not by a codec: native, run lengths, deflate."""
    kind = data[0] if data else 0
    codec = (NATIVE, RLE, DEFLATE, Codec.JPEG_LS)[kind % 4]
    stream = read_code_stream(data[1:])
    encoding = PixelEncoding(
        codec,
        _colour(kind),
        (2, 1) if kind & 64 and codec == NATIVE else (1, 1),
        8 << (kind >> 2 & 1),
        8 << (kind >> 2 & 1),
        3 if kind & 8 else 1,
        True,
        "",
        big_endian=bool(kind & 16),
        planar=bool(kind & 32),
    )
    if codec == Codec.JPEG_LS and stream is not None:
        return  # the codecs themselves are fuzzed by `frames`
    try:
        samples = decode_frame(data[1:], encoding, 16, 12, DEFAULT_LIMITS)
    except DicomfsError:
        return
    assert samples.shape[:2] == (12, 16)


def _colour(kind: int) -> Colour:
    return Colour.GREY if not kind & 8 else Colour.YCBCR if kind & 64 else Colour.RGB


def _records(data: bytes) -> None:
    """Records of the index, with a right checksum and without."""
    packed = zlib.compress(data)
    for record in (data, packed):
        for kind in (FrameTable, Instance):
            try:
                decode(record, kind)
            except DicomfsError:
                continue
    try:
        instance_of(packed, lambda digest: None, 100_000)
    except DicomfsError:
        return


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "instance": _instance,
    "slide": _slide,
    "deflated": _deflated,
    "codestream": _code_stream,
    "per-frame": _per_frame,
    "data-set": _data_set,
    "encapsulated": _encapsulated,
    "decoding": _decoding,
    "records": _records,
}
"""All targets of atheris by name."""
