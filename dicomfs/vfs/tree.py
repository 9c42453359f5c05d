"""The directory tree of a mount, which finds any node by its inode number.

Nodes are immutable; a change of the tree puts others in their places.  Inode numbers are hashes of
a path and of what identifies the content, so they survive a remount and change with the content.
Must not know FUSE, nor which files there should be.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType

from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs import names
from dicomfs.vfs.nodes import NO_ATTRIBUTES, Directory, File, Listed, Node

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
    content: VirtualFile | Listed
    mtime_ns: int
    token: str
    attributes: Mapping[str, bytes] = field(default_factory=lambda: NO_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Changes:
    """What somebody who remembers nodes of a tree has to forget after a change of it.

    names : directory, name and the number of the node that had it, None where there was none
    inodes : numbers of directories that are not what they were
    """

    names: tuple[tuple[int, str, int | None], ...]
    inodes: tuple[int, ...]


class Tree:
    """Everything that a mount shows.  Made by `build`.

    `replace` must not run at the same time as itself; what is asked of the tree while it runs is
    answered by the old or by the new nodes.
    """

    __slots__ = ("_nodes", "_parents", "file_bytes", "root")

    def __init__(self, root: Directory) -> None:
        self.root = root
        self.file_bytes = 0
        """Sizes of all files together, in bytes."""
        self._nodes: dict[int, Node] = {root.inode: root}
        self._parents: dict[int, int] = {root.inode: root.inode}
        waiting = [root]
        while waiting:
            directory = waiting.pop()
            for node in directory.children.values():
                self._nodes[node.inode] = node
                self._parents[node.inode] = directory.inode
                if isinstance(node, Directory):
                    waiting.append(node)
                else:
                    self.file_bytes += node.size

    def __len__(self) -> int:
        """Number of files and directories, the root among them."""
        return len(self._nodes)

    def find(self, inode: int) -> Node | None:
        """The node of that number."""
        return self._nodes.get(inode)

    def parent(self, inode: int) -> Directory | None:
        """The directory that holds the node of that number; the root holds itself."""
        return self._directory(self._parents.get(inode, 0))

    def lookup(self, inode: int, name: str) -> Node | None:
        """The child `name` of the directory of that number; `.` and `..` are understood."""
        directory = self._nodes.get(inode)
        if name == ".":
            return directory
        if name == "..":
            return self._directory(self._parents.get(inode, 0))
        return directory.children.get(name) if isinstance(directory, Directory) else None

    def path(self, inode: int) -> str | None:
        """Where the node of that number is, from the root, for people."""
        parts: list[str] = []
        while inode != self.root.inode:
            node = self._nodes.get(inode)
            if node is None:
                return None
            parts.append(node.name)
            inode = self._parents[inode]
        return "/" + "/".join(reversed(parts))

    def replace(self, gone: Iterable[Path], entries: Iterable[Entry]) -> Changes:
        """Take files away and put others in; directories come and go with their files.

        gone : paths of files; those that are not there are passed over

        Raises ValueError as `build` does, before anything has changed.
        """
        files = _by_path(entries)
        for path in files:
            self._refuse_file_as_directory(path)
        listings: dict[Path, dict[str, Node | None]] = {}
        for path in gone:
            listings.setdefault(path[:-1], {})[path[-1]] = None
        for path, entry in files.items():
            inode = self._free_number(path, entry.token)
            node = File(path[-1], entry.content, entry.mtime_ns, inode, entry.attributes)
            listings.setdefault(path[:-1], {})[path[-1]] = node
        names: list[tuple[int, str, int | None]] = []
        inodes: list[int] = []
        # The deepest first: what becomes of a directory is a change of the one that holds it.
        depths = max(map(len, listings), default=-1)
        for depth in range(depths, -1, -1):
            for path in [path for path in listings if len(path) == depth]:
                self._replace_directory(path, listings, names, inodes)
        return Changes(tuple(names), tuple(inodes))

    def _replace_directory(
        self,
        path: Path,
        listings: dict[Path, dict[str, Node | None]],
        names: list[tuple[int, str, int | None]],
        inodes: list[int],
    ) -> None:
        before = self._at(path)
        children = dict(before.children) if before is not None else {}
        inode = before.inode if before is not None else self._free_number(path, "")
        unordered = False
        for name, node in listings[path].items():
            old = children.get(name)
            if old is not None:
                self._forget(old)
            if node is not None:
                children[name] = node
                self._remember(node, inode)
            elif old is not None:
                del children[name]
            unordered |= old is None and node is not None
            number = old.inode if old is not None else None
            if before is not None and number != (node.inode if node is not None else None):
                names.append((inode, name, number))
        after: Directory | None = None
        if children or not path:
            ordered = {name: children[name] for name in sorted(children)} if unordered else children
            after = Directory(
                path[-1] if path else "",
                MappingProxyType(ordered),
                max((node.mtime_ns for node in ordered.values()), default=self.root.mtime_ns),
                inode,
                sum(isinstance(node, Directory) for node in ordered.values()),
            )
        if before is not None:
            inodes.append(inode)
        if path:
            listings.setdefault(path[:-1], {})[path[-1]] = after
        else:
            assert after is not None
            self.root = self._nodes[inode] = after

    def _remember(self, node: Node, parent: int) -> None:
        self._nodes[node.inode] = node
        self._parents[node.inode] = parent
        if isinstance(node, File):
            self.file_bytes += node.size

    def _forget(self, node: Node) -> None:
        self._nodes.pop(node.inode, None)
        self._parents.pop(node.inode, None)
        if isinstance(node, File):
            self.file_bytes -= node.size

    def _at(self, path: Path) -> Directory | None:
        directory: Node | None = self.root
        for name in path:
            if not isinstance(directory, Directory):
                return None
            directory = directory.children.get(name)
        return directory if isinstance(directory, Directory) else None

    def _refuse_file_as_directory(self, path: Path) -> None:
        node: Node | None = self.root
        for name in path:
            if not isinstance(node, Directory):
                raise ValueError(f"{'/'.join(path)!r} lies in a file")
            node = node.children.get(name)
            if node is None:
                return
        if isinstance(node, Directory):
            raise ValueError(f"{'/'.join(path)!r} is a directory")

    def _free_number(self, path: Path, token: str) -> int:
        taken = self._nodes
        number = _number(path, token, ())
        if number in taken and self.path(number) != "/" + "/".join(path):
            return _number(path, token, taken)
        return number

    def _directory(self, inode: int) -> Directory | None:
        node = self._nodes.get(inode)
        return node if isinstance(node, Directory) else None


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


def _number(path: Path, token: str, taken: Container[int]) -> int:
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
