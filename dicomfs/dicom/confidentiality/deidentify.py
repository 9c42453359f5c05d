"""De-identifies data sets: PS3.15 Annex E, Basic Application Level Confidentiality Profile.

A data set goes in and another one comes out, before anybody has made sense of it, so whatever is
made of a slide is made of the de-identified data set.  What Table E.1-1 lists is treated as it says
(`dicomfs.dicom.confidentiality.table`); of the rest, numbers, codes and a few technical texts stay,
and everything that is private, unknown or free text goes.  Dates are shifted (Retain Longitudinal
Temporal Information With Modified Dates, E.3.6), UIDs and identifiers get keyed stand-ins
(`dicomfs.dicom.confidentiality.pseudonyms`).  docs/deidentification.md tells it all to users.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from dicomfs.dicom import dictionary
from dicomfs.dicom.attributes import decode_text, encodings_of
from dicomfs.dicom.confidentiality import times
from dicomfs.dicom.confidentiality.pseudonyms import (
    Profile,
    is_well_known,
    keyed,
    new_uid,
    pseudonym,
    shift_of,
)
from dicomfs.dicom.confidentiality.retained import (
    CHARACTER_SET,
    CODE_VALUE,
    CODE_VALUES,
    CODED_STRING,
    CODING_SCHEMES,
    CONCEPT_NAME,
    DEFINED_TERMS,
    ICC_PROFILE,
    IDENTIFIERS,
    IMAGE_TYPE,
    IMAGE_TYPES,
    KEPT_BINARY,
    KEPT_TEXTS,
    MEANING,
    NAMING,
    NUMBER,
    OPTICAL_PATH,
    PATIENT_ID,
    PATIENT_NAME,
    REQUIRED_TEXTS,
    SCHEME,
    SCHEME_VERSION,
    STUDY_UID,
    TEXT_VALUE,
    UNSHIFTED_GROUPS,
)
from dicomfs.dicom.confidentiality.statement import statement
from dicomfs.dicom.confidentiality.table import (
    STRUCTURED_CONTENT,
    action_of,
    descriptors,
    device_identity,
)
from dicomfs.dicom.confidentiality.vocabulary import cleaned, words_of
from dicomfs.dicom.confidentiality.writing import sequence, text
from dicomfs.dicom.dataset import DataSet, Element, read_items
from dicomfs.dicom.elements import Layout
from dicomfs.dicom.encoding import KNOWN_VRS, Encoding
from dicomfs.dicom.icc import without_words
from dicomfs.dicom.per_frame import FrameItems
from dicomfs.errors import MalformedDicomError

_PHOTOMETRIC = 0x00280004
_DEEPEST = 32
_TELLING = 6  # letters of what is looked for inside words too
_MOST_ELEMENTS = 200_000  # of one data set; those behind are left out

_TEXT_VRS = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT"))
_DATE_VRS = frozenset(("DA", "DT", "TM"))
_NUMBER_TEXT_VRS = frozenset(("DS", "IS"))
_BINARY_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW"))
_PLAIN_VRS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))

_VRS = frozenset(vr.decode("ascii") for vr in KNOWN_VRS) - {"UN"}

_SPECIMEN_IDENTIFIER = ("121041", "DCM")

_PLAIN_PATH = re.compile(r"#?\d{1,4}", re.ASCII)


def deidentify(dataset: DataSet, profile: Profile) -> DataSet:
    """A data set, de-identified.  `dataset` is that of an object, from its top level on."""
    return Deidentifier(dataset, profile).top()


def without_own_uids(layout: Layout) -> Layout:
    """A layout that names no transfer syntax but those of the standard."""
    known = is_well_known(layout.transfer_syntax)
    return layout if known else replace(layout, transfer_syntax="")


def path_identifier(name: str, profile: Profile) -> str:
    """What stands for an Optical Path Identifier (0048,0106): itself, where it is a number."""
    name = name.strip(" \0\t\r\n")
    if not name or _PLAIN_PATH.fullmatch(name):
        return name
    return f"path {keyed(profile.key, 'path', name)[:4].hex()}"


class Deidentifier:
    """De-identifies the data set of one object, and items that were kept apart from it."""

    def __init__(self, dataset: DataSet, profile: Profile) -> None:
        self._dataset = dataset
        self._profile = profile
        self._encodings = encodings_of(dataset)
        self._left = _MOST_ELEMENTS
        self._has_palette = self._value(dataset, _PHOTOMETRIC) == "PALETTE COLOR"
        patient = self._patient()
        self._patient_name = pseudonym(profile.key, "patient", patient)
        self._shift: timedelta = shift_of(profile.key, patient)
        self._names: set[str] = set()
        self._phrases: set[str] = set()
        for value, by_words in self._identifying(dataset, 0):
            lower = value.strip(" \0").casefold()
            if by_words:
                found = words_of(lower)
                self._names.update(word for word in found if len(word) > 2 and not _short(word))
            if len(lower) >= _TELLING and not _short(lower):
                self._phrases.add(lower)
        self._phrases.update(name for name in self._names if len(name) >= _TELLING)
        self._left = _MOST_ELEMENTS

    def top(self) -> DataSet:
        """The data set itself, and what says that it was de-identified."""
        result = self._object(self._dataset, 0)
        order = next((e.encoding for e in self._dataset.values()), Encoding(False, False))
        result |= statement(self._profile, order)
        return dict(sorted(result.items()))

    def item(self, item: DataSet) -> DataSet:
        """An item of the per-frame functional groups."""
        self._left = max(self._left, _MOST_ELEMENTS // 2)
        return self._object(item, 1)

    def frame_items(self, items: FrameItems) -> FrameItems:
        """What is known of the frames, without the bytes it was read from."""
        names = tuple(path_identifier(name, self._profile) for name in items.path_identifiers)
        return replace(items, path_identifiers=names, first_item=b"")

    # ------------------------------------------------------------ whom it is about

    def _patient(self) -> str:
        """Who the patient is: by Patient ID, else by name, else each study has its own."""
        for tag in (PATIENT_ID, PATIENT_NAME, STUDY_UID):
            element = self._dataset.get(tag)
            if element is not None and (found := self._text(element, "LO").strip(" \0^")):
                return found
        return ""

    def _identifying(self, dataset: DataSet, depth: int) -> Iterator[tuple[str, bool]]:
        """The values that say who somebody is; nothing that is kept may repeat them.

        With each, whether every word of it does: those of a name, not those of an address.
        """
        for tag, element in dataset.items():
            self._left -= 1
            if self._left < 0:
                return
            vr = _vr_of(tag, element)
            if vr == "SQ" and depth < _DEEPEST:
                for item in _items(element):
                    yield from self._identifying(item, depth + 1)
            elif vr == "PN" or tag in NAMING:
                yield self._text(element, vr), True
            elif vr in _TEXT_VRS and _identifies(tag):
                yield self._text(element, vr), False

    def _leaks(self, value: str) -> bool:
        lower = value.casefold()
        if self._names and not self._names.isdisjoint(words_of(lower)):
            return True
        return any(phrase in lower for phrase in self._phrases)

    # ------------------------------------------------------------ one level

    def _object(self, dataset: DataSet, depth: int) -> DataSet:
        found: DataSet = {}
        moments = self._moments(dataset)
        scheme = self._value(dataset, SCHEME)
        for tag, element in dataset.items():
            self._left -= 1
            if self._left < 0:
                break
            new: Element | None
            if tag in moments:
                new = moments[tag]
            elif tag == TEXT_VALUE:
                new = self._content_text(dataset, element)
            else:
                new = self._element(tag, element, depth)
            if new is not None:
                found[tag] = new
        if (SCHEME in dataset or MEANING in dataset) and scheme not in CODING_SCHEMES:
            return self._own_code(found)
        return found

    def _element(self, tag: int, element: Element, depth: int) -> Element | None:
        vr = _vr_of(tag, element)
        action = action_of(tag)
        if (
            tag < 0x00080000
            or not tag & 0xFFFF
            or (action is None and not dictionary.is_known(tag))
        ):
            return None
        keep = False
        if self._profile.retain_device_identity and tag in device_identity():
            action, keep = None, True
        if tag in IDENTIFIERS:
            return self._identifier(tag, element, vr)
        if vr == "UI":
            return None if action == "X" else self._uids(element, keep=keep)
        if vr == "SQ":
            return self._sequence(tag, element, action, depth)
        if self._profile.clean_descriptors and tag in descriptors() and vr in _TEXT_VRS:
            return self._written(element, vr, cleaned(self._text(element, vr), self._names))
        if action == "X":
            return None
        if action == "Z":
            return Element(vr, b"", element.encoding)
        if action in ("D", "U"):
            return self._dummy(element, vr)
        return self._unlisted(tag, element, vr, keep=keep)

    def _sequence(
        self, tag: int, element: Element, action: str | None, depth: int
    ) -> Element | None:
        if tag in STRUCTURED_CONTENT and not self._profile.drop_structured_content:
            action = None
        if self._profile.clean_descriptors and tag in descriptors():
            action = None
        if action == "X" or depth >= _DEEPEST:
            return None
        if action in ("Z", "D"):
            return sequence((), element.encoding)
        items = _items(element)
        order = element.encoding
        if items and items[0]:
            order = next(iter(items[0].values())).encoding
        return sequence([self._object(item, depth + 1) for item in items], order)

    def _unlisted(self, tag: int, element: Element, vr: str, *, keep: bool) -> Element | None:
        """What the table does not list."""
        if vr in _PLAIN_VRS:
            return Element(vr, element.value, element.encoding)
        if vr in _BINARY_VRS:
            if tag not in KEPT_BINARY or (tag != ICC_PROFILE and not self._has_palette):
                return None
            data = without_words(element.value) if tag == ICC_PROFILE else element.value
            return Element(vr, data, element.encoding)
        value = self._text(element, vr)
        parts = value.split("\\")
        if tag == OPTICAL_PATH:
            return self._written(element, vr, path_identifier(value, self._profile))
        if tag == IMAGE_TYPE:
            known = [part if part in IMAGE_TYPES else "OTHER" for part in _stripped(parts)]
            return self._written(element, vr, "\\".join(known))
        if tag == CHARACTER_SET:
            known_sets = all(part in dictionary.character_sets() for part in _stripped(parts))
            return Element(vr, element.value if known_sets else b"", element.encoding)
        if vr in _NUMBER_TEXT_VRS:
            fine = all(NUMBER.fullmatch(part) for part in parts)
        elif tag in DEFINED_TERMS:
            fine = DEFINED_TERMS[tag].fullmatch(value.strip().upper()) is not None
        elif vr == "CS":
            fine = all(CODED_STRING.fullmatch(part) for part in parts) and not self._leaks(value)
        elif tag in CODE_VALUES:
            fine = CODE_VALUE.fullmatch(value) is not None and not self._leaks(value)
        else:
            fine = (keep or tag in KEPT_TEXTS) and not self._leaks(value)
        if not fine:
            return self._written(element, vr, "REMOVED") if tag in REQUIRED_TEXTS else None
        return Element(vr, element.value, element.encoding)

    # ------------------------------------------------------------ values

    def _identifier(self, tag: int, element: Element, vr: str) -> Element:
        value = self._text(element, vr).strip(" \0^")
        if not value:
            return Element(vr, b"", element.encoding)
        if tag in (PATIENT_ID, PATIENT_NAME):
            return self._written(element, vr, self._patient_name)
        return self._written(element, vr, pseudonym(self._profile.key, IDENTIFIERS[tag], value))

    def _uids(self, element: Element, *, keep: bool = False) -> Element:
        parts = _stripped(self._text(element, "UI").split("\\"))
        if not keep:
            parts = [new_uid(self._profile.key, part) if part else "" for part in parts]
        return self._written(element, "UI", "\\".join(parts))

    def _dummy(self, element: Element, vr: str) -> Element | None:
        if vr == "UN":
            return None
        if vr == "AS":
            return self._written(element, vr, "000Y")
        if vr in _TEXT_VRS or vr == "CS":
            return self._written(element, vr, "REMOVED")
        if vr in _PLAIN_VRS or vr in _NUMBER_TEXT_VRS:
            zero = b"0 " if vr in _NUMBER_TEXT_VRS else bytes(8)
            return Element(vr, zero, element.encoding)
        return None

    def _moments(self, dataset: DataSet) -> dict[int, Element]:
        """The dates and times of one level, shifted: a date together with its time."""
        done: dict[int, Element] = {}
        for tag, element in dataset.items():
            vr = _vr_of(tag, element)
            if vr not in _DATE_VRS or tag in done or tag >> 16 in UNSHIFTED_GROUPS:
                continue
            if action_of(tag) is None and not dictionary.is_known(tag):
                continue
            values = self._text(element, vr).split("\\")
            if vr == "DT":
                moved = [times.shift_datetime(value, self._shift) for value in values]
                done[tag] = self._written(element, vr, "\\".join(moved))
                continue
            partner = _partner(tag)
            other = dataset.get(partner) if partner else None
            others = self._text(other, "TM").split("\\") if other is not None else []
            if other is None or len(others) != len(values):
                empty = [""] * len(values)
                pairs = zip(values, empty) if vr == "DA" else zip(empty, values)  # noqa: B905
                both = [times.shift_pair(date, time, self._shift) for date, time in pairs]
                chosen = [pair[0] if vr == "DA" else pair[1] for pair in both]
                done[tag] = self._written(element, vr, "\\".join(chosen))
                continue
            dates, clocks = (values, others) if vr == "DA" else (others, values)
            both = [
                times.shift_pair(*pair, self._shift) for pair in zip(dates, clocks, strict=True)
            ]
            new_dates, new_clocks = (list(column) for column in zip(*both, strict=True))
            mine, theirs = (new_dates, new_clocks) if vr == "DA" else (new_clocks, new_dates)
            done[tag] = self._written(element, vr, "\\".join(mine))
            done[partner] = self._written(other, "TM" if vr == "DA" else "DA", "\\".join(theirs))
        return done

    def _content_text(self, dataset: DataSet, element: Element) -> Element | None:
        """Text Value (0040,A160) of a content item: a specimen's identifier, or known words."""
        value = self._text(element, "UT").strip()
        names = dataset.get(CONCEPT_NAME)
        concept = next(iter(_items(names)), {}) if names is not None else {}
        code = (self._value(concept, CODE_VALUES[0]), self._value(concept, SCHEME))
        if code == _SPECIMEN_IDENTIFIER:
            return self._written(element, "UT", pseudonym(self._profile.key, "specimen", value))
        return self._written(element, "UT", cleaned(value, self._names))

    def _own_code(self, item: DataSet) -> DataSet:
        """A code of somebody's own: what of its meaning is known words, nothing else."""
        codes = {*CODE_VALUES, SCHEME, SCHEME_VERSION, 0x0008010C, 0x0008010B, 0x0008010D}
        found = {tag: element for tag, element in item.items() if tag not in codes}
        meaning = found.pop(MEANING, None)
        if meaning is not None and (words := cleaned(self._text(meaning, "LO"), self._names)):
            found[MEANING] = self._written(meaning, "LO", words)
        return found

    # ------------------------------------------------------------ text

    def _value(self, dataset: DataSet, tag: int) -> str:
        element = dataset.get(tag)
        return "" if element is None else self._text(element, "SH").strip(" \0")

    def _text(self, element: Element, vr: str) -> str:
        return decode_text(element.value.rstrip(b"\0 "), self._encodings, vr)

    def _written(self, element: Element, vr: str, value: str) -> Element:
        return text("LO" if vr in ("", "UN") else vr, value, element.encoding)


def _vr_of(tag: int, element: Element) -> str:
    if element.vr in _VRS:
        return element.vr
    return dictionary.vr_of(tag)[:2] or "UN"


@lru_cache(maxsize=1024)
def _partner(tag: int) -> int:
    """The time that goes with a date, and the other way round; 0 where there is none."""
    keyword = dictionary.keyword_of(tag)
    date = dictionary.vr_of(tag) == "DA"
    other = keyword.replace(*("Date", "Time") if date else ("Time", "Date"))
    partner = dictionary.tag_of(other) or 0
    return partner if dictionary.vr_of(partner) == ("TM" if date else "DA") else 0


@lru_cache(maxsize=4096)
def _identifies(tag: int) -> bool:
    """Whether a text names a place, or a thing that leads to a person."""
    if action_of(tag) is None or tag in descriptors() or tag in device_identity():
        return False
    return not tag >> 16 & 1


def _items(element: Element) -> list[DataSet]:
    try:
        return read_items(element)
    except MalformedDicomError:
        return []


def _stripped(parts: list[str]) -> list[str]:
    return [part.strip(" \0") for part in parts]


def _short(word: str) -> bool:
    """Whether a word is a number that stands in many places."""
    return word.isdigit() and len(word) < 5
