"""Lenient access to the attributes of a data set.

`dicomfs.dicom.dictionary` knows the tags and the character sets; the values are read here, because
real slides carry values that break their VR (PS3.5 6.2) and a broken date must not hide a slide.
Every accessor answers "nothing" for what is absent or cannot be read, and never raises.
"""

from __future__ import annotations

import math
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import TypeVar

from dicomfs.dicom import dictionary
from dicomfs.dicom.dataset import DataSet, Element, read_items
from dicomfs.errors import MalformedDicomError

_PN_DELIMITERS = {0x5E, 0x3D, 0x5C}  # where an escape sequence is reset, PS3.5 6.1.2.5.3
_TEXT_DELIMITERS = {0x09, 0x0A, 0x0C, 0x0D, 0x5C}
_QUIET = threading.Lock()
_COMMON = 64  # values of a sequence that are remembered
_SMALL = 64 * 1024  # bytes of a sequence whose value is remembered

T = TypeVar("T")

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


class Attributes:
    """A data set, or an item of a sequence, seen through lenient accessors by keyword."""

    def __init__(self, dataset: DataSet, encodings: list[str] | None = None) -> None:
        self._dataset = dataset
        self.encodings = encodings if encodings is not None else encodings_of(dataset)
        """Python names of what text is encoded in."""

    def __contains__(self, keyword: str) -> bool:
        return _tag(keyword) in self._dataset

    def _raw(self, keyword: str) -> tuple[str, bytes | None]:
        """VR and value, None where there is no such element."""
        element = self._dataset.get(_tag(keyword))
        if element is None:
            return "", None
        vr = element.vr if element.vr not in ("", "UN") else _dictionary_vr(keyword)
        return vr, element.value

    def _little_endian(self, keyword: str) -> bool:
        return not self._dataset[_tag(keyword)].encoding.big_endian

    def element(self, keyword: str) -> Element | None:
        """The element as it is."""
        return self._dataset.get(_tag(keyword))

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All values as text, stripped; empty ones included as ""."""
        vr, value = self._raw(keyword)
        if value is None:
            return ()
        if vr in _BINARY:
            return tuple(f"{number:g}" for number in self.floats(keyword))
        text = decode_text(value.rstrip(b"\0 "), self.encodings, vr)
        parts = [text] if vr in ("LT", "ST", "UT", "UR") else text.split("\\")
        cleaned = tuple(part.strip(" \0\t\r\n") for part in parts)
        return cleaned if any(cleaned) else ()

    def text(self, keyword: str) -> str:
        """The first value as text, "" where there is none."""
        values = self.texts(keyword)
        return values[0] if values else ""

    def floats(self, keyword: str) -> tuple[float, ...]:
        """All finite numeric values; () where one of them is no number."""
        vr, value = self._raw(keyword)
        if value is not None and vr in _BINARY:
            code = _BINARY[vr]
            width = struct.calcsize("<" + code)
            count = len(value) // width
            order = "<" if self._little_endian(keyword) else ">"
            numbers = struct.unpack(f"{order}{count}{code}", value[: count * width])
        else:
            try:
                numbers = tuple(float(part) for part in self.texts(keyword) if part)
            except ValueError:
                return ()
        return numbers if all(math.isfinite(number) for number in numbers) else ()

    def number(self, keyword: str) -> float | None:
        """The first numeric value."""
        values = self.floats(keyword)
        return float(values[0]) if values else None

    def integer(self, keyword: str, default: int = 0) -> int:
        """The first value as an integer."""
        value = self.number(keyword)
        return default if value is None else int(value)

    def binary(self, keyword: str) -> bytes | None:
        """The value of an OB or similar element, None where absent or empty."""
        _, value = self._raw(keyword)
        return value or None

    def items(self, keyword: str) -> Iterator[Attributes]:
        """The items of a sequence, none where it is absent or damaged."""
        vr, value = self._raw(keyword)
        if not value or vr != "SQ":
            return
        try:
            items = read_items(self._dataset[_tag(keyword)])
        except MalformedDicomError:
            return
        for item in items:
            yield Attributes(item, self.encodings)

    def item(self, keyword: str) -> Attributes:
        """The first item of a sequence; one without attributes where there is none."""
        return next(self.items(keyword), Attributes({}, self.encodings))

    def meaning(self, keyword: str) -> str:
        """Code Meaning (0008,0104) of the first item of a code sequence."""
        return self.item(keyword).text("CodeMeaning")

    def meanings(self, keyword: str) -> tuple[str, ...]:
        """Code Meanings of all items of a code sequence that have one."""
        found = (item.text("CodeMeaning") for item in self.items(keyword))
        return tuple(meaning for meaning in found if meaning)


def read_once(
    keyword: str, read: Callable[[Iterator[Attributes]], T]
) -> Callable[[Attributes], T | None]:
    """Reads a sequence that many instances have in common: equal bytes are made sense of once.

    read : makes a value of the items, which nobody changes

    What is returned gives None where the sequence is absent.
    """

    def of(element: Element, encodings: list[str]) -> T:
        return read(Attributes({_tag(keyword): element}, encodings).items(keyword))

    @lru_cache(maxsize=_COMMON)
    def remembered(element: Element, encodings: tuple[str, ...]) -> T:
        return of(element, list(encodings))

    def from_top(top: Attributes) -> T | None:
        element = top.element(keyword)
        if element is None:
            return None
        if len(element.value) <= _SMALL:
            return remembered(element, tuple(top.encodings))
        return of(element, top.encodings)

    return from_top


def decode_text(value: bytes, encodings: list[str], vr: str) -> str:
    """The text of a value: PS3.5 6.1; as Latin-1 where it is in none of the encodings."""
    try:
        if b"\x1b" not in value:
            return value.decode("ascii" if value.isascii() else encodings[0])
        delimiters = _PN_DELIMITERS if vr == "PN" else _TEXT_DELIMITERS
        # pydicom warns of what is put up with. The filters are the process's: one at a time.
        with _QUIET, warnings.catch_warnings(action="ignore"):
            return dictionary.decode_escaped(value, encodings, delimiters)
    except (LookupError, UnicodeError, ValueError):
        return value.decode("latin-1")


def encodings_of(dataset: DataSet) -> list[str]:
    """The Python names of what Specific Character Set (0008,0005) names, at least one."""
    try:
        element = dataset.get(_tag("SpecificCharacterSet"))
        text = element.value.decode("ascii", "replace").strip(" \0") if element is not None else ""
        sets = dictionary.character_sets()
        known = [sets[name.strip(" \0")] for name in text.split("\\")]
    except Exception:  # whatever pydicom trips over
        # Undeclared or unknown: UTF-8 where it is valid, Latin-1 where not.
        return ["utf8"]
    return known if text else ["utf8"]


@cache
def _tag(keyword: str) -> int:
    tag = dictionary.tag_of(keyword)
    if tag is None:
        raise ValueError(f"the dictionary has no {keyword}")
    return tag


@cache
def _dictionary_vr(keyword: str) -> str:
    return dictionary.vr_of(_tag(keyword)).split(" ")[0]
