"""Where every byte of a virtual TIFF comes from.

    header | blank tiles | pixel data of each instance | decoded tiles | fault slot

The sizes of all parts follow from header facts alone, so the size of the file is known before a
frame was looked at.  `TiffPlan.table` says as much as is known then; `TiffPlan.resolve` fills in
what the frame tables say.

The value of a Pixel Data element stands in the file as one span, item headers and all: tiles point
at the frames inside it.  A frame of several fragments is presented contiguously from its first
byte on, within its own place, and the rest of that place reads as zeros, so nothing else moves.
Missing frames point at the fault slot, whose reading is an error, so that a reader of a damaged
slide gets an error for that tile and for no other.  What can fail has pages of its own: the kernel
reads by the page, and a page that fails takes everything on it along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.extents import ExtentTable, ExtentTableBuilder, SlotRun, TileRun
from dicomfs.slide.model import Slide
from dicomfs.tiff.blank import absent_colour, blank_tile
from dicomfs.tiff.directory import Directory, Header, Hole, lay_out
from dicomfs.tiff.picture import Picture

PAGE = 4096
"""Bytes that the kernel reads at least."""

FAULT_SLOT = PAGE
"""Bytes that missing frames point at; zeros where no frame is missing."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """The pixel data of a member: `size` bytes of its file from `at`, at `base` of the TIFF."""

    member: int
    at: int
    base: int
    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """The decoded tiles of a picture, at `base` of the TIFF."""

    picture: Picture
    base: int
    tiles: TileRun


@dataclass(frozen=True, slots=True, eq=False)
class TiffPlan:
    """The layout of a virtual TIFF.

    members : the instances whose bytes it shows or decodes, by index in `Slide.instances`; source
        file numbers of the extents are positions in this tuple
    fault_at : offset of the fault slot
    blanks : for each picture that needs one, by its key, offset and size of its blank tile
    blank_damaged : whether missing frames show the blank tile; their reading is an error otherwise
    """

    slide: Slide = field(repr=False)
    header: Header = field(repr=False)
    pictures: tuple[Picture, ...] = field(repr=False)
    members: tuple[int, ...]
    blanks: Mapping[int, tuple[int, int]]
    blank_bytes: tuple[bytes, ...] = field(repr=False)
    spans: Mapping[int, Span]
    runs: Mapping[int, Run]
    fault_at: int
    blank_damaged: bool
    table: ExtentTable = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the virtual file."""
        return self.table.size

    def resolve(
        self,
        tables: Mapping[int, FrameTable],
        slots: Mapping[int, tuple[int, SlotRun]] | None = None,
    ) -> ExtentTable:
        """The complete table.

        tables : frame tables by position in `members`
        slots : for members, by position, whose frames are made when they are read: where the first
            one lies in its file, and the run of all; their other bytes are zeros
        """
        by_member = {self.members[file]: table for file, table in tables.items()}
        arrays: dict[tuple[int, str], bytes] = {}
        faults = False
        for picture in self.pictures:
            offsets, counts, broken = self._place(picture, by_member)
            arrays[(picture.key, "offsets")] = offsets.astype("<u8").tobytes()
            arrays[(picture.key, "counts")] = counts.astype("<u4").tobytes()
            faults |= broken
        builder = ExtentTableBuilder()
        head: list[bytes] = []
        for part in self.header.parts:
            head.append(part if isinstance(part, bytes) else arrays[part.key])
        builder.literal(b"".join([*head, *self.blank_bytes]))
        for span in self.spans.values():
            file = self.members.index(span.member)
            if slots is not None and file in slots:
                _add_slots(builder, span, *slots[file])
            else:
                _add_span(builder, file, span, by_member[span.member])
        for run in self.runs.values():
            builder.zeros(run.base - builder.size)
            builder.tiles(run.tiles)
        builder.zeros(self.fault_at - builder.size)
        if faults:
            builder.fault(FAULT_SLOT)
        else:
            builder.zeros(FAULT_SLOT)
        return builder.build()

    def _place(
        self, picture: Picture, tables: Mapping[int, FrameTable]
    ) -> tuple[Int64Array, Int64Array, bool]:
        """Offsets and byte counts of a picture's tiles, and whether one of them is missing."""
        if picture.key in self.runs:
            run = self.runs[picture.key]
            numbers = np.arange(picture.count, dtype=np.int64)
            size = picture.tile_bytes
            return run.base + numbers * size, np.full(picture.count, size, np.int64), False
        grid = picture.level.grid(picture.plane)
        blank_at, blank_size = self.blanks.get(picture.key, (self.fault_at, FAULT_SLOT))
        offsets = np.full(len(grid.frames), blank_at, np.int64)
        counts = np.full(len(grid.frames), blank_size, np.int64)
        lost_at, lost_size = self.fault_at, FAULT_SLOT
        if self.blank_damaged:
            lost_at, lost_size = blank_at, blank_size
        broken = False
        # Not np.unique, which imports numpy.ma: half of what the first open would take.
        present = np.flatnonzero(np.bincount(grid.members[grid.members >= 0]))
        for member in present.tolist():
            cells = np.flatnonzero(grid.members == member)
            table, span = tables[member], self.spans[member]
            found = table.offsets[grid.frames[cells]]
            there = found >= 0
            offsets[cells] = np.where(there, span.base + found - span.at, lost_at)
            counts[cells] = np.where(there, table.lengths[grid.frames[cells]], lost_size)
            broken |= not there.all() and not self.blank_damaged
        return offsets, counts, broken


def _add_span(builder: ExtentTableBuilder, file: int, span: Span, table: FrameTable) -> None:
    """Append a member's pixel data, with the frames of several fragments put together."""
    start = builder.size
    sizes: list[int] = []
    ats: list[int] = []
    position = span.at
    parts = table.fragments
    if parts is not None:
        for i in range(len(parts.frames)):
            which = slice(int(parts.first[i]), int(parts.first[i + 1]))
            offsets, lengths = parts.offsets[which].tolist(), parts.lengths[which].tolist()
            end = offsets[-1] + lengths[-1]
            slack = end - offsets[0] - sum(lengths)
            sizes += [offsets[0] - position, *lengths, slack]
            ats += [position, *offsets, -1]
            position = end
    sizes.append(max(0, min(table.span_end, span.at + span.size) - position))
    ats.append(position)
    builder.scattered(file, np.array(sizes, np.int64), np.array(ats, np.int64))
    builder.zeros(start + span.size - builder.size)


def _add_slots(builder: ExtentTableBuilder, span: Span, first: int, run: SlotRun) -> None:
    """Append a member's frames as tiles that are made, and zeros before and behind them."""
    start = builder.size
    builder.zeros(first - span.at)
    builder.tiles(run)
    builder.zeros(start + span.size - builder.size)


def plan_tiff(
    slide: Slide,
    chain: Sequence[Directory],
    pictures: Sequence[Picture],
    *,
    blank_damaged: bool = False,
) -> TiffPlan:
    """Lay out a TIFF of the given directories, which show the given pictures.

    blank_damaged : show missing frames as if there had never been any
    """
    header = lay_out(chain)
    shown = [picture for picture in pictures if picture.storage.pass_through]
    made = [picture for picture in pictures if not picture.storage.pass_through]
    used = sorted({member for p in pictures for member in _members(p)})
    blanks, blank_bytes, position = _blanks(slide, shown, header.size, always=blank_damaged)
    spans: dict[int, Span] = {}
    for member in sorted({member for picture in shown for member in _members(picture)}):
        spans[member] = _span(slide, member, position)
        position += spans[member].size
    runs: dict[int, Run] = {}
    for picture in made:
        position = _next_page(position)
        run = Run(picture, position, TileRun(picture.key, picture.tile_bytes, picture.count))
        runs[picture.key] = run
        position += run.tiles.size
    fault_at = _next_page(position)
    builder = ExtentTableBuilder()
    for part in header.parts:
        if isinstance(part, Hole):
            builder.deferred(part.size)
        else:
            builder.literal(part)
    builder.literal(b"".join(blank_bytes))
    builder.deferred(fault_at + FAULT_SLOT - builder.size)
    return TiffPlan(
        slide,
        header,
        tuple(pictures),
        tuple(used),
        blanks,
        tuple(blank_bytes),
        spans,
        runs,
        fault_at,
        blank_damaged,
        builder.build(),
    )


def _next_page(position: int) -> int:
    return -(-position // PAGE) * PAGE


def _members(picture: Picture) -> tuple[int, ...]:
    return tuple(sorted({part.member for part in picture.level.planes[picture.plane]}))


def _span(slide: Slide, member: int, base: int) -> Span:
    """The place of a member's pixel data, from header facts alone."""
    instance = slide.instances[member]
    element = instance.layout.pixel_data
    assert element is not None
    left = instance.layout.object_size - element.offset
    if element.length is None:
        return Span(member, element.offset, base, left)
    frames = instance.header.number_of_frames * instance.frame_bytes
    # One byte more than there is: writers exist that forget the last one of an odd length.
    return Span(member, element.offset, base, min(frames, left + 1))


def _blanks(
    slide: Slide, pictures: Sequence[Picture], position: int, *, always: bool
) -> tuple[dict[int, tuple[int, int]], list[bytes], int]:
    """Blank tiles for pictures that have gaps, or for all; pictures of one kind share theirs."""
    blanks: dict[int, tuple[int, int]] = {}
    stored: dict[bytes, int] = {}
    for picture in pictures:
        level = picture.level
        if not always and not level.missing(picture.plane):
            continue
        colour = absent_colour(level.encoding, slide.absent_pixel_cielab(level))
        data = blank_tile(
            picture.storage,
            level.encoding.sampling,
            picture.tile_width,
            picture.tile_height,
            colour,
        )
        if data not in stored:
            stored[data] = position
            position += len(data)
        blanks[picture.key] = (stored[data], len(data))
    return blanks, list(stored), position
