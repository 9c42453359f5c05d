"""Find out the facts of a DICOM object, with the parsers of this package.

The frame table of a small instance is read at once: it costs a millisecond and shows damage before
anybody trips over it.  A large instance is only checked for being complete, unless it is not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dicomfs.dicom.codestream import Codec, CodeStream, jpeg_2000_tiles, read_code_stream
from dicomfs.dicom.components import judge_jpeg_2000_frame
from dicomfs.dicom.confidentiality.deidentify import Deidentifier, deidentify, without_own_uids
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.dataset import read_elements
from dicomfs.dicom.deflated import read_deflated
from dicomfs.dicom.elements import (
    Layout,
    PixelDataElement,
    read_file_meta,
    read_layout,
)
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.frames import read_first_frame, read_last_frame
from dicomfs.dicom.header import Header, header_of, measures_of
from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.json_model import measure_json
from dicomfs.dicom.json_parts import json_bulk, json_ranges, with_per_frame
from dicomfs.dicom.per_frame import FrameItems, read_frame_items
from dicomfs.dicom.steps import Range, Steps
from dicomfs.dicom.uids import SHOWN_SOP_CLASSES, TransferSyntax, is_jpip
from dicomfs.errors import LimitExceededError, MalformedDicomError, RejectedError
from dicomfs.limits import DEFAULT_LIMITS, Limits

_FIRST_LOOK = 4 * 1024
_FEW_FRAMES = 4096
_LISTED = 256
_TINY = 256  # pixels; a frame has to hold more than what is noted down for it
_FRAME_BYTES = 2  # for each pixel that may be decoded: of a longer frame only that is looked at


def read_instance(
    object_size: int,
    limits: Limits = DEFAULT_LIMITS,
    *,
    inflated: bool = False,
    profile: Profile | None = None,
) -> Steps[Instance | Stranger]:
    """Read the facts of a DICOM object of `object_size` bytes.

    inflated : a data set that its meta information calls deflated is so no longer
    profile : how to de-identify the data set before anything is made of it; None for not at all

    Raises NotDicomError for what is no DICOM object, DeflatedDataSetError for a slide that has to
    be inflated first, and other DicomErrors for one that cannot be read.
    """
    meta = yield from read_file_meta(object_size)
    if not inflated and meta.transfer_syntax == TransferSyntax.DEFLATED:
        return Stranger((yield from read_deflated(object_size, meta.start, limits, profile)))
    layout = yield from read_layout(object_size, limits, meta)
    parts = []
    for span in layout.header:
        parts.append((yield span))
    dataset = plain = read_elements(b"".join(parts), layout.encoding)
    deidentifier = None
    if profile is not None:
        deidentifier = Deidentifier(dataset, profile)
        dataset = deidentifier.top()
        layout = without_own_uids(layout)
    header = header_of(dataset, layout.encoding)
    if header.sop_class_uid not in SHOWN_SOP_CLASSES:
        return Stranger(header)
    if is_jpip(layout.transfer_syntax):
        raise RejectedError("jpip", "has its pixels on a JPIP server, not in the file")
    if layout.pixel_data is None:
        raise MalformedDicomError("has no pixel data")
    _check_number_of_frames(header, layout.pixel_data, object_size, limits)
    items = layout.frame_items
    if items is None and layout.per_frame is not None and layout.per_frame.size:
        items = yield from read_frame_items(
            object_size, layout.per_frame, layout.encoding, limits, delimited=False
        )
    if items is not None and not len(items):
        items = None
    if items is not None:
        first = read_elements(items.first_item, layout.encoding)
        if deidentifier is not None:
            first = deidentifier.item(first)
            items = deidentifier.frame_items(items)
        header = replace(header, measures=measures_of(dataset, first))
    whole = plain
    for span in json_ranges(layout)[len(layout.header) :]:
        whole = with_per_frame(whole, layout, (yield span))
    if profile is not None:
        # Exactly as it will be made: the per-frame groups can name somebody, too.
        json = measure_json(dataset if whole is plain else deidentify(whole, profile))
    else:
        json = measure_json(whole, json_bulk(layout))
    instance = Instance(header, layout, items, None, json=json)
    return (yield from _look_at_frames(instance, limits))


def _check_number_of_frames(
    header: Header, element: PixelDataElement, object_size: int, limits: Limits
) -> None:
    """Refuse a number of frames for which there is no room: tables are made of that size.

    An encapsulated frame takes the header of an item at least.
    """
    if header.number_of_frames > limits.frames:
        raise LimitExceededError(f"declares more than {limits.frames} frames")
    smallest = 8 if element.length is None else max(1, header.frame_bytes)
    if header.rows * header.columns < _TINY and header.number_of_frames > limits.missing_frames:
        raise LimitExceededError(f"declares {header.number_of_frames} frames of next to no pixels")
    room = (object_size - element.offset) // smallest
    if header.number_of_frames > room + limits.missing_frames:
        raise LimitExceededError(
            f"declares {header.number_of_frames} frames and has room for {room} at most"
        )


def _look_at_frames(instance: Instance, limits: Limits) -> Steps[Instance]:
    """Add what the frames tell: code streams, and what is missing."""
    header, layout = instance.header, instance.layout
    last = b""
    if header.number_of_frames > _FEW_FRAMES and instance.encapsulated:
        last = yield from read_last_frame(layout, header.number_of_frames, _FIRST_LOOK)
    table = None
    if not last:
        table = yield from instance.frame_table(limits)
    stream = edge = None
    if instance.encapsulated:
        stream = yield from _code_stream(layout, table, limits)
        if stream is not None and _undecided(stream, header):
            stream = yield from _judge(stream, layout, table, limits)
        if table is not None:
            number = _edge_frame(header, instance.items)
            last = yield from _frame_start(table, number, _FIRST_LOOK)
        edge = read_code_stream(last)
    if table is None:
        return replace(instance, code_stream=stream, edge_stream=edge)
    return replace(
        instance,
        code_stream=stream,
        edge_stream=edge,
        single_frame=table if len(table) == 1 else None,
        problems=table.problems,
        missing_frames=tuple(np.flatnonzero(table.offsets < 0)[:_LISTED].tolist()),
    )


def _edge_frame(header: Header, items: FrameItems | None) -> int:
    """Number of a frame that lies at the lower right, where writers cut frames if they cut any."""
    last = header.number_of_frames - 1
    if items is None or len(items) != header.number_of_frames or not items.columns.any():
        return last
    return int(np.lexsort((items.rows, items.columns))[-1])


def _frame_start(table: FrameTable, frame: int, size: int) -> Steps[bytes]:
    """Up to `size` bytes from the start of a frame, over its fragments."""
    parts: list[bytes] = []
    for offset, length in table.ranges(frame):
        parts.append((yield Range(offset, min(length, size))))
        size -= len(parts[-1])
        if size <= 0:
            break
    return b"".join(parts)


def _code_stream(
    layout: Layout, table: FrameTable | None, limits: Limits
) -> Steps[CodeStream | None]:
    """Facts of the first frame; a second, longer look where large segments come first."""
    for size in (_FIRST_LOOK, limits.codestream_prefix):
        head = yield from _first_frame(layout, table, size)
        stream = read_code_stream(head)
        if stream is not None or len(head) < size:
            return stream
    return None


def _first_frame(layout: Layout, table: FrameTable | None, size: int) -> Steps[bytes]:
    """Up to `size` bytes of the first frame that is there."""
    if table is None:
        return (yield from read_first_frame(layout, size))
    there = np.flatnonzero(table.offsets >= 0)
    if not len(there):
        return b""
    return (yield from _frame_start(table, int(there[0]), size))


def _undecided(stream: CodeStream, header: Header) -> bool:
    """Whether neither the stream nor the data set can be trusted to name the components."""
    return (
        stream.codec is Codec.JPEG_2000
        and stream.components == 3
        and stream.colour is None
        and stream.sampling == (1, 1)
        and header.photometric_interpretation.startswith("YBR")
    )


def _judge(
    stream: CodeStream, layout: Layout, table: FrameTable | None, limits: Limits
) -> Steps[CodeStream]:
    """Decide what the components are by what they hold."""
    if stream.width * stream.height > limits.tile_pixels:
        return stream
    frame = yield from _first_frame(layout, table, _FRAME_BYTES * limits.tile_pixels)
    if jpeg_2000_tiles(frame[:_FIRST_LOOK]) > limits.codestream_tiles:
        return stream
    return replace(stream, colour=judge_jpeg_2000_frame(frame))
