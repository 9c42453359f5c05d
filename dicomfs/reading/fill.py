"""Fills buffers with the pieces of a read plan: the parts that are the same however a read waits.

Plain functions without threads or tasks.  A buffer is a memoryview of bytes; pieces are those of
`dicomfs.extents.plan_read`, and lie in the buffer one behind the other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dicomfs.errors import DamagedFrameError, DicomfsError
from dicomfs.extents import ExtentTable, Kind, Piece, plan_read
from dicomfs.source.protocol import Source, SourceObject

_LITERAL, _SOURCE, _ZERO = Kind.LITERAL, Kind.SOURCE, Kind.ZERO
_TILE, _DEFERRED = Kind.TILE, Kind.DEFERRED

_ZEROS = memoryview(bytes(256 * 1024))

NowaitRead = Callable[[SourceObject, int, memoryview], bool]


class Part(NamedTuple):
    """`size` bytes from `offset` of a source object, that belong at `at` of a buffer."""

    at: int
    size: int
    offset: int


def extents_within(table: ExtentTable, offset: int, size: int) -> int:
    """How many extents the bytes offset..offset+size (> 0) of a virtual file touch.  Quick."""
    first, end = _extents(table, offset, size)
    return end - first


def first_source(table: ExtentTable, offset: int, size: int) -> int | None:
    """Number of the first source file that the bytes offset..offset+size (> 0) come from."""
    found = table.kinds.find(_SOURCE, *_extents(table, offset, size))
    return None if found < 0 else table.refs[found]


def unknown_within(table: ExtentTable, offset: int, size: int) -> bool:
    """Whether the bytes offset..offset+size (> 0) can only be had from a resolved table."""
    first, end = _extents(table, offset, size)
    kinds = table.kinds
    return kinds.find(_DEFERRED, first, end) >= 0 or kinds.find(_TILE, first, end) >= 0


def _extents(table: ExtentTable, offset: int, size: int) -> tuple[int, int]:
    """The first extent that these bytes touch, and the one behind the last."""
    return bisect_right(table.starts, offset) - 1, bisect_left(table.starts, offset + size)


def tile_slice(table: ExtentTable, ref: int, at: int, size: int) -> tuple[int, slice]:
    """The number of the tile that a TILE piece lies in, and which bytes of the tile it is."""
    run = table.runs[ref]
    tile = run.tile_at(at)
    start = at - run.start_of(tile)
    return tile, slice(start, start + size)


def fill_known(table: ExtentTable, piece: Piece, buffer: memoryview) -> None:
    """Fill the buffer, which is as large as the piece, with a piece that needs no source.

    Raises DamagedFrameError for a FAULT piece.
    """
    kind, size, ref, at = piece
    if kind is _LITERAL:
        buffer[:] = memoryview(table.literals[ref])[at : at + size]
    elif kind is _ZERO:
        for start in range(0, size, len(_ZEROS)):
            stop = min(size, start + len(_ZEROS))
            buffer[start:stop] = _ZEROS[: stop - start]
    elif kind is Kind.FAULT:
        raise DamagedFrameError("the read touches a frame that is missing or damaged")
    else:
        raise DicomfsError("a resolved virtual file still has bytes that nobody knows")


def fill_at_hand(
    table: ExtentTable,
    objects: Sequence[SourceObject],
    pieces: Sequence[Piece],
    buffer: memoryview,
    read_nowait: NowaitRead,
    tiles: Callable[[int, int], bytes | None],
) -> int:
    """Fill the buffer as far as that is possible without waiting; how many pieces that were.

    tiles : (run, tile) -> the bytes of a tile that is at hand, else None
    """
    done = at = 0
    for piece in pieces:
        kind, size, ref, offset = piece
        view = buffer if size == len(buffer) else buffer[at : at + size]
        if kind is _SOURCE:
            if not read_nowait(objects[ref], offset, view):
                return done
        elif kind is _TILE:
            tile, part = tile_slice(table, ref, offset, size)
            data = tiles(ref, tile)
            if data is None:
                return done
            view[:] = memoryview(data)[part]
        elif kind is _DEFERRED:
            return done
        else:
            fill_known(table, piece, view)
        done += 1
        at += size
    return done


def read_plan(
    source: Source,
    objects: Sequence[SourceObject],
    table: ExtentTable,
    offset: int,
    size: int,
    make: Callable[[int, int], bytes | None] = lambda run, tile: None,
) -> tuple[bytearray, list[tuple[int, Piece]]]:
    """Read offset..offset+size of a virtual file, all but the tiles.  Blocks.

    make : (run, tile) -> the bytes of a tile that is made at once, else None

    Returns a buffer of its own and the TILE pieces that are missing in it, each with its place.
    """
    data = bytearray(size)
    view = memoryview(data)
    tiles: list[tuple[int, Piece]] = []
    at = 0
    for piece in plan_read(table, offset, size):
        if piece.kind is _TILE:
            tile, part = tile_slice(table, piece.ref, piece.at, piece.size)
            made = make(piece.ref, tile)
            if made is None:
                tiles.append((at, piece))
            else:
                view[at : at + piece.size] = memoryview(made)[part]
        elif piece.kind is _SOURCE:
            source.read_into(objects[piece.ref], piece.at, view[at : at + piece.size])
        elif piece.kind is not _ZERO:
            fill_known(table, piece, view[at : at + piece.size])
        at += piece.size
    return data, tiles


def read_parts(source: Source, obj: SourceObject, parts: Sequence[Part]) -> bytearray:
    """Read parts of an object into a buffer of their own, one behind the other.  Blocks."""
    data = bytearray(sum(part.size for part in parts))
    view = memoryview(data)
    at = 0
    for part in parts:
        source.read_into(obj, part.offset, view[at : at + part.size])
        at += part.size
    return data


def place_parts(data: bytearray, parts: Sequence[Part], buffer: memoryview) -> None:
    """Copy what `read_parts` has read to where it belongs."""
    view = memoryview(data)
    done = 0
    for at, size, _ in parts:
        buffer[at : at + size] = view[done : done + size]
        done += size
