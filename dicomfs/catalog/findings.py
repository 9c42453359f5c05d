"""What an object of a source turned out to be, as the index keeps it.

Only declarations: `dicomfs.catalog.looking` finds it out, `dicomfs.catalog.records` knows what is
in the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_SEPARATOR = "\x1f"


AGAIN = "again"
"""Group of what was rejected as the source could not be read, which may be over by next time."""


class What(IntEnum):
    """Kinds of objects."""

    NOT_DICOM = 0
    INSTANCE = 1
    STRANGER = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class Inflated:
    """How a deflated object is made readable: where its stream starts, and its size afterwards."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What an object turned out to be.

    group : of an instance, the key of its series; of a stranger, what tells its series and kind; of
        what was rejected, AGAIN or ""
    record : the facts as bytes; b"" where there are none beyond `group`
    shared : what the record refers to, by digest
    """

    what: What
    group: str
    record: bytes
    shared: tuple[tuple[bytes, bytes], ...] = ()
    inflated: Inflated | None = None


def stranger_group(series: str, study: str, modality: str, sop_class: str) -> str:
    """What tells the series and kind of a stranger from others."""
    return _SEPARATOR.join((series, study, modality, sop_class))


def stranger_parts(group: str) -> tuple[str, str, str, str]:
    """Series UID, study UID, modality and SOP class of a stranger's `group`."""
    series, study, modality, sop_class = group.split(_SEPARATOR)
    return series, study, modality, sop_class
