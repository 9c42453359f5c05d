"""The words in an ICC profile: its name, and the profile without any (ICC.1:2022, ISO 15076-1)."""

from __future__ import annotations

import struct

_HEADER = 128
_MOST_TAGS = 1024
_LONGEST = 256  # characters of a name
_COLOUR_TAGS = frozenset(
    b"A2B0 A2B1 A2B2 A2B3 B2A0 B2A1 B2A2 B2A3 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3 rXYZ gXYZ"
    b" bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad chrm gamt lumi meas view tech pre0 pre1 pre2 ciis"
    b" rig0 rig2 cicp".split()
)
_COLOUR_TYPES = frozenset(
    (b"curv", b"para", b"XYZ ", b"mft1", b"mft2", b"mAB ", b"mBA ", b"sf32", b"uf32", b"chrm",
     b"meas", b"view", b"sig ", b"mpet", b"cicp", b"ui08", b"ui16", b"ui32")
)  # fmt: skip
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def profile_name(profile: bytes) -> str:
    """What the profile calls itself, in the first of its languages; "" where it does not say.

    Its profile description: ICC.1:2022 9.2.41, ICC.1:2001 6.5.17.
    """
    try:
        (count,) = struct.unpack_from(">I", profile, _HEADER)
        for number in range(min(count, _MOST_TAGS)):
            name, at, size = struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * number)
            if name == b"desc":
                return " ".join(_text(profile[at : at + size])[:_LONGEST].split())
    except struct.error:
        pass
    return ""


def _text(tag: bytes) -> str:
    """The text of a tag of one of the two types that a description may have."""
    if tag[:4] == b"desc":
        (length,) = struct.unpack_from(">I", tag, 8)
        return tag[12 : 12 + length].rstrip(b"\0").decode("ascii", "replace")
    if tag[:4] == b"mluc":
        length, at = struct.unpack_from(">II", tag, 20)
        return tag[at : at + length].decode("utf-16-be", "replace").rstrip("\0")
    return ""


def without_words(profile: bytes) -> bytes:
    """The profile with the same size and colours; b"" for what is no ICC profile.

    Descriptions, copyright, device names and the date of calibration can tell whose device it was.
    Tags that colours are computed with stay as they are, every other one is emptied in place, so
    that every reader finds its way through the profile.
    """
    if len(profile) < _HEADER + 4 or profile[36:40] != b"acsp":
        return b""
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    if count > _MOST_TAGS or _HEADER + 4 + 12 * count > len(profile):
        return b""
    table_end = _HEADER + 4 + 12 * count
    result = bytearray(len(profile))
    result[:table_end] = profile[:table_end]
    result[24:36] = _DATE
    result[84:_HEADER] = bytes(_HEADER - 84)  # the digest, which no longer holds, and reserved
    emptied: list[tuple[int, int]] = []
    for number in range(count):
        name, at, size = struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * number)
        if at < table_end or at + size > len(profile) or size < 8:
            return b""
        if name in _COLOUR_TAGS and profile[at : at + 4] in _COLOUR_TYPES:
            result[at : at + size] = profile[at : at + size]
        else:
            emptied.append((at, size))
    for at, size in emptied:
        if not any(result[at : at + 4]):
            result[at : at + size] = _empty(profile[at : at + 4], size)
    return bytes(result)


def _empty(kind: bytes, size: int) -> bytes:
    """A tag of a type and size that says nothing."""
    body = b""
    if kind == b"desc":
        body = struct.pack(">I", 1)  # the byte that ends a text
    elif kind == b"mluc":
        body = struct.pack(">II", 0, 12)
    elif kind != b"text":
        kind = b"data"
        body = struct.pack(">I", 1)
    return (kind + bytes(4) + body).ljust(size, b"\0")[:size]
