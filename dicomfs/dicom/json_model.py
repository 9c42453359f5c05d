"""Data sets as JSON: the DICOM JSON Model of PS3.18 Annex F.

Elements are written in ascending order without group lengths, text in UTF-8 with Specific Character
Set (0008,0005) saying so, numbers that are none (NaN, a DS of letters) as null, and what was left
out of a data set as the URI of a range of its file.  Whatever can be read gives JSON: a value that
is damaged is null or left out, never an error, and the same bytes always give the same JSON.
Opens no file; must not know TIFF or FUSE.
"""

from __future__ import annotations

import math
import re
import struct
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import NamedTuple

import numpy as np

from dicomfs.dicom import dictionary
from dicomfs.dicom.attributes import decode_text, encodings_of
from dicomfs.dicom.dataset import DataSet, Element, read_items
from dicomfs.dicom.encoding import KNOWN_VRS
from dicomfs.errors import MalformedDicomError

DEEPEST = 32
"""Sequences nested deeper than this are left out."""

MOST_ELEMENTS = 50_000
"""Sequences behind that many elements of an instance are left out."""

_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103
_SMALL = 4096  # bytes of a value
_LONGEST_NUMBER = 64

_SEVERAL_TEXTS = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"])
_ONE_TEXT = frozenset(["LT", "ST", "UT", "UR"])
_BINARY_NUMBERS = {
    "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q",
}  # fmt: skip
_WORD_BYTES = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"([+-]?)0*(\d*)(?:\.(\d*))?([eE][+-]?\d+)?", re.ASCII)
_LARGEST_EXACT = 2**53
_VRS = frozenset(vr.decode("ascii") for vr in KNOWN_VRS)


class BulkData(NamedTuple):
    """An element that is left out of a data set, for its size.

    offset : of the value, bytes from the start of the object
    length : bytes; None for an undefined length
    """

    tag: int
    vr: str
    offset: int
    length: int | None


class JsonSize(NamedTuple):
    """How large the JSON of an instance will be.

    plain : bytes without bulk data
    bulk : bytes that bulk data adds, without its URIs; uris : the number of those
    """

    plain: int
    bulk: int
    uris: int

    def with_uri(self, uri: str) -> int:
        """Bytes of what `instance_json` returns for that URI."""
        return self.plain + (self.bulk + self.uris * len(uri) if uri else 0)


def instance_json(dataset: DataSet, bulk: Iterable[BulkData] = (), uri: str = "") -> bytes:
    """The JSON object of one instance, in UTF-8 without white space.

    bulk : what stands in the file but not in `dataset`; it is left out where there is no `uri`
    uri : of the file, in ASCII; `?offset=…&length=…` is put behind it
    """
    references = _references(dataset, bulk, uri) if uri else {}
    return _Writer(measuring=False).top_level(dataset, references).encode("utf-8", "replace")


def measure_json(dataset: DataSet, bulk: Iterable[BulkData] = ()) -> JsonSize:
    """How large the JSON will be, for less than it costs to make it."""
    writer = _Writer(measuring=True)
    text = writer.top_level(dataset, {})
    references = _references(dataset, bulk, "")
    commas = len(references) - (text == "{}" and bool(references))
    return JsonSize(
        len(text.encode("utf-8", "replace")) + writer.skipped,
        sum(map(len, references.values())) + commas,
        len(references),
    )


def _references(dataset: DataSet, bulk: Iterable[BulkData], uri: str) -> dict[int, str]:
    """The attributes of bulk data by tag."""
    found: dict[int, str] = {}
    for one in bulk:
        if one.tag not in dataset and one.tag not in found:
            length = "undefined" if one.length is None else str(one.length)
            where = f"{uri}?offset={one.offset}&length={length}"
            found[one.tag] = f'{_start(one.tag, one.vr)},"BulkDataURI":{quoted(where)}}}'
    return found


class _Writer:
    """Writes one instance.  While measuring, large values are counted and not written."""

    def __init__(self, *, measuring: bool, signed: bool = False) -> None:
        self._measuring = measuring
        self._signed = signed
        self._left = MOST_ELEMENTS
        self.skipped = 0

    @property
    def written(self) -> int:
        """Number of elements."""
        return MOST_ELEMENTS - self._left

    def top_level(self, dataset: DataSet, references: dict[int, str]) -> str:
        """The object of an instance.  `references` are attributes by tag that stand in it too."""
        pixel_representation = dataset.get(_PIXEL_REPRESENTATION)
        self._signed = pixel_representation is not None and any(pixel_representation.value)
        return self._object(dataset, encodings_of(dataset), 0, references)

    def _object(
        self, dataset: DataSet, encodings: list[str], depth: int, references: dict[int, str]
    ) -> str:
        self._left -= len(dataset)
        parts: list[str] = []
        for tag in sorted(dataset.keys() | references.keys()) if references else sorted(dataset):
            if not tag & 0xFFFF or tag < 0x00080000:  # group lengths, commands, meta information
                continue
            reference = references.get(tag)
            parts.append(reference or self._attribute(tag, dataset[tag], encodings, depth))
        return "{" + ",".join(parts) + "}"

    def _attribute(self, tag: int, element: Element, encodings: list[str], depth: int) -> str:
        vr, value = self._vr(tag, element), element.value
        if not value:
            return _start(tag, vr) + "}"
        if vr in _SEVERAL_TEXTS:
            if tag == _CHARACTER_SET:
                return '"00080005":{"vr":"CS","Value":["ISO_IR 192"]}'
            text = decode_text(value, encodings, vr).strip(" \0")
            if not text:
                return _start(tag, vr) + "}"
            if "\\" not in text:
                return f'{_start(tag, vr)},"Value":[{quoted(text)}]}}'
            return _values(tag, vr, [_text_or_null(part) for part in text.split("\\")])
        if vr == "SQ":
            return self._sequence(tag, element, encodings, depth)
        if vr in ("DS", "IS"):
            text = value.decode("latin-1").strip(" \0\t\r\n")
            if not text:
                return _start(tag, vr) + "}"
            write = _decimal if vr == "DS" else _integer
            return _values(tag, vr, [write(part) for part in text.split("\\")])
        if vr in _ONE_TEXT:
            text = decode_text(value, encodings, vr).rstrip(" \0")
            return _values(tag, vr, [quoted(text)] if text else [])
        if vr == "PN":
            text = decode_text(value, encodings, vr).strip(" \0")
            return _values(tag, vr, [_name(part) for part in text.split("\\")] if text else [])
        if vr in _BINARY_NUMBERS:
            return _values(tag, vr, _numbers(vr, element))
        if vr == "AT":
            order = ">HH" if element.encoding.big_endian else "<HH"
            whole = value[: len(value) // 4 * 4]
            return _values(
                tag, vr, [f'"{g:04X}{e:04X}"' for g, e in struct.iter_unpack(order, whole)]
            )
        return self._inline(tag, vr, element)

    def _sequence(self, tag: int, element: Element, encodings: list[str], depth: int) -> str:
        start = _start(tag, "SQ")
        if depth >= DEEPEST or self._left <= 0:
            return start + "}"
        if len(element.value) <= _SMALL:
            text, count = _small_sequence(element, tuple(encodings), self._signed)
            self._left -= count
        else:
            text = self.items(element, encodings, depth)
        return f'{start},"Value":[{text}]}}' if text else start + "}"

    def items(self, element: Element, encodings: list[str], depth: int) -> str:
        """The items of a sequence, none of them where it is damaged."""
        try:
            items = read_items(element)
        except MalformedDicomError:
            return ""
        return ",".join(
            [
                self._object(
                    item, encodings_of(item) if _CHARACTER_SET in item else encodings, depth + 1, {}
                )
                for item in items
            ]
        )

    def _vr(self, tag: int, element: Element) -> str:
        """The VR of an element; UN for one that nobody knows."""
        vr = element.vr
        if vr not in _VRS:
            return "UN"
        if element.encoding.implicit_vr and vr in ("US", "OB"):
            return _undecided_vr(tag, self._signed) or vr
        return vr

    def _inline(self, tag: int, vr: str, element: Element) -> str:
        value = element.value
        start = f'{_start(tag, vr)},"InlineBinary":"'
        if self._measuring and len(value) > _SMALL:
            self.skipped += (len(value) + 2) // 3 * 4
            return start + '"}'
        width = _WORD_BYTES[vr]
        if width > 1 and element.encoding.big_endian:
            value = _swapped(value, width)
        return start + b64encode(value).decode("ascii") + '"}'


@lru_cache(maxsize=1024)
def _small_sequence(element: Element, encodings: tuple[str, ...], signed: bool) -> tuple[str, int]:
    """The items of a small sequence and the number of their elements.

    Remembered, because the same codes stand in all slides of a scanner.  What is left out depends
    on the sequence alone: it has a depth and a number of elements of its own.
    """
    writer = _Writer(measuring=False, signed=signed)
    text = writer.items(element, list(encodings), 0)
    return text, writer.written


@lru_cache(maxsize=4096)
def _start(tag: int, vr: str) -> str:
    return f'"{tag:08X}":{{"vr":"{vr}"'


def _values(tag: int, vr: str, values: list[str]) -> str:
    if not values or values == ["null"]:
        return _start(tag, vr) + "}"
    return f'{_start(tag, vr)},"Value":[{",".join(values)}]}}'


@lru_cache(maxsize=1024)
def _undecided_vr(tag: int, signed: bool) -> str:
    """The VR of an element for which the dictionary names several, PS3.5 A.1; else ""."""
    named = dictionary.vr_of(tag)
    if " or " not in named:
        return ""
    if "OW" in named:
        return "OW"
    return "SS" if signed else "US"


def _numbers(vr: str, element: Element) -> list[str]:
    code, value = _BINARY_NUMBERS[vr], element.value
    count = len(value) // struct.calcsize("=" + code)
    order = ">" if element.encoding.big_endian else "<"
    numbers = struct.unpack_from(f"{order}{count}{code}", value)
    if code in "fd":
        digits = ".9g" if code == "f" else ""  # as many as tell any two numbers apart
        return [format(number, digits) if math.isfinite(number) else "null" for number in numbers]
    if code in "qQ":
        return [str(n) if abs(n) <= _LARGEST_EXACT else f'"{n}"' for n in numbers]
    return [str(number) for number in numbers]


def _text_or_null(part: str) -> str:
    part = part.strip(" \0")
    return quoted(part) if part else "null"


def _decimal(part: str) -> str:
    """A DS value with the digits that were written, null where it is no number."""
    part = part.strip(" \0\t\r\n")
    if len(part) > _LONGEST_NUMBER:
        return "null"
    if not _JSON_NUMBER.fullmatch(part):
        found = _NUMBER.fullmatch(part)
        if found is None or not re.search(r"\d", part.partition("e")[0].partition("E")[0]):
            return "null"
        sign, whole, fraction, exponent = found.groups()
        part = f"{'-' if sign == '-' else ''}{whole or '0'}"
        part += f".{fraction}" if fraction else ""
        part += exponent or ""
    return part if math.isfinite(float(part)) else "null"


def _integer(part: str) -> str:
    """An IS value, null where it is no integer."""
    found = re.fullmatch(r"([+-]?)0*(\d+)", part.strip(" \0\t\r\n"), re.ASCII)
    if found is None or len(part) > _LONGEST_NUMBER:
        return "null"
    return f"-{found[2]}" if found[1] == "-" else found[2]


def _name(part: str) -> str:
    """A PN value by component groups, PS3.5 6.2.1."""
    groups = [group.strip(" \0") for group in part.split("=")]
    named = zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False)
    written = [f'"{name}":{quoted(group)}' for name, group in named if group.strip("^")]
    return "{" + ",".join(written) + "}" if written else "null"


def _swapped(value: bytes, width: int) -> bytes:
    """The same words in the other byte order; what is left at the end stays as it is."""
    whole = len(value) // width * width
    swapped = np.frombuffer(value[:whole], f">u{width}").astype(f"<u{width}").tobytes()
    return swapped + value[whole:]
