"""An instance: header, layout, positions and code stream facts of one DICOM object.

Puts the parsers of this package together in the order in which they need each other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from dicomfs.dicom.codestream import Codec, CodeStream, read_code_stream
from dicomfs.dicom.components import judge_jpeg_2000_frame
from dicomfs.dicom.elements import Layout, read_file_meta, read_layout
from dicomfs.dicom.frames import (
    FrameTable,
    read_first_frame,
    read_frame_table,
    read_last_frame,
)
from dicomfs.dicom.header import Header, parse_header
from dicomfs.dicom.per_frame import FrameItems, read_frame_items
from dicomfs.dicom.steps import Range, Steps, run_on_bytes
from dicomfs.dicom.uids import SHOWN_SOP_CLASSES, TransferSyntax
from dicomfs.errors import DeflatedDataSetError, LimitExceededError, MalformedDicomError
from dicomfs.limits import DEFAULT_LIMITS, Limits

_FIRST_LOOK = 4 * 1024
_DEFLATED_LOOK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Instance:
    """Facts of one instance.

    items : positions of the frames; None where the instance has no per-frame functional groups.
    code_stream : facts of the first frame; None for native pixel data, and where the first frame
        is of no known kind.
    last_stream : facts of the last frame; None where it was not looked at.
    """

    header: Header
    layout: Layout
    items: FrameItems | None
    code_stream: CodeStream | None
    last_stream: CodeStream | None = None

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data has an undefined length, which decides, not the transfer syntax."""
        return self.layout.pixel_data is not None and self.layout.pixel_data.length is None

    def frame_table(self, limits: Limits = DEFAULT_LIMITS) -> Steps[FrameTable]:
        """Read the frame table, see `dicomfs.dicom.frames.read_frame_table`."""
        return read_frame_table(self.layout, self.header.number_of_frames, self.frame_bytes, limits)

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame.

        YBR_FULL_422 has two samples a pixel (PS3.3 C.7.6.3.1.2), but not where a writer only kept
        the name when it decompressed; the length of the pixel data tells.
        """
        size = self.header.frame_bytes
        return size * 2 // 3 if self.subsampled else size

    @property
    def subsampled(self) -> bool:
        """Whether native samples are stored as YBR_FULL_422 prescribes."""
        header, element = self.header, self.layout.pixel_data
        if header.photometric_interpretation != "YBR_FULL_422" or header.samples_per_pixel != 3:
            return False
        if element is None or element.length is None:
            return False
        return element.length < header.number_of_frames * header.frame_bytes - 1


@dataclass(frozen=True, slots=True)
class Stranger:
    """A DICOM object that is no slide: its header, for whoever wants to say that it is there."""

    header: Header


def read_instance(
    object_size: int, limits: Limits = DEFAULT_LIMITS, *, inflated: bool = False
) -> Steps[Instance | Stranger]:
    """Read the facts of a DICOM object of `object_size` bytes.

    inflated : a data set that its meta information calls deflated is so no longer

    Raises NotDicomError for what is no DICOM object, DeflatedDataSetError for a slide that has to
    be inflated first, and other DicomErrors for one that cannot be read.
    """
    if not inflated:
        start, transfer_syntax = yield from read_file_meta(object_size)
        if transfer_syntax == TransferSyntax.DEFLATED:
            return (yield from read_deflated(object_size, start, limits))
    layout = yield from read_layout(object_size, limits)
    parts = []
    for span in layout.header:
        parts.append((yield span))
    data = b"".join(parts)
    header = parse_header(data, layout.encoding, b"")
    if header.sop_class_uid not in SHOWN_SOP_CLASSES:
        return Stranger(header)
    if layout.pixel_data is None:
        raise MalformedDicomError("has no pixel data")
    if header.number_of_frames > limits.frames:
        raise LimitExceededError(f"declares more than {limits.frames} frames")
    items = layout.frame_items
    if items is None and layout.per_frame is not None and layout.per_frame.size:
        items = yield from read_frame_items(
            object_size, layout.per_frame, layout.encoding, limits, delimited=False
        )
    if items is not None and not len(items):
        items = None
    if items is not None:
        header = parse_header(data, layout.encoding, items.first_item)
    stream = None
    if layout.pixel_data.length is None:
        stream = yield from _code_stream(layout, limits)
        if stream is not None and _undecided(stream, header):
            stream = yield from _judge(stream, layout, limits)
    last = None
    if stream is not None and header.number_of_frames > 1:
        head = yield from read_last_frame(layout, header.number_of_frames, _FIRST_LOOK)
        last = read_code_stream(head)
    return Instance(header, layout, items, stream, last)


def read_deflated(object_size: int, start: int, limits: Limits) -> Steps[Stranger]:
    """Look at the header of a deflated data set without inflating its pixels.

    Returns what is no slide; raises DeflatedDataSetError for what may be one.
    """
    head = yield Range(0, start)
    for most in (_DEFLATED_LOOK, limits.header_bytes):
        data = head + (yield from _inflate_start(object_size, start, most))
        try:
            layout = run_on_bytes(read_layout(len(data), limits), data)
        except MalformedDicomError:
            if most == limits.header_bytes or len(data) < most:
                raise
            continue
        header = parse_header(
            b"".join(data[o : o + n] for o, n in layout.header), layout.encoding, b""
        )
        if header.sop_class_uid not in SHOWN_SOP_CLASSES:
            return Stranger(header)
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
    for at in range(start, object_size, _DEFLATED_LOOK):
        chunk = yield Range(at, _DEFLATED_LOOK)
        try:
            parts.append(inflater.decompress(chunk, most - size))
        except zlib.error as error:
            raise MalformedDicomError(f"has a damaged deflate stream: {error}") from error
        size += len(parts[-1])
        if size >= most or inflater.eof:
            break
    return b"".join(parts)


def _undecided(stream: CodeStream, header: Header) -> bool:
    """Whether neither the stream nor the data set can be trusted to name the components."""
    return (
        stream.codec is Codec.JPEG_2000
        and stream.components == 3
        and stream.colour is None
        and stream.sampling == (1, 1)
        and header.photometric_interpretation.startswith("YBR")
    )


def _judge(stream: CodeStream, layout: Layout, limits: Limits) -> Steps[CodeStream]:
    if stream.width * stream.height > limits.tile_pixels:
        return stream
    frame = yield from read_first_frame(layout, layout.object_size)
    return replace(stream, colour=judge_jpeg_2000_frame(frame))


def _code_stream(layout: Layout, limits: Limits) -> Steps[CodeStream | None]:
    """Facts of the first frame; a second, longer look where large segments come first."""
    for size in (_FIRST_LOOK, limits.codestream_prefix):
        head = yield from read_first_frame(layout, size)
        stream = read_code_stream(head)
        if stream is not None or len(head) < size:
            return stream
    return None
