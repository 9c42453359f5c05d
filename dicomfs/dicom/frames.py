"""Where the frames of an instance lie, whichever way its pixel data is stored.

Native pixel data is a matter of counting; encapsulated pixel data is read by
`dicomfs.dicom.encapsulated`.  The first and the last frame can be found without a frame table.
"""

from __future__ import annotations

import numpy as np

from dicomfs.dicom.elements import Layout
from dicomfs.dicom.encapsulated import item_header, looks_like_code_stream, read_encapsulated
from dicomfs.dicom.encoding import ITEM
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.steps import Range, Steps
from dicomfs.errors import MalformedDicomError
from dicomfs.limits import Limits

_MISSING = -1
_TAIL = 1024 * 1024


def read_frame_table(
    layout: Layout, frames: int, frame_bytes: int, limits: Limits
) -> Steps[FrameTable]:
    """Read the frame table of an instance.

    Parameters
    ----------
    layout
        Of an object that has pixel data.
    frames
        Number of Frames (0028,0008).
    frame_bytes
        Bytes of an uncompressed frame: Rows x Columns x Samples x Bits Allocated / 8.
    limits
        How many fragments are looked at.

    Raises MalformedDicomError where there is no pixel data that could be followed.
    """
    element = layout.pixel_data
    if element is None:
        raise MalformedDicomError("has no pixel data")
    if element.length is not None:
        return _native(element.offset, element.length, layout.object_size, frames, frame_bytes)
    return (yield from read_encapsulated(layout, frames, frame_bytes, limits))


def read_first_frame(layout: Layout, size: int) -> Steps[bytes]:
    """Up to `size` bytes from the start of the first frame, without a frame table.

    The answer ends with the first fragment.  b"" where there is no frame.
    """
    element = layout.pixel_data
    if element is None:
        raise MalformedDicomError("has no pixel data")
    if element.length is not None:
        return (yield Range(element.offset, min(size, element.length)))
    pos = element.offset
    for index in range(64):
        head = yield Range(pos, 16)
        tag, length = item_header(head)
        if tag != ITEM or len(head) < 8:
            break
        if (index or looks_like_code_stream(head[8:])) and length:
            return (yield Range(pos + 8, min(size, length)))
        pos += 8 + length
    return b""


def read_last_frame(layout: Layout, frames: int, size: int) -> Steps[bytes]:
    """Up to `size` bytes from the start of the last frame, without a frame table.

    Looks it up in the offset tables, else finds the last item from the end of the file backwards.
    b"" where that is not possible; the answer may be wrong where the tables are.
    """
    element = layout.pixel_data
    if element is None or element.length is not None:
        return b""
    head = yield Range(element.offset, 16)
    tag, length = item_header(head)
    base = element.offset + 8 + length
    where = layout.extended_offsets
    at = -1
    if tag == ITEM and length == 4 * frames:
        at = base + int.from_bytes((yield Range(base - 4, 4)), "little")
    elif where is not None and where.size == 8 * frames:
        raw = yield Range(where.offset + where.size - 8, 8)
        at = base + int.from_bytes(raw, "little")
    if at < 0:
        at = yield from _last_item(layout)
    if not 0 <= at < layout.object_size:
        return b""
    tag, length = item_header((yield Range(at, 8)))
    if tag != ITEM or at + 8 + length > layout.object_size:
        return b""
    return (yield Range(at + 8, min(size, length)))


def _last_item(layout: Layout) -> Steps[int]:
    """Where the last item of the pixel data starts, found from behind; -1 where it is not found."""
    tail_size = min(layout.object_size, _TAIL)
    start = layout.object_size - tail_size
    tail = yield Range(start, tail_size)
    end = tail.rfind(b"\xfe\xff\xdd\xe0\0\0\0\0")
    if end < 0:
        end = len(tail)
    at = end
    while (at := tail.rfind(b"\xfe\xff\x00\xe0", 0, at)) >= 0:
        length = int.from_bytes(tail[at + 4 : at + 8], "little")
        if length and at + 8 + length == end:
            return start + at
    return -1


def _native(
    offset: int, length: int, object_size: int, frames: int, frame_bytes: int
) -> FrameTable:
    offsets = offset + frame_bytes * np.arange(frames, dtype=np.int64)
    lengths = np.full(frames, frame_bytes, np.int64)
    end = offset + min(length, object_size - offset)
    problems: tuple[str, ...] = ()
    # Writers exist that forget the pad byte of an odd length and with it the last sample.
    missing = offsets + frame_bytes > end + 1
    if missing.any():
        offsets[missing], lengths[missing] = _MISSING, 0
        problems = (
            f"{int(missing.sum())} of {frames} frames lie behind the end of the pixel data",
        )
    span_end = int((offsets + lengths).max(initial=offset))
    return FrameTable(offsets, lengths, min(span_end, end), None, "native", problems)
