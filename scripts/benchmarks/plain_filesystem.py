"""A file system in pyfuse3 that shows a folder as it is: the least that any in pyfuse3 can do.

    python plain_filesystem.py FOLDER MOUNTPOINT

Whatever a request can be told without work is made before the mount: nodes, attributes, names. A
read is one system call into the answer. What this takes is taken by Python, trio, pyfuse3 and the
kernel, whoever writes the file system.
"""

import errno
import os
import sys
from typing import Any

import pyfuse3
import trio

_TIMEOUT = 300.0


class Plain(pyfuse3.Operations):
    """The folders and regular files below a folder, as they were when it was mounted."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._paths: list[str] = [""]
        self._attributes: list[pyfuse3.EntryAttributes] = [pyfuse3.EntryAttributes()]
        self._children: dict[int, dict[bytes, int]] = {}
        self._listings: dict[int, list[tuple[bytes, pyfuse3.EntryAttributes, int]]] = {}
        waiting = [self._add(folder)]
        while waiting:
            number = waiting.pop()
            names = self._children[number] = {}
            with os.scandir(self._paths[number]) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    child = names[os.fsencode(entry.name)] = self._add(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(child)
            self._listings[number] = [
                (name, self._attributes[child], place)
                for place, (name, child) in enumerate(names.items(), 1)
            ]

    def _add(self, path: str) -> int:
        state = os.stat(path, follow_symlinks=False)
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = len(self._paths)
        attributes.st_mode = state.st_mode
        attributes.st_nlink = state.st_nlink
        attributes.st_size = state.st_size
        attributes.st_blocks = state.st_blocks
        attributes.st_blksize = 4096
        attributes.st_uid, attributes.st_gid = state.st_uid, state.st_gid
        attributes.st_mtime_ns = attributes.st_atime_ns = state.st_mtime_ns
        attributes.st_ctime_ns = state.st_mtime_ns
        attributes.attr_timeout = attributes.entry_timeout = _TIMEOUT
        self._paths.append(path)
        self._attributes.append(attributes)
        return len(self._paths) - 1

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> Any:
        """The attributes of a name."""
        number = self._children[parent_inode].get(name)
        if number is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes[number]

    async def getattr(self, inode: int, ctx: Any) -> Any:
        """The attributes of a number."""
        return self._attributes[inode]

    async def forget(self, inode_list: Any) -> None:
        """Nothing."""

    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        """There are none, of no kind."""
        raise pyfuse3.FUSEError(errno.EOPNOTSUPP)

    async def statfs(self, ctx: Any) -> Any:
        """Nothing in particular."""
        return pyfuse3.StatvfsData()

    async def opendir(self, inode: int, ctx: Any) -> int:
        """The handle of a folder: its number."""
        return inode

    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """Entries from a place on."""
        for entry in self._listings[fh][start_id:]:
            if not pyfuse3.readdir_reply(token, *entry):
                return

    async def releasedir(self, fh: int) -> None:
        """Nothing."""

    async def open(self, inode: int, flags: int, ctx: Any) -> Any:
        """The handle of a file: a descriptor of it."""
        return pyfuse3.FileInfo(fh=os.open(self._paths[inode], os.O_RDONLY), keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Bytes of a file."""
        return os.pread(fh, size, off)

    async def release(self, fh: int) -> None:
        """Close the descriptor."""
        os.close(fh)


def main(folder: str, mountpoint: str) -> None:
    """Show a folder until a signal ends the process."""
    plain = Plain(folder)
    options = {"ro", "default_permissions", "subtype=plain", "fsname=plain"}
    pyfuse3.init(plain, mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
