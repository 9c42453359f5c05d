"""What a source is: objects, each with an identity, and exact reads of their bytes.

The rest of the program knows a source by this protocol alone, so that an object store can take the
place of a directory.  Nothing here touches a file, and nothing here knows what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from dicomfs.dicom.steps import Steps

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells one content of an object from another: as long as it is equal, so are the bytes.

    device, inode : numbers of the file system and of the file in it
    size : bytes
    mtime_ns : last modification, nanoseconds since 1970
    """

    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """What an identity is made of, to be sent to another process."""
        return self.device, self.inode, self.size, self.mtime_ns

    @property
    def fingerprint(self) -> str:
        """The same as a text."""
        return f"{self.device} {self.inode} {self.size} {self.mtime_ns}"


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One object of a source, as it was when it was listed.

    key : path relative to the root, parts separated by "/"; names that are not UTF-8 are carried by
    the surrogateescape error handler.
    """

    key: str
    identity: Identity

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


class Problem(NamedTuple):
    """Something below the root that could not be listed.

    message : a sentence for a person
    leads_out : whether whoever follows links, or looks deeper, may leave the root here
    """

    key: str
    message: str
    leads_out: bool = False


@dataclass(frozen=True, slots=True)
class SourceStats:
    """Gauges and counters of a source, since it was made.

    open_handles : objects held open now
    opens : objects opened
    cold_reads : reads that were allowed to wait for the medium
    """

    open_handles: int
    opens: int
    cold_reads: int


class Source(Protocol):
    """Where the bytes come from.  Every method may be called from any thread.

    All methods raise `SourceError` or one of its subclasses, never OSError: `SourceChangedError`
    where the object is not the one that was listed, `ShortReadError` where it ends too early.
    """

    @property
    def name(self) -> str:
        """What people call this source."""

    def objects(self) -> Iterator[SourceObject]:
        """List all objects, in the order of their keys' parts.  Blocks."""

    def run(self, obj: SourceObject, steps: Steps[T]) -> T:
        """Drive a parser on an object and return its result.  Blocks.

        Whatever the parser raises passes through, unless the object has changed under it.
        """

    def read_into(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the bytes from `offset` on, completely or raise.  Blocks."""

    def read_into_nowait(self, obj: SourceObject, offset: int, buffer: memoryview) -> bool:
        """Fill the buffer if that is possible without waiting; otherwise return False.

        Never blocks and never raises: after False the buffer holds anything, and `read_into` either
        fills it or says what is wrong.
        """

    def stats(self) -> SourceStats:
        """Gauges and counters."""

    def close(self) -> None:
        """Close what is open.  Reads under way finish; later ones raise SourceError."""


class ScannableSource(Source, Protocol):
    """A source that can be scanned: it makes deflated data sets readable and says what it lacks.

    problems : what could not be listed, known when the iterator of `objects` has ended
    """

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be listed the last time."""

    def key(self, path: str) -> str:
        """The key of what lies at a path relative to the root, parts separated by "/"."""

    def objects(self, below: str = "") -> Iterator[SourceObject]:
        """List objects; see `Source.objects`.

        below : limits the listing to one object or folder, by its key; it may be gone
        """

    def uri(self, obj: SourceObject) -> str:
        """Where the object is, in ASCII; of one that is inflated, where it is as it was."""

    def inflated(self, obj: SourceObject, start: int, size: int) -> SourceObject:
        """The object with its deflate stream inflated, which this source reads from now on.

        start : where the stream starts; what lies before it is kept as it is
        size : bytes of the inflated object that are wanted

        Blocks for as long as inflating takes, the first time.
        """


def printable(key: str) -> str:
    """A key or path as people and log files can have it: bytes that are not UTF-8 are escaped."""
    return key.encode("utf-8", "backslashreplace").decode()
