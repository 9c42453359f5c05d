"""Files and directories of a mount, as immutable values.

Must not know FUSE, nor where the bytes of a file come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from dicomfs.reading.virtual_file import VirtualFile

NO_ATTRIBUTES: Mapping[str, bytes] = MappingProxyType({})


class Listed(Protocol):
    """A content of which only the size is at hand."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def fetch(self) -> VirtualFile:
        """The content.  Blocks.  Raises DicomfsError."""


class File(NamedTuple):
    """A regular file.

    holds : the content, or what stands for it until somebody opens the file
    mtime_ns : nanoseconds since 1970-01-01 UTC.
    inode : as in `Directory`; another content, another number.
    attributes : extended attributes by their full name, such as `user.dicom.PatientID`.
    """

    name: str
    holds: VirtualFile | Listed
    mtime_ns: int
    inode: int
    attributes: Mapping[str, bytes] = NO_ATTRIBUTES

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.holds.size

    @property
    def content(self) -> VirtualFile:
        """The bytes.  Blocks where they are not at hand.  Raises DicomfsError."""
        return self.holds if isinstance(self.holds, VirtualFile) else self.holds.fetch()


class Directory:
    """A directory.  Immutable, but for its content, which is made when somebody looks into it.

    mtime_ns : that of the newest file below.
    inode : 2 to 2**63-1, the same in every mount of the same tree; 1 is the root.
    subdirectories : how many children are directories; the link count wants it at every `stat`.
    children : None where they are made later: by `expand`, which is set then, of `folder`.
    """

    __slots__ = ("_children", "expand", "folder", "inode", "mtime_ns", "name", "subdirectories")

    def __init__(
        self,
        name: str,
        children: Mapping[str, Node] | None,
        mtime_ns: int,
        inode: int,
        subdirectories: int = 0,
    ) -> None:
        self.name = name
        self.mtime_ns = mtime_ns
        self.inode = inode
        self.subdirectories = subdirectories
        self.expand: Callable[[Directory], Mapping[str, Node]] | None = None
        self.folder: object = None
        self._children = children

    @property
    def children(self) -> Mapping[str, Node]:
        """The nodes in it by name, in ascending order of the names."""
        if self._children is None:
            assert self.expand is not None
            self._children = self.expand(self)
        return self._children

    def fill(self, children: Mapping[str, Node]) -> None:
        """Give the directory its content, before anybody has looked into it."""
        assert self._children is None
        self._children = children

    @property
    def is_expanded(self) -> bool:
        """Whether somebody has looked into it."""
        return self._children is not None


Node: TypeAlias = Directory | File
