"""DICOM objects byte by byte, and parsers driven on them.

The one job: element in, bytes out, in any of the three native encodings, without pydicom; and a
driver for the parsers that accepts no want that lies outside of the object. PS3.5 section 7.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dicomfs.dicom.steps import Range, Steps

T = TypeVar("T")

WSM = "1.2.840.10008.5.1.4.1.1.77.1.6"
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
SHORT = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT"),
    *("PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
)
UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes elements in one native encoding; tags are 0xGGGGEEEE."""

    implicit: bool = False
    order: str = "<"

    @property
    def transfer_syntax(self) -> str:
        if self.order == ">":
            return "1.2.840.10008.1.2.2"
        return "1.2.840.10008.1.2" if self.implicit else "1.2.840.10008.1.2.1"

    def pack(self, code: str, *values: int | float) -> bytes:
        """Binary values in this byte order, `code` as in struct."""
        return struct.pack(f"{self.order}{len(values)}{code}", *values)

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """Tag, VR and length; items and delimiters have no VR."""
        start = self.pack("H", tag >> 16, tag & 0xFFFF)
        if self.implicit or tag >> 16 == 0xFFFE:
            return start + self.pack("I", length)
        if vr in SHORT:
            return start + vr.encode() + self.pack("H", length)
        return start + vr.encode() + b"\0\0" + self.pack("I", length)

    def element(self, tag: int, vr: str, value: bytes | str) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        data += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(data) % 2)
        return self.head(tag, vr, len(data)) + data

    def item(self, content: bytes, *, undefined: bool = False) -> bytes:
        if undefined:
            return self.head(0xFFFEE000, "", UNDEFINED) + content + self.head(0xFFFEE00D, "", 0)
        return self.head(0xFFFEE000, "", len(content)) + content

    def sequence(
        self, tag: int, items: Sequence[bytes], *, undefined: bool = False, vr: str = "SQ"
    ) -> bytes:
        """A sequence of items, which are already written."""
        value = b"".join(items)
        if undefined:
            return self.head(tag, vr, UNDEFINED) + value + self.head(0xFFFEE0DD, "", 0)
        return self.head(tag, vr, len(value)) + value


ENCODINGS = {
    "explicit": Writer(),
    "implicit": Writer(implicit=True),
    "big endian": Writer(order=">"),
}


def meta(transfer_syntax: str) -> bytes:
    """File meta information, which is always explicit VR little endian (PS3.10 7.1)."""
    writer = Writer()
    body = writer.element(0x00020002, "UI", WSM)
    body += writer.element(0x00020003, "UI", "2.25.1")
    body += writer.element(0x00020010, "UI", transfer_syntax)
    return writer.element(0x00020000, "UL", struct.pack("<I", len(body))) + body


def front(transfer_syntax: str) -> bytes:
    """Preamble, prefix and meta information."""
    return bytes(128) + b"DICM" + meta(transfer_syntax)


def _check(offset: int, size: int, object_size: int) -> None:
    assert offset >= 0, "a parser looks before the start of the object"
    assert size >= 0, "a parser wants less than nothing"
    assert offset <= object_size, "a parser looks behind the end of the object"


def _drive(steps: Steps[T], object_size: int, read: Callable[[int, int], bytes]) -> T:
    answer: bytes | None = None
    try:
        while True:
            want = next(steps) if answer is None else steps.send(answer)
            if isinstance(want, Range):
                _check(want.offset, want.size, object_size)
                answer = read(want.offset, want.size)
            else:
                parts = []
                for offset in want.offsets.tolist():
                    _check(offset, want.size, object_size)
                    parts.append(read(offset, want.size))
                answer = b"".join(parts)
                assert len(answer) == want.size * len(want.offsets), "a part is not there"
    except StopIteration as stop:
        result: T = stop.value
        return result


def drive(steps: Steps[T], data: bytes) -> T:
    """Run a parser on an object in memory."""
    return _drive(steps, len(data), lambda offset, size: data[offset : offset + size])


def drive_file(steps: Steps[T], path: Path) -> T:
    """Run a parser on a file of any size."""
    with path.open("rb") as file:
        number = file.fileno()
        size = os.fstat(number).st_size
        return _drive(steps, size, lambda offset, want: os.pread(number, want, offset))
