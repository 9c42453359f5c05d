"""A virtual file is a table of extents; planning a read of it is a pure function.

An extent says where the bytes a..b of the virtual file come from: a literal that we hold, a range
of a source file taken verbatim, a tile that has to be made, zeros, or a place that cannot be read.
This module knows neither DICOM nor TIFF and touches no file: `plan_read` turns (table, offset,
size) into pieces, and somebody else carries them out.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Kind(IntEnum):
    """Where the bytes of an extent come from, and what `ref` and `at` of a `Piece` then mean."""

    LITERAL = 0
    """`ref`: index into `ExtentTable.literals`; `at`: offset in that literal."""

    SOURCE = 1
    """`ref`: index of a source file of the virtual file; `at`: offset in that file."""

    ZERO = 2
    """Zeros.  `ref` and `at` are 0."""

    TILE = 3
    """`ref`: index into `ExtentTable.runs`; `at`: offset in that run of equally large tiles."""

    FAULT = 4
    """Bytes that cannot be had; reading them is an error."""

    DEFERRED = 5
    """Known in size only: the table has to be resolved before these bytes can be read."""


class Piece(NamedTuple):
    """A contiguous part of a read: `size` bytes (> 0) of one kind; `ref` and `at` as in `Kind`."""

    kind: Kind
    size: int
    ref: int
    at: int


@dataclass(frozen=True, slots=True)
class TileRun:
    """`count` tiles of `tile_size` bytes each, one behind the other, made on demand.

    `key` names the run to whoever makes the tiles; the table only carries it.
    """

    key: int
    tile_size: int
    count: int

    @property
    def size(self) -> int:
        """Bytes of the whole run."""
        return self.tile_size * self.count

    def tile_at(self, at: int) -> int:
        """The number of the tile that the byte `at` of the run lies in."""
        return at // self.tile_size

    def start_of(self, tile: int) -> int:
        """Where a tile starts, in bytes from the start of the run."""
        return tile * self.tile_size

    def size_of(self, tile: int) -> int:
        """Bytes of a tile."""
        return self.tile_size


@dataclass(frozen=True, slots=True, eq=False)
class SlotRun:
    """Tiles of different sizes, one behind the other, made on demand.

    key : names the run, as that of a `TileRun` does
    starts : where each tile starts, in bytes from the start of the run, ascending from 0; one more
        at the end says where the last one ends
    """

    key: int
    starts: array[int]

    @property
    def size(self) -> int:
        """Bytes of the whole run."""
        return self.starts[-1]

    def tile_at(self, at: int) -> int:
        """The number of the tile that the byte `at` of the run lies in."""
        return bisect_right(self.starts, at) - 1

    def start_of(self, tile: int) -> int:
        """Where a tile starts, in bytes from the start of the run."""
        return self.starts[tile]

    def size_of(self, tile: int) -> int:
        """Bytes of a tile."""
        return self.starts[tile + 1] - self.starts[tile]


AnyRun: TypeAlias = TileRun | SlotRun


@dataclass(frozen=True, slots=True)
class ExtentTable:
    """The complete content of a virtual file of `size` bytes, in ascending order, without gaps.

    Made by `ExtentTableBuilder`.  Extent i covers the bytes starts[i] to starts[i+1] (or `size`).
    """

    size: int
    starts: array[int]
    kinds: bytes
    refs: array[int]
    ats: array[int]
    literals: tuple[bytes, ...]
    runs: tuple[AnyRun, ...]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def deferred(self) -> bool:
        """Whether some bytes are known in size only."""
        return Kind.DEFERRED in self.kinds

    @property
    def nbytes(self) -> int:
        """Memory held by the table, in bytes, for the accounting of caches."""
        slots = sum(8 * len(run.starts) for run in self.runs if isinstance(run, SlotRun))
        return 25 * len(self.starts) + sum(map(len, self.literals)) + slots


class ExtentTableBuilder:
    """Collects extents from the first byte of the virtual file to the last."""

    def __init__(self) -> None:
        self._size = 0
        self._starts = array("q")
        self._kinds = bytearray()
        self._refs = array("q")
        self._ats = array("q")
        self._literals: list[bytes] = []
        self._runs: list[AnyRun] = []

    @property
    def size(self) -> int:
        """Where the next extent will start, in bytes from the start of the virtual file."""
        return self._size

    def _add(self, kind: Kind, size: int, ref: int = 0, at: int = 0) -> None:
        if size < 0:
            raise ValueError(f"an extent cannot have {size} bytes")
        if size == 0:
            return
        self._starts.append(self._size)
        self._kinds.append(kind)
        self._refs.append(ref)
        self._ats.append(at)
        self._size += size

    def literal(self, data: bytes) -> None:
        """Append bytes that the table itself holds."""
        self._add(Kind.LITERAL, len(data), len(self._literals))
        if data:
            self._literals.append(data)

    def source(self, file: int, at: int, size: int) -> None:
        """Append `size` bytes of source file number `file`, from offset `at`."""
        self._add(Kind.SOURCE, size, file, at)

    def zeros(self, size: int) -> None:
        """Append zeros."""
        self._add(Kind.ZERO, size)

    def tiles(self, run: AnyRun) -> None:
        """Append a run of tiles that are made on demand."""
        self._add(Kind.TILE, run.size, len(self._runs))
        if run.size:
            self._runs.append(run)

    def fault(self, size: int) -> None:
        """Append bytes whose reading is an error."""
        self._add(Kind.FAULT, size)

    def deferred(self, size: int) -> None:
        """Append bytes whose content is not known yet."""
        self._add(Kind.DEFERRED, size)

    def scattered(
        self,
        file: int,
        sizes: npt.NDArray[np.int64],
        ats: npt.NDArray[np.int64],
    ) -> None:
        """Append many small source extents at once; `ats[i] < 0` stands for zeros.

        sizes, ats : int64 arrays of the same length, in bytes; sizes of 0 are left out.
        """
        import numpy as np  # here, because a mount answers sooner without it

        kept = sizes > 0
        sizes, ats = sizes[kept], ats[kept]
        if not len(sizes):
            return
        holes = ats < 0
        ends = np.cumsum(sizes) + self._size
        self._starts.frombytes((ends - sizes).astype(np.int64).tobytes())
        self._kinds += np.where(holes, int(Kind.ZERO), int(Kind.SOURCE)).astype(np.uint8).tobytes()
        self._refs.frombytes(np.where(holes, 0, file).astype(np.int64).tobytes())
        self._ats.frombytes(np.where(holes, 0, ats).astype(np.int64).tobytes())
        self._size = int(ends[-1])

    def build(self) -> ExtentTable:
        """The finished table."""
        return ExtentTable(
            self._size,
            self._starts,
            bytes(self._kinds),
            self._refs,
            self._ats,
            tuple(self._literals),
            tuple(self._runs),
        )


def literal_table(data: bytes) -> ExtentTable:
    """The table of a virtual file that is nothing but `data`."""
    builder = ExtentTableBuilder()
    builder.literal(data)
    return builder.build()


# Looking a member up in an enumeration costs as much as the rest of a short plan.
_KINDS = tuple(Kind)
_LITERAL, _SOURCE, _TILE = Kind.LITERAL, Kind.SOURCE, Kind.TILE


def plan_read(table: ExtentTable, offset: int, size: int) -> list[Piece]:
    """Say where the bytes offset..offset+size come from, clipped at the end of the file.

    The sizes of the pieces add up to exactly min(size, table.size - offset), or to nothing at or
    behind the end.  A piece of kind TILE never crosses from one tile into the next.

    Raises ValueError for a negative offset or size.
    """
    if offset < 0 or size < 0:
        raise ValueError(f"cannot read {size} bytes at offset {offset}")
    end = offset + size
    if end > table.size:
        end = table.size
    if offset >= end:
        return []
    starts = table.starts
    last = len(starts) - 1
    index = bisect_right(starts, offset) - 1
    pieces: list[Piece] = []
    while offset < end:
        stop = starts[index + 1] if index < last else table.size
        take = (stop if stop < end else end) - offset
        kind = _KINDS[table.kinds[index]]
        if kind is _SOURCE or kind is _LITERAL:
            at = table.ats[index] + offset - starts[index]
            pieces.append(Piece(kind, take, table.refs[index], at))
        elif kind is _TILE:
            ref = table.refs[index]
            _split_tiles(pieces, ref, offset - starts[index], take, table.runs[ref])
        else:
            pieces.append(Piece(kind, take, 0, 0))
        offset += take
        index += 1
    return pieces


def source_piece(table: ExtentTable, offset: int, size: int) -> Piece | None:
    """A read that is one piece of kind SOURCE, which most are; None for every other one.

    The same as `plan_read`, for offset..offset+size (> 0) that does not reach behind the end.
    """
    if offset < 0:
        return None
    starts = table.starts
    index = bisect_right(starts, offset) - 1
    if table.kinds[index] != _SOURCE:
        return None
    following = index + 1
    stop = starts[following] if following < len(starts) else table.size
    if offset + size > stop:
        return None
    return Piece(_SOURCE, size, table.refs[index], table.ats[index] + offset - starts[index])


def _split_tiles(pieces: list[Piece], ref: int, at: int, size: int, run: AnyRun) -> None:
    while size:
        tile = run.tile_at(at)
        take = min(size, run.start_of(tile) + run.size_of(tile) - at)
        pieces.append(Piece(Kind.TILE, take, ref, at))
        at += take
        size -= take


def total(pieces: Iterable[Piece]) -> int:
    """Bytes that the pieces make together."""
    return sum(piece.size for piece in pieces)
