"""A filesystem that shows a directory, and whose reads hang while a file called `hang` exists.

    python -m tests.semantics.stalling FOLDER MOUNTPOINT HANG

Reads of files below FOLDER/stalled wait as long as HANG exists; all others are answered. A double
of a network share whose server has gone. Prints a line when it answers.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio

_TIMEOUT = 3600.0


class _Stalling(pyfuse3.Operations):
    def __init__(self, folder: Path, hang: Path) -> None:
        super().__init__()
        self._hang = hang
        self._paths = {pyfuse3.ROOT_INODE: folder}
        self._numbers = {folder: pyfuse3.ROOT_INODE}

    def _number(self, path: Path) -> int:
        number = self._numbers.setdefault(path, len(self._numbers) + 1)
        self._paths[number] = path
        return number

    def _attributes(self, path: Path) -> pyfuse3.EntryAttributes:
        try:
            state = path.stat()
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        answer = pyfuse3.EntryAttributes()
        answer.st_ino = self._number(path)
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
            setattr(answer, name, getattr(state, name))
        answer.st_atime_ns = answer.st_ctime_ns = state.st_mtime_ns
        answer.attr_timeout = answer.entry_timeout = _TIMEOUT
        return answer

    async def lookup(self, parent: int, name: bytes, ctx: object) -> pyfuse3.EntryAttributes:
        return self._attributes(self._paths[parent] / os.fsdecode(name))

    async def getattr(self, inode: int, ctx: object) -> pyfuse3.EntryAttributes:
        return self._attributes(self._paths[inode])

    async def opendir(self, inode: int, ctx: object) -> int:
        return inode

    async def readdir(self, inode: int, start: int, token: pyfuse3.ReaddirToken) -> None:
        names = sorted(os.listdir(self._paths[inode]))
        for position, name in enumerate(names[start:], start):
            attributes = self._attributes(self._paths[inode] / name)
            if not pyfuse3.readdir_reply(token, os.fsencode(name), attributes, position + 1):
                return

    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        # Past the cache of the kernel, so that every read arrives here.
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    async def read(self, inode: int, offset: int, size: int) -> bytes:
        path = self._paths[inode]
        while "stalled" in path.parts and self._hang.exists():
            await trio.sleep(0.02)
        with path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)


def main(folder: Path, mountpoint: Path, hang: Path) -> None:
    """Serve until somebody unmounts it."""
    assert stat.S_ISDIR(folder.stat().st_mode)
    pyfuse3.init(_Stalling(folder, hang), os.fspath(mountpoint), {"ro", "fsname=stalling"})
    print("answers", flush=True)
    try:
        trio.run(pyfuse3.main, 1, 512)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
