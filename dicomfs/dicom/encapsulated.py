"""The frame table of encapsulated pixel data (PS3.5 A.4).

Reads, in this order and each only where it proves right: the Extended Offset Table (PS3.3
C.7.6.3.1.8), the Basic Offset Table, the item headers one after the other.  Tables are checked
against every item header before they are believed: a wrong table, or a fragment boundary that
nobody noticed, would put bytes that are no pixels into a tile.  Knows nothing of what the frames
contain, except how a code stream starts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.elements import Layout
from dicomfs.dicom.encoding import ITEM, UNDEFINED
from dicomfs.dicom.frame_table import Fragments, FrameTable, Int64Array
from dicomfs.dicom.steps import Gather, Range, Steps
from dicomfs.errors import LimitExceededError, MalformedDicomError
from dicomfs.limits import Limits

BoolArray = npt.NDArray[np.bool_]

_ITEM_LE = np.uint32(0xE000FFFE)  # (FFFE,E000) read as one little-endian integer
_MISSING = -1


def item_header(raw: bytes) -> tuple[int, int]:
    """Tag and length of an item header.  Encapsulated data is always little endian (PS3.5 A.4)."""
    group = int.from_bytes(raw[:2], "little")
    element = int.from_bytes(raw[2:4], "little")
    return group << 16 | element, int.from_bytes(raw[4:8], "little")


def looks_like_code_stream(head: bytes) -> bool:
    """Whether a fragment starts as a frame does: with a marker of its codec, or an RLE header."""
    if head.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0c")):
        return True
    return len(head) >= 8 and 1 <= head[0] <= 15 and head[1:8] == b"\0\0\0\x40\0\0\0"


def read_encapsulated(
    layout: Layout, frames: int, frame_bytes: int, limits: Limits
) -> Steps[FrameTable]:
    """Read the frame table of encapsulated pixel data; see `dicomfs.dicom.frames`."""
    return (yield from _Encapsulated(layout, frames, frame_bytes, limits).read())


class _Encapsulated:
    """Reads the frame table of encapsulated pixel data; all state of that reading."""

    def __init__(self, layout: Layout, frames: int, frame_bytes: int, limits: Limits) -> None:
        assert layout.pixel_data is not None
        self.layout = layout
        self.start = layout.pixel_data.offset
        self.size = layout.object_size
        self.frames = frames
        self.frame_bytes = frame_bytes
        self.limits = limits
        self.problems: list[str] = []
        self.ended = False  # the walk came to the sequence delimiter
        self.cut = False  # the file ends inside the last fragment that was found

    def read(self) -> Steps[FrameTable]:
        head = yield Range(self.start, 16)
        tag, length = item_header(head)
        if tag != ITEM or len(head) < 8:
            raise MalformedDicomError("has encapsulated pixel data without a single item")
        has_table = length % 4 == 0 and not (length and looks_like_code_stream(head[8:]))
        base = self.start
        if has_table and self.start + 8 + length <= self.size:
            base += 8 + length
            table = yield from self._from_extended_offsets(base)
            if table is None and length == 4 * self.frames:
                table = yield from self._from_basic_offsets(base, Range(self.start + 8, length))
            elif table is None and length:
                self.problems.append("the Basic Offset Table has a wrong number of entries")
            if table is not None:
                return table
        elif not has_table:
            self.problems.append("the pixel data has no Basic Offset Table item")
        return (yield from self._from_items(base))

    def _from_extended_offsets(self, base: int) -> Steps[FrameTable | None]:
        where, how_long = self.layout.extended_offsets, self.layout.extended_lengths
        if where is None or how_long is None:
            return None
        if where.size != 8 * self.frames or how_long.size != 8 * self.frames:
            self.problems.append("the Extended Offset Table has a wrong number of entries")
            return None
        raw_offsets = yield where
        raw_lengths = yield how_long
        offsets = np.frombuffer(raw_offsets, "<u8").astype(np.int64)
        lengths = np.frombuffer(raw_lengths, "<u8").astype(np.int64)
        items = yield from self._items_at(base, offsets)
        if items is None:
            self.problems.append("the Extended Offset Table is wrong and was ignored")
            return None
        if not (yield from self._each_is_one_item(base, offsets, items)):
            return None
        # The items were checked, the lengths cannot be: they may tell the byte of padding, no more.
        lengths = lengths[: len(items)]
        lengths = np.where(lengths == items - 1, lengths, items)
        return self._as_far_as_it_goes(base + offsets + 8, lengths, "EOT")

    def _from_basic_offsets(self, base: int, where: Range) -> Steps[FrameTable | None]:
        raw = yield where
        offsets = np.frombuffer(raw, "<u4").astype(np.int64)
        # 32 bits wrap at 4 GiB; frames follow each other, so every step back is one wrap.
        wraps = np.concatenate(([0], np.cumsum(np.diff(offsets) < 0)))
        offsets = offsets + (wraps.astype(np.int64) << 32)
        items = yield from self._items_at(base, offsets)
        if items is None or offsets[0] != 0:
            self.problems.append("the Basic Offset Table is wrong and was ignored")
            return None
        if (yield from self._each_is_one_item(base, offsets, items)):
            return self._as_far_as_it_goes(base + offsets + 8, items, "BOT")
        starts = base + offsets[: len(items)]
        found, lengths = yield from self._walk(base)
        # Every frame starts at an item; the items between two starts are its fragments.
        right = bool(len(found)) and bool(np.isin(starts + 8, found).all())
        if right and len(items) < len(offsets):
            # The file was cut off, else the table is wrong: then other frames follow its last.
            behind = found > starts[-1] + 8
            more = yield from self._look_like_starts(found[behind], lengths[behind])
            right = not self.ended and not more.any()
            self.cut |= int(found[-1] + lengths[-1]) != base + int(offsets[len(items)])
        if not right:
            self.cut = self.ended = False
            self.problems.append("the Basic Offset Table is wrong and was ignored")
            return None
        return self._group(found, lengths, np.searchsorted(found, starts + 8), "BOT")

    def _items_at(self, base: int, offsets: Int64Array) -> Steps[Int64Array | None]:
        """The lengths of the items that the offsets point at; None where they don't.

        Of a file that was cut off, those of the items whose header is still there.
        """
        if (offsets < 0).any() or (np.diff(offsets) < 8).any():
            return None
        inside = base + offsets[offsets <= self.size - 8 - base]
        if not len(inside):
            return None
        raw = yield Gather(inside, 8)
        headers = np.frombuffer(raw, "<u4").reshape(-1, 2)
        lengths = headers[:, 1].astype(np.int64)
        if (headers[:, 0] != _ITEM_LE).any() or (lengths == UNDEFINED).any():
            return None
        return lengths

    def _each_is_one_item(self, base: int, offsets: Int64Array, lengths: Int64Array) -> Steps[bool]:
        """Whether every frame has one fragment: its item ends where the next frame starts."""
        ends = base + offsets[: len(lengths)] + 8 + lengths
        following = base + offsets[1 : len(lengths) + 1]
        if (ends[: len(following)] != following).any():
            return False
        if len(lengths) < len(offsets) or ends[-1] > self.size:
            return bool(ends[-1] > self.size - 8)  # the file was cut off; else the table is wrong
        behind = yield Range(int(ends[-1]), 8)
        return item_header(behind)[0] != ITEM

    def _as_far_as_it_goes(
        self, starts: Int64Array, lengths: Int64Array, method: str
    ) -> FrameTable:
        """The table of frames of one item each, the last of which may be cut off or missing."""
        there = starts[: len(lengths)] + lengths <= self.size
        if len(lengths) < len(starts) or not there[-1]:
            self.problems.append("the file ends inside a frame")
        whole = np.zeros(len(starts), np.int64)
        whole[: len(lengths)] = np.where(there, lengths, 0)
        return self._table(starts, whole, method)

    def _from_items(self, base: int) -> Steps[FrameTable]:
        offsets, lengths = yield from self._walk(base)
        # Where the end is missing, as many fragments as frames may be those of half the frames.
        if len(offsets) == self.frames and self.ended:
            return self._table(offsets, lengths, "items")
        if self.frames == 1 and len(offsets):
            return self._group(offsets, lengths, np.zeros(1, np.int64), "items")
        first = yield from self._frame_starts(offsets, lengths)
        return self._group(offsets, lengths, first, "items")

    def _walk(self, base: int) -> Steps[tuple[Int64Array, Int64Array]]:
        """Follow the item headers; the offsets and lengths of all fragments.

        Ends at the sequence delimiter, or, where that is missing, at the first thing that is no
        item.  A fragment that the end of the file cuts off is the last, as far as it goes.
        """
        pos, size = base, self.size
        offsets: list[int] = []
        lengths: list[int] = []
        while pos + 8 <= size:
            head = yield Range(pos, 8)
            if head[:4] != b"\xfe\xff\x00\xe0":
                self.ended = head[:4] == b"\xfe\xff\xdd\xe0"
                if not self.ended:
                    self.problems.append("the pixel data has no sequence delimiter where it ends")
                break
            length = int.from_bytes(head[4:8], "little")
            pos += 8
            if pos + length > size:
                self.problems.append("the file ends inside a frame")
                self.cut = True
                length = size - pos
            offsets.append(pos)
            lengths.append(length)
            pos += length
            if self.cut:
                break
            if len(offsets) > self.limits.fragments:
                raise LimitExceededError(f"has more than {self.limits.fragments} fragments")
        else:
            self.problems.append("the pixel data has no sequence delimiter where it ends")
        return np.array(offsets, np.int64), np.array(lengths, np.int64)

    def _frame_starts(self, offsets: Int64Array, lengths: Int64Array) -> Steps[Int64Array]:
        """Which fragments start a frame, where neither a table nor their number tells."""
        starts = yield from self._look_like_starts(offsets, lengths)
        if self.cut and lengths[-1] < 8:
            starts[-1] = starts[:-1].all()  # too little is left of it to tell
        by_marker = np.flatnonzero(starts)
        if len(by_marker) == self.frames:
            return by_marker
        filled = np.flatnonzero(lengths > 0)
        if not len(by_marker) and int(lengths.sum()) >= self.frames * self.frame_bytes:
            by_size = np.searchsorted(
                np.cumsum(lengths) - lengths, self.frame_bytes * np.arange(self.frames)
            )
            if len(np.unique(by_size)) == self.frames:
                return by_size.astype(np.int64)
        first = by_marker if len(by_marker) else filled
        if len(first) != self.frames:
            self.problems.append(f"{len(first)} frames were found where {self.frames} are declared")
        return first

    def _look_like_starts(self, offsets: Int64Array, lengths: Int64Array) -> Steps[BoolArray]:
        """Which fragments start as a frame does."""
        kept = lengths >= 8
        heads = b""
        if kept.any():
            heads = yield Gather(offsets[kept], 8)
        starts = np.zeros(len(offsets), bool)
        starts[kept] = [looks_like_code_stream(heads[i : i + 8]) for i in range(0, len(heads), 8)]
        return starts

    def _group(
        self, offsets: Int64Array, lengths: Int64Array, first: Int64Array, method: str
    ) -> FrameTable:
        """Make frames of fragments; `first` holds the number of each frame's first fragment."""
        filled = np.flatnonzero(lengths > 0)
        if not len(filled):
            none = np.zeros(self.frames, np.int64)
            return self._table(none, none, method)
        bounds = np.append(first, len(offsets)).astype(np.int64)[: self.frames + 1]
        if self.frames > len(first):
            bounds = np.concatenate((bounds, np.full(self.frames - len(first), len(offsets))))
        if self.cut:
            # The frame that it belongs to is missing as a whole: half a frame decodes to something.
            bounds[bounds == len(offsets)] = first[np.searchsorted(first, len(offsets)) - 1]
        sums = np.concatenate(([0], np.cumsum(lengths)))
        totals = sums[bounds[1:]] - sums[bounds[:-1]]
        # A frame starts at its first fragment that is not empty.
        lead = filled[np.minimum(np.searchsorted(filled, bounds[:-1]), len(filled) - 1)]
        counts = np.searchsorted(filled, bounds[1:]) - np.searchsorted(filled, bounds[:-1])
        several = np.flatnonzero(counts > 1)
        parts = None
        if len(several):
            picked = _runs(filled, bounds, several)
            members = np.concatenate(picked)
            ends = np.concatenate(([0], np.cumsum([len(p) for p in picked])))
            parts = Fragments(several, ends.astype(np.int64), offsets[members], lengths[members])
        table = self._table(offsets[lead], totals, method, parts)
        used = filled[filled < bounds[-1]]
        last = int((offsets + lengths)[used].max(initial=self.start))
        return FrameTable(table.offsets, table.lengths, last, parts, method, tuple(self.problems))

    def _table(
        self,
        offsets: Int64Array,
        lengths: Int64Array,
        method: str,
        fragments: Fragments | None = None,
    ) -> FrameTable:
        empty = lengths == 0
        if empty.any():
            offsets = np.where(empty, _MISSING, offsets)
            self.problems.append(f"{int(empty.sum())} of {self.frames} frames are missing")
        end = int((offsets + lengths).max(initial=self.start))
        return FrameTable(offsets, lengths, end, fragments, method, tuple(self.problems))


def _runs(filled: Int64Array, bounds: Int64Array, frames: Int64Array) -> list[Int64Array]:
    """For each of the frames, the numbers of its fragments that are not empty."""
    low: Iterable[int] = np.searchsorted(filled, bounds[frames]).tolist()
    high: Iterable[int] = np.searchsorted(filled, bounds[frames + 1]).tolist()
    return [filled[a:b] for a, b in zip(low, high, strict=True)]
