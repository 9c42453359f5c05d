"""Which instances of a series make which level: PS3.3 A.32.8, C.7.6.16.2.2.4, C.8.12.4.1.1.

Sorts the instances of one series by what they are (Image Type value 3 alone: values 1 and 4 are
unreliable in real files), puts concatenations together and drops duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicomfs.dicom.header import Header
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.uids import SINGLE_IMAGE_SOP_CLASSES
from dicomfs.slide.model import Note

ASSOCIATED = {"LABEL": "label", "OVERVIEW": "overview", "THUMBNAIL": "thumbnail"}


@dataclass(frozen=True, slots=True)
class Source:
    """Instances that make one image together: one instance, or the parts of a concatenation.

    members : indices of the instances, in concatenation order
    problem : why the image cannot be used, "" where it can
    """

    members: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Roles:
    """The images of a series by what they are."""

    volumes: tuple[Source, ...]
    associated: dict[str, tuple[Source, ...]]
    notes: tuple[Note, ...]


def sort_by_role(instances: Sequence[Instance]) -> Roles:
    """Sort the instances of one series by their role.

    A missing Image Type makes a volume; an unknown kind of image is left out with a note.
    """
    notes: list[Note] = []
    volumes: list[Source] = []
    associated: dict[str, list[Source]] = {}
    for source in _concatenations(instances, _without_duplicates(instances, notes)):
        header = instances[source.members[0]].header
        flavour = header.flavour
        if header.sop_class_uid in SINGLE_IMAGE_SOP_CLASSES:
            volumes.append(source)
        elif flavour in ASSOCIATED:
            associated.setdefault(ASSOCIATED[flavour], []).append(source)
        elif flavour in ("VOLUME", ""):
            if not flavour:
                notes.append(Note("no-image-type", "an instance has no Image Type value 3"))
            volumes.append(source)
        else:
            notes.append(Note("unknown-flavour", f"an image of the kind {flavour} is not shown"))
    return Roles(
        tuple(volumes),
        {kind: tuple(sources) for kind, sources in associated.items()},
        tuple(dict.fromkeys(notes)),
    )


def _without_duplicates(instances: Sequence[Instance], notes: list[Note]) -> list[int]:
    """Indices of the instances, each SOP Instance UID once: the first in order."""
    seen: dict[str, int] = {}
    for index, instance in enumerate(instances):
        uid = instance.header.sop_instance_uid or f"#{index}"
        if uid in seen:
            notes.append(
                Note("duplicate", f"several files hold SOP Instance UID {uid}; the first is shown")
            )
        else:
            seen[uid] = index
    return list(seen.values())


def _concatenations(instances: Sequence[Instance], indices: Iterable[int]) -> list[Source]:
    parts: dict[str, list[int]] = {}
    sources: list[Source] = []
    for index in indices:
        concatenation = instances[index].header.concatenation
        if concatenation is None:
            sources.append(Source((index,)))
        else:
            parts.setdefault(concatenation.uid, []).append(index)
    for members in parts.values():
        sources.append(_join_parts(instances, members))
    return sorted(sources, key=lambda source: source.members)


def _join_parts(instances: Sequence[Instance], members: list[int]) -> Source:
    """The parts of a concatenation in order; a problem where one is missing."""

    def part_of(index: int) -> tuple[int, int]:
        concatenation = instances[index].header.concatenation
        assert concatenation is not None
        return concatenation.number, concatenation.frame_offset

    ordered = tuple(sorted(members, key=lambda index: (*part_of(index), index)))
    numbers = [part_of(index)[0] for index in ordered]
    headers: list[Header] = [instances[index].header for index in ordered]
    totals = [header.concatenation.total for header in headers if header.concatenation]
    total = max(totals)
    missing = sorted(set(range(1, max(total, max(numbers)) + 1)) - set(numbers))
    problem = ""
    if missing:
        listed = ", ".join(map(str, missing[:5])) + ("…" if len(missing) > 5 else "")
        problem = f"part {listed} of {max(total, max(numbers))} of a concatenation is missing"
    elif len(set(numbers)) != len(numbers):
        problem = "two files claim to be the same part of a concatenation"
    return Source(ordered, problem)
