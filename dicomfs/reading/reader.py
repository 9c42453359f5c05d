"""Reads virtual files: exactly the bytes that were asked for, or an error.

The common read is planned and carried out on the event loop without a checkpoint, from the page
cache straight into the caller's buffer.  What would have to wait goes to worker threads, which
write into buffers of their own: one that is given up may finish late and must not write where
somebody else reads.  Knows neither names nor inodes.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from dicomfs.errors import DicomfsError, SourceTimeoutError
from dicomfs.extents import ExtentTable, Kind, Piece, SlotRun, plan_read, source_piece, total
from dicomfs.limits import DEFAULT_LIMITS, MIB, Limits
from dicomfs.reading.cache import CacheStats
from dicomfs.reading.fill import (
    Part,
    extents_within,
    fill_at_hand,
    fill_known,
    first_source,
    place_parts,
    read_parts,
    read_plan,
    tile_slice,
    unknown_within,
)
from dicomfs.reading.lanes import Lanes
from dicomfs.reading.single_flight import MadeOnce, landed
from dicomfs.reading.tiles import TileOrder
from dicomfs.reading.virtual_file import Resolved, Resolver, VirtualFile
from dicomfs.source.protocol import Source, SourceObject

if TYPE_CHECKING:
    from dicomfs.dicom.frame_table import FrameTable

_INLINE_BYTES = 4 * MIB
"""Reads larger than this are not worth a try on the event loop: copying takes milliseconds."""

_INLINE_LIGHT = 128 * 1024
"""Reads larger than this that touch tiles to be cleaned are carried out in a thread."""

_INLINE_EXTENTS = 64
"""Reads of more extents than this are planned in a thread; nor are more ranges tried for a tile."""


_WORTH_KEEPING = 512
"""Frames of a table that takes longer to read again than to remember."""


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """Counters since the reader was made, and gauges.

    inline_reads : answered without waiting for anything
    waited_reads : had to wait for the source, a resolver or a painter
    timeouts : jobs given up because the source did not answer
    abandoned_threads : threads that hang in the source now and that nobody waits for
    resolved, decoded : what the caches of resolved files and of tiles hold now
    files_resolved, tiles_painted : how often these were made
    """

    inline_reads: int
    waited_reads: int
    timeouts: int
    abandoned_threads: int
    resolved: CacheStats
    decoded: CacheStats
    files_resolved: int
    tiles_painted: int


class FrameTables(Protocol):
    """Remembers frame tables.  May be called from any thread; raises nothing."""

    def frame_table(self, obj: SourceObject) -> FrameTable | None:
        """The frame table of this version of an object, if it is remembered."""

    def keep_frame_table(self, obj: SourceObject, table: FrameTable) -> None:
        """Remember a frame table."""


class Reader:
    """Reads virtual files whose bytes come from `source`.

    `read_into` belongs to one trio event loop; `read_into_blocking` may be called from any other
    thread, at the same time.  Both share what was resolved and decoded.

    tables : remembers frame tables, so that frames are looked for once in the life of a file
    """

    def __init__(
        self,
        source: Source,
        limits: Limits = DEFAULT_LIMITS,
        tables: FrameTables | None = None,
    ) -> None:
        self._source = source
        self._tables = tables
        self._limits = limits
        self._resolved: MadeOnce[int, Resolved] = MadeOnce(
            limits.resolved_bytes, lambda resolved: resolved.nbytes
        )
        self._tiles: MadeOnce[tuple[int, int, int], bytes] = MadeOnce(limits.decoded_bytes, len)
        self._gone: deque[int] = deque()  # numbers of files that are no more
        self._reads = Lanes(limits.read_deadline)
        # Looking through a file may take longer than any read may wait; it has lanes of its own.
        self._scans = Lanes(float("inf"), width=2, live=16)
        self._decoders = threading.BoundedSemaphore(limits.decoders)
        self._workers = trio.CapacityLimiter(limits.decoders)
        self._inline_reads = 0
        self._waited_reads = 0
        self._timeouts = 0

    def stats(self) -> ReaderStats:
        """Counters and gauges."""
        return ReaderStats(
            self._inline_reads,
            self._waited_reads,
            self._timeouts + self._reads.timeouts,
            self._reads.abandoned + self._scans.abandoned,
            self._resolved.stats(),
            self._tiles.stats(),
            self._resolved.made,
            self._tiles.made,
        )

    async def read_into(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` (bytes) on, and return how many bytes that were.

        That is min(len(buffer), file.size - offset), and 0 at or behind the end; never less.
        Raises DicomfsError, after which the buffer holds anything.  There is no checkpoint where
        the bytes are at hand.
        """
        resolved = None if file.resolver is None else self._resolved.get(file.number)
        table = file.table if resolved is None else resolved.table
        size = min(len(buffer), table.size - offset)
        if size <= 0:
            return 0
        if size != len(buffer):
            buffer = buffer[:size]
        deadline = None
        piece = source_piece(table, offset, size) if size <= _INLINE_BYTES else None
        if piece is not None:
            if self._source.read_into_nowait(file.objects[piece.ref], piece.at, buffer):
                self._inline_reads += 1
                return size
        elif resolved is None and file.resolver is not None and unknown_within(table, offset, size):
            deadline = self._deadline()
            resolved = await self._resolve(file, file.resolver, deadline)
            table = resolved.table
        heavy = piece is None and _is_heavy(table, offset, size)
        pieces: Sequence[Piece] = () if piece is None else (piece,)
        done = 0
        if piece is None and not heavy:
            pieces = plan_read(table, offset, size)
            done = self._fill_at_hand(file, table, resolved, pieces, buffer)
            if done == len(pieces):
                self._inline_reads += 1
                return size
        self._waited_reads += 1
        if deadline is None:
            deadline = self._deadline()
        if heavy:
            await self._fill_in_thread(file, table, resolved, offset, buffer, deadline)
        else:
            filled = total(pieces[:done])
            await self._fill_rest(file, table, resolved, pieces[done:], buffer[filled:], deadline)
        return size

    def read_into_blocking(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
        """The same as `read_into`, in this thread, which must not be that of an event loop.

        The deadline holds only for what others do for us: our own reads wait as long as the source
        takes, as those of any file do.
        """
        resolved = None if file.resolver is None else self._resolved.get(file.number)
        table = file.table if resolved is None else resolved.table
        size = min(len(buffer), table.size - offset)
        if size <= 0:
            return 0
        if resolved is None and file.resolver is not None and unknown_within(table, offset, size):
            resolved = self._resolve_blocking(file, file.resolver)
            table = resolved.table
        at = 0
        for piece in plan_read(table, offset, size):
            kind, size, ref, start = piece
            view = buffer[at : at + size]
            if kind is Kind.SOURCE:
                self._source.read_into(file.objects[ref], start, view)
            elif kind is Kind.TILE and resolved is not None:
                tile, part = tile_slice(table, ref, start, size)
                view[:] = memoryview(self._tile_blocking(file, resolved, ref, tile))[part]
            else:
                fill_known(table, piece, view)
            at += size
        return at

    # ------------------------------------------------------------ reads that wait

    def _deadline(self) -> float:
        return trio.current_time() + self._limits.read_deadline

    def _fill_at_hand(
        self,
        file: VirtualFile,
        table: ExtentTable,
        resolved: Resolved | None,
        pieces: Sequence[Piece],
        buffer: memoryview,
    ) -> int:
        return fill_at_hand(
            table,
            file.objects,
            pieces,
            buffer,
            self._source.read_into_nowait,
            lambda run, tile: (
                self._tiles.get((file.number, run, tile))
                or self._light_tile(file, resolved, run, tile, wait=False)
            ),
        )

    async def _fill_rest(
        self,
        file: VirtualFile,
        table: ExtentTable,
        resolved: Resolved | None,
        pieces: Sequence[Piece],
        buffer: memoryview,
        deadline: float,
    ) -> None:
        """Fill the buffer with pieces of which the first has to be waited for."""
        cold: dict[int, list[Part]] = {}
        tiles: list[tuple[int, Piece]] = []
        at = 0
        for piece in pieces:
            kind, size, ref, start = piece
            if kind is Kind.SOURCE:
                cold.setdefault(ref, []).append(Part(at, size, start))
            elif kind is Kind.TILE:
                tiles.append((at, piece))
            else:
                fill_known(table, piece, buffer[at : at + size])
            at += size
        # Tiles are begun first: they are made while the other bytes are waited for.
        flights = self._begin_tiles(file, resolved, tiles)
        for ref, parts in cold.items():
            obj = file.objects[ref]
            job = partial(read_parts, self._source, obj, parts)
            place_parts(await self._reads.run(obj.key, obj.name, job, deadline), parts, buffer)
        await _place_tiles(flights, buffer)

    async def _fill_in_thread(
        self,
        file: VirtualFile,
        table: ExtentTable,
        resolved: Resolved | None,
        offset: int,
        buffer: memoryview,
        deadline: float,
    ) -> None:
        """Plan and carry out a large read in a thread, all but its tiles."""
        make = partial(self._light_tile, file, resolved, wait=True)
        job = partial(read_plan, self._source, file.objects, table, offset, len(buffer), make)
        number = first_source(table, offset, len(buffer))
        obj = None if number is None else file.objects[number]
        key, name = (file, "the source") if obj is None else (obj.key, obj.name)
        data, tiles = await self._reads.run(key, name, job, deadline)
        buffer[:] = data
        await _place_tiles(self._begin_tiles(file, resolved, tiles), buffer)

    # ------------------------------------------------------------ resolving

    async def _resolve(self, file: VirtualFile, resolver: Resolver, deadline: float) -> Resolved:
        flight = self._resolved.begin(file.number, partial(self._look_through, file, resolver))
        with trio.CancelScope(deadline=deadline):
            return await landed(flight)
        self._timeouts += 1
        raise SourceTimeoutError("the frames of a slide have not been found in time")

    async def _look_through(self, file: VirtualFile, resolver: Resolver) -> Resolved:
        """Read the frame tables that the file needs, from all its objects at once."""
        tables: dict[int, FrameTable] = {}
        errors: list[Exception] = []

        async def scan(index: int) -> None:
            obj = file.objects[index]
            job = partial(self._frame_table, obj, resolver, index)
            try:
                tables[index] = await self._scans.run(obj.key, obj.name, job, float("inf"))
            except Exception as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for index in resolver.files:
                nursery.start_soon(scan, index)
        if errors:
            raise errors[0]
        self._remember(file)
        job = partial(resolver.resolve, tables)
        resolved = await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=self._workers)
        return _checked(file, resolved)

    def _resolve_blocking(self, file: VirtualFile, resolver: Resolver) -> Resolved:
        def look_through() -> Resolved:
            tables = {
                index: self._frame_table(file.objects[index], resolver, index)
                for index in resolver.files
            }
            self._remember(file)
            return _checked(file, resolver.resolve(tables))

        patience = self._limits.read_deadline
        return self._resolved.obtain_blocking(file.number, look_through, patience)

    def _remember(self, file: VirtualFile) -> None:
        """Have what is kept of a file dropped some time after nobody can ask for it any more.

        Its end may come anywhere, also where a lock of a cache is held; so it is only noted.
        """
        gone = {self._gone.popleft() for _ in range(len(self._gone))}
        if gone:
            self._resolved.drop(gone.__contains__)
            self._tiles.drop(lambda key: key[0] in gone)
        weakref.finalize(file, self._gone.append, file.number).atexit = False

    def _frame_table(self, obj: SourceObject, resolver: Resolver, index: int) -> FrameTable:
        """The frame table of an object, remembered or read.  Blocks."""
        if self._tables is None:
            return self._source.run(obj, resolver.frames(index))
        table = self._tables.frame_table(obj)
        if table is None:
            table = self._source.run(obj, resolver.frames(index))
            if len(table) >= _WORTH_KEEPING:
                self._tables.keep_frame_table(obj, table)
        return table

    # ------------------------------------------------------------ tiles

    def _light_tile(
        self, file: VirtualFile, resolved: Resolved | None, run: int, tile: int, *, wait: bool
    ) -> bytes | None:
        """A tile that is made about as quickly as its frame is read; None for any other.

        wait : whether to wait for the frame; without, None where that would be needed
        """
        if resolved is None or not isinstance(resolved.table.runs[run], SlotRun):
            return None
        order = TileOrder(file.objects, resolved, run, tile, self._limits)
        if not order.light:
            return None
        chunks = order.fetch(self._source) if wait else order.fetch_nowait(self._source)
        return None if chunks is None else order.paint(chunks)

    def _begin_tiles(
        self, file: VirtualFile, resolved: Resolved | None, tiles: Sequence[tuple[int, Piece]]
    ) -> list[_Awaited]:
        """Have the tiles made that these pieces are parts of; each lies at `at` of the buffer."""
        if not tiles:
            return []
        if resolved is None:
            raise DicomfsError("a virtual file has tiles to be made, and nobody who makes them")
        awaited = []
        for at, (_, size, run, start) in tiles:
            tile, part = tile_slice(resolved.table, run, start, size)
            awaited.append(_Awaited(at, size, part, self._begin_tile(file, resolved, run, tile)))
        return awaited

    def _begin_tile(
        self, file: VirtualFile, resolved: Resolved, run: int, tile: int
    ) -> Future[bytes]:
        async def make() -> bytes:
            order = TileOrder(file.objects, resolved, run, tile, self._limits)
            chunks = None
            if order.size <= _INLINE_BYTES and len(order.ranges) <= _INLINE_EXTENTS:
                chunks = order.fetch_nowait(self._source)
            obj = order.first_object
            if chunks is None and obj is not None:
                deadline = trio.current_time() + self._limits.read_deadline
                fetch = partial(order.fetch, self._source)
                chunks = await self._reads.run(obj.key, obj.name, fetch, deadline)
            paint = partial(order.paint, chunks or [], self._decoders)
            return await trio.to_thread.run_sync(
                paint, abandon_on_cancel=True, limiter=self._workers
            )

        return self._tiles.begin((file.number, run, tile), make)

    def _tile_blocking(self, file: VirtualFile, resolved: Resolved, run: int, tile: int) -> bytes:
        def make() -> bytes:
            order = TileOrder(file.objects, resolved, run, tile, self._limits)
            return order.paint(order.fetch(self._source), self._decoders)

        patience = self._limits.read_deadline
        return self._tiles.obtain_blocking((file.number, run, tile), make, patience)


def _is_heavy(table: ExtentTable, offset: int, size: int) -> bool:
    """Whether the bytes offset..offset+size are too many to be put together on the event loop."""
    if size > _INLINE_BYTES:
        return True
    if len(table) > _INLINE_EXTENTS and extents_within(table, offset, size) > _INLINE_EXTENTS:
        return True
    return size > _INLINE_LIGHT and any(isinstance(run, SlotRun) for run in table.runs)


class _Awaited(NamedTuple):
    """A part of a tile that is being made, and the `size` bytes of the buffer that it fills."""

    at: int
    size: int
    part: slice
    flight: Future[bytes]


async def _place_tiles(awaited: Sequence[_Awaited], buffer: memoryview) -> None:
    for at, size, part, flight in awaited:
        data = await landed(flight)
        buffer[at : at + size] = memoryview(data)[part]


def _checked(file: VirtualFile, resolved: Resolved) -> Resolved:
    if resolved.table.size != file.size or resolved.table.deferred:
        raise DicomfsError("a virtual file was not resolved to what it was said to be")
    return resolved
