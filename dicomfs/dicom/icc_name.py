"""The name of an ICC profile: its profile description (ICC.1:2022 9.2.41, ICC.1:2001 6.5.17)."""

from __future__ import annotations

import struct

_HEADER = 128
_MOST_TAGS = 1024
_LONGEST = 256


def profile_name(profile: bytes) -> str:
    """What the profile calls itself, in the first of its languages; "" where it does not say."""
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
