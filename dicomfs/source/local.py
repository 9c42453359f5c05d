"""A directory of the local file system as a source.

Opens, checks and reads source files.  The bytes of an object are handed out only while the file is
the one that was listed: its identity is compared when it is opened, and again after every read, so
that what a read returns is vouched for by what follows it.  A file gets its new modification time
before the first new byte can be read.  Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from dicomfs.dicom.steps import Steps
from dicomfs.errors import DicomfsError, ShortReadError, UsageError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.source.beneath import folder_of, open_file
from dicomfs.source.drive import drive
from dicomfs.source.handles import Handle, HandleTable
from dicomfs.source.listing import has_identity, list_files
from dicomfs.source.listing_apart import list_many
from dicomfs.source.oserrors import changed, source_error
from dicomfs.source.page_cache import inline_flags
from dicomfs.source.protocol import Problem, SourceObject, SourceStats, printable

T = TypeVar("T")


def key_below(root: Path, path: Path) -> str | None:
    """The key of a path below a directory, None for one that lies elsewhere."""
    key = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    return None if key.split("/")[0] == ".." else key


class LocalDirectory:
    """The regular files below a directory; see `dicomfs.source.protocol.Source`.

    root : the directory; may be a symbolic link itself
    exclude : a directory below it that is left out of the listing, such as the mountpoint

    Raises UsageError where the root is no directory.
    """

    def __init__(
        self, root: Path, limits: Limits = DEFAULT_LIMITS, *, exclude: Path | None = None
    ) -> None:
        self.name = printable(os.fspath(root))
        self.problems: tuple[Problem, ...] = ()
        self._root = os.path.realpath(root)
        if not os.path.isdir(self._root):
            raise UsageError(f"{self.name} is not a directory")
        self._exclude = None if exclude is None else key_below(root, exclude)
        self._handles = HandleTable(limits.open_files, self._open)
        self._inline: dict[int, int | None] = {}
        self._cold_reads = 0
        self._counting = threading.Lock()

    def key(self, path: str) -> str:
        """The key of what lies at a path relative to the root: that path."""
        return path

    def objects(self, below: str = "") -> Iterator[SourceObject]:
        """List the files.  What could not be listed is in `problems` when the iterator ends.

        below : key of a file or folder to which the listing is limited; then `problems` stays
            what it is

        Raises SourceError where the root cannot be listed.
        """
        problems: list[Problem] = []
        if below:
            yield from list_files(self._root, self._exclude, problems.append, below)
        else:
            yield from list_many(self._root, self._exclude, problems.append)
            self.problems = tuple(problems)

    def uri(self, obj: SourceObject) -> str:
        """The path of an object as a `file:` URI (RFC 8089)."""
        return "file://" + quote(os.fsencode(os.path.join(self._root, obj.key)))

    def run(self, obj: SourceObject, steps: Steps[T]) -> T:
        """Drive a parser; see `Source.run`."""
        handle = self._borrow(obj)
        try:
            try:
                result = drive(steps, handle.fd, obj.identity.size)
            except DicomfsError:
                # A parser that finds nonsense may have seen two versions of the file.
                self._compare(obj, handle)
                raise
            self._compare(obj, handle)
            return result
        except OSError as error:
            self._handles.drop(obj, handle)
            raise source_error(error, obj.key) from error
        finally:
            self._handles.give_back(handle)

    def read_into(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        """Read exactly; see `Source.read_into`."""
        size = len(buffer)
        if offset < 0 or offset + size > obj.identity.size:
            raise ShortReadError(
                f"{printable(obj.key)} has no {size} bytes at offset {offset}: it ends at"
                f" {obj.identity.size}"
            )
        handle = self._borrow(obj)
        try:
            if not _fill(handle.fd, offset, buffer):
                self._compare(obj, handle)
                raise ShortReadError(f"{printable(obj.key)} ends before byte {offset + size}")
            self._compare(obj, handle)
        except OSError as error:
            self._handles.drop(obj, handle)
            raise source_error(error, obj.key) from error
        finally:
            self._handles.give_back(handle)

    def read_into_nowait(self, obj: SourceObject, offset: int, buffer: memoryview) -> bool:
        """Read exactly what is in the page cache; see `Source.read_into_nowait`."""
        # To the system call offset -1 means "from the current position".
        handle = self._handles.borrow_open(obj) if offset >= 0 else None
        if handle is None:
            return False
        try:
            inline = handle.inline
            if inline is None or os.preadv(handle.fd, (buffer,), offset, inline) != len(buffer):
                return False
            # File systems that can be asked not to wait are local: fstat does not wait there.
            return _is_same(handle)
        except (OSError, OverflowError):
            return False
        finally:
            self._handles.give_back(handle)

    def stats(self) -> SourceStats:
        """Gauges and counters."""
        return SourceStats(len(self._handles), self._handles.opens, self._cold_reads)

    def close(self) -> None:
        """Close all files; see `Source.close`."""
        self._handles.close()

    def _borrow(self, obj: SourceObject) -> Handle:
        with self._counting:
            self._cold_reads += 1
        try:
            return self._handles.borrow(obj)
        except OSError as error:
            raise source_error(error, obj.key) from error

    def _open(self, obj: SourceObject) -> Handle:
        """Open an object, if it is still the one that was listed."""
        with folder_of(self._root, obj.key) as (folder, name):
            # Looked at first, because opening what has become a pipe would wait for its other end.
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(state.st_mode) or not has_identity(state, obj.identity):
                raise changed(obj.key)
            fd = open_file(folder, name)
        try:
            state = os.fstat(fd)
            if not has_identity(state, obj.identity):
                raise changed(obj.key)
            device = obj.identity.device
            if device not in self._inline:
                self._inline[device] = inline_flags(fd, device)
            inline = self._inline[device]
            return Handle(fd, obj.identity, state.st_nlink > 0, inline)
        except BaseException:
            os.close(fd)
            raise

    def _compare(self, obj: SourceObject, handle: Handle) -> None:
        if not _is_same(handle):
            self._handles.drop(obj, handle)
            raise changed(obj.key)


def _is_same(handle: Handle) -> bool:
    """Whether the open file is what it was: not written to, and not without a name."""
    state = os.fstat(handle.fd)
    return has_identity(state, handle.identity) and not (handle.linked and not state.st_nlink)


def _fill(fd: int, offset: int, buffer: memoryview) -> bool:
    """Fill the buffer from `offset` on; False where the file ends before that."""
    done, size = os.preadv(fd, (buffer,), offset), len(buffer)
    while done < size:
        got = os.preadv(fd, (buffer[done:],), offset + done)
        if not got:
            return False
        done += got
    return True
