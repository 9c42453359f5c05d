"""How the elements of a data set are encoded: PS3.5 section 7 (VRs, lengths, items).

Shared by the walk over the top level (`elements`) and by the walk over the per-frame functional
groups (`per_frame`).  Works on bytes that are at hand; asks for none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from dicomfs.dicom import dictionary

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_DELIMITER: Final = 0xFFFEE00D
SEQUENCE_DELIMITER: Final = 0xFFFEE0DD

LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs with two reserved bytes and a 32-bit length (PS3.5 table 7.1-1)."""

SHORT_VRS: Final = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
        *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
"""VRs with a 16-bit length (PS3.5 table 7.1-2)."""

KNOWN_VRS: Final = LONG_VRS | SHORT_VRS


_LITTLE = struct.Struct("<HH2sH").unpack_from, struct.Struct("<I").unpack_from
_BIG = struct.Struct(">HH2sH").unpack_from, struct.Struct(">I").unpack_from


class ElementHeader(NamedTuple):
    """Tag, VR and length of a data element; `size` is the number of bytes before its value.

    `length` is `UNDEFINED` for an undefined length.  `vr` is b"" for items and delimiters.
    """

    tag: int
    vr: bytes
    length: int
    size: int

    @property
    def undefined(self) -> bool:
        """Whether the length is undefined."""
        return self.length == UNDEFINED


@dataclass(frozen=True, slots=True)
class Encoding:
    """Implicit or explicit VR, little or big endian."""

    implicit_vr: bool
    big_endian: bool

    @property
    def short_header(self) -> Callable[[bytes, int], tuple[Any, ...]]:
        """Unpacks group, element, VR and 16-bit length at a place; see `SHORT_VRS`."""
        return _BIG[0] if self.big_endian else _LITTLE[0]

    def tag_at(self, data: bytes | memoryview, at: int) -> int:
        """The tag at `at` as 0xGGGGEEEE; 4 bytes must be at hand."""
        order = "big" if self.big_endian else "little"
        group = int.from_bytes(data[at : at + 2], order)  # type: ignore[arg-type]
        return group << 16 | int.from_bytes(data[at + 2 : at + 4], order)  # type: ignore[arg-type]

    def uint(self, raw: bytes | memoryview) -> int:
        """An unsigned integer of any width in this byte order."""
        return int.from_bytes(raw, "big" if self.big_endian else "little")

    def header_at(self, data: bytes, at: int) -> ElementHeader | None:
        """The element or item header at `at`; None where fewer bytes are at hand than it takes."""
        if at + 8 > len(data):
            return None
        short, long = _BIG if self.big_endian else _LITTLE
        group, element, vr, length = short(data, at)
        tag = group << 16 | element
        if group == 0xFFFE:
            return ElementHeader(tag, b"", long(data, at + 4)[0], 8)
        if self.implicit_vr:
            return ElementHeader(tag, _implicit_vr(tag), long(data, at + 4)[0], 8)
        if vr in SHORT_VRS:
            return ElementHeader(tag, vr, length, 8)
        if at + 12 > len(data):
            return None
        return ElementHeader(tag, vr, long(data, at + 8)[0], 12)


@lru_cache(maxsize=4096)
def _implicit_vr(tag: int) -> bytes:
    """The VR that the data dictionary gives a tag; UN where it knows none (PS3.5 6.2.2)."""
    if tag & 0xFFFF == 0:
        return b"UL"
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return b"LO"  # a private creator, PS3.5 7.8.1
    return dictionary.vr_of(tag)[:2].encode("ascii") or b"UN"
