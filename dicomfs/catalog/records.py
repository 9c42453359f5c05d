"""The records of the index: facts of instances, rejections, frame tables, and back.

What comes back is checked: a record that makes no sense is an error here and nothing worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.codec import Find, RecordError, decode, encode
from dicomfs.dicom.frame_table import Fragments, FrameTable
from dicomfs.dicom.instance import Instance


def instance_of(record: bytes, find: Find, object_size: int) -> Instance:
    """The facts of an instance of `object_size` bytes.  Raises RecordError."""
    instance = decode(record, Instance, find)
    if instance.layout.object_size != object_size or instance.layout.pixel_data is None:
        raise RecordError("the record is of another object")
    return instance


def rejection_of(record: bytes) -> Rejection:
    """Why an object is not shown.  Raises RecordError."""
    return decode(record, Rejection)


# ---------------------------------------------------------------- frame tables

_Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _StoredTable:
    """A frame table whose offsets are the gaps between frames: mostly 8, the size of an item
    header, so that they take no room."""

    gaps: _Int64Array
    lengths: _Int64Array
    span_end: int
    fragments: Fragments | None
    method: str
    problems: tuple[str, ...]


def record_of_frames(table: FrameTable) -> bytes:
    """A frame table as bytes: about two for each frame."""
    ends = np.concatenate(([0], (table.offsets + table.lengths)[:-1]))
    stored = _StoredTable(
        table.offsets - ends,
        table.lengths,
        table.span_end,
        table.fragments,
        table.method,
        table.problems,
    )
    record, _ = encode(stored, _StoredTable)
    return record


def frames_of(record: bytes, object_size: int) -> FrameTable:
    """The frame table of an object of `object_size` bytes.  Raises RecordError."""
    stored = decode(record, _StoredTable)
    if not len(stored.gaps) == len(stored.lengths) > 0:
        raise RecordError("the record has no frames")
    # offset[i] = gap[i] + offset[i - 1] + length[i - 1]
    before = np.concatenate((np.zeros(1, np.int64), stored.lengths[:-1]))
    offsets = np.cumsum(stored.gaps + before)
    ends = offsets + stored.lengths
    sane = bool(
        (offsets >= -1).all() and (stored.lengths >= 0).all() and (ends <= object_size + 1).all()
    )
    if (
        not sane
        or not 0 <= stored.span_end <= object_size
        or not _sane(stored.fragments, object_size)
    ):
        raise RecordError("the record names bytes outside its object")
    return FrameTable(
        offsets, stored.lengths, stored.span_end, stored.fragments, stored.method, stored.problems
    )


def _sane(parts: Fragments | None, object_size: int) -> bool:
    if parts is None:
        return True
    if len(parts.first) != len(parts.frames) + 1 or len(parts.offsets) != len(parts.lengths):
        return False
    if (
        parts.first[0] != 0
        or parts.first[-1] != len(parts.offsets)
        or (np.diff(parts.first) < 1).any()
    ):
        return False
    inside = (parts.offsets >= 0) & (parts.lengths >= 0)
    return bool((inside & (parts.offsets + parts.lengths <= object_size)).all())
