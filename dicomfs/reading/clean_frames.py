"""Frames as they are, but for what their code streams carry besides pixels: see docs.

In a de-identified mount a frame that is a tile of the TIFF as it is, is read whole and cleaned when
somebody reads a part of it.  Each frame has the slot from its first byte to that of the next one;
what it does not fill, item headers among it, is zeros.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.codestream import Codec
from dicomfs.dicom.comments import without_comments
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.extents import AnyRun, SlotRun
from dicomfs.reading.virtual_file import SourceRange, TilePainter
from dicomfs.slide.encoding import decide_encoding
from dicomfs.slide.model import Slide

_WITH_SEGMENTS = frozenset((Codec.JPEG, Codec.JPEG_2000))


class Slots(NamedTuple):
    """The frames of an object in the order of their places.

    start : where the first one lies, bytes from the start of the object
    frames : their numbers, int64; starts : see `SlotRun`
    """

    start: int
    frames: npt.NDArray[np.int64]
    starts: array[int]


def slots_of(table: FrameTable, end: int) -> Slots | None:
    """The slots of all frames that lie before `end`; None where there is none."""
    there = np.flatnonzero((table.offsets >= 0) & (table.offsets < end))
    if not len(there):
        return None
    offsets, first = np.unique(table.offsets[there], return_index=True)
    last = min(end, max(table.span_end, int(offsets[-1]) + 1))
    starts = array("q")
    starts.frombytes((np.append(offsets, last) - offsets[0]).astype(np.int64).tobytes())
    return Slots(int(offsets[0]), there[first].astype(np.int64), starts)


@dataclass(frozen=True, slots=True, eq=False)
class FrameCleaner:
    """Makes the contents of slots; see `dicomfs.reading.virtual_file.TilePainter`.

    The key of a `SlotRun` is the number of its object among those of the virtual file; other runs
    are passed on to `others`.

    members : the instances of the slide that the virtual file is made of, in the file's order
    tables : their frame tables, by position in `members`
    """

    slide: Slide
    members: Sequence[int]
    tables: Mapping[int, FrameTable]
    slots: Mapping[int, Slots]
    others: TilePainter | None = None

    def inputs(self, run: AnyRun, tile: int) -> Sequence[SourceRange]:
        """The fragments of the frame in a slot."""
        if not isinstance(run, SlotRun):
            return self._painter().inputs(run, tile)
        frame = int(self.slots[run.key].frames[tile])
        return [SourceRange(run.key, *part) for part in self.tables[run.key].ranges(frame)]

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        """The frame without comments, and zeros behind it."""
        if not isinstance(run, SlotRun):
            return self._painter().paint(run, tile, chunks)
        size = run.size_of(tile)
        instance = self.slide.instances[self.members[run.key]]
        frame = b"".join(chunks)[:size]
        if decide_encoding(instance).codec in _WITH_SEGMENTS:
            # What is no such frame becomes zeros, which no decoder takes for a picture. An error
            # would take the neighbours along: the kernel reads by the page.
            cleaned = without_comments(frame) or b""
        else:
            cleaned = frame[: instance.frame_bytes]
        return cleaned.ljust(size, b"\0")

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        slots = sum(slots.frames.nbytes for slots in self.slots.values())
        return slots + sum(table.nbytes for table in self.tables.values())

    def _painter(self) -> TilePainter:
        assert self.others is not None
        return self.others
