"""The walk over the top level of a DICOM object, up to Pixel Data.

Finds where things lie: the data set, its encoding, Pixel Data, the Extended Offset Table and the
Per-Frame Functional Groups, and the ranges that hold everything else (PS3.10 section 7, PS3.5
section 7).  Iterative and bounded: nesting costs a list, not a stack frame, and every declared
length is checked against the bytes that are left before anything is read.  It does not look at
values, except at the Transfer Syntax UID, which says how to go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dicomfs.dicom.encoding import (
    ITEM,
    ITEM_DELIMITER,
    KNOWN_VRS,
    SEQUENCE_DELIMITER,
    SHORT_VRS,
    UNDEFINED,
    ElementHeader,
    Encoding,
)
from dicomfs.dicom.per_frame import FrameItems, read_frame_items
from dicomfs.dicom.steps import Range, Steps, Window
from dicomfs.dicom.uids import TransferSyntax
from dicomfs.errors import LimitExceededError, MalformedDicomError, NotDicomError
from dicomfs.limits import Limits

PIXEL_DATA = 0x7FE00010
PIXEL_DATA_TAGS = frozenset((0x7FE00008, 0x7FE00009, PIXEL_DATA))
EXTENDED_OFFSET_TABLE = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00002
PER_FRAME_GROUPS = 0x52009230

_EXPLICIT_LE = Encoding(implicit_vr=False, big_endian=False)
_LARGEST_HEADER_ELEMENT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PixelDataElement:
    """Where the pixel data lies: its value starts at byte `offset` of the object.

    `length` is None for an undefined length, that is for encapsulated pixel data (PS3.5 A.4).
    """

    tag: int
    vr: bytes
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class LargeElement:
    """Where an element lies that is too large to be read with the header."""

    tag: int
    vr: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a DICOM object lie.  All offsets are bytes from the start of the object.

    `header` are the ranges of the data set before Pixel Data without the per-frame functional
    groups, the offset tables and what is `large`.  `frame_items` is there already where the walk
    had to look at the per-frame groups to find their end.
    """

    object_size: int
    transfer_syntax: str
    encoding: Encoding
    header: tuple[Range, ...]
    pixel_data: PixelDataElement | None
    extended_offsets: Range | None
    extended_lengths: Range | None
    per_frame: Range | None
    frame_items: FrameItems | None
    large: tuple[LargeElement, ...] = ()


class FileMeta(NamedTuple):
    """What comes before the data set: at which byte that starts, its encoding and its transfer
    syntax ("" where unknown)."""

    start: int
    encoding: Encoding
    transfer_syntax: str


def read_layout(object_size: int, limits: Limits, meta: FileMeta | None = None) -> Steps[Layout]:
    """Walk a DICOM object of `object_size` bytes up to its Pixel Data.

    A data set that is deflated as a whole has to be inflated already.

    meta : what `read_file_meta` found, where that was called already

    Raises NotDicomError for anything that is no DICOM object, MalformedDicomError where the walk
    cannot go on, LimitExceededError where the object is larger than `limits` allow.
    """
    window = Window(object_size)
    if meta is None:
        meta = yield from _read_file_meta(window)
    walk = _TopLevel(window, meta.encoding, limits).walk(meta.start, meta.transfer_syntax)
    return (yield from walk)


def read_file_meta(object_size: int) -> Steps[FileMeta]:
    """Find the data set of an object.  Raises NotDicomError, MalformedDicomError."""
    return (yield from _read_file_meta(Window(object_size, 4096)))


def _read_file_meta(window: Window) -> Steps[FileMeta]:
    head = (yield from window.take(0, min(window.object_size, 4096))) or b""
    if head[128:132] == b"DICM":
        pos = 132
    elif head[:4] == b"DICM":
        pos = 4
    else:
        pos = 0
        if not _plausible_start(head, window.object_size):
            raise NotDicomError("is no DICOM file")
    transfer_syntax = ""
    while True:
        yield from window.need(pos, 12)
        header = _EXPLICIT_LE.header_at(window.data, pos - window.base)
        if header is None or header.tag >> 16 != 0x0002:
            break
        if header.vr not in KNOWN_VRS or header.length > window.object_size - pos:
            raise MalformedDicomError("has a damaged file meta information")
        if header.tag == 0x00020010:
            value = yield from window.take(pos + header.size, header.length)
            transfer_syntax = (value or b"").decode("ascii", "replace").strip(" \0")
        pos += header.size + header.length
    if transfer_syntax == TransferSyntax.DEFLATED:
        return FileMeta(pos, _EXPLICIT_LE, transfer_syntax)
    first = yield from window.take(pos, min(12, window.object_size - pos))
    return FileMeta(pos, _encoding_of(first or b"", transfer_syntax), transfer_syntax)


def _plausible_start(head: bytes, object_size: int) -> bool:
    """Whether bytes without a preamble look like the start of a data set all the same."""
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    if head[4:6] in KNOWN_VRS:
        return True
    return head[:2] == b"\x08\x00" and int.from_bytes(head[4:8], "little") <= min(object_size, 1024)


def _encoding_of(first: bytes, transfer_syntax: str) -> Encoding:
    """The encoding that the first element shows; the transfer syntax decides only the doubtful."""
    big_endian = transfer_syntax == TransferSyntax.EXPLICIT_BIG_ENDIAN or (
        not transfer_syntax and first[:2] == b"\x00\x08"
    )
    if len(first) >= 6:
        return Encoding(first[4:6] not in KNOWN_VRS, big_endian)
    return Encoding(transfer_syntax == TransferSyntax.IMPLICIT_LITTLE_ENDIAN, big_endian)


_SPANS = frozenset((PER_FRAME_GROUPS, EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS))
"""Elements that are read by others, each in its own way."""

_PLAIN_GROUPS = 0x5200
"""Groups below have nothing that needs another treatment than its neighbours."""


class _TopLevel:
    """State of the walk over the top level of one data set."""

    def __init__(self, window: Window, encoding: Encoding, limits: Limits) -> None:
        self.window = window
        self.encoding = encoding
        self.limits = limits
        self.left = limits.elements
        self.header: list[Range] = []
        self._header_end = -1
        self.header_size = 0
        self.spans: dict[int, Range] = {}
        self.frame_items: FrameItems | None = None
        self.large: list[LargeElement] = []

    def walk(self, start: int, transfer_syntax: str) -> Steps[Layout]:
        pos = start
        pixel_data = None
        while self.left:
            pos = self._pass_short(pos)
            if pos >= self.window.object_size:
                break
            self.left -= 1
            header = _header_at_hand(self.window, self.encoding, pos)
            if header is None:
                header = yield from _read_header(self.window, self.encoding, pos)
            if header.tag in PIXEL_DATA_TAGS:
                length = None if header.undefined else header.length
                pixel_data = PixelDataElement(header.tag, header.vr, pos + header.size, length)
                break
            if header.length == UNDEFINED or header.tag in _SPANS:
                pos = yield from self._pass_element(pos, header)
            else:
                pos = self._pass_known(pos, header)
        else:
            raise LimitExceededError(f"has more than {self.limits.elements} data elements")
        return Layout(
            self.window.object_size,
            transfer_syntax,
            self.encoding,
            tuple(self.header),
            pixel_data,
            self.spans.get(EXTENDED_OFFSET_TABLE),
            self.spans.get(EXTENDED_OFFSET_TABLE_LENGTHS),
            self.spans.get(PER_FRAME_GROUPS),
            self.frame_items,
            tuple(self.large),
        )

    def _pass_short(self, pos: int) -> int:
        """Pass the elements like most, for as long as their headers are at hand: in one go, for a
        data set has hundreds of them.  Returns where the first other one starts."""
        if self.encoding.implicit_vr:
            return pos
        short, data = self.encoding.short_header, self.window.data
        base, size = self.window.base, self.window.object_size
        at, last = pos - base, len(data) - 12
        left = self.left
        while 0 <= at <= last and left > 1:
            group, _, vr, length = short(data, at)
            if vr not in SHORT_VRS or group >= _PLAIN_GROUPS or base + at + 8 + length > size:
                break
            at += 8 + length
            left -= 1
        self.left = left
        end = base + at
        if end > pos:
            self._keep(pos, end)
        return end

    def _pass_element(self, pos: int, header: ElementHeader) -> Steps[int]:
        """Note where the element lies; returns where the next one starts."""
        value = pos + header.size
        size = self.window.object_size
        if not header.undefined:
            end = self._end_of_known(value, header)
        elif header.tag == PER_FRAME_GROUPS:
            self.frame_items = yield from read_frame_items(
                size, Range(value, size - value), self.encoding, self.limits, delimited=True
            )
            end = self.frame_items.end
        else:
            end = yield from _skip_sequence(self.window, self.encoding, header, value, self.limits)
        if header.tag in _SPANS:
            self.spans[header.tag] = Range(value, end - value)
        else:
            self._note(pos, end, header)
        return end

    def _pass_known(self, pos: int, header: ElementHeader) -> int:
        """The same for an element like most: nothing has to be read to pass it."""
        end = self._end_of_known(pos + header.size, header)
        self._note(pos, end, header)
        return end

    def _end_of_known(self, value: int, header: ElementHeader) -> int:
        end = value + header.length
        if end > self.window.object_size:
            raise MalformedDicomError(
                f"ends inside the element {_name(header.tag)}: the file is cut off or damaged"
            )
        return end

    def _note(self, pos: int, end: int, header: ElementHeader) -> None:
        if end - pos <= _LARGEST_HEADER_ELEMENT:
            self._keep(pos, end)
        else:
            value = pos + header.size
            self.large.append(LargeElement(header.tag, header.vr, value, end - value))

    def _keep(self, start: int, end: int) -> None:
        self.header_size += end - start
        if self.header_size > self.limits.header_bytes:
            raise LimitExceededError(f"has a header above {self.limits.header_bytes} bytes")
        if start == self._header_end:
            first = self.header[-1].offset
            self.header[-1] = Range(first, end - first)
        else:
            self.header.append(Range(start, end - start))
        self._header_end = end


def _header_at_hand(window: Window, encoding: Encoding, pos: int) -> ElementHeader | None:
    """The header at `pos` where its bytes are at hand and it is well formed, as it mostly is."""
    at = pos - window.base
    if at < 0 or at + 12 > len(window.data):
        return None
    header = encoding.header_at(window.data, at)
    return header if header is not None and header.vr in KNOWN_VRS else None


def _read_header(window: Window, encoding: Encoding, pos: int) -> Steps[ElementHeader]:
    yield from window.need(pos, min(12, window.object_size - pos))
    header = encoding.header_at(window.data, pos - window.base)
    if header is None:
        raise MalformedDicomError("ends in the middle of its header: the file is cut off")
    if header.vr and header.vr not in KNOWN_VRS and not header.vr.isalpha():
        raise MalformedDicomError(f"has no valid data element at byte {pos}")
    return header


def _skip_sequence(
    window: Window, encoding: Encoding, header: ElementHeader, pos: int, limits: Limits
) -> Steps[int]:
    """Find the end of a sequence of undefined length whose value starts at `pos`.

    Each level of nesting is one entry of `open_`: the tag that closes it and its encoding.  The
    content of a UN element of undefined length is implicit VR (PS3.5 6.2.2 note 2).
    """
    open_: list[tuple[int, Encoding]] = [(SEQUENCE_DELIMITER, _inner(encoding, header))]
    while open_:
        closing, inner = open_[-1]
        found = _header_at_hand(window, inner, pos)
        if found is None:
            found = yield from _read_header(window, inner, pos)
        pos += found.size
        if found.tag == closing:
            open_.pop()
        elif found.tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER):
            raise MalformedDicomError(f"has a stray sequence delimiter at byte {pos - found.size}")
        elif (found.tag == ITEM) != (closing == SEQUENCE_DELIMITER):
            raise MalformedDicomError(f"has a damaged sequence at byte {pos - found.size}")
        elif found.length == UNDEFINED:
            if len(open_) >= 2 * limits.sequence_depth:
                raise LimitExceededError(
                    f"nests sequences deeper than {limits.sequence_depth} levels"
                )
            if found.tag == ITEM:
                open_.append((ITEM_DELIMITER, inner))
            else:
                open_.append((SEQUENCE_DELIMITER, _inner(inner, found)))
        else:
            pos += found.length
            if pos > window.object_size:
                raise MalformedDicomError("ends inside a sequence: the file is cut off or damaged")
    return pos


def _inner(encoding: Encoding, header: ElementHeader) -> Encoding:
    if header.vr == b"UN" and not encoding.implicit_vr:
        return Encoding(implicit_vr=True, big_endian=False)
    return encoding


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
