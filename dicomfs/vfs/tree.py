"""The directory tree of a mount, which finds any node by its inode number.

Nodes are immutable; a change of the tree puts others in their places.  Inode numbers are hashes of
a path and of what identifies the content, so they survive a remount and change with the content.
What is in a folder need not be known before somebody looks into it.  Must not know FUSE, nor which
files there should be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeGuard

from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs import names
from dicomfs.vfs.nodes import NO_ATTRIBUTES, Directory, File, Listed, Node

ROOT_INODE = 1
"""The number that FUSE gives to the root."""

Path = tuple[str, ...]


class Entry(NamedTuple):
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
    attributes: Mapping[str, bytes] = NO_ATTRIBUTES


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """A directory that is to be shown, and whose content is made when somebody looks into it.

    path : names from the root down.
    mtime_ns : that of the newest file below it.
    subdirectories : folders right in it.
    nodes : it and all files and directories below it; size : of those files together, bytes.
    entries : what is in it; every path starts with that of the folder and has one name more.  No
        two names are confused on a file system that ignores case.
    """

    path: Path
    mtime_ns: int
    subdirectories: int
    nodes: int
    size: int
    entries: Callable[[], Iterable[Entry | Folder]]


Leaf: TypeAlias = Entry | Folder


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

    What is asked of the tree while `replace` runs is answered by the old or by the new nodes.
    """

    __slots__ = ("_count", "_nodes", "_parents", "file_bytes", "lock", "root")

    def __init__(self, root: Directory) -> None:
        self.root = root
        self.file_bytes = 0
        """Sizes of all files together, in bytes."""
        self.lock = threading.RLock()
        """Held by whoever changes the tree, or looks into a folder for the first time."""
        self._nodes: dict[int, Node] = {root.inode: root}
        self._parents: dict[int, int] = {root.inode: root.inode}
        self._count = 1
        waiting = [root]
        while waiting:
            directory = waiting.pop()
            for node in directory.children.values():
                self._remember(node, directory.inode)
                self._count_in(node, 1)
                if isinstance(node, Directory) and node.is_expanded:
                    waiting.append(node)

    def __len__(self) -> int:
        """Number of files and directories, the root among them."""
        return self._count

    def find(self, inode: int) -> Node | None:
        """The node of that number, if somebody has looked into its directory."""
        return self._nodes.get(inode)

    def parent(self, inode: int) -> Directory | None:
        """The directory that holds the node of that number; the root holds itself."""
        return self._directory(self._parents.get(inode, 0))

    def lookup(self, inode: int, name: str) -> Node | None:
        """The child `name` of the directory of that number; `.` and `..` are understood.

        `.` finds any node, whoever has looked where: NFS remembers numbers from former mounts.
        """
        if name == ".":
            return self._nodes.get(inode) or self._search(inode)
        if name == "..":
            return self._directory(self._parents.get(inode, 0))
        directory = self._nodes.get(inode)
        return directory.children.get(name) if isinstance(directory, Directory) else None

    def path(self, inode: int) -> str | None:
        """Where the node of that number is, from the root, for people."""
        parts = self._path(inode)
        return None if parts is None else "/" + "/".join(parts)

    def _path(self, inode: int) -> Path | None:
        parts: list[str] = []
        while inode != self.root.inode:
            node = self._nodes.get(inode)
            if node is None:
                return None
            parts.append(node.name)
            inode = self._parents[inode]
        return tuple(reversed(parts))

    # ------------------------------------------------------------ looking into folders

    def _search(self, inode: int) -> Node | None:
        """Look into one folder after the other until the number turns up."""
        waiting = [self.root]
        while waiting:
            for node in waiting.pop().children.values():
                if isinstance(node, Directory):
                    waiting.append(node)
            if inode in self._nodes:
                return self._nodes[inode]
        return None

    def _expand(self, directory: Directory) -> Mapping[str, Node]:
        with self.lock:
            if directory.is_expanded:
                return directory.children
            folder = directory.folder
            assert isinstance(folder, Folder)
            children: dict[str, Node] = {}
            # What is no longer in the tree may still be looked at, but cannot be found in it.
            found = self._nodes.get(directory.inode) is directory
            for leaf in _ordered(folder):
                node = self._made(leaf)
                children[node.name] = node
                if found:
                    self._remember(node, directory.inode)
            return MappingProxyType(children)

    def _made(self, leaf: Leaf) -> Node:
        path = leaf.path
        if isinstance(leaf, Entry):
            number = self._free_number(path, leaf.token)
            return File(path[-1], leaf.content, leaf.mtime_ns, number, leaf.attributes)
        return _unexpanded(leaf, self._free_number(path, ""))

    # ------------------------------------------------------------ changes

    def replace(self, gone: Iterable[Path], entries: Iterable[Leaf]) -> Changes:
        """Take files and folders away and put others in; other directories come and go with what
        is in them.

        gone : paths of files and folders; those that are not there are passed over

        Raises ValueError as `build` does, before anything has changed.
        """
        with self.lock:
            leaves = _by_path(entries)
            for path in leaves:
                self._refuse_file_as_directory(path)
            listings: dict[Path, dict[str, Node | None]] = {}
            for path in gone:
                listings.setdefault(path[:-1], {})[path[-1]] = None
            for path, leaf in leaves.items():
                listings.setdefault(path[:-1], {})[path[-1]] = self._made(leaf)
            changed: list[tuple[int, str, int | None]] = []
            inodes: list[int] = []
            # The deepest first: what becomes of a directory is a change of the one that holds it.
            depths = max(map(len, listings), default=-1)
            for depth in range(depths, -1, -1):
                for path in [path for path in listings if len(path) == depth]:
                    self._replace_directory(path, listings, changed, inodes)
            return Changes(tuple(changed), tuple(inodes))

    def _replace_directory(
        self,
        path: Path,
        listings: dict[Path, dict[str, Node | None]],
        changed: list[tuple[int, str, int | None]],
        inodes: list[int],
    ) -> None:
        before = self._at(path)
        children = dict(before.children) if before is not None else {}
        inode = before.inode if before is not None else self._free_number(path, "")
        unordered = False
        for name, node in listings[path].items():
            old = children.get(name)
            if old is not None:
                self._count_in(old, -1)
            if node is not None:
                self._count_in(node, 1)
                if _is_folder(node) and isinstance(old, Directory):
                    self._succeed(old, node, inode, changed, inodes)
                else:
                    self._forget(old)
                    self._remember(node, inode)
                children[name] = node
            elif old is not None:
                self._forget(old)
                del children[name]
            unordered |= old is None and node is not None
            number = old.inode if old is not None else None
            if before is not None and number != (node.inode if node is not None else None):
                changed.append((inode, name, number))
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

    def _succeed(
        self,
        old: Directory,
        new: Directory,
        parent: int,
        changed: list[tuple[int, str, int | None]],
        inodes: list[int],
    ) -> None:
        """Put a folder in the place of a directory; only what is no longer so is told of."""
        self._remember(new, parent)
        inodes.append(new.inode)
        if not old.is_expanded:
            return
        folder = new.folder
        assert isinstance(folder, Folder)
        before = dict(old.children)
        children: dict[str, Node] = {}
        for leaf in _ordered(folder):
            was = before.pop(leaf.path[-1], None)
            if isinstance(was, Directory) and was.folder is leaf:
                node: Node = was
            else:
                node = self._made(leaf)
                if _is_folder(node) and isinstance(was, Directory):
                    self._succeed(was, node, new.inode, changed, inodes)
                else:
                    self._forget(was)
                    self._remember(node, new.inode)
                number = was.inode if was is not None else None
                if number != node.inode:
                    changed.append((new.inode, node.name, number))
            children[node.name] = node
        for name, was in before.items():
            self._forget(was)
            changed.append((new.inode, name, was.inode))
        new.fill(MappingProxyType(children))

    def _remember(self, node: Node, parent: int) -> None:
        self._nodes[node.inode] = node
        self._parents[node.inode] = parent
        if _is_folder(node):
            node.expand = self._expand

    def _forget(self, node: Node | None) -> None:
        """Forget a node, and of a folder what somebody has seen in it."""
        waiting = [] if node is None else [node]
        while waiting:
            one = waiting.pop()
            self._nodes.pop(one.inode, None)
            self._parents.pop(one.inode, None)
            if _is_folder(one) and one.is_expanded:
                waiting += one.children.values()

    def _count_in(self, node: Node, sign: int) -> None:
        if isinstance(node, File):
            self._count += sign
            self.file_bytes += sign * node.size
        elif isinstance(node.folder, Folder):
            self._count += sign * node.folder.nodes
            self.file_bytes += sign * node.folder.size
        else:
            self._count += sign  # what is in it is counted by itself

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
            if not isinstance(node, Directory) or _is_folder(node):
                raise ValueError(f"{'/'.join(path)!r} lies in a file or a folder of its own")
            node = node.children.get(name)
            if node is None:
                return
        if isinstance(node, Directory) and not _is_folder(node):
            raise ValueError(f"{'/'.join(path)!r} is a directory")

    def _free_number(self, path: Path, token: str) -> int:
        taken = self._nodes
        number = _number(path, token)
        if number <= ROOT_INODE or (number in taken and self._path(number) != path):
            return _untaken_number(path, token, taken)
        return number

    def _directory(self, inode: int) -> Directory | None:
        node = self._nodes.get(inode)
        return node if isinstance(node, Directory) else None


def _is_folder(node: Node) -> TypeGuard[Directory]:
    return isinstance(node, Directory) and node.folder is not None


def _unexpanded(folder: Folder, inode: int) -> Directory:
    directory = Directory(folder.path[-1], None, folder.mtime_ns, inode, folder.subdirectories)
    directory.folder = folder
    return directory


def _ordered(folder: Folder) -> list[Leaf]:
    """What is in a folder, by name.  Raises ValueError for what cannot be a file name there."""
    leaves: dict[str, Leaf] = {}
    for leaf in folder.entries():
        name = leaf.path[-1]
        if leaf.path[:-1] != folder.path or name in leaves:
            raise ValueError(f"{leaf.path!r} cannot be in {'/'.join(folder.path)!r}")
        names.check(name)
        leaves[name] = leaf
    return [leaves[name] for name in sorted(leaves)]


def build(entries: Iterable[Leaf], mtime_ns: int = 0) -> Tree:
    """The tree of all `entries`; the same one, whatever their order.

    mtime_ns : for the root, when there is nothing in it.

    Raises ValueError for a name that cannot be a file name, and for two names in one directory that
    are equal, or would be on a file system that ignores case.
    """
    files = _by_path(entries)
    listings = _directories(files)
    inodes = _numbers(files, listings)
    for path, leaf in files.items():
        if isinstance(leaf, Folder):
            node: Node = _unexpanded(leaf, inodes[path])
        else:
            node = File(path[-1], leaf.content, leaf.mtime_ns, inodes[path], leaf.attributes)
        listings[path[:-1]].append(node)
    # The deepest first, without recursion: a mirrored source may be nested a thousand times.
    for path in sorted(listings, key=len, reverse=True):
        directory = _directory(path, listings[path], inodes[path], mtime_ns)
        if not path:
            return Tree(directory)
        listings[path[:-1]].append(directory)
    raise AssertionError("the root is among the listings")


def _by_path(entries: Iterable[Leaf]) -> dict[Path, Leaf]:
    files: dict[Path, Leaf] = {}
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


def _numbers(files: Mapping[Path, Leaf], directories: Iterable[Path]) -> dict[Path, int]:
    """Inode numbers of all paths; where two hashes are equal, the path that sorts first wins."""
    tokens = dict.fromkeys(directories, "") | {
        path: leaf.token if isinstance(leaf, Entry) else "" for path, leaf in files.items()
    }
    inodes: dict[Path, int] = {(): ROOT_INODE}
    taken = {ROOT_INODE}
    for path in sorted(tokens):
        if path:
            inodes[path] = _untaken_number(path, tokens[path], taken)
            taken.add(inodes[path])
    return inodes


def _number(path: Path, token: str, attempt: int = 0) -> int:
    # A name has no NUL, so nothing but this path, token and attempt makes these bytes.
    name = "\0".join(path)
    text = f"{name}\0\0{attempt}\0{token}".encode("utf-8", "surrogatepass")
    # 63 bits: programs that keep inode numbers in signed integers are many.
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def _untaken_number(path: Path, token: str, taken: Container[int]) -> int:
    attempt = 0
    while (number := _number(path, token, attempt)) <= ROOT_INODE or number in taken:
        attempt += 1
    return number


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
