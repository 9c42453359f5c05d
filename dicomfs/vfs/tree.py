"""The directory tree of a mount: an immutable snapshot that finds any node by its inode number.

Inode numbers are hashes of a path and of what identifies the content, so they survive a remount
and change with the content.  Must not know FUSE, nor which files there should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType

from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs import names
from dicomfs.vfs.nodes import NO_ATTRIBUTES, Directory, File, Node

ROOT_INODE = 1
"""The number that FUSE gives to the root."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is to be shown.  The directories on the way to it make themselves.

    path : names from the root down; the last one is the file's.
    mtime_ns : nanoseconds since 1970-01-01 UTC.
    token : changes whenever the bytes of the file may have changed; goes into the inode number.
    attributes : extended attributes by their full name.
    """

    path: Path
    content: VirtualFile
    mtime_ns: int
    token: str
    attributes: Mapping[str, bytes] = field(default_factory=lambda: NO_ATTRIBUTES)


class Tree:
    """A snapshot of everything that a mount shows.  Made by `build`."""

    __slots__ = ("_nodes", "_parents", "file_bytes", "root")

    def __init__(self, root: Directory) -> None:
        self.root = root
        self.file_bytes = 0
        """Sizes of all files together, in bytes."""
        self._nodes: dict[int, Node] = {root.inode: root}
        self._parents: dict[int, Directory] = {root.inode: root}
        waiting = [root]
        while waiting:
            directory = waiting.pop()
            for node in directory.children.values():
                self._nodes[node.inode] = node
                self._parents[node.inode] = directory
                if isinstance(node, Directory):
                    waiting.append(node)
                else:
                    self.file_bytes += node.content.size

    def __len__(self) -> int:
        """Number of files and directories, the root among them."""
        return len(self._nodes)

    def find(self, inode: int) -> Node | None:
        """The node of that number."""
        return self._nodes.get(inode)

    def parent(self, inode: int) -> Directory | None:
        """The directory that holds the node of that number; the root holds itself."""
        return self._parents.get(inode)

    def lookup(self, inode: int, name: str) -> Node | None:
        """The child `name` of the directory of that number; `.` and `..` are understood."""
        directory = self._nodes.get(inode)
        if name == ".":
            return directory
        if name == "..":
            return self._parents.get(inode)
        return directory.children.get(name) if isinstance(directory, Directory) else None

    def path(self, inode: int) -> str | None:
        """Where the node of that number is, from the root, for people."""
        parts: list[str] = []
        while inode != self.root.inode:
            node = self._nodes.get(inode)
            if node is None:
                return None
            parts.append(node.name)
            inode = self._parents[inode].inode
        return "/" + "/".join(reversed(parts))


def build(entries: Iterable[Entry], mtime_ns: int = 0) -> Tree:
    """The tree of all `entries`; the same one, whatever their order.

    mtime_ns : for the root, when there is nothing in it.

    Raises ValueError for a name that cannot be a file name, and for two names in one directory that
    are equal, or would be on a file system that ignores case.
    """
    files = _by_path(entries)
    listings = _directories(files)
    inodes = _numbers(files, listings)
    for path, entry in files.items():
        listings[path[:-1]].append(
            File(path[-1], entry.content, entry.mtime_ns, inodes[path], entry.attributes)
        )
    # The deepest first, without recursion: a mirrored source may be nested a thousand times.
    for path in sorted(listings, key=len, reverse=True):
        directory = _directory(path, listings[path], inodes[path], mtime_ns)
        if not path:
            return Tree(directory)
        listings[path[:-1]].append(directory)
    raise AssertionError("the root is among the listings")


def _by_path(entries: Iterable[Entry]) -> dict[Path, Entry]:
    files: dict[Path, Entry] = {}
    for entry in entries:
        if not entry.path:
            raise ValueError("the root cannot be a file")
        if entry.path in files:
            raise ValueError(f"two files are called {'/'.join(entry.path)!r}")
        for name in entry.path:
            names.check(name)
        files[entry.path] = entry
    return files


def _directories(files: Iterable[Path]) -> dict[Path, list[Node]]:
    listings: dict[Path, list[Node]] = {(): []}
    for path in files:
        folder = path[:-1]
        while folder not in listings:
            listings[folder] = []
            folder = folder[:-1]
    return listings


def _numbers(files: Mapping[Path, Entry], directories: Iterable[Path]) -> dict[Path, int]:
    """Inode numbers of all paths; where two hashes are equal, the path that sorts first wins."""
    tokens = dict.fromkeys(directories, "") | {path: e.token for path, e in files.items()}
    inodes: dict[Path, int] = {(): ROOT_INODE}
    taken = {ROOT_INODE}
    for path in sorted(tokens):
        if path:
            inodes[path] = _number(path, tokens[path], taken)
            taken.add(inodes[path])
    return inodes


def _number(path: Path, token: str, taken: set[int]) -> int:
    attempt = 0
    while True:
        # A name has no NUL, so nothing but this path, token and attempt makes these bytes.
        text = "\0".join([*path, "", str(attempt), token])
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        # 63 bits: programs that keep inode numbers in signed integers are many.
        number = int.from_bytes(digest, "big") >> 1
        if number > ROOT_INODE and number not in taken:
            return number
        attempt += 1


def _directory(path: Path, nodes: list[Node], inode: int, mtime_ns: int) -> Directory:
    children: dict[str, Node] = {}
    keys: dict[str, str] = {}
    for node in sorted(nodes, key=lambda node: node.name):
        other = keys.setdefault(names.key(node.name), node.name)
        if node.name in children or other != node.name:
            raise ValueError(f"{node.name!r} and {other!r} in {'/'.join(path)!r} are confused")
        children[node.name] = node
    return Directory(
        path[-1] if path else "",
        MappingProxyType(children),
        max((node.mtime_ns for node in nodes), default=mtime_ns),
        inode,
        sum(isinstance(node, Directory) for node in nodes),
    )
