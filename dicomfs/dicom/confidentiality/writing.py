"""Writes elements as PS3.5 section 7 encodes them: the reverse of `dicomfs.dicom.dataset`.

Always with explicit VR and defined lengths; values come as bytes in the byte order asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from dicomfs.dicom.dataset import DataSet, Element
from dicomfs.dicom.encoding import ITEM, LONG_VRS, UNDEFINED, Encoding

_LONGEST_SHORT = 0xFFFF


def explicit(encoding: Encoding) -> Encoding:
    """Explicit VR in the byte order of an encoding."""
    return Encoding(implicit_vr=False, big_endian=encoding.big_endian)


def write_elements(dataset: DataSet, encoding: Encoding) -> bytes:
    """The elements of a data set in ascending order; `encoding` says the byte order.

    An element in the other byte order, or one too long to be written, is left out.
    """
    order = ">" if encoding.big_endian else "<"
    parts: list[bytes] = []
    for tag in sorted(dataset):
        vr, value, own = dataset[tag]
        if own.big_endian != encoding.big_endian or len(value) >= UNDEFINED - 1:
            continue
        if len(value) % 2:
            value += b"\0" if vr in ("UI", "OB", "UN") else b" "
        name = vr.encode("ascii")
        if name not in LONG_VRS and len(value) > _LONGEST_SHORT:
            name = b"UN"
        head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + name
        if name in LONG_VRS:
            head += struct.pack(f"{order}HI", 0, len(value))
        else:
            head += struct.pack(f"{order}H", len(value))
        parts += (head, value)
    return b"".join(parts)


def sequence(items: Iterable[DataSet], encoding: Encoding) -> Element:
    """A sequence of items; `encoding` says the byte order."""
    order = ">" if encoding.big_endian else "<"
    parts: list[bytes] = []
    for item in items:
        data = write_elements(item, encoding)
        parts.append(struct.pack(f"{order}HHI", ITEM >> 16, ITEM & 0xFFFF, len(data)))
        parts.append(data)
    return Element("SQ", b"".join(parts), explicit(encoding))


def text(vr: str, value: str, encoding: Encoding) -> Element:
    """An element of text that is ASCII."""
    data = value.encode("ascii", "replace")
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return Element(vr, data, explicit(encoding))
