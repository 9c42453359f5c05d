"""BigTIFF directories and their bytes (TIFF 6.0 section 2; the BigTIFF design of libtiff).

A directory is a list of tags; `lay_out` gives everything an address and returns the header of the
file as bytes with holes.  A hole is an array (tile offsets, byte counts) whose size is known now
and whose content only when the frame tables are.  Knows no slide.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

HEADER_SIZE = 16
_INLINE = 8
_TAG = struct.Struct("<HHQ")  # code, type and count of a field
_ENTRY = struct.Struct("<HHQQ")  # the same with the address of its value


class Type(IntEnum):
    """Field types (TIFF 6.0 section 2, BigTIFF)."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    LONG8 = 16
    IFD8 = 18

    @property
    def width(self) -> int:
        """Bytes of one value."""
        return _WIDTHS[self]


_WIDTHS = {
    Type.BYTE: 1,
    Type.ASCII: 1,
    Type.SHORT: 2,
    Type.LONG: 4,
    Type.RATIONAL: 8,
    Type.UNDEFINED: 1,
    Type.LONG8: 8,
    Type.IFD8: 8,
}


class Code(IntEnum):
    """Tags that dicomfs writes (TIFF 6.0, TIFF/EP, Adobe PageMaker notes, ICC.1 annex B)."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    DOCUMENT_NAME = 269
    IMAGE_DESCRIPTION = 270
    MAKE = 271
    MODEL = 272
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    RESOLUTION_UNIT = 296
    SOFTWARE = 305
    DATE_TIME = 306
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    SAMPLE_FORMAT = 339
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    ICC_PROFILE = 34675


@dataclass(frozen=True, slots=True)
class Hole:
    """The content of a field that is filled in later.  Fields with equal keys share their bytes."""

    key: tuple[int, str]
    size: int


@dataclass(frozen=True, slots=True)
class Field:
    """A tag with its value."""

    code: int
    type: Type
    count: int
    data: bytes | Hole = field(repr=False)


@dataclass(frozen=True, slots=True)
class Directory:
    """An image file directory and the ones that its SubIFDs tag names."""

    fields: tuple[Field, ...]
    children: tuple[Directory, ...] = ()


# The slides of a scanner have the same few numbers in their directories.


@lru_cache(maxsize=4096)
def shorts(code: int, *values: int) -> Field:
    """A field of SHORT values."""
    return Field(code, Type.SHORT, len(values), struct.pack(f"<{len(values)}H", *values))


@lru_cache(maxsize=4096)
def longs(code: int, *values: int) -> Field:
    """A field of LONG values."""
    return Field(code, Type.LONG, len(values), struct.pack(f"<{len(values)}I", *values))


def text(code: int, value: str) -> Field:
    """A field of text; TIFF wants ASCII, OME-XML needs UTF-8, and every reader takes UTF-8."""
    data = value.replace("\0", "").encode("utf-8") + b"\0"
    return Field(code, Type.ASCII, len(data), data)


@lru_cache(maxsize=1024)
def rationals(code: int, *values: float) -> Field:
    """A field of RATIONAL values, as near to the numbers as 32 bits above and below allow."""
    parts = [part for value in values for part in _nearest(value)]
    return Field(code, Type.RATIONAL, len(values), struct.pack(f"<{len(parts)}I", *parts))


@lru_cache(maxsize=1024)
def _nearest(value: float) -> tuple[int, int]:
    limit = 2**32 - 1
    bound = max(1, min(limit, int(limit / value))) if value > 1 else limit
    nearest = Fraction(value).limit_denominator(min(bound, 10**9))
    return nearest.numerator, nearest.denominator


def undefined(code: int, data: bytes) -> Field:
    """A field of bytes without meaning to TIFF."""
    return Field(code, Type.UNDEFINED, len(data), data)


@dataclass(frozen=True, slots=True)
class Header:
    """Everything of the file before the pixels: bytes and holes, in order, without gaps."""

    parts: tuple[bytes | Hole, ...] = field(repr=False)
    size: int


def lay_out(chain: Sequence[Directory]) -> Header:
    """Give every directory and value an address and serialise them.

    Values that are equal to the byte (an ICC profile that every level carries) are stored once.
    """
    everything = list(_walk(chain))
    addresses: dict[int, int] = {}
    position = HEADER_SIZE
    for directory in everything:
        addresses[id(directory)] = position
        position += 16 + 20 * (len(directory.fields) + bool(directory.children))
    values: dict[bytes | Hole, int] = {}
    outside: list[bytes | Hole] = []
    holes: list[Hole] = []

    def reserve(data: bytes | Hole, size: int) -> None:
        nonlocal position
        if data not in values and size > _INLINE:
            values[data] = position
            outside.append(data)
            padding = size % 2
            position += size + padding
            if padding:
                outside.append(b"\0")

    sorted_fields = [_fields(directory, addresses) for directory in everything]
    for fields in sorted_fields:
        for item in fields:
            if isinstance(item.data, Hole):
                holes.append(item.data)
            else:
                reserve(item.data, len(item.data))
    for hole in holes:  # arrays last: a reader that only looks at the tags never touches them
        reserve(hole, hole.size)
    parts: list[bytes | Hole] = [struct.pack("<2sHHHQ", b"II", 43, 8, 0, HEADER_SIZE)]
    following = {id(a): addresses[id(b)] for a, b in pairwise(chain)}
    for directory, fields in zip(everything, sorted_fields, strict=True):
        _serialise(fields, values, following.get(id(directory), 0), parts)
    parts += outside
    return Header(tuple(_joined(parts)), position)


def _walk(chain: Iterable[Directory]) -> Iterator[Directory]:
    for directory in chain:
        yield directory
        yield from _walk(directory.children)


def _fields(directory: Directory, addresses: dict[int, int]) -> list[Field]:
    fields = list(directory.fields)
    if directory.children:
        where = [addresses[id(child)] for child in directory.children]
        data = struct.pack(f"<{len(where)}Q", *where)
        fields.append(Field(Code.SUB_IFDS, Type.IFD8, len(where), data))
    return sorted(fields, key=lambda item: item.code)


def _serialise(
    fields: Sequence[Field],
    values: dict[bytes | Hole, int],
    following: int,
    parts: list[bytes | Hole],
) -> None:
    """Append a directory of these fields to `parts`."""
    run = [struct.pack("<Q", len(fields))]
    for item in fields:
        address = values.get(item.data)
        if address is not None:
            run.append(_ENTRY.pack(item.code, item.type, item.count, address))
            continue
        run.append(_TAG.pack(item.code, item.type, item.count))
        if isinstance(item.data, Hole):
            parts += (b"".join(run), item.data)
            run = [bytes(_INLINE - item.data.size)]
        else:
            run.append(item.data.ljust(_INLINE, b"\0"))
    run.append(struct.pack("<Q", following))
    parts.append(b"".join(run))


def _joined(parts: Iterable[bytes | Hole]) -> Iterator[bytes | Hole]:
    """Merge neighbouring bytes."""
    run: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            run.append(part)
        else:
            if run:
                yield b"".join(run)
                run = []
            yield part
    if run:
        yield b"".join(run)
