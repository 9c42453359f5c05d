"""Makes single tiles: what has to be read for one, and the check of what the painter made.

Knows painters by their protocol only; when and in which thread a tile is made is decided in
`dicomfs.reading.reader`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext

from dicomfs.errors import DamagedFrameError, DicomfsError
from dicomfs.extents import AnyRun, SlotRun
from dicomfs.limits import Limits
from dicomfs.reading.virtual_file import Resolved, SourceRange, TilePainter
from dicomfs.source.protocol import Source, SourceObject

_PIXEL_BYTES = 16
"""Bytes that the frames of one tile may have for each pixel allowed; no codec needs more."""

_LIGHT_BYTES = 256 * 1024


class TileOrder:
    """Everything needed to make one tile: number `tile` of run number `run` of a virtual file.

    Raises DicomfsError where there is nobody to make it, DamagedFrameError where its frames are
    missing or larger than any tile needs.
    """

    __slots__ = ("_objects", "_painter", "_run", "_tile", "ranges")

    def __init__(
        self,
        objects: Sequence[SourceObject],
        resolved: Resolved,
        run: int,
        tile: int,
        limits: Limits,
    ) -> None:
        if resolved.painter is None:
            raise DicomfsError("a virtual file has tiles to be made, and nobody who makes them")
        self._objects = objects
        self._painter: TilePainter = resolved.painter
        self._run: AnyRun = resolved.table.runs[run]
        self._tile = tile
        self.ranges: Sequence[SourceRange] = self._painter.inputs(self._run, tile)
        if self.size > _PIXEL_BYTES * limits.tile_pixels:
            raise DamagedFrameError(f"the frames of one tile have {self.size} bytes")

    @property
    def size(self) -> int:
        """Bytes that have to be read."""
        return sum(part.size for part in self.ranges)

    @property
    def first_object(self) -> SourceObject | None:
        """The object that is read first; None where nothing has to be read."""
        return self._objects[self.ranges[0].file] if self.ranges else None

    def fetch(self, source: Source) -> list[bytes]:
        """Read what the painter needs.  Blocks."""
        chunks = []
        for file, offset, size in self.ranges:
            chunk = bytearray(size)
            source.read_into(self._objects[file], offset, memoryview(chunk))
            chunks.append(bytes(chunk))
        return chunks

    def fetch_nowait(self, source: Source) -> list[bytes] | None:
        """Read what the painter needs, None where that is impossible without waiting."""
        chunks = []
        for file, offset, size in self.ranges:
            chunk = bytearray(size)
            if not source.read_into_nowait(self._objects[file], offset, memoryview(chunk)):
                return None
            chunks.append(bytes(chunk))
        return chunks

    @property
    def light(self) -> bool:
        """Whether making the tile takes hardly longer than reading what it is made of."""
        return isinstance(self._run, SlotRun) and self.size <= _LIGHT_BYTES

    def paint(
        self, chunks: Sequence[bytes], decoders: threading.BoundedSemaphore | None = None
    ) -> bytes:
        """Make the tile, when a decoder is free.  Takes its time.

        decoders : None for a tile that is `light`, which needs none
        """
        with decoders if decoders is not None else nullcontext():
            data = self._painter.paint(self._run, self._tile, chunks)
        size = self._run.size_of(self._tile)
        if len(data) != size:
            raise DamagedFrameError(f"a tile has {len(data)} bytes where {size} were expected")
        return data
