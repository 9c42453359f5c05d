"""A bounded number of open files, the least recently used one closed first.

A handle is borrowed for the time of a read and given back; it is never closed while it is borrowed,
so a descriptor number can never come to mean another file under a read.  How a file is opened is
the business of whoever makes the table.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from dicomfs.errors import SourceError
from dicomfs.source.oserrors import OUT_OF_FILES
from dicomfs.source.protocol import Identity, SourceObject


class Handle:
    """An open source file.

    fd : its descriptor
    identity : what the file was when it was opened
    linked : whether it had a name then (some file systems never say so)
    inline : flags of a `preadv` that does not wait, None where every read may wait
    users : reads that use it now
    kept : whether the table still has it; if not, its last user closes it
    """

    __slots__ = ("fd", "identity", "inline", "kept", "linked", "users")

    def __init__(self, fd: int, identity: Identity, linked: bool, inline: int | None) -> None:
        self.fd = fd
        self.identity = identity
        self.linked = linked
        self.inline = inline
        self.users = 1
        self.kept = False


class HandleTable:
    """Open files by the key of their object.  Safe to use from any thread.

    capacity : files that are held open at once.  Only where all of them are in use by reads at the
    same moment another one is opened, and closed again as soon as one is idle.
    opener : opens an object, or raises; a new handle counts as borrowed once.
    """

    def __init__(self, capacity: int, opener: Callable[[SourceObject], Handle]) -> None:
        self._capacity = capacity
        self._opener = opener
        self._lock = threading.Lock()
        self._handles: OrderedDict[str, Handle] = OrderedDict()
        self._opening = 0
        self._opens = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._handles)

    @property
    def opens(self) -> int:
        """Files opened since the table was made."""
        return self._opens

    def borrow_open(self, obj: SourceObject) -> Handle | None:
        """A handle of the object if it is open.  Never blocks."""
        key = obj.key
        with self._lock:
            handle = self._handles.get(key)
            if handle is None:
                return None
            identity = handle.identity
            if identity is not obj.identity and identity != obj.identity:
                return None
            self._handles.move_to_end(key)
            handle.users += 1
            return handle

    def borrow(self, obj: SourceObject) -> Handle:
        """A handle of the object, opened if need be.  Raises what the opener raises."""
        handle = self.borrow_open(obj)
        if handle is not None:
            return handle
        self._make_room()
        try:
            opened = self._open(obj)
        except BaseException:
            with self._lock:
                self._opening -= 1
            raise
        return self._keep(obj, opened)

    def give_back(self, handle: Handle) -> None:
        """End a borrowing."""
        with self._lock:
            handle.users -= 1
            if handle.users:
                return
            if handle.kept and len(self._handles) <= self._capacity:
                return
            surplus = len(self._handles) - self._capacity
            idle = self._take_idle(surplus) if handle.kept else [handle]
        _close(idle)

    def drop(self, obj: SourceObject, handle: Handle) -> None:
        """Forget a borrowed handle; it is closed when the last user gives it back."""
        with self._lock:
            if handle.kept and self._handles.get(obj.key) is handle:
                del self._handles[obj.key]
            handle.kept = False

    def close(self) -> None:
        """Close all that are idle, and the others when they are given back."""
        with self._lock:
            self._closed = True
            idle = self._take_idle(len(self._handles))
            for handle in self._handles.values():
                handle.kept = False
            self._handles.clear()
        _close(idle)

    def _make_room(self) -> None:
        with self._lock:
            if self._closed:
                raise SourceError("the source is closed")
            self._opening += 1
            idle = self._take_idle(len(self._handles) + self._opening - self._capacity)
        _close(idle)

    def _take_idle(self, count: int) -> list[Handle]:
        """Remove up to `count` unused handles from the table, the oldest first."""
        if count <= 0:
            return []
        idle: list[tuple[str, Handle]] = []
        for key, handle in self._handles.items():
            if not handle.users:
                idle.append((key, handle))
                if len(idle) == count:
                    break
        for key, handle in idle:
            del self._handles[key]
            handle.kept = False
        return [handle for _, handle in idle]

    def _open(self, obj: SourceObject) -> Handle:
        try:
            return self._opener(obj)
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
            # Somebody else used up the descriptors: those that nobody reads from are of better use.
            with self._lock:
                idle = self._take_idle(len(self._handles))
            if not idle:
                raise
            _close(idle)
            return self._opener(obj)

    def _keep(self, obj: SourceObject, opened: Handle) -> Handle:
        surplus: list[Handle] = []
        with self._lock:
            self._opening -= 1
            self._opens += 1
            present = self._handles.get(obj.key)
            if present is not None and present.identity == opened.identity:
                # Another thread was faster.
                present.users += 1
                surplus.append(opened)
                opened = present
            elif not self._closed:
                if present is not None:
                    present.kept = False
                    if not present.users:
                        surplus.append(present)
                opened.kept = True
                self._handles[obj.key] = opened
                self._handles.move_to_end(obj.key)
        _close(surplus)
        return opened


def _close(handles: Iterable[Handle]) -> None:
    for handle in handles:
        os.close(handle.fd)
