"""Positions of frames from the raw bytes of the Per-Frame Functional Groups Sequence (5200,9230).

A slide of 100,000 frames has 100,000 items, each of the same few elements; a data set parser takes
tens of seconds for them.  Here the first item is walked element by element; its shape becomes a
regular expression over bytes in which every length is spelled out, and the items that follow are
matched with it at the speed of the regular expression engine.  An item of another shape is walked
again and adds its own expression, so the result never depends on items being alike.

Reads PS3.3 C.8.12.6.1 (Plane Position (Slide)) and C.8.12.6.2 (Optical Path Identification).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.encoding import ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED, Encoding
from dicomfs.dicom.steps import Range, Steps, Window
from dicomfs.errors import LimitExceededError, MalformedDicomError
from dicomfs.limits import Limits

_COLUMN = 0x0048021E
_ROW = 0x0048021F
_Z = 0x0040074A
_PATH = 0x00480106
_WANTED = (_COLUMN, _ROW, _Z, _PATH)
_LENGTH = 0  # stands for the declared length of the item itself
_CHUNK = 4 * 1024 * 1024
_LARGEST_ITEM = 32 * 1024 * 1024
_SHAPES = 8
_NEAR, _FAR = 16 * 1024, 256 * 1024
"""Bytes to look ahead for items of one shape, at first and at most: values of many megabytes keep
the garbage collector busy for longer than they take to match."""
_MOST_LEARNED = 256  # where every item has its own, learning costs more than walking
_VARIABLE_VRS = frozenset(
    (b"AE AS CS DA DS DT IS LO LT PN SH ST TM UI").split()  # text, of any even length
)
_LONGEST_VARIANT = 64
_FARTHEST = 1e9  # µm


@dataclass(frozen=True, slots=True)
class FrameItems:
    """What the per-frame functional groups say of every frame of an instance, in frame order.

    columns, rows : int32, shape (n,)
        Column (0048,021E) and Row Position in Total Image Pixel Matrix (0048,021F), 1-based;
        0 where the item has none.
    z_um : float64, shape (n,)
        Z Offset in Slide Coordinate System (0040,074A), micrometres; NaN where the item has none.
    paths : int16, shape (n,)
        Index into `path_identifiers`; -1 where the item has none.
    first_item : bytes
        The first item's data set, for everything else that it may say.
    end : int
        Where the sequence ends, its delimiter included, in bytes from the start of the object.
    """

    columns: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    z_um: npt.NDArray[np.float64]
    paths: npt.NDArray[np.int16]
    path_identifiers: tuple[str, ...]
    first_item: bytes = field(repr=False)
    end: int

    def __len__(self) -> int:
        return len(self.columns)


def read_frame_items(
    object_size: int, span: Range, encoding: Encoding, limits: Limits, *, delimited: bool
) -> Steps[FrameItems]:
    """Read the items of a per-frame functional groups sequence whose value starts at `span.offset`.

    `delimited`: the sequence has an undefined length and ends with a delimiter; otherwise it ends
    with `span`.

    Raises MalformedDicomError where the items cannot be followed.
    """
    reader = _ItemReader(object_size, span, encoding, limits, delimited)
    return (yield from reader.read())


class _OutOfBytesError(Exception):
    """The item goes on behind the bytes at hand."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """An expression that matches exactly one kind of item, and which values its groups hold.

    pattern : matches such an item, and where there is none everything that follows; its last two
        groups are an empty one and what follows
    """

    pattern: re.Pattern[bytes]
    groups: tuple[int, ...]  # what each capture group holds: a wanted tag, or _LENGTH
    defined: bool  # the first group holds the item's declared length


class _ItemReader:
    def __init__(
        self, object_size: int, span: Range, encoding: Encoding, limits: Limits, delimited: bool
    ) -> None:
        self.window = Window(object_size, min(_CHUNK, max(span.size, 8)))
        self.pos = span.offset
        self.stop = object_size if delimited else span.offset + span.size
        self.delimited = delimited
        self.encoding = encoding
        self.limits = limits
        self.shapes: list[_Shape] = []
        self.ahead = _NEAR
        self.learned = 0
        self.columns = _Columns(encoding)
        self.first_item = b""

    def read(self) -> Steps[FrameItems]:
        span_start = self.pos
        while True:
            if self.pos >= self.stop and not self.delimited:
                break
            if not (yield from self.window.need(self.pos, 8)):
                raise MalformedDicomError("ends inside its per-frame functional groups")
            if self.pos - span_start > self.limits.per_frame_bytes:
                raise LimitExceededError("has per-frame functional groups of an absurd size")
            at = self.pos - self.window.base
            header = self.encoding.header_at(self.window.data, at)
            if header is None or header.tag not in (ITEM, SEQUENCE_DELIMITER):
                raise MalformedDicomError(
                    f"has damaged per-frame functional groups at byte {self.pos}"
                )
            if header.tag == SEQUENCE_DELIMITER:
                self.pos += 8
                break
            if not self._match_run(at):
                yield from self._walk_one()
            if self.columns.count > self.limits.frames:
                raise LimitExceededError(f"has more than {self.limits.frames} frames")
        return self.columns.result(self.first_item, self.pos)

    def _match_run(self, at: int) -> bool:
        """Match as many items as the window holds with one of the shapes known so far."""
        end = min(len(self.window.data), at + self.ahead)
        if not self.delimited:
            end = min(end, self.stop - self.window.base)
        for index, shape in enumerate(self.shapes):
            # What is no such item is one last match up to the end, so the items are contiguous.
            found = shape.pattern.findall(self.window.data, at, end)
            rest = len(found[-1][-1]) if found else 0
            if rest:
                found.pop()
            if not found:
                continue
            *columns, _, _ = zip(*found, strict=True)
            values = dict(zip(shape.groups, columns, strict=True))
            stop = end - rest
            if shape.defined and not self._lengths_add_up(values.pop(_LENGTH), at, stop):
                continue
            self.columns.add(len(found), values)
            self.pos = self.window.base + stop
            if index:
                self.shapes.insert(0, self.shapes.pop(index))
            # The rest was copied in vain: look far ahead only where items turn out to be alike.
            self.ahead = _NEAR if rest > (stop - at) // len(found) else min(4 * self.ahead, _FAR)
            return True
        self.ahead = _NEAR
        return False

    def _lengths_add_up(self, lengths: tuple[bytes, ...], start: int, end: int) -> bool:
        """Whether the items are as long together as they declare."""
        order = ">u4" if self.encoding.big_endian else "<u4"
        declared = np.frombuffer(b"".join(lengths), order).astype(np.int64)
        return int(declared.sum()) + 8 * len(declared) == end - start

    def _walk_one(self) -> Steps[None]:
        """Walk one item element by element, fetching more bytes as needed, and learn its shape."""
        size = self.window.chunk
        while True:
            yield from self.window.need(self.pos, min(size, self.window.object_size - self.pos))
            at = self.pos - self.window.base
            walk = _ItemWalk(self.encoding, self.window.data, self.limits)
            try:
                end = walk.item(at)
                break
            except _OutOfBytesError:
                size = 2 * max(size, len(self.window.data) - at)
                if self.window.base + len(self.window.data) >= self.window.object_size:
                    raise MalformedDicomError(
                        "ends inside its per-frame functional groups"
                    ) from None
                if size > _LARGEST_ITEM:
                    raise LimitExceededError("has a per-frame item of an absurd size") from None
        if not self.columns.count:
            self.first_item = bytes(self.window.data[at + 8 : end])
        self.columns.add(1, {tag: (raw,) for tag, raw in walk.found.items()})
        self.pos = self.window.base + end
        if self.learned < _MOST_LEARNED:
            self.learned += 1
            self.shapes.insert(0, walk.shape())
            del self.shapes[_SHAPES:]


class _Columns:
    """The wanted values of all items so far, as arrays, run by run.

    Values come as they stand in the file, each behind the bytes of its length.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.count = 0
        self._prefix = 4 if encoding.implicit_vr else 2
        self._order = ">" if encoding.big_endian else "<"
        self._integers: dict[int, list[npt.NDArray[np.int32]]] = {_COLUMN: [], _ROW: []}
        self._z: list[npt.NDArray[np.float64]] = []
        self._paths: list[npt.NDArray[np.int16]] = []
        self._z_of: dict[bytes, float] = {}
        self._path_of: dict[bytes, int] = {}
        self._names: dict[str, int] = {}

    def add(self, count: int, values: Mapping[int, Sequence[bytes]]) -> None:
        """Add a run of `count` items; tags that they do not have are left out."""
        self.count += count
        for tag, runs in self._integers.items():
            runs.append(self._as_integers(values.get(tag), count))
        for raw in set(values.get(_Z, ())).difference(self._z_of):
            self._z_of[raw] = _decimal(raw[self._prefix :])
        for raw in dict.fromkeys(values.get(_PATH, ())):
            if raw not in self._path_of:
                self._path_of[raw] = self._number(raw)
        z, paths = values.get(_Z), values.get(_PATH)
        if z is None:
            self._z.append(np.full(count, np.nan))
        else:
            self._z.append(np.fromiter(map(self._z_of.__getitem__, z), np.float64, count))
        if paths is None:
            self._paths.append(np.full(count, -1, np.int16))
        else:
            self._paths.append(np.fromiter(map(self._path_of.__getitem__, paths), np.int16, count))

    def _number(self, raw: bytes) -> int:
        name = _text(raw[self._prefix :])
        if len(self._names) >= np.iinfo(np.int16).max:
            raise LimitExceededError("names an absurd number of optical paths")
        return self._names.setdefault(name, len(self._names)) if name else -1

    def _as_integers(self, raws: Sequence[bytes] | None, count: int) -> npt.NDArray[np.int32]:
        width = self._prefix + 4
        if raws is None or len(raws[0]) != width:
            return np.zeros(count, np.int32)
        layout = np.dtype([("length", f"V{self._prefix}"), ("value", f"{self._order}i4")])
        return np.frombuffer(b"".join(raws), layout)["value"].astype(np.int32)

    def result(self, first_item: bytes, end: int) -> FrameItems:
        """Everything that was added."""
        empty = np.zeros(0, np.int32)
        return FrameItems(
            np.concatenate([empty, *self._integers[_COLUMN]]),
            np.concatenate([empty, *self._integers[_ROW]]),
            np.concatenate([np.zeros(0), *self._z]),
            np.concatenate([empty.astype(np.int16), *self._paths]),
            tuple(self._names),
            first_item,
            end,
        )


def _text(raw: bytes) -> str:
    """An SH value.  Items know no character set; UTF-8 is told from Latin-1 by being valid."""
    try:
        return raw.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip(" \0")


def _decimal(raw: bytes) -> float:
    """A DS value; NaN where there is none, or it is no number that a length could be."""
    try:
        value = float(raw.strip(b" \0"))
    except ValueError:
        return math.nan
    return value if abs(value) < _FARTHEST else math.nan


class _ItemWalk:
    """Walks one item, collecting the wanted values and the parts of an expression for its shape."""

    def __init__(self, encoding: Encoding, data: bytes, limits: Limits) -> None:
        self.encoding = encoding
        self.data = data
        self.limits = limits
        self.found: dict[int, bytes] = {}
        self.parts: list[bytes] = []
        self.groups: list[int] = []
        self.defined = False

    def shape(self) -> _Shape:
        groups = (_LENGTH, *self.groups) if self.defined else tuple(self.groups)
        item = b"".join(self.parts)
        return _Shape(re.compile(b"(?:%s)()|(.+)" % item, re.DOTALL), groups, self.defined)

    def item(self, at: int) -> int:
        """Walk the item whose header is at `at`; returns where it ends, its delimiter included.

        `open_` holds, for each item or sequence that is open, the tag that closes it and the end
        that its length declares (None for an undefined length).
        """
        open_: list[tuple[int, int | None]] = []
        while True:
            while open_ and open_[-1][1] is not None and at >= open_[-1][1]:
                if at > open_[-1][1]:
                    raise MalformedDicomError("has per-frame items that overrun their length")
                open_.pop()
            if not open_ and self.parts:
                return at
            header = self.encoding.header_at(self.data, at)
            if header is None:
                raise _OutOfBytesError
            if open_ and header.tag == open_[-1][0]:
                self.parts.append(re.escape(self.data[at : at + 8]))
                open_.pop()
                at += 8
                continue
            inside_item = bool(open_) and open_[-1][0] == ITEM_DELIMITER
            if (header.tag == ITEM) == inside_item or (header.tag >> 16 == 0xFFFE) == inside_item:
                raise MalformedDicomError("has damaged per-frame functional groups")
            if len(open_) > 2 * self.limits.sequence_depth:
                raise LimitExceededError("nests its per-frame functional groups too deeply")
            self._part(at, header.size, header.length, first=not open_ and not self.parts)
            value = at + header.size
            if header.tag == ITEM or header.vr == b"SQ" or header.length == UNDEFINED:
                closing = ITEM_DELIMITER if header.tag == ITEM else SEQUENCE_DELIMITER
                end = None if header.length == UNDEFINED else value + header.length
                open_.append((closing, end))
                at = value
            else:
                at = self._value(header.tag, header.vr, at, header.size, header.length)

    def _part(self, at: int, size: int, length: int, *, first: bool) -> None:
        """Spell out a header; the length of items and sequences may differ from item to item."""
        raw = self.data[at : at + size]
        if length == UNDEFINED:
            self.parts.append(re.escape(raw))
        else:
            lengths = b"(....)" if first else b"...."
            self.parts.append(re.escape(raw[:-4]) + lengths)
            self.defined |= first

    def _value(self, tag: int, vr: bytes, at: int, size: int, length: int) -> int:
        """Spell out an element with a value; returns where it ends."""
        end = at + size + length
        if length > _LARGEST_ITEM:
            raise LimitExceededError("has a per-frame element of an absurd size")
        if end > len(self.data):
            raise _OutOfBytesError
        self.parts.pop()  # the header alone; here it becomes part of header-length-value
        short = size == 8 and not self.encoding.implicit_vr
        width = 2 if short else 4
        self.parts.append(re.escape(self.data[at : at + size - width]))
        lengths = [length]
        if vr in _VARIABLE_VRS and length <= _LONGEST_VARIANT:
            rest = [n for n in range(0, _LONGEST_VARIANT + 1, 2) if n != length]
            lengths += sorted(rest, key=lambda n: abs(n - length))
        wanted = tag in _WANTED and tag not in self.found
        alternatives = []
        for n in lengths:
            prefix = n.to_bytes(width, "big" if self.encoding.big_endian else "little")
            alternatives.append(re.escape(prefix) + b".{%d}" % n)
        body = b"|".join(alternatives)
        self.parts.append(b"(?:" + body + b")" if not wanted else b"(" + body + b")")
        if wanted:
            self.groups.append(tag)
            self.found[tag] = self.data[at + size - width : end]
        return end
