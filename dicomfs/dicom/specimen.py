"""The specimens on a slide and how they were prepared: PS3.3 C.7.6.22, PS3.16 TID 8001 to 8004.

Preparation is told in content items: what kind of step, when, and with which substances, each in a
code or in words.  Codes are known in SNOMED CT (SCT) and in the older SNOMED RT (SRT); of others
the meaning that goes with them is passed on.  Persons who did something are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from dicomfs.dicom.attributes import Attributes, read_once

_MOST = 100  # specimens of a slide, steps of a specimen, items of a step

Code = tuple[str, str]
"""Code Value and Coding Scheme Designator."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What is said of a preparation step: the meaning of a concept name, and the value in words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class PreparationStep:
    """An item of the Specimen Preparation Sequence (0040,0610); "" where absent.

    kind : meaning of the Processing type, such as "Staining"; moment : as a DT value
    """

    kind: str
    moment: str
    details: tuple[Detail, ...]


@dataclass(frozen=True, slots=True)
class Specimen:
    """An item of the Specimen Description Sequence (0040,0560); "" where absent.

    description : short, else detailed; detailed_description : as it is
    kind : meaning of the Specimen Type, such as "Tissue section"
    modifiers : of the anatomic structure; laterality : the one among them that is a side
    """

    identifier: str
    uid: str
    description: str
    anatomy: str
    stains: tuple[str, ...]
    detailed_description: str = ""
    kind: str = ""
    laterality: str = ""
    modifiers: tuple[str, ...] = ()
    fixatives: tuple[str, ...] = ()
    embedding: tuple[str, ...] = ()
    steps: tuple[PreparationStep, ...] = ()


_STAINING = {("127790008", "SCT"), ("P3-00003", "SRT")}
_USING_SUBSTANCE = {("424361007", "SCT"), ("G-C350", "SRT"), ("F-61D98", "SRT")}
_FIXATIVE = {("430864009", "SCT"), ("F-6221B", "SRT")}
_EMBEDDING = {("430863003", "SCT"), ("F-6221A", "SRT")}
_PROCESSING_TYPE = {("111701", "DCM")}
_MOMENT = {("111702", "DCM")}
_IDENTIFIERS = {("121041", "DCM"), ("111724", "DCM")}  # of the specimen itself, and their issuer
_SIDES = {
    ("7771000", "SCT"): "Left",
    ("24028007", "SCT"): "Right",
    ("51440002", "SCT"): "Right and left",
    ("66459002", "SCT"): "Unilateral",
    ("G-A101", "SRT"): "Left",
    ("G-A100", "SRT"): "Right",
    ("G-A102", "SRT"): "Right and left",
    ("G-A103", "SRT"): "Unilateral",
}  # PS3.16 CID 244
_LETTERS = {"L": "Left", "R": "Right", "B": "Right and left", "U": "Unpaired"}


def read_specimens(top: Attributes) -> tuple[Specimen, ...]:
    """The specimens of a data set."""
    found = _read(top) or ()
    if len(found) != 1 or (found[0].anatomy and found[0].laterality):
        return found
    return (_completed(found[0], top),)


def _completed(specimen: Specimen, top: Attributes) -> Specimen:
    """The only specimen of a slide, with what is said of the slide as a whole."""
    letter = top.text("ImageLaterality") or top.text("Laterality")
    return replace(
        specimen,
        anatomy=specimen.anatomy
        or top.meaning("PrimaryAnatomicStructureSequence")
        or top.meaning("AnatomicRegionSequence"),
        laterality=specimen.laterality or _LETTERS.get(letter, ""),
    )


def _specimen(item: Attributes) -> Specimen:
    steps = [
        list(islice(step.items("SpecimenPreparationStepContentItemSequence"), _MOST))
        for step in islice(item.items("SpecimenPreparationSequence"), _MOST)
    ]
    structure = item.item("PrimaryAnatomicStructureSequence")
    modifiers = list(islice(structure.items("PrimaryAnatomicStructureModifierSequence"), _MOST))
    detailed = item.text("SpecimenDetailedDescription")
    return Specimen(
        identifier=item.text("SpecimenIdentifier"),
        uid=item.text("SpecimenUID"),
        description=item.text("SpecimenShortDescription") or detailed,
        anatomy=structure.text("CodeMeaning"),
        stains=_substances([step for step in steps if _is_staining(step)], _USING_SUBSTANCE),
        detailed_description=detailed,
        kind=item.meaning("SpecimenTypeCodeSequence"),
        laterality=next((_SIDES[code(one)] for one in modifiers if code(one) in _SIDES), ""),
        modifiers=tuple(one.text("CodeMeaning") for one in modifiers),
        fixatives=_substances(steps, _FIXATIVE),
        embedding=_substances(steps, _EMBEDDING),
        steps=tuple(map(_step, steps)),
    )


_read = read_once(
    "SpecimenDescriptionSequence", lambda items: tuple(map(_specimen, islice(items, _MOST)))
)


def _is_staining(step: Sequence[Attributes]) -> bool:
    return any(
        _concept(item) in _PROCESSING_TYPE and code(item.item("ConceptCodeSequence")) in _STAINING
        for item in step
    )


def _substances(steps: Sequence[Sequence[Attributes]], concepts: set[Code]) -> tuple[str, ...]:
    """The values of content items with one of the concept names, in order, each once."""
    values = [_value(item) for step in steps for item in step if _concept(item) in concepts]
    return tuple(dict.fromkeys(value for value in values if value))


def _step(items: Sequence[Attributes]) -> PreparationStep:
    kind = moment = ""
    details: list[Detail] = []
    for item in items:
        concept = _concept(item)
        if concept in _PROCESSING_TYPE:
            kind = kind or _value(item)
        elif concept in _MOMENT:
            moment = moment or item.text("DateTime")
        elif concept not in _IDENTIFIERS:
            value = _value(item)
            if value:
                details.append(Detail(item.meaning("ConceptNameCodeSequence"), value))
    return PreparationStep(kind, moment, tuple(details))


def _value(item: Attributes) -> str:
    """The value of a content item in words; some writers put the code right into the item."""
    number = item.text("NumericValue")
    if number:
        return f"{number} {item.meaning('MeasurementUnitsCodeSequence')}".strip()
    return (
        item.meaning("ConceptCodeSequence")
        or item.text("TextValue")
        or item.text("CodeMeaning")
        or item.text("DateTime")
        or item.text("Date")
    )


def _concept(item: Attributes) -> Code:
    return code(item.item("ConceptNameCodeSequence"))


def code(item: Attributes) -> Code:
    """The code of an item of a code sequence."""
    return item.text("CodeValue"), item.text("CodingSchemeDesignator")
