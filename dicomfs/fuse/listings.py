"""Where a reader of a directory is, told by cookies that mean the same to every handle.

An NFS server keeps no handle between two calls: it comes back with the cookie of the last entry it
was given, to a directory in which entries may have come and gone since.  The cookie of an entry is
its inode number, so what comes after it is found by its name, and neither is an entry left out that
was there all the time nor is one given twice.  Must not know what is in a directory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict

from dicomfs.vfs.nodes import Directory, Node

_DOT, _DOT_DOT = 1, 2
_KEPT = 1024


class Bookmarks:
    """Names of the entries at which readers have stopped, by cookie; the latest of them."""

    def __init__(self) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()

    def put(self, cookie: int, name: str) -> None:
        """Remember an entry, which may be gone when its cookie comes back."""
        self._names[cookie] = name
        self._names.move_to_end(cookie)
        if len(self._names) > _KEPT:
            self._names.popitem(last=False)

    def name(self, cookie: int) -> str | None:
        """The name of the entry, if it is remembered."""
        return self._names.get(cookie)


class Listing:
    """The entries of a directory as they were when somebody opened it, in the order of names."""

    __slots__ = ("_bookmarks", "_positions", "entries")

    def __init__(self, directory: Directory, parent: Directory, bookmarks: Bookmarks) -> None:
        children = directory.children.items()
        self.entries: tuple[tuple[str, Node], ...] = (
            (".", directory),
            ("..", parent),
            *children,
        )
        self._bookmarks = bookmarks
        self._positions: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def cookie(self, position: int) -> int:
        """The cookie of an entry: positive, and no other entry's."""
        if position < 2:
            return (_DOT, _DOT_DOT)[position]
        return max(self.entries[position][1].inode, _DOT_DOT + 1)

    def stop(self, position: int) -> None:
        """Note that a reader was given the entry last, and may come back for the next."""
        cookie = self.cookie(position)
        self._positions[cookie] = position
        if position >= 2:
            self._bookmarks.put(cookie, self.entries[position][0])

    def after(self, cookie: int) -> int | None:
        """The position of the first entry behind a cookie; None for one that means nothing.

        cookie : 0 for the beginning
        """
        if cookie <= _DOT_DOT:
            return cookie
        position = self._positions.get(cookie)
        if position is None and len(self._positions) < len(self.entries):
            # Another handle's, or a `seekdir`.
            places = range(2, len(self.entries))
            self._positions |= {self.cookie(place): place for place in places}
            position = self._positions.get(cookie)
        if position is not None:
            return position + 1
        name = self._bookmarks.name(cookie)
        if name is None:
            return None
        return bisect_right(self.entries, name, lo=2, key=lambda entry: entry[0])
