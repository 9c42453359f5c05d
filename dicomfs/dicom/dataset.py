"""The elements of a data set that lies in memory: PS3.5 section 7.

Only one level is looked at; the items of a sequence are read when somebody asks for them, because
few of the sequences of a slide's header are of any use.  Walks without recursion, so nesting costs
no stack.  Values stay bytes: `dicomfs.dicom.attributes` makes sense of them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from dicomfs.dicom.encoding import (
    ITEM,
    ITEM_DELIMITER,
    KNOWN_VRS,
    SEQUENCE_DELIMITER,
    SHORT_VRS,
    ElementHeader,
    Encoding,
)
from dicomfs.errors import MalformedDicomError

_IMPLICIT = Encoding(implicit_vr=True, big_endian=False)
_NAMES = {vr: vr.decode("ascii") for vr in SHORT_VRS}
_TOO_LONG = "has an element that is longer than what holds it"


class Element(NamedTuple):
    """A data element: VR as written or, where none is written, as in the dictionary; its value."""

    vr: str
    value: bytes
    encoding: Encoding


DataSet: TypeAlias = dict[int, Element]
"""Elements by tag."""


def read_elements(data: bytes, encoding: Encoding) -> DataSet:
    """The elements of a data set.  Raises MalformedDicomError where they cannot be followed."""
    found: DataSet = {}
    at, end = 0, len(data)
    short = None if encoding.implicit_vr else encoding.short_header
    while at + 8 <= end:
        if short is not None:  # the common case without the detours: a header has hundreds
            group, number, vr, length = short(data, at)
            if vr in SHORT_VRS and group != 0xFFFE:
                start, tag = at + 8, group << 16 | number
                at = start + length
                if at > end:
                    raise MalformedDicomError(_TOO_LONG)
                if tag not in found:
                    found[tag] = Element(_NAMES[vr], data[start:at], encoding)
                continue
        header = encoding.header_at(data, at)
        if header is None or header.tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER):
            break
        start = at + header.size
        if header.undefined:
            inner = _inner(encoding, header)
            at = _end_of_sequence(data, start, inner)
        else:
            inner = encoding
            at = start + header.length
            if at > end:
                raise MalformedDicomError(_TOO_LONG)
        if header.tag not in found:
            # A UN of undefined length is a sequence whose writer did not know it (PS3.5 6.2.2).
            vr = b"SQ" if header.undefined and header.vr == b"UN" else header.vr
            found[header.tag] = Element(vr.decode("latin-1"), data[start:at], inner)
    return found


def read_items(element: Element) -> list[DataSet]:
    """The items of a sequence.  Raises MalformedDicomError where they cannot be followed."""
    data, encoding = element.value, element.encoding
    if element.vr == "UN":
        encoding = _IMPLICIT  # PS3.5 6.2.2 note 2
    items: list[DataSet] = []
    at, end = 0, len(data)
    while at + 8 <= end:
        header = encoding.header_at(data, at)
        if header is None or header.tag == SEQUENCE_DELIMITER:
            break
        if header.tag != ITEM:
            raise MalformedDicomError("has a damaged sequence")
        start = at + 8
        inner = _shown_by(data[start : start + 8], encoding)
        if header.undefined:
            stop = _end_of_item(data, start, inner)
            at = stop + 8
        else:
            at = stop = start + header.length
        if stop > end:
            raise MalformedDicomError("has an item that is longer than its sequence")
        items.append(read_elements(data[start:stop], inner))
    return items


def _shown_by(first: bytes, encoding: Encoding) -> Encoding:
    """The encoding of an item: writers exist that encode sequences unlike what holds them."""
    if len(first) < 8 or first[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return encoding
    explicit = first[4:6] in KNOWN_VRS
    if explicit is not encoding.implicit_vr:
        return encoding
    return Encoding(not explicit, encoding.big_endian)


def _inner(encoding: Encoding, header: ElementHeader) -> Encoding:
    if header.vr == b"UN" and not encoding.implicit_vr:
        return _IMPLICIT
    return encoding


def _end_of_sequence(data: bytes, at: int, encoding: Encoding) -> int:
    """Where a sequence of undefined length ends, its delimiter included."""
    return _skip(data, at, [(SEQUENCE_DELIMITER, encoding)])


def _end_of_item(data: bytes, at: int, encoding: Encoding) -> int:
    """Where the elements of an item of undefined length end, its delimiter not included."""
    return _skip(data, at, [(ITEM_DELIMITER, encoding)]) - 8


def _skip(data: bytes, at: int, open_: list[tuple[int, Encoding]]) -> int:
    """Find the delimiter that closes the first of `open_`; returns where it ends."""
    while open_:
        closing, encoding = open_[-1]
        if closing == ITEM_DELIMITER:
            encoding = _shown_by(data[at : at + 8], encoding)
        header = encoding.header_at(data, at)
        if header is None:
            raise MalformedDicomError("ends inside a sequence")
        at += header.size
        if header.tag == closing:
            open_.pop()
        elif not header.undefined:
            at += header.length
        elif header.tag == ITEM:
            open_.append((ITEM_DELIMITER, encoding))
        else:
            open_.append((SEQUENCE_DELIMITER, _inner(encoding, header)))
        if at > len(data):
            raise MalformedDicomError("ends inside a sequence")
    return at
