"""Requests of the kernel, answered from the current tree.

A thin translation: nodes into attributes, reads into calls of the reader, every attempt to change
something into EROFS.  Must not know what the files are.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple, NoReturn, Protocol
from weakref import WeakValueDictionary

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

from dicomfs.fuse.boundary import Failures, guarded
from dicomfs.fuse.buffers import BufferPool
from dicomfs.fuse.listings import Bookmarks, Listing
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs.attributes import KEYWORDS, Attributes
from dicomfs.vfs.live import LiveFile
from dicomfs.vfs.names import LONGEST
from dicomfs.vfs.nodes import NO_ATTRIBUTES, Directory, File, Node
from dicomfs.vfs.tree import Tree

FOUND_TIMEOUT = 300.0
"""Seconds for which the kernel may keep a name or attributes without asking again."""

MISSING_TIMEOUT = 1.0
"""Seconds for which the kernel may believe that a name does not exist."""

# Not the size of a good read: C's stdio and Python's `open` buffer as much as st_blksize says, and
# would read that much for every tile of a slide (1 MiB: 2.4 ms for 48 KB at random, 4 KiB: 0.3 ms).
# `cp` and `cat` read 128 KiB and more anyway.
_BLOCK_SIZE = 4096

# The unit of st_blocks, whatever st_blksize is.
_SECTOR_SIZE = 512

_READ_FROM_SOURCE = KEYWORDS.encode()

# Slides that are put together at the same time because somebody opens them.
_MOST_OPENINGS = 4


class _OpenFile(NamedTuple):
    """What a handle stands for: the file, and its content, which is at hand."""

    node: File
    content: VirtualFile


class ContentReader(Protocol):
    """What is needed of `dicomfs.reading.Reader`."""

    async def read_into(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
        """Fill min(len(buffer), file.size - offset) bytes exactly, or raise."""


@guarded
class Operations(pyfuse3.Operations):
    """The request handlers of a read-only mount.

    tree : gives the current snapshot; an open handle keeps the node it was opened with.
    reader : fills reads.
    root_attributes : extended attributes of the root directory.

    Nodes are found by their number in the snapshot, so what the kernel remembers or forgets need
    not be counted, and NFS can come back with a number after a remount.
    """

    supports_dot_lookup = True

    def __init__(
        self,
        tree: Callable[[], Tree],
        reader: ContentReader,
        root_attributes: Mapping[str, bytes] = NO_ATTRIBUTES,
    ) -> None:
        super().__init__()
        self.failures = Failures()
        self._tree = tree
        self._reader = reader
        self._root_attributes = root_attributes
        self._uid = os.getuid()
        self._gid = os.getgid()
        self._handles = count(1)
        self._files: dict[int, _OpenFile] = {}
        self._at_hand: WeakValueDictionary[int, VirtualFile] = WeakValueDictionary()
        self._listings: dict[int, Listing] = {}
        self._bookmarks = Bookmarks()
        self._buffers = BufferPool()
        self._openers = trio.CapacityLimiter(_MOST_OPENINGS)
        self._searchers = trio.CapacityLimiter(1)

    def gauges(self) -> dict[str, Any]:
        """What is open now, and how many requests have failed."""
        return {
            "open_files": len(self._files),
            "open_directories": len(self._listings),
            "failed_requests": self.failures.count,
        }

    def subject(self, operation: str, first: object) -> str:
        """The path that a request is about, for the log."""
        if not isinstance(first, int):
            return "/"
        opened: Node | None = None
        if operation in ("read", "release"):
            file = self._files.get(first)
            opened = file and file.node
        elif operation in ("readdir", "releasedir") and first in self._listings:
            opened = self._listings[first].entries[0][1]
        number = opened.inode if opened else first
        return self._tree().path(number) or (opened.name if opened else f"inode {number}")

    # ------------------------------------------------------------ names and attributes

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """The attributes of a name in a directory."""
        tree = self._tree()
        if name == b"." and tree.find(parent_inode) is None:
            # A handle of an NFS server, from before this mount: it may take looks into all folders.
            node = await trio.to_thread.run_sync(
                tree.lookup, parent_inode, ".", abandon_on_cancel=True, limiter=self._searchers
            )
        else:
            node = tree.lookup(parent_inode, name.decode("utf-8", "surrogateescape"))
        if node is not None:
            return self._attributes(node)
        if tree.find(parent_inode) is None:
            raise FUSEError(errno.ESTALE)
        missing = EntryAttributes()  # number 0: the kernel may keep that there is no such name
        missing.entry_timeout = MISSING_TIMEOUT
        return missing

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """The attributes of a node."""
        return self._attributes(self._find(inode))

    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        """Whether a node may be read; the kernel checks mode and owner (default_permissions)."""
        self._find(inode)
        if mode & os.W_OK:
            raise FUSEError(errno.EROFS)
        return True

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Nothing: a node lives as long as the tree that holds it."""

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """A full disk that holds the files of the tree."""
        tree = self._tree()
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = _BLOCK_SIZE
        answer.f_blocks = -(-tree.file_bytes // _BLOCK_SIZE)
        answer.f_bfree = answer.f_bavail = 0
        answer.f_files = len(tree)
        answer.f_ffree = answer.f_favail = 0
        answer.f_namemax = LONGEST
        return answer

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """The names of the extended attributes of a node."""
        attributes = self._extended(self._find(inode))
        if isinstance(attributes, Attributes):
            attributes = await self._in_thread(attributes)
        return [name.encode("utf-8") for name in attributes]

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """The value of an extended attribute."""
        if not name.startswith(b"user."):
            # `ls -l` asks for labels and access lists, and after this answer never again: seven of
            # ten requests fewer than where it is told that this file has none.
            raise FUSEError(errno.EOPNOTSUPP)
        attributes = self._extended(self._find(inode))
        if not name.startswith(_READ_FROM_SOURCE):  # Samba asks every file for some of its own
            value = attributes.get(name.decode("utf-8", "surrogateescape"))
        else:
            value = (await self._in_thread(attributes)).get(name.decode("utf-8", "replace"))
        if value is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return bytes(value)

    async def _in_thread(self, attributes: Mapping[str, bytes]) -> dict[str, bytes]:
        """All attributes, some of which may have to be read from the source."""
        return await trio.to_thread.run_sync(
            dict, attributes, abandon_on_cancel=True, limiter=self._openers
        )

    # ------------------------------------------------------------ directories

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        """A handle on the listing of a directory as it is now."""
        tree = self._tree()
        node, parent = self._find(inode), tree.parent(inode)
        if not isinstance(node, Directory) or parent is None:
            raise FUSEError(errno.ENOTDIR)
        handle = next(self._handles)
        self._listings[handle] = Listing(node, parent, self._bookmarks)
        return handle

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """Entries with their attributes, from the one behind the cookie `start_id` on."""
        listing = self._listings.get(fh)
        if listing is None:
            raise FUSEError(errno.EBADF)
        start = listing.after(start_id)
        if start is None:
            raise FUSEError(errno.EINVAL)
        for position in range(start, len(listing)):
            name, node = listing.entries[position]
            entry = name.encode("utf-8"), self._attributes(node), listing.cookie(position)
            if not pyfuse3.readdir_reply(token, *entry):
                if position > start:
                    listing.stop(position - 1)
                return
        if len(listing) > start:
            listing.stop(len(listing) - 1)

    async def releasedir(self, fh: int) -> None:
        """Close a handle on a directory."""
        self._listings.pop(fh, None)

    # ------------------------------------------------------------ files

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """A handle on a file, which keeps the version of the file that it was opened with."""
        if flags & (os.O_ACCMODE | os.O_TRUNC):  # O_RDONLY is 0
            raise FUSEError(errno.EROFS)
        node = self._find(inode)
        if not isinstance(node, File):
            raise FUSEError(errno.EISDIR)
        live = isinstance(node.holds, LiveFile)
        if isinstance(node.holds, VirtualFile):
            content = node.holds
        elif (kept := self._at_hand.get(inode)) is not None:
            # Some readers open a file anew for every tile, and a thread takes half a millisecond.
            content = kept
        else:
            content = await trio.to_thread.run_sync(
                node.holds.fetch, abandon_on_cancel=True, limiter=self._openers
            )
            if not live:
                self._at_hand[inode] = content
        handle = next(self._handles)
        self._files[handle] = _OpenFile(node, content)
        # The kernel may keep pages from one open to the next: other bytes have another number.
        return FileInfo(fh=handle, keep_cache=not live, direct_io=live)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Exactly `size` bytes from `off` on, fewer only at the end of the file."""
        file = self._files.get(fh)
        if file is None:
            raise FUSEError(errno.EBADF)
        content = file.content
        left = content.size - off
        expected = size if size <= left else max(0, left)
        buffer = self._buffers.take(expected)
        view = memoryview(buffer)[:expected]
        try:
            got = await self._reader.read_into(content, off, view)
        finally:
            # Given back before pyfuse3 has sent it, which is safe: `fuse_read_async` (handlers.pxi
            # of pyfuse3 3.5.0) calls fuse_reply_buf in the same step of the event loop in which
            # this coroutine returns, with no await in between, and fuse_reply_buf copies to the
            # kernel before it returns.  Nobody else can take the buffer earlier.
            self._buffers.give_back(buffer)
        if got != expected:
            # The kernel would take a short answer for the end of the file, or fill it with zeros.
            raise RuntimeError(f"the reader filled {got} of {expected} bytes at {off}")
        return view  # type: ignore[return-value]  # any contiguous buffer is sent without a copy

    async def release(self, fh: int) -> None:
        """Close a handle on a file."""
        self._files.pop(fh, None)

    # ------------------------------------------------------------ changes

    # The kernel itself refuses changes of a mount that is `ro`, until root remounts it `rw`.

    async def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise FUSEError(errno.EROFS)

    create = link = mkdir = mknod = removexattr = rename = _refuse
    rmdir = setattr = setxattr = symlink = unlink = write = _refuse

    # ------------------------------------------------------------ nodes

    def _find(self, inode: int) -> Node:
        node = self._tree().find(inode)
        if node is None:
            # Gone from the tree, but `fstat` on a handle that is still open has to answer.
            opened = (file.node for file in self._files.values())
            node = next((file for file in opened if file.inode == inode), None)
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def _extended(self, node: Node) -> Mapping[str, bytes]:
        if isinstance(node, File):
            return node.attributes
        return self._root_attributes if node.inode == pyfuse3.ROOT_INODE else NO_ATTRIBUTES

    def _attributes(self, node: Node) -> EntryAttributes:
        attributes = EntryAttributes()
        attributes.st_ino = node.inode
        if isinstance(node, Directory):
            attributes.st_mode = stat.S_IFDIR | 0o555
            attributes.st_nlink = 2 + node.subdirectories
        else:
            attributes.st_mode = stat.S_IFREG | 0o444
            attributes.st_size = node.size
            attributes.st_blocks = -(-node.size // _SECTOR_SIZE)
        attributes.st_blksize = _BLOCK_SIZE
        attributes.st_uid = self._uid
        attributes.st_gid = self._gid
        live = isinstance(node, File) and isinstance(node.holds, LiveFile)
        when = time.time_ns() if live else node.mtime_ns
        attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = when
        attributes.attr_timeout = 0 if live else FOUND_TIMEOUT
        attributes.entry_timeout = FOUND_TIMEOUT
        return attributes
