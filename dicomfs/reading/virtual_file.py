"""What a virtual file is to those who read it: a table of extents, source objects, a resolver.

Declarations, and the two simplest cases.  Who fills them is `dicomfs.vfs`, who reads them is
`dicomfs.reading.reader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dicomfs.dicom.steps import Steps
from dicomfs.errors import DicomfsError
from dicomfs.extents import AnyRun, ExtentTable, literal_table
from dicomfs.source.protocol import SourceObject

if TYPE_CHECKING:
    from dicomfs.dicom.frame_table import FrameTable


class SourceRange(NamedTuple):
    """`size` bytes from `offset` of the object number `file` of a virtual file."""

    file: int
    offset: int
    size: int


class TilePainter(Protocol):
    """Makes the tiles of a virtual file.  Tiles are numbered from 0 in each run."""

    def inputs(self, run: AnyRun, tile: int) -> Sequence[SourceRange]:
        """What has to be read to make a tile.  Quick: called on the event loop."""

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        """Make a tile of the bytes that `inputs` asked for: exactly `run.size_of(tile)` bytes.

        Takes its time: called in a worker thread.  Raises DamagedFrameError.
        """


@dataclass(frozen=True, slots=True)
class Resolved:
    """A virtual file of which everything is known.

    table : the same file, in which nothing is deferred
    painter : makes the tiles; None where the table has none
    nbytes : memory that all this holds, for the bound of the cache
    """

    table: ExtentTable
    painter: TilePainter | None
    nbytes: int


class Resolver(Protocol):
    """Finds out what the header facts of a virtual file do not tell."""

    @property
    def files(self) -> Sequence[int]:
        """Numbers of the objects whose frame tables are needed."""

    def frames(self, file: int) -> Steps[FrameTable]:
        """The parser that reads the frame table of an object."""

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        """Put the frame tables in place.  Called in a worker thread.  Raises DicomfsError."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownResolver:
    """The resolver of a file of which everything is known, but that has tiles to be made."""

    resolved: Resolved

    @property
    def files(self) -> Sequence[int]:
        """No frame table is needed."""
        return ()

    def frames(self, file: int) -> Steps[FrameTable]:
        """There is none to be read."""
        raise DicomfsError("this file needs no frame table")

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        """What was known before."""
        return self.resolved


_numbers = count()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class VirtualFile:
    """A file that exists as a plan only.  Two of them are equal when they are the same object.

    table : what the header facts tell; DEFERRED where frame tables are needed
    objects : the source objects; `Kind.SOURCE` extents and `SourceRange` refer to them by number
    resolver : None where nothing is deferred and no tile has to be made
    number : tells it from every other one of this process, those that are gone included
    """

    table: ExtentTable
    objects: tuple[SourceObject, ...]
    resolver: Resolver | None
    number: int = field(default_factory=_numbers.__next__, init=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.table.size


def literal_file(data: bytes) -> VirtualFile:
    """A virtual file that is nothing but `data`."""
    return VirtualFile(literal_table(data), (), None)
