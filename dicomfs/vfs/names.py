"""File names from arbitrary text: pure functions from what a data set says to what a user sees.

A name made here can be stored, typed, quoted and exported everywhere: 1 to 255 bytes of UTF-8 in
NFC, no control or format character, nothing that a program takes for an option or for a hidden
file, nothing that Samba has to mangle for Windows.  Must not know which texts become names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

LONGEST = 255
"""Bytes of UTF-8 in one name, the limit of Linux (NAME_MAX)."""

STAND_IN = "_"
"""What a character becomes that cannot be part of a name, and a name of which nothing is left."""

# Windows forbids these, so Samba shows names that have them under mangled 8.3 names.
_FORBIDDEN = '/\\:*?"<>|'

# Device names of Windows, whatever follows the first dot.
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])[ ]*(\.|$)", re.IGNORECASE
)

# Characters that stay what they are, which most texts have no others of.
_HARMLESS = re.compile(r"[ !#-)+-.0-9;=@-\[\]-{}~]*")

_DIGITS = (8, 16, 32, 64)


class Wanted(NamedTuple):
    """A name that is asked for: `text` for people, `token` for uniqueness, `ending` as it is.

    token : what identifies the thing for ever, such as a UID; only its hash shows.
    ending : file name extension with its dot, or "".
    """

    text: str
    token: str
    ending: str = ""


def key(name: str) -> str:
    """What two names share if a file system without case, or one that decomposes, confuses them.

    Canonical caseless matching, The Unicode Standard 3.13, D145.
    """
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFD", folded)


def check(name: str) -> None:
    """Raise ValueError unless the kernel and the FUSE protocol can carry `name`."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be a file name")
    # A lone surrogate raises UnicodeError, a ValueError.
    size = len(name) if name.isascii() else len(name.encode("utf-8"))
    if size > LONGEST:
        raise ValueError(f"the file name {name!r} is longer than {LONGEST} bytes")


def clean(text: str, limit: int = LONGEST) -> str:
    """The nearest text to `text` that is a good file name of 1 to `limit` bytes; idempotent.

    White space of any kind becomes single spaces.  Format characters (bidirectional overrides,
    joiners, byte order marks: they let two different names look the same) go; control characters,
    lone surrogates and what Windows forbids become `_`.  No leading dot (hidden) or hyphen (an
    option), no trailing dot or space (Windows drops them).  Different texts may become equal:
    `unique` tells them apart.
    """
    if limit < 1:
        raise ValueError(f"a file name cannot have {limit} bytes")
    if not _HARMLESS.fullmatch(text):
        text = unicodedata.normalize("NFC", text)
        # Removing a joiner can bring a letter and its accent together, hence NFC once more.
        text = unicodedata.normalize("NFC", "".join(map(_replacement, text)))
    text = re.sub(" +", " ", text).strip(". ")
    if text.startswith("-"):
        text = STAND_IN + text[1:]
    text = _cut(text, limit)
    if _RESERVED.match(text):
        text = _cut(STAND_IN + text, limit)
    return text or STAND_IN


def _cut(text: str, limit: int) -> str:
    # Every prefix of a text in NFC is in NFC.
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore").rstrip(". ")


def _replacement(character: str) -> str:
    if character.isspace():
        return " "
    if character in _FORBIDDEN:
        return STAND_IN
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Cc" | "Cs":
            return STAND_IN
        case _:
            return character


def unique(wanted: Sequence[Wanted]) -> list[str]:
    """One good name for each, `<text>-<8 hexadecimal digits><ending>`, all with different keys.

    The digits are a hash of the token alone, so that a name does not change when a neighbour comes
    or goes.  Only names that would still be confused get more digits, all of them, so that the
    result does not depend on the order.  The very same request made twice is numbered.

    Raises ValueError for an ending that leaves no room or is no part of a file name.
    """
    seen: dict[Wanted, int] = {}
    numbers = []
    for one in wanted:
        numbers.append(seen.get(one, 0))
        seen[one] = numbers[-1] + 1
    names = [_named(one, number, _DIGITS[0]) for one, number in zip(wanted, numbers, strict=True)]
    for digits in _DIGITS[1:]:
        confused = _confused(names)
        if not confused:
            break
        for index in confused:
            names[index] = _named(wanted[index], numbers[index], digits)
    else:
        if _confused(names):
            raise ValueError("two names have the same hash of 256 bits")
    return names


def alone(wanted: Wanted) -> str:
    """The name that `unique` gives where nothing is confused."""
    return _named(wanted, 0, _DIGITS[0])


def longest(wanted: Wanted) -> str:
    """The name with all digits, for one that would be confused with another."""
    return _named(wanted, 0, _DIGITS[-1])


def told_apart(short: Sequence[str], wanted: Sequence[Wanted]) -> list[str]:
    """Names, all with different keys: the short ones, and long ones where those are confused.

    short : names that `alone` gave, without endings; wanted : all with different tokens
    """
    if len(short) < 2:
        return list(short)
    told = list(short)
    for index in _confused(short):
        told[index] = longest(wanted[index]).removesuffix(wanted[index].ending)
    return told


def _confused(names: Sequence[str]) -> list[int]:
    """Indices of the names whose key another name has too."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(key(name), []).append(index)
    return [index for group in places.values() if len(group) > 1 for index in group]


def _named(wanted: Wanted, number: int, digits: int) -> str:
    parts = [wanted.token]
    if digits > _DIGITS[0]:
        parts += [wanted.text, wanted.ending, str(number)]
    data = b"".join(
        len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass") for part in parts
    )
    tail = f"-{blake2b(data, digest_size=32).hexdigest()[:digits]}{wanted.ending}"
    room = LONGEST - len(tail.encode("utf-8"))
    name = clean(wanted.text, room) + tail
    if clean(name) != name:
        raise ValueError(f"{wanted.ending!r} cannot be the end of a file name")
    return name
