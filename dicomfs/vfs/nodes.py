"""Files and directories of a mount, as immutable values.

Must not know FUSE, nor where the bytes of a file come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeAlias

from dicomfs.reading.virtual_file import VirtualFile

NO_ATTRIBUTES: Mapping[str, bytes] = MappingProxyType({})


class Listed(Protocol):
    """A content of which only the size is at hand."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def fetch(self) -> VirtualFile:
        """The content.  Blocks.  Raises DicomfsError."""


@dataclass(frozen=True, slots=True, eq=False)
class File:
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
    attributes: Mapping[str, bytes] = field(default_factory=lambda: NO_ATTRIBUTES)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.holds.size

    @property
    def content(self) -> VirtualFile:
        """The bytes.  Blocks where they are not at hand.  Raises DicomfsError."""
        return self.holds if isinstance(self.holds, VirtualFile) else self.holds.fetch()


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """A directory.

    children : by name, in ascending order of the names.
    mtime_ns : that of the newest child.
    inode : 2 to 2**63-1, the same in every mount of the same tree; 1 is the root.
    subdirectories : how many children are directories; the link count wants it at every `stat`.
    """

    name: str
    children: Mapping[str, Node]
    mtime_ns: int
    inode: int
    subdirectories: int = 0


Node: TypeAlias = Directory | File
