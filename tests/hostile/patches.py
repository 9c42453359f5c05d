"""Applies the small edits that make a hostile file of a healthy one.

The one job: `patched(content, frames, edits)`. Places are given by landmarks (an element, a frame,
a marker in a frame), never by plain numbers, so that the corpus survives a change of the fixtures.
Knows nothing of the code under test.

A place is an object with one of
    element   keyword or "GGGGEEEE"; with `part`: "tag", "length", "value" (default) or "end";
              `nth` occurrence, 0-based; elements inside of sequences are found too
    frame     0-based; the first byte of its payload
    item      0-based; the header of an item of encapsulated pixel data; 0 is the offset table
    delimiter true; the sequence delimiter of the pixel data
    from      "start" (default) or "end" of the file
and with `marker`, two bytes in hexadecimal that are searched from there on, and `plus`, bytes to
add.

PS3.5 section 7 and A.4; PS3.10 section 7.1.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from pydicom.datadict import dictionary_VR, tag_for_keyword

Edit: TypeAlias = dict[str, Any]

_LONG: Final = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
_INTEGERS: Final = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "FL": "<f", "FD": "<d"}
_ITEM: Final = b"\xfe\xff\x00\xe0"
_DELIMITERS: Final = (b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0")
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"


def patched(content: bytes, frames: Sequence[int], edits: Sequence[Edit]) -> bytes:
    """The file with the edits made one after the other.

    content : a file in explicit VR little endian
    frames : where each frame starts in it
    """
    file = _File(bytearray(content), list(frames))
    for edit in edits:
        _OPERATIONS[edit["op"]](file, edit)
    return bytes(file.data)


class _File:
    """A file that is being edited; the frames move along."""

    def __init__(self, data: bytearray, frames: list[int]) -> None:
        self.data = data
        self.frames = frames

    def replace(self, at: int, size: int, new: bytes) -> None:
        self.data[at : at + size] = new
        moved = len(new) - size
        self.frames = [frame + moved if frame >= at + size else frame for frame in self.frames]

    def header(self, name: str, nth: int = 0) -> tuple[int, str, int, int]:
        """An element: where its tag lies, its VR, where its value lies, and its declared length."""
        tag = tag_for_keyword(name)
        number = int(name, 16) if tag is None else int(tag)
        raw = struct.pack("<HH", number >> 16, number & 0xFFFF)
        end = self.data.find(_PIXEL_DATA + b"O") + 12
        at = -1
        for _ in range(nth + 1):
            at = self.data.find(raw, at + 1, end)
            while at >= 0 and not bytes(self.data[at + 4 : at + 6]).isalpha():
                at = self.data.find(raw, at + 1, end)
            if at < 0:
                raise ValueError(f"there is no {name}")
        vr = self.data[at + 4 : at + 6].decode()
        if vr in _LONG:
            return at, vr, at + 12, struct.unpack_from("<I", self.data, at + 8)[0]
        return at, vr, at + 8, struct.unpack_from("<H", self.data, at + 6)[0]

    def resize(self, at: int, size: int, new: bytes) -> None:
        """Replace a whole element, and set right the lengths of what holds it."""
        around = list(self._around(at))
        self.replace(at, size, new)
        for field in around:
            length = struct.unpack_from("<I", self.data, field)[0]
            struct.pack_into("<I", self.data, field, length + len(new) - size)

    def _around(self, at: int) -> Iterator[int]:
        """Where the lengths stand of all that holds the element at `at` and has a length."""
        pos = 132 if self.data[128:132] == b"DICM" else 0
        while pos < at:
            if bytes(self.data[pos : pos + 4]) in (_ITEM, *_DELIMITERS):
                start, length = pos + 8, struct.unpack_from("<I", self.data, pos + 4)[0]
                deeper = self.data[pos : pos + 4] == _ITEM
            elif (vr := self.data[pos + 4 : pos + 6].decode("latin-1")) in _LONG:
                start, length = pos + 12, struct.unpack_from("<I", self.data, pos + 8)[0]
                deeper = vr == "SQ"
            else:
                start, length = pos + 8, struct.unpack_from("<H", self.data, pos + 6)[0]
                deeper = False
            if deeper and (length == 0xFFFFFFFF or start <= at < start + length):
                if length != 0xFFFFFFFF:
                    yield start - 4
                pos = start
            else:
                pos = start + length

    def place(self, where: Edit) -> int:
        """The byte that a place means."""
        if "element" in where:
            tag, vr, value, length = self.header(where["element"], where.get("nth", 0))
            at = {
                "tag": tag,
                "length": value - (4 if vr in _LONG else 2),
                "value": value,
                "end": value + (0 if length == 0xFFFFFFFF else length),
            }[where.get("part", "value")]
        elif "frame" in where:
            at = self.frames[where["frame"]]
        elif "item" in where:
            at = self.header("PixelData")[2]
            for _ in range(where["item"]):
                at += 8 + struct.unpack_from("<I", self.data, at + 4)[0]
        elif "delimiter" in where:
            at = self.data.rindex(b"\xfe\xff\xdd\xe0\0\0\0\0")
        else:
            at = len(self.data) if where.get("from") == "end" else 0
        if "marker" in where:
            at = self.data.index(bytes.fromhex(where["marker"]), at)
        at += where.get("plus", 0)
        if not 0 <= at <= len(self.data):
            raise ValueError(f"{where} lies outside of the file")
        return at


# ---------------------------------------------------------------- what can be done to a file


def _put(file: _File, edit: Edit) -> None:
    """Overwrite with `hex`, `times` over."""
    new = bytes.fromhex(edit["hex"]) * edit.get("times", 1)
    file.replace(file.place(edit["at"]), len(new), new)


def _insert(file: _File, edit: Edit) -> None:
    """Insert `hex`, `times` over."""
    file.replace(file.place(edit["at"]), 0, bytes.fromhex(edit["hex"]) * edit.get("times", 1))


def _delete(file: _File, edit: Edit) -> None:
    """Take out `size` bytes, or all up to `to`."""
    at = file.place(edit["at"])
    size = edit["size"] if "size" in edit else file.place(edit["to"]) - at
    file.replace(at, size, b"")


def _truncate(file: _File, edit: Edit) -> None:
    """Cut the file off."""
    del file.data[file.place(edit["at"]) :]


def _noise(file: _File, edit: Edit) -> None:
    """Overwrite `size` bytes with noise of a `seed`."""
    at = file.place(edit["at"])
    size = min(edit["size"], len(file.data) - at)
    file.replace(at, size, random.Random(edit.get("seed", 0)).randbytes(size))


def _grow(file: _File, edit: Edit) -> None:
    """Append `size` zeros."""
    file.data += bytes(edit["size"])


def _set(file: _File, edit: Edit) -> None:
    """Give an element another value (`text`, `numbers` or `hex`), with a length that fits.

    With `vr` it gets another VR too; an element that is absent is added in front of Pixel Data.
    """
    value = _value(edit)
    try:
        at, vr, start, length = file.header(edit["element"], edit.get("nth", 0))
    except ValueError:
        at = start = file.header("PixelData")[0]
        vr, length = edit.get("vr") or dictionary_VR(edit["element"])[:2], 0
    file.resize(at, start + length - at, _element(edit["element"], edit.get("vr", vr), value))


def _remove(file: _File, edit: Edit) -> None:
    """Take out an element."""
    at, _, start, length = file.header(edit["element"], edit.get("nth", 0))
    file.resize(at, start + length - at, b"")


def _repeat(file: _File, edit: Edit) -> None:
    """Write an element `times` more, behind itself."""
    at, _, start, length = file.header(edit["element"])
    again = bytes(file.data[at : start + length]) * (1 + edit["times"])
    file.resize(at, start + length - at, again)


def _declare(file: _File, edit: Edit) -> None:
    """Let an element declare another `length`, and leave its value as it is."""
    _, vr, start, _ = file.header(edit["element"], edit.get("nth", 0))
    width = 4 if vr in _LONG else 2
    file.replace(start - width, width, int(edit["length"]).to_bytes(width, "little"))


def _nest(file: _File, edit: Edit) -> None:
    """Insert sequences within sequences in front of an element, `depth` of them.

    defined : with lengths; otherwise of undefined length.  closed : with their delimiters.
    """
    depth, inner = edit["depth"], b""
    opening = b"\x40\x00\x55\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    if edit.get("defined"):
        for _ in range(depth):
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
            inner = b"\x40\x00\x55\xa7SQ\0\0" + struct.pack("<I", len(item)) + item
    else:
        closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        inner = opening * depth + (closing * depth if edit.get("closed") else b"")
    file.replace(file.place(edit["at"]), 0, inner)


def _item(file: _File, edit: Edit) -> None:
    """Put one item with `hex` (`times` over) in the place of all pixel data."""
    start = file.header("PixelData")[2]
    payload = bytes.fromhex(edit["hex"]) * edit.get("times", 1)
    payload += bytes(len(payload) % 2)
    file.data[start:] = b"".join(
        (b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0", struct.pack("<I", len(payload)), payload,
         b"\xfe\xff\xdd\xe0\0\0\0\0")
    )  # fmt: skip


def _whole(file: _File, edit: Edit) -> None:
    """Put `hex`, `times` over, in the place of the file."""
    file.data[:] = bytes.fromhex(edit["hex"]) * edit.get("times", 1)


def _deflate(file: _File, edit: Edit) -> None:
    """Deflate everything behind the meta information, `append` zeros first behind it."""
    start = file.header("SpecificCharacterSet")[0]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [compressor.compress(bytes(file.data[start:]))]
    parts += [compressor.compress(bytes(1 << 20)) for _ in range(edit.get("append", 0) >> 20)]
    file.data[start:] = b"".join(parts) + compressor.flush()


_OPERATIONS: Final[dict[str, Callable[[_File, Edit], None]]] = {
    "put": _put,
    "insert": _insert,
    "delete": _delete,
    "truncate": _truncate,
    "noise": _noise,
    "grow": _grow,
    "set": _set,
    "remove": _remove,
    "repeat": _repeat,
    "declare": _declare,
    "nest": _nest,
    "item": _item,
    "whole": _whole,
    "deflate": _deflate,
}


def _value(edit: Edit) -> bytes:
    if "numbers" in edit:
        code = _INTEGERS[edit.get("vr") or dictionary_VR(edit["element"])[:2]]
        value = b"".join(struct.pack(code, number) for number in edit["numbers"])
    elif "text" in edit:
        value = edit["text"].encode(edit.get("charset", "utf-8"))
    else:
        value = bytes.fromhex(edit["hex"]) * edit.get("times", 1)
    return value + b" " * (len(value) % 2)


def _element(name: str, vr: str, value: bytes) -> bytes:
    tag = tag_for_keyword(name)
    number = int(name, 16) if tag is None else int(tag)
    head = struct.pack("<HH", number >> 16, number & 0xFFFF) + vr.encode()
    if vr in _LONG:
        return head + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + struct.pack("<H", len(value) & 0xFFFF) + value
