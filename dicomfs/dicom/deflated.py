"""The header of a data set that is deflated as a whole (PS3.5 A.5), without inflating its pixels.

Tells slides, which somebody has to inflate, from all other objects, which nobody has to.
"""

from __future__ import annotations

import zlib

from dicomfs.dicom.confidentiality.deidentify import deidentify
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.dataset import read_elements
from dicomfs.dicom.elements import read_layout
from dicomfs.dicom.header import Header, header_of
from dicomfs.dicom.steps import Range, Steps, run_on_bytes
from dicomfs.dicom.uids import SHOWN_SOP_CLASSES
from dicomfs.errors import DeflatedDataSetError, MalformedDicomError
from dicomfs.limits import Limits

_LOOK = 1024 * 1024


def read_deflated(
    object_size: int, start: int, limits: Limits, profile: Profile | None = None
) -> Steps[Header]:
    """Look at the header of a deflated data set without inflating its pixels.

    profile : how to de-identify it; None for not at all

    Returns the header of what is no slide; raises DeflatedDataSetError for what may be one.
    """
    head = yield Range(0, start)
    for most in (_LOOK, limits.deflated_header_bytes):
        data = head + (yield from _inflate_start(object_size, start, most))
        try:
            layout = run_on_bytes(read_layout(len(data), limits), data)
        except MalformedDicomError:
            if most == limits.deflated_header_bytes or len(data) < most:
                raise
            continue
        dataset = read_elements(
            b"".join(data[o : o + n] for o, n in layout.header), layout.encoding
        )
        if profile is not None:
            dataset = deidentify(dataset, profile)
        header = header_of(dataset, layout.encoding)
        if header.sop_class_uid not in SHOWN_SOP_CLASSES:
            return header
        element = layout.pixel_data
        if element is not None:
            length = limits.inflated_bytes if element.length is None else element.length
            raise DeflatedDataSetError(start, element.offset + length)
    raise MalformedDicomError("has no pixel data")


def _inflate_start(object_size: int, start: int, most: int) -> Steps[bytes]:
    """Up to `most` bytes of a deflated data set."""
    inflater = zlib.decompressobj(wbits=-15)
    parts: list[bytes] = []
    size = 0
    for at in range(start, object_size, _LOOK):
        chunk = yield Range(at, _LOOK)
        try:
            parts.append(inflater.decompress(chunk, most - size))
        except zlib.error as error:
            raise MalformedDicomError(f"has a damaged deflate stream: {error}") from error
        size += len(parts[-1])
        if size >= most or inflater.eof:
            break
    return b"".join(parts)
